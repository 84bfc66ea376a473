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
	name   string // as edge calls it
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
func startIDP(t *testing.T, dir, pem, name string) *idp {
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
	at := filepath.Join(dir, name)
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
	p := &idp{t: t, name: name, in: in, said: make(chan string, 100)}
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

// stop ends it before the test does.
func (p *idp) stop() {
	p.in.Close()
	for range p.said { // until it has gone
	}
}

// knows tells it of edge.
func (p *idp) knows(edge *proc) {
	p.t.Helper()
	client, err := json.Marshal(map[string]any{
		"client_id": "edge", "client_secret": "s3cret", "redirect_uris": []string{edge.url(loginHost, "/oidc/"+p.name+"/callback")},
		"backchannel_logout_uri": edge.url(loginHost, "/oidc/"+p.name+"/backchannel"), "backchannel_logout_session_required": true,
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

// logInThere is a login of this name at a provider that asks for it.
func (tab *tab) logInThere(at *idp, name string) {
	tab.t.Helper()
	if now := tab.location(); !strings.HasPrefix(now, at.issuer+"/interaction/") {
		tab.t.Fatalf("at %s", now)
	}
	err := chromedp.Do(tab.ctx,
		chromedp.SendKeys(chromedp.CSS("input[name=login]"), name), chromedp.SendKeys(chromedp.CSS("input[name=password]"), "x"))
	if err != nil {
		tab.t.Fatal(err)
	}
	tab.submit()
	if strings.HasPrefix(tab.location(), at.issuer) { // consent is asked for
		tab.submit()
	}
}

// A person logs in at a provider of other people's making, twice: once while edge reloads and is replaced in the middle of it. It is known at
// every site, with the groups that count; when it logs out there, it is out here.
func TestElsewhereInBrowser(t *testing.T) {
	dir := t.TempDir()
	pem := filepath.Join(dir, "test.pem")
	selfSigned(t, pem, loginHost, wikiHost, filesHost, "localhost")
	id := startIDP(t, dir, pem, "corp")
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
		tab.logInThere(id, "carol")
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

// Two providers of other people's making, at once: each has its button, lets in whom its own rules say, and ends its own logins alone; an account that is
// linked at both comes in by both. One that has gone hinders nobody at the other one.
func TestTwoProvidersInBrowser(t *testing.T) {
	dir := t.TempDir()
	pem := filepath.Join(dir, "test.pem")
	selfSigned(t, pem, loginHost, wikiHost, filesHost, "localhost")
	corp, club := startIDP(t, dir, pem, "corp"), startIDP(t, dir, pem, "club")
	p := startIn(t, dir, "edge", config+fmt.Sprintf(`
[[certificate]]
cert = "test.pem"
key = "test.pem"
[[vhost]]
hosts = [%q]
access = "login"
echo = true
[[vhost]]
hosts = [%q]
access = ["group:staff"]
echo = true
[login]
host = %q
local = false
`, wikiHost, filesHost, loginHost)+fmt.Sprintf(`
[[login.provider]]
name = "corp"
title = "Corp & Co"
issuer = %q
client_id = "edge"
client_secret = "s3cret"
ca = "test.pem"
create = true
groups_claim = "groups"
groups = ["staff"]
[[login.provider]]
name = "club"
title = "The Club"
issuer = %q
client_id = "edge"
client_secret = "s3cret"
ca = "test.pem"
`, corp.issuer, club.issuer))
	corp.knows(p)
	club.knows(p)
	b := openProcess(t, p.pin(loginHost), "MAP *.test 127.0.0.1, MAP fonts.googleapis.com ~NOTFOUND")
	one, two := b.tab(), b.profile().tab()
	press := func(tab *tab, selector string) int64 { return tab.load(chromedp.Click(chromedp.CSS(selector))) }
	wiki, login, account := p.url(wikiHost, "/x"), p.url(loginHost, "/login"), p.url(loginHost, "/account")

	// Who is carol at the one is nobody by being carol at the other.
	two.open(wiki)
	two.sees(login, "Log in with Corp & Co", "Log in with The Club")
	press(two, `form[action="/oidc/club"] button`)
	two.logInThere(club, "carol")
	two.sees(p.url(loginHost, "/oidc/club/callback"), "The Club", "no account here is linked to yours there", "Log in with Corp & Co")
	one.open(wiki)
	press(one, `form[action="/oidc/corp"] button`)
	one.logInThere(corp, "carol")
	one.sees(wiki, "You are carol.")
	one.open(p.url(filesHost, "/"))
	one.sees(p.url(filesHost, "/"), "You are carol.")

	// The account is linked there as well, after the proof that this takes.
	one.open(account)
	press(one, "#link-club")
	one.sees(login, "Log in with Corp & Co")
	press(one, `form[action="/oidc/corp"] button`)
	one.logInThere(corp, "carol")
	one.sees(account, "Log in elsewhere")
	press(one, "#link-club")
	one.logInThere(club, "carol")
	one.sees(account, "Your account there opens this one from now on")
	two.open(wiki)
	press(two, `form[action="/oidc/club"] button`)
	two.sees(wiki, "You are carol.") // whom that provider knows still
	if status := two.open(p.url(filesHost, "/")); status != 403 {
		t.Errorf("a group of the one by the other: %d", status)
	}

	// A logout at the one ends what that one made.
	one.visit(corp.issuer + "/session/end")
	press(one, "button[value=yes]")
	if said := corp.line(); said != "told" {
		t.Errorf("the provider says %q", said)
	}
	one.open(wiki)
	one.sees(login, "Log in with The Club")
	two.open(wiki)
	two.sees(wiki, "You are carol.")

	// One goes away, and edge, replaced, has not read where its login is.
	club.stop()
	p.upgrade()
	three := b.profile().tab() // with connections of its own
	three.open(wiki)
	if status := press(three, `form[action="/oidc/club"] button`); status != 503 {
		t.Errorf("a provider that has gone: %d", status)
	}
	three.sees(p.url(loginHost, "/oidc/club"), "The Club", "the other site does not answer at this moment", "Log in with Corp & Co")
	press(three, `form[action="/oidc/corp"] button`)
	three.logInThere(corp, "carol")
	three.sees(wiki, "You are carol.")

	// The link is given up: whoever came by it is out, and the only way in that is left stays.
	one.open(wiki)
	press(one, `form[action="/oidc/corp"] button`)
	one.logInThere(corp, "carol")
	one.open(account)
	press(one, "#unlink-club")
	if strings.HasPrefix(one.location(), login) { // that provider has not said when it asked
		press(one, `form[action="/oidc/corp"] button`)
		one.logInThere(corp, "carol")
		press(one, "#unlink-club")
	}
	one.sees(account, "does not open this one any more")
	two.open(wiki)
	two.sees(login, "Log in with Corp & Co")
	if status := press(one, "#unlink-corp"); status != 409 {
		t.Errorf("the last way in: %d", status)
	}
	one.sees(p.url(loginHost, "/account/oidc/corp/unlink"), "you could not log in any more")
	one.open(wiki)
	one.sees(wiki, "You are carol.")
}

// A reload after which nobody logs in by password stops who has given one and not yet the second factor; the login that goes on from there is a provider's.
func TestPasswordsEndByReload(t *testing.T) {
	p := startDressed(t, goneProviders)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	tab := b.tab()
	wiki, vault, login := p.url(wikiHost, "/x"), p.url(vaultHost, "/"), p.url(loginHost, "/login")
	tab.open(p.url(wikiHost, "/"))
	tab.fill("alice", password)
	tab.open(vault)
	tab.load(chromedp.Click(chromedp.CSS("main a.button")))
	secret := evaluate[string](tab, `document.getElementById("secret").innerText`)
	tab.give(codeAt(t, secret, 0))
	tab.load(chromedp.Click(chromedp.CSS("main a.button")))
	tab.sees(vault, aliceEcho)
	tab.logOut(p)
	tab.open(wiki)
	tab.fill("alice", password)
	tab.sees(p.url(loginHost, "/second-factor"), "One more proof")

	p.elsewhere()
	tab.give(codeAt(t, secret, 1))
	tab.sees(login, "Log in with Corp & Co", "Log in with The Chess Club", wikiHost)
	if evaluate[bool](tab, `document.querySelector("input[type=password], #code") != null`) {
		t.Error("the page asks for a password or a code")
	}
	tab.open(p.url(loginHost, "/second-factor"))
	tab.sees(login, "Log in with Corp & Co")
	tab.open(wiki)
	tab.sees(login, "Log in with Corp & Co")
	if out := p.session("list", "--json"); strings.Contains(out, "alice") {
		t.Errorf("a session: %s", out)
	}
}
