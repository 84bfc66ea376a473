package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// idp is an OpenID provider of other people's making, in a process of its own.
type idp struct {
	t      *testing.T
	issuer string
	in     io.WriteCloser
	said   chan string // lines of ours
}

// idpModules is where `make tools` puts what the provider is made of.
func idpModules(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(cache, "edge", "oidc-provider", "node_modules")
}

// startIDP starts it with the certificate and key of a file, by which edge knows it.
func startIDP(t *testing.T, dir, pem string) *idp {
	t.Helper()
	modules := idpModules(t)
	if _, err := exec.LookPath("node"); err != nil {
		needs(t, "nodejs")
	}
	if _, err := os.Stat(filepath.Join(modules, "oidc-provider")); err != nil {
		needs(t, "npm (and then: make tools)")
	}
	script, err := os.ReadFile("test/oidc/provider.mjs")
	if err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, "idp")
	for _, err := range []error{
		os.Mkdir(at, 0o700), os.WriteFile(filepath.Join(at, "provider.mjs"), script, 0o600), os.Symlink(modules, filepath.Join(at, "node_modules")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("node", filepath.Join(at, "provider.mjs"), pem)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &idp{t: t, in: in, said: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if line, ours := strings.CutPrefix(lines.Text(), "test: "); ours { // the library says other things
				p.said <- line
			}
		}
		close(p.said)
	}()
	t.Cleanup(func() {
		in.Close()
		<-read
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the provider: %v\n%s", err, stderr.String())
		}
	})
	p.issuer = p.line()
	return p
}

// line is the next that it says.
func (p *idp) line() string {
	p.t.Helper()
	line, ok := <-p.said
	if !ok {
		p.t.Fatal("the provider has ended")
	}
	return line
}

// knows tells it of edge.
func (p *idp) knows(edge *proc) {
	p.t.Helper()
	client, err := json.Marshal(map[string]any{
		"client_id": "edge", "client_secret": "s3cret", "redirect_uris": []string{edge.url(loginHost, "/oidc/corp/callback")},
		"backchannel_logout_uri": edge.url(loginHost, "/oidc/corp/backchannel"), "backchannel_logout_session_required": true,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	fmt.Fprintf(p.in, "%s\n", client)
	if said := p.line(); said != "ready" {
		p.t.Fatalf("the provider says %q", said)
	}
}

// submit presses the first button of a page that is not ours.
func (tab *tab) submit() {
	tab.t.Helper()
	tab.load(chromedp.Click(chromedp.CSS("button[type=submit], button[autofocus]")))
}

// A person logs in at a provider of other people's making, twice: once while edge reloads and is replaced in the middle of it. It is known at
// every site, with the groups that count; when it logs out there, it is out here.
func TestElsewhereInBrowser(t *testing.T) {
	dir := t.TempDir()
	pem := filepath.Join(dir, "test.pem")
	selfSigned(t, pem, loginHost, wikiHost, filesHost, "localhost")
	id := startIDP(t, dir, pem)
	p := startIn(t, dir, "edge", config+fmt.Sprintf(`
[[certificate]]
cert = "test.pem"
key = "test.pem"
[[vhost]]
hosts = [%q]
access = ["group:staff"]
echo = true
[[vhost]]
hosts = [%q]
access = "login"
echo = true
[login]
host = %q
[[login.provider]]
name = "corp"
title = "Corp & Co"
issuer = %q
client_id = "edge"
client_secret = "s3cret"
ca = "test.pem"
create = true
allowed_domains = ["corp.test"]
groups_claim = "groups"
groups = ["staff"]
`, wikiHost, filesHost, loginHost, id.issuer))
	id.knows(p)
	// A browser of its own: this provider is not below .test, and its pages ask for a font of other people's.
	b := openProcess(t, p.pin(loginHost), "MAP *.test 127.0.0.1, MAP fonts.googleapis.com ~NOTFOUND")
	tab := b.tab()
	there := func() {
		t.Helper()
		tab.load(chromedp.Click(chromedp.CSS(`form[action="/oidc/corp"] button`)))
		if at := tab.location(); !strings.HasPrefix(at, id.issuer+"/interaction/") {
			t.Fatalf("at %s", at)
		}
	}
	logIn := func() {
		t.Helper()
		err := chromedp.Do(tab.ctx,
			chromedp.SendKeys(chromedp.CSS("input[name=login]"), "carol"), chromedp.SendKeys(chromedp.CSS("input[name=password]"), "x"))
		if err != nil {
			t.Fatal(err)
		}
		tab.submit()
		if strings.HasPrefix(tab.location(), id.issuer) { // consent is asked for
			tab.submit()
		}
	}
	wiki := p.url(wikiHost, "/some/page?x=1")
	tab.open(wiki)
	tab.sees(p.url(loginHost, "/login"), "Log in with Corp & Co")
	there()
	logIn()
	tab.sees(wiki, "GET /some/page?x=1 ", "You are carol.")
	tab.open(p.url(filesHost, "/"))
	tab.sees(p.url(filesHost, "/"), "You are carol.")

	// There: log out. Here: gone, in moments.
	tab.visit(id.issuer + "/session/end")
	tab.load(chromedp.Click(chromedp.CSS("button[value=yes]")))
	if said := id.line(); said != "told" {
		t.Errorf("the provider says %q", said)
	}
	tab.open(wiki)
	tab.sees(p.url(loginHost, "/login"), "Log in with Corp & Co")

	there()
	p.reload()
	p.upgrade()
	logIn()
	tab.sees(wiki, "GET /some/page?x=1 ", "You are carol.")
	tab.open(p.url(loginHost, "/account"))
	tab.sees(p.url(loginHost, "/account"), "Log in elsewhere", "Linked")
	if out := p.user("", "unlink", "carol", "corp"); !strings.Contains(out, "1 links removed") {
		t.Errorf("unlink: %s", out)
	}
	until(t, "the sessions of an account that is unlinked have ended", func() bool { tab.open(wiki); return tab.location() != wiki })
	tab.sees(p.url(loginHost, "/login"), "Log in with Corp & Co")
}
