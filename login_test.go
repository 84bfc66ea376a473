package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// twoSites is a login and two sites that need one, which no cookie can join.
const twoSites = config + `
[login]
host = "login.localhost"
[[vhost]]
hosts = ["wiki.alpha.localhost"]
access = ["group:staff"]
echo = true
[[vhost]]
hosts = ["files.beta.localhost"]
access = "login"
echo = true
`

// user runs edge's user command with a line of standard input.
func (p *proc) user(input string, args ...string) string {
	p.t.Helper()
	cmd := exec.Command("edge", append([]string{"user", "-c", filepath.Join(p.dir, "edge.toml")}, args...)...)
	cmd.Stdin = strings.NewReader(input + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("edge user %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// person is a client that keeps cookies and follows redirects, as a browser would.
func (p *proc) person() *http.Client {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	tr := &http.Transport{
		TLSClientConfig: p.clientTLS(""), ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dialer("https", nil)(ctx) },
	}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: tr}
}

// visit opens a page and gives where it led, and the page.
func visit(t *testing.T, c *http.Client, page string) (at *url.URL, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, page, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	return do(t, c, r)
}

// send sends a form.
func send(t *testing.T, c *http.Client, to *url.URL, form url.Values) (at *url.URL, body string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, to.String(), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", to.Scheme+"://"+to.Host)
	r.Header.Set("Accept", "text/html")
	return do(t, c, r)
}

func do(t *testing.T, c *http.Client, r *http.Request) (at *url.URL, body string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Request.URL, string(text)
}

var flowField = regexp.MustCompile(`name="f" value="([^"]*)"`)

// logIn fills in the login page.
func logIn(t *testing.T, c *http.Client, page *url.URL, body, name, password string) (at *url.URL, next string) {
	t.Helper()
	form := url.Values{"name": {name}, "password": {password}}
	if m := flowField.FindStringSubmatch(body); m != nil {
		form.Set("f", m[1])
	}
	return send(t, c, &url.URL{Scheme: "https", Host: page.Host, Path: "/login"}, form)
}

// One login is known at two unrelated sites, survives a reload and a new process on which it never was made, and ends everywhere at once.
func TestLoginOverSignals(t *testing.T) {
	p := start(t, "edge", twoSites)
	p.user("correct horse", "add", "alice", "--group", "staff")
	_, port, _ := net.SplitHostPort(p.addr("https"))
	wiki, files := "https://wiki.alpha.localhost:"+port+"/a%2Fb?c=d", "https://files.beta.localhost:"+port+"/"
	alice := p.person()
	at, body := visit(t, alice, wiki)
	if at.Hostname() != "login.localhost" {
		t.Fatalf("a stranger was led to %s:\n%s", at, body)
	}
	at, body = logIn(t, alice, at, body, "alice", "wrong horse")
	wants(t, body, "wrong", `name="password"`)
	at, body = logIn(t, alice, at, body, "alice", "correct horse")
	if at.String() != wiki {
		t.Fatalf("after the login at %s, want %s:\n%s", at, wiki, body)
	}
	known := func() {
		t.Helper()
		for _, page := range []string{wiki, files} {
			at, body := visit(t, alice, page)
			if at.String() != page || !strings.Contains(body, "You are alice") {
				t.Errorf("%s led to %s:\n%s", page, at, body)
			}
			if strings.Contains(body, "__Host-edge") {
				t.Errorf("the page sees our cookie:\n%s", body)
			}
		}
	}
	known()
	p.reload()
	known()
	p.upgrade()
	alice.CloseIdleConnections()
	known()

	at, body = send(t, alice, &url.URL{Scheme: "https", Host: "files.beta.localhost:" + port, Path: "/.edge/logout"}, nil)
	if at.Hostname() != "login.localhost" {
		t.Errorf("the logout led to %s:\n%s", at, body)
	}
	for _, page := range []string{wiki, files} {
		if at, body := visit(t, alice, page); at.Hostname() != "login.localhost" || !strings.Contains(body, `name="password"`) {
			t.Errorf("after the logout %s led to %s:\n%s", page, at, body)
		}
	}
}

// Who is not allowed gets 403, an account that is disabled is nobody, and programs get 401.
func TestAccess(t *testing.T) {
	p := start(t, "edge", twoSites)
	p.user("correct horse", "add", "bob")
	wants(t, p.user("", "list"), "bob")
	_, port, _ := net.SplitHostPort(p.addr("https"))
	wiki, files := "https://wiki.alpha.localhost:"+port+"/", "https://files.beta.localhost:"+port+"/"
	wants(t, p.curl("https", "files.beta.localhost", "/", "-i"), " 401", "no-store")
	bob := p.person()
	at, body := visit(t, bob, files)
	if at, body = logIn(t, bob, at, body, "bob", "correct horse"); at.String() != files || !strings.Contains(body, "You are bob") {
		t.Fatalf("the login led to %s:\n%s", at, body)
	}
	if at, body := visit(t, bob, wiki); strings.Contains(body, "GET / HTTP") {
		t.Errorf("bob is not in the group and sees %s:\n%s", at, body)
	}
	p.user("", "group", "set", "bob", "staff")
	until(t, "bob is in the group now", func() bool {
		_, body := visit(t, bob, wiki)
		return strings.Contains(body, "You are bob")
	})
	p.user("", "disable", "bob")
	until(t, "bob is disabled now", func() bool {
		at, _ := visit(t, bob, files)
		return at.Hostname() == "login.localhost"
	})
}
