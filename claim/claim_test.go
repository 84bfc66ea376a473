package claim

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// A name that an upstream may take for one of ours is one of ours.
func TestIs(t *testing.T) {
	for name, want := range map[string]bool{
		"forwarded": true, "x-forwarded-for": true, "x_forwarded_for": true, "x.forwarded-anything": true, "remote-user": true, "remote_user_": true,
		"x-real-ip": true, "proxy": true, "x-edge-user": true,
		"x-forwarded": true, "forwarded-for": true, "wl-proxy-client-ip": true, "http_client_ip": true, "http_x_forwarded_for": true,
		"accept": false, "remote": false, "authorization": false, "": false, "--": false,
	} {
		if Is([]byte(name)) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// Every name and every beginning is found by its first two bytes, in all its looks.
func TestBegins(t *testing.T) {
	all := slices.Collect(maps.Keys(names))
	for _, p := range slices.Concat(prefixes, certPrefixes) {
		all = append(all, p+"x")
	}
	for _, name := range all {
		for _, look := range []string{name, strings.ReplaceAll(name, "-", "_"), strings.ReplaceAll(name, "-", ".") + "_"} {
			if !Is([]byte(look)) {
				t.Errorf("%q is none", look)
			}
		}
	}
}

// browser are the names of what a browser sends.
var browser = strings.Fields(`accept accept-encoding accept-language cache-control cookie priority referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform
	sec-fetch-dest sec-fetch-mode sec-fetch-site upgrade-insecure-requests user-agent`)

func BenchmarkIs(b *testing.B) {
	var list [][]byte
	for _, name := range browser {
		list = append(list, []byte(name))
	}
	for b.Loop() {
		for _, name := range list {
			if Is(name) {
				b.Fatal(string(name))
			}
		}
	}
}

func TestFold(t *testing.T) {
	if got := string(Fold([]byte("kept-"), []byte("x_env.1-_"))); got != "kept-x-env-1" {
		t.Errorf("got %q", got)
	}
	name := []byte("x_env")
	if n := testing.AllocsPerRun(100, func() { Is(name) }); n > 0 || string(name) != "x_env" {
		t.Errorf("%v allocations, and the name is %q now", n, name)
	}
}
