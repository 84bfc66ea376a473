package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// Three hosts with nothing in common but the edge that serves them.
const (
	loginHost = "login.auth-site.test"
	wikiHost  = "wiki.alpha.test"
	filesHost = "files.beta.test"
)

const (
	password  = "correct horse battery"
	aliceEcho = "You are alice."          // what the wiki, an echo, says
	aliceApp  = `"Remote-User":["alice"]` // what the app behind files is told
)

// startUnrelated starts an edge with a login and two hosts that need it.
func startUnrelated(t *testing.T) *proc {
	t.Helper()
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "test.pem"), loginHost, wikiHost, filesHost)
	return startIn(t, dir, "edge", config+fmt.Sprintf(`
[[certificate]]
cert = "test.pem"
key = "test.pem"
[[vhost]]
hosts = [%q]
access = "login"
echo = true
[[vhost]]
hosts = [%q]
access = "login"
proxy = "http://%s"
[login]
host = %q
registration = "open"
`, wikiHost, filesHost, webApp(t), loginHost))
}

// One login, at a host that has nothing to do with the others, is known at both; a wrong password is not; and after a logout at one of them
// both have forgotten, in every tab.
func TestLoginInBrowser(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	b := openBrowser(t, p.pin(loginHost), "MAP *.test 127.0.0.1")
	login, wiki, files := p.url(loginHost, "/login"), p.url(wikiHost, "/some/page?x=1"), p.url(filesHost, "/")

	tab := b.tab()
	tab.open(wiki)
	tab.sees(login, "Log in", wikiHost)
	tab.shoot("login")
	if status := tab.fill("alice", "wrong horse battery"); status != 403 {
		t.Errorf("a wrong password: %d", status)
	}
	tab.sees(login, "Sorry", wikiHost)
	tab.shoot("login-wrong")
	tab.fill("alice", password)
	tab.sees(wiki, "GET /some/page?x=1 ", aliceEcho)

	other := b.tab()
	other.open(files)
	other.sees(files, aliceApp)
	b.wantCookies(wikiHost+" __Host-edge", filesHost+" __Host-edge", loginHost+" __Host-edge-sso")

	tab.open(files)
	tab.open(p.url(wikiHost, "/.edge/logout"))
	tab.sees(p.url(wikiHost, "/.edge/logout"), "Log out?")
	tab.shoot("logout")
	tab.press()
	tab.sees(p.url(loginHost, "/logged-out"), "logged out of every site")
	tab.shoot("logged-out")
	b.wantCookies(filesHost + " __Host-edge") // of no use any more

	other.load(chromedp.Reload())
	other.sees(login, filesHost)
	tab.back()
	tab.back() // the page as it was, out of the browser's memory
	tab.load(chromedp.Reload())
	tab.sees(login, filesHost)
	tab.open(wiki)
	tab.sees(login, wikiHost)

	b.wantErrors("status of 403")
	b.wantOrigins(p.url(loginHost, ""), p.url(wikiHost, ""), p.url(filesHost, ""))
}

// Who makes an account on the way to a page arrives there, known.
func TestRegisterInBrowser(t *testing.T) {
	p := startUnrelated(t)
	b := openBrowser(t, p.pin(loginHost), "MAP *.test 127.0.0.1")
	wiki := p.url(wikiHost, "/new?page")
	tab := b.tab()
	tab.open(wiki)
	tab.load(chromedp.Click(chromedp.CSS(".more a")))
	tab.sees(p.url(loginHost, "/register"), "Register", wikiHost)
	tab.shoot("register")
	tab.fill("bob", password)
	tab.sees(wiki, "GET /new?page ", "You are bob.")
	tab.open(p.url(filesHost, "/"))
	tab.sees(p.url(filesHost, "/"), `"Remote-User":["bob"]`)
	tab.open(p.url(loginHost, "/"))
	tab.sees(p.url(loginHost, "/account"), "signed in as bob")
	tab.shoot("account")
	b.wantErrors()
}

// A login outlives a new configuration and a new process, which can end it as well.
func TestLoginSurvivesSignals(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	b := openBrowser(t, p.pin(loginHost), "MAP *.test 127.0.0.1")
	login, wiki, files := p.url(loginHost, "/login"), p.url(wikiHost, "/"), p.url(filesHost, "/")
	tab := b.tab()
	tab.open(wiki)
	tab.fill("alice", password)
	tab.sees(wiki, aliceEcho)
	for _, change := range []func(){p.reload, p.upgrade} {
		change()
		tab.open(wiki)
		tab.sees(wiki, aliceEcho)
		tab.open(files)
		tab.sees(files, aliceApp)
	}
	until(t, "the old process has ended", func() bool { return len(p.alive()) == 1 })
	tab.open(p.url(filesHost, "/.edge/logout"))
	tab.press()
	tab.open(wiki)
	tab.sees(login, wikiHost)
	tab.open(files)
	tab.sees(login, filesHost)
	b.wantErrors()
}

