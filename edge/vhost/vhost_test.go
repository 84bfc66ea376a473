package vhost

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHosts(t *testing.T) {
	var h Hosts[string]
	for _, p := range []string{"a.test", "*.a.test", "x.a.test", "127.0.0.1", "::1"} {
		h.Add(p, p)
	}
	for host, want := range map[string]string{
		"a.test": "a.test", "x.a.test": "x.a.test", "y.a.test": "*.a.test", "127.0.0.1": "127.0.0.1", "::1": "::1",
		"y.x.a.test": "", "b.test": "", "test": "", ".a.test": "*.a.test", "": "", "*.a.test": "*.a.test",
	} {
		if got, ok := h.Match([]byte(host)); got != want || ok != (want != "") {
			t.Errorf("%q finds %q, %v; want %q", host, got, ok, want)
		}
	}
	if _, ok := new(Hosts[int]).Match([]byte("a")); ok {
		t.Error("an empty table finds something")
	}
}

func TestPaths(t *testing.T) {
	var p Paths[string]
	for _, path := range []string{"/", "/assets/", "/assets/deep/", "/ping", "/admin/", "/dee/per/"} {
		p.Add(path, path)
	}
	for path, want := range map[string]string{
		"/": "/", "/x": "/", "/ping": "/ping", "/ping/": "/", "/pingo": "/",
		"/assets/": "/assets/", "/assets/a/b": "/assets/", "/assets/deep/x": "/assets/deep/", "/assetsx": "/",
		"//x": "/", "/group%2Fproject": "/", "/assets/a%20b": "/assets/", "/assets//x": "/assets/", "/assets/%25": "/assets/",
		"/x;y=1/z": "/", "/;x": "/", "/assets/a;v=1.2/b;c": "/assets/", "/assets/%3b": "/assets/", "/pingo;x": "/",
		"//": "/", "///": "/", "//host": "/", "//host/": "/", "//host/x": "/", "/x//": "/", "/assets//a/b": "/assets/",
	} {
		if got, err := p.Match([]byte(path)); got != want || err != nil {
			t.Errorf("%s finds %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]error{
		"/assets": ErrSlash, "/assets/deep": ErrSlash,
		"//admin/x": ErrAmbiguous, "/%61dmin/x": ErrAmbiguous, "/admin%2fx": ErrAmbiguous, "/%70ing": ErrAmbiguous,
		"/assets%2f": ErrAmbiguous, "//assets": ErrAmbiguous, "/assets//deep/": ErrAmbiguous,
		"/admin;/x": ErrAmbiguous, "/admin;a=b/x": ErrAmbiguous, "/;/admin/x": ErrAmbiguous, "/admin%3b/x": ErrAmbiguous, "/a%64min;/x": ErrAmbiguous,
		"/;//admin/x": ErrAmbiguous, "/ping;x": ErrAmbiguous, "/admin;x": ErrAmbiguous, "/assets/deep;v/x": ErrAmbiguous, "/assets;v/x": ErrAmbiguous,
		"//host/admin/x": ErrAmbiguous, "///host/admin/x": ErrAmbiguous, "//a%2fb/admin/": ErrAmbiguous, "//host/ping": ErrAmbiguous, "/assets//x/deep/y": ErrAmbiguous,
		"/dee;%2fz/per/x": ErrAmbiguous, "/dee;%2f;y%2f/per;/x": ErrAmbiguous,
	} {
		if _, err := p.Match([]byte(path)); err != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	var only Paths[int]
	only.Add("/a/", 1)
	if _, err := only.Match([]byte("/b")); err != ErrNotFound {
		t.Errorf("no route: %v", err)
	}
	if _, err := new(Paths[int]).Match([]byte("*")); err != ErrNotFound {
		t.Errorf("an empty table: %v", err)
	}
}

// What a path costs does not grow with the slashes that a client puts in it.
func TestPathsOfManySlashes(t *testing.T) {
	var p Paths[int]
	for i := range 100 {
		p.Add("/route/"+strconv.Itoa(i)+"/", i)
	}
	takes := func(path string) time.Duration {
		best := time.Hour
		for range 5 {
			began := time.Now()
			if _, err := p.Match([]byte(path)); err != ErrNotFound {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	const size = 64 << 10
	if flat, deep := takes("/"+strings.Repeat("a", size)), takes(strings.Repeat("/a", size/2)); deep > 20*flat+time.Millisecond {
		t.Errorf("%v with slashes, %v without", deep, flat)
	}
}
