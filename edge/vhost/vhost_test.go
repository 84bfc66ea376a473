package vhost

import (
	"testing"
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
	for _, path := range []string{"/", "/assets/", "/assets/deep/", "/ping", "/admin/"} {
		p.Add(path, path)
	}
	for path, want := range map[string]string{
		"/": "/", "/x": "/", "/ping": "/ping", "/ping/": "/", "/pingo": "/",
		"/assets/": "/assets/", "/assets/a/b": "/assets/", "/assets/deep/x": "/assets/deep/", "/assetsx": "/",
		"//x": "/", "/group%2Fproject": "/", "/assets/a%20b": "/assets/", "/assets//x": "/assets/", "/assets/%25": "/assets/",
	} {
		if got, err := p.Match([]byte(path)); got != want || err != nil {
			t.Errorf("%s finds %q, %v; want %q", path, got, err, want)
		}
	}
	for path, want := range map[string]error{
		"/assets": ErrSlash, "/assets/deep": ErrSlash,
		"//admin/x": ErrAmbiguous, "/%61dmin/x": ErrAmbiguous, "/admin%2fx": ErrAmbiguous, "/%70ing": ErrAmbiguous,
		"/assets%2f": ErrAmbiguous, "//assets": ErrAmbiguous, "/assets//deep/": ErrAmbiguous,
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