// Tabs that began to log in at once each find their way back, whichever is the first to end, and whether by a form or by the login of another.
func TestTabsInBrowser(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	b := openBrowser(t, p.pin(loginHost), "MAP *.test 127.0.0.1")
	addresses := []string{p.url(wikiHost, "/first?tab"), p.url(filesHost, "/second?tab"), p.url(wikiHost, "/third?tab")}
	tabs := []*tab{b.tab(), b.tab(), b.tab()}
	var opening sync.WaitGroup
	for i, tab := range tabs {
		opening.Go(func() {
			if err := chromedp.Do(tab.ctx, chromedp.Navigate(addresses[i])); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	for _, tab := range tabs {
		tab.sees(p.url(loginHost, "/login"), "Log in")
	}
	tabs[2].fill("alice", password)
	tabs[2].sees(addresses[2], "GET /third?tab ", aliceEcho)
	tabs[0].load(chromedp.Reload())
	tabs[0].sees(addresses[0], "GET /first?tab ", aliceEcho)
	tabs[1].fill("alice", password) // a second login, which ends the first
	tabs[1].sees(addresses[1], `"uri":"/second?tab"`, aliceApp)
	for i, tab := range tabs {
		tab.load(chromedp.Reload())
		tab.sees(addresses[i], "alice")
	}
	b.wantCookies(wikiHost+" __Host-edge", filesHost+" __Host-edge", loginHost+" __Host-edge-sso") // and none of a login under way
	b.wantErrors()
}

// startDemo starts conf/edge.toml itself, but for where it listens and what it writes.
func startDemo(t *testing.T) *proc {
	text, err := os.ReadFile("conf/edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	site, err := filepath.Abs("conf/site")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, "edge", strings.NewReplacer(
		`"../state"`, `"DIR/state"`, `"../certs/dev"`, `"DIR/certs"`, `files = "site"`, `files = "`+site+`"`,
		`["127.0.0.1:8443", "[::1]:8443"]`, `"127.0.0.1:0"`, `["127.0.0.1:8080", "[::1]:8080"]`, `"127.0.0.2:0"`, `"127.0.0.1:5433"`, `"127.0.0.3:0"`, `"127.0.0.1:9180"`, `"127.0.0.4:0"`,
		`"127.0.0.1:9001"`, `"unix:DIR/backend"`, `"http://127.0.0.1:9001"`, `"unix:DIR/backend"`, `"tcp://127.0.0.1:9001"`, `"unix:DIR/backend"`,
	).Replace(string(text)))
}

// The demo's start page needs nobody but edge, and its links lead where they say.
func TestStartPage(t *testing.T) {
	p := startDemo(t)
	port := p.port()
	b := openBrowser(t, p.pin("localhost"), "MAP localhost:8443 127.0.0.1:"+port+", MAP *.localhost:8443 127.0.0.1:"+port)
	tab := b.tab()
	tab.open("https://localhost:8443/")
	tab.sees("https://localhost:8443/", "The front door is open.")
	tab.shoot("start")
	b.wantOrigins("https://localhost:8443")
	links := evaluate[[]string](tab, "Array.from(document.links, a => a.href)")
	want := map[string]string{
		"https://echo.localhost:8443/": "GET / ", "https://relay.localhost:8443/": "x-forwarded-host: relay.localhost",
		"https://private.localhost:8443/": "private.localhost", "https://members.example.localhost:8443/": "members.example.localhost",
		"https://login.localhost:8443/": "Not signed in", "https://login.localhost:8443/register": "Register",
	}
	for _, link := range links {
		if status := tab.open(link); status != 200 {
			t.Errorf("%s: %d", link, status)
		}
		wants(t, evaluate[string](tab, "document.body.innerText"), cmp.Or(want[link], "(a link that the test does not know: "+link+")"))
		delete(want, link)
	}
	if len(want) > 0 {
		t.Errorf("the start page does not link to %v", want)
	}
	tab.open("https://login.localhost:8443/")
	tab.shoot("nobody")
	b.wantErrors()
}
