package vhost

import (
	"net/url"
	"strings"
	"testing"

	"edge/edge/wire"
)

// withoutParameters cuts what stands behind a ';' of each segment.
func withoutParameters(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	return strings.Join(segments, "/")
}

func merged(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// readings are what upstreams make of a path.
var readings = map[string]func(path string) string{
	"decodes":            unescape,
	"cuts, then decodes": func(path string) string { return unescape(withoutParameters(path)) },
	"decodes, then cuts": func(path string) string { return withoutParameters(unescape(path)) },
	"takes it for a reference": func(path string) string {
		u, err := url.Parse(path)
		if err != nil {
			return path
		}
		return "/" + u.Path
	},
	"takes what was not cut off for a reference": func(path string) string {
		if !strings.HasPrefix(path, "/app/") {
			return path
		}
		u, err := url.Parse(strings.TrimPrefix(path, "/app"))
		if err != nil {
			return path
		}
		return "/app/" + u.Path
	},
}

func unescape(path string) string {
	s, err := url.PathUnescape(path)
	if err != nil {
		panic(err)
	}
	return s
}

// Whichever way an upstream reads a path, it reads one of the route that the path was given to: else the rules of another could be got round.
func TestPathsOfAllReadings(t *testing.T) {
	var p Paths[string]
	for _, path := range []string{"/", "/admin/", "/app/", "/app/admin/"} {
		p.Add(path, path)
	}
	tokens := []string{"/", "//", "%2f", ";", "%3B", "admin/", "%61dmin/", "app/", "x/", "x", ""}
	n := 0
	var try func(path string, more int)
	try = func(path string, more int) {
		if more > 0 {
			for _, token := range tokens {
				try(path+token, more-1)
			}
			return
		}
		if wire.Check(path, "") != nil {
			return
		}
		got, err := p.Match([]byte(path))
		if err == ErrAmbiguous {
			return
		}
		n++
		for how, read := range readings {
			if want, wantErr := p.match([]byte(merged(read(path)))); got != want || err != wantErr {
				t.Errorf("%s is of %s, and who %s finds %s", path, got, how, want)
			}
		}
	}
	try("/", 4)
	if n < 3000 {
		t.Errorf("only %d paths have a route", n)
	}
}
