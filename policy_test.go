package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// healthApp is an upstream whose health is what the test says, and that says who it is.
func healthApp(t *testing.T, name string) (address string, ill *atomic.Bool, checks *atomic.Int32) {
	t.Helper()
	ill, checks = new(atomic.Bool), new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			if checks.Add(1); ill.Load() {
				w.WriteHeader(503)
			}
			return
		}
		fmt.Fprintf(w, "%s %v", name, r.Header["Cookie"])
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), ill, checks
}

// Targets are checked from the start, over a reload that does not concern them and an upgrade, and no more once the configuration has none.
func TestHealthChecks(t *testing.T) {
	a, ill, checks := healthApp(t, "a")
	b, _, _ := healthApp(t, "b")
	up := fmt.Sprintf("[[upstream]]\nname = \"two\"\ntargets = [\"http://%s\", \"http://%s\"]\n", a, b)
	health := "health = { path = \"/healthz\", interval = \"20ms\", passes = 2, fails = 2 }\n"
	vhost := "[[vhost]]\nhosts = [\"two.localhost\"]\nlisteners = [\"http\"]\nproxy = \"two\"\n"
	dir := t.TempDir()
	p := startIn(t, dir, "edge", config+up+health+vhost)
	ill.Store(true)
	down := `level=WARN msg="target set aside" upstream=two target=` + a +
		` until="it passes its health checks" error="the answer has the status 503"`
	p.waitLog(down)
	for range 4 {
		wants(t, p.curl("http", "two.localhost", "/"), "b []")
	}
	write(t, dir, "# moved by a line\n"+config+up+health+vhost)
	p.reload()
	for range 4 {
		wants(t, p.curl("http", "two.localhost", "/"), "b []")
	}
	if n := p.count("target set aside"); n != 1 {
		t.Errorf("it is told of %d times", n)
	}
	ill.Store(false)
	p.waitLog(fmt.Sprintf(`msg="target is back" upstream=two target=%s by="its health checks"`, a))
	p.upgrade()
	ill.Store(true)
	p.waitLogs(down, 2) // by the new generation: the old one has ended its checks
	write(t, dir, config+up+vhost)
	p.reload()
	until(t, "the old generation ends", func() bool { return len(p.alive()) == 1 })
	var n int32
	until(t, "the checks end", func() bool {
		was := n
		n = checks.Load()
		time.Sleep(100 * time.Millisecond) // five of them
		return was == n
	})
}

// A browser comes back to its target after a reload, an upgrade and a restart: the key of the cookie lies in the state folder.
func TestStickyCookie(t *testing.T) {
	a, _, _ := healthApp(t, "a")
	b, _, _ := healthApp(t, "b")
	site := fmt.Sprintf("[[upstream]]\nname = \"two\"\ntargets = [\"http://%s\", \"http://%s\"]\nsticky = {}\n", a, b) +
		"[[vhost]]\nhosts = [\"two.localhost\"]\nlisteners = [\"https\", \"http\"]\nproxy = \"two\"\n"
	dir := t.TempDir()
	p := startIn(t, dir, "edge", config+site)
	p.curl("http", "two.localhost", "/")
	answer := p.curl("https", "two.localhost", "/", "-i", "-b", "x=y")
	m := regexp.MustCompile(`set-cookie: (edge_target=[\w-]{16}); Path=/; HttpOnly; SameSite=Lax; Secure\r\n`).FindStringSubmatch(answer)
	if m == nil || !strings.HasSuffix(answer, "b [x=y]") {
		t.Fatalf("got %s", answer)
	}
	comesBack := func(when string) {
		t.Helper()
		for range 3 {
			answer := p.curl("https", "two.localhost", "/", "-i", "-b", "x=y; "+m[1])
			if !strings.HasSuffix(answer, "b [x=y]") || strings.Contains(answer, "set-cookie") {
				t.Errorf("%s: got %s", when, answer)
			}
		}
	}
	comesBack("at once")
	write(t, dir, config+strings.Replace(site, "targets = [", "slow_start = \"1s\"\ntargets = [\"http://127.0.0.1:1\", ", 1))
	p.reload()
	comesBack("after a reload that adds a target")
	p.upgrade()
	comesBack("after an upgrade")
	p.end()
	if _, err := os.Stat(filepath.Join(dir, "state", "sticky.key")); err != nil {
		t.Error(err)
	}
	p = startIn(t, dir, "edge", config+site)
	comesBack("after a restart")
}
