package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/sessions/users"
)

// guardedSites are a virtual host that is public, one that needs a login, and one whose app is told by a signed token too.
const guardedSites = `
[login]
host = "login.localhost"
[[vhost]]
hosts = ["wiki.localhost"]
listeners = ["https"]
access = ["group:staff"]
proxy = "http://UP"
[[vhost]]
hosts = ["files.localhost"]
listeners = ["https"]
access = "login"
identity = { jwt = "X-Edge-Jwt-Assertion" }
proxy = "http://UP"
`

// A relayed request with a valid session allocates nothing beyond what a public one does, with all that comes with it: the check, our cookie taken out
// of the field, the user's name, groups and token put in. All that is counted besides is the ear's, which asks the stores 20 times a second what has
// ended, and is about as much in the same time of public requests.
func TestAllocSession(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	const n, hearing = 10_000, 60 // allocations
	var last atomic.Pointer[[]byte]
	var keep atomic.Bool
	up := answerer(t, relayAnswer, func(request []byte) {
		if keep.Load() {
			clone := bytes.Clone(request)
			last.Store(&clone)
		}
	})
	dir := t.TempDir()
	withAlice(t, filepath.Join(dir, "state"))
	site := strings.Replace(relaySite, `hosts = ["app.localhost"]`, `hosts = ["app.localhost", "wiki.localhost", "files.localhost", "login.localhost"]`, 1)
	addrs := here(t, dir, strings.NewReplacer("DIR", dir, "UP", up).Replace(site+guardedSites))
	for name, wants := range map[string][]string{
		"app.localhost":   {"cookie: a=b; c=d\r\n"},
		"wiki.localhost":  {"cookie: a=b; c=d\r\n", "remote-user: alice\r\n", "remote-groups: all,staff\r\n", "remote-email: alice@example.org\r\n"},
		"files.localhost": {"cookie: a=b; c=d\r\n", "remote-user: alice\r\n", "remote-groups: all,staff\r\n", "x-edge-jwt-assertion: ey"},
	} {
		request := []byte("GET /a/b?c=d HTTP/1.1\r\nHost: " + name + "\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b; " + sessionAt(t, dir, addrs["https"], name) + "c=d\r\n\r\n")
		ask := asker(t, dialHere(t, dir, addrs["https"], name), request)
		keep.Store(true)
		ask()
		keep.Store(false)
		got := strings.ToLower(string(*last.Load()))
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the app gets %q, without %q", name, got, want)
			}
		}
		if strings.Contains(got, "__host-edge") {
			t.Errorf("%s: the app gets our cookie: %q", name, got)
		}
		began := time.Now()
		made := allocations(n, ask)
		limit := 100 + hearing*uint64(time.Since(began)/(50*time.Millisecond)+1)
		t.Logf("%s: %d relayed requests made %d allocations, at most %d pass", name, n, made, limit)
		if made >= min(limit, n/2) {
			t.Errorf("%s: these are too many", name)
		}
	}
}

func withAlice(t *testing.T, state string) {
	t.Helper()
	store, err := users.Open(state, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Add(t.Context(), users.Account{Name: "alice", Groups: []string{"all", "staff"}, Email: "alice@example.org"}, "correct horse"); err != nil {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// sessionAt logs in at an edge that runs here, and gives the cookie's pair with a separator behind it; "" where no login is needed.
func sessionAt(t *testing.T, dir, addr, name string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DialTLSContext: func(_ context.Context, _, at string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(at)
		return dialHere(t, dir, addr, host), err
	}}
	defer tr.CloseIdleConnections()
	c := &http.Client{Jar: jar, Transport: tr}
	_, port, _ := net.SplitHostPort(addr)
	page := &url.URL{Scheme: "https", Host: net.JoinHostPort(name, port), Path: "/"}
	if at, body := visit(t, c, page.String()); at.Host != page.Host {
		logIn(t, c, at, body, "alice", "correct horse")
	}
	for _, cookie := range jar.Cookies(page) {
		if cookie.Name == "__Host-edge" {
			return cookie.String() + "; "
		}
	}
	return ""
}
