package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Hosts with nothing in common but the edge that serves them.
const (
	loginHost = "login.auth-site.test"
	wikiHost  = "wiki.alpha.test"
	filesHost = "files.beta.test"
	notesHost = "notes.delta.test"
	password  = "correct horse battery"
	aliceEcho = "You are alice."          // what the wiki and the notes, echoes, say
	aliceApp  = `"Remote-User":["alice"]` // what the app behind files is told
)

// startUnrelated starts an edge with a login and three hosts that need it.
func startUnrelated(t *testing.T) *proc {
	t.Helper()
	return startUnrelatedAs(t, "edge", "open")
}

func startUnrelatedAs(t *testing.T, program, registration string) *proc {
	t.Helper()
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "test.pem"), loginHost, wikiHost, filesHost, notesHost)
	return startIn(t, dir, program, config+fmt.Sprintf(`
[[certificate]]
cert = "test.pem"
key = "test.pem"
[[vhost]]
hosts = [%q, %q]
access = "login"
echo = true
[[vhost]]
hosts = [%q]
access = "login"
proxy = "http://%s"
[login]
host = %q
registration = %q
`, wikiHost, notesHost, filesHost, webApp(t), loginHost, registration))
}

// One login, at a host that has nothing to do with the others, is known at all of them; a wrong password is not; and after a logout at one of
// them all have forgotten, in every tab.
func TestLoginInBrowser(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	login, wiki, files, notes := p.url(loginHost, "/login"), p.url(wikiHost, "/some/page?x=1"), p.url(filesHost, "/"), p.url(notesHost, "/n")

	tab := b.tab()
	tab.open(wiki)
	tab.sees(login, "Log in", wikiHost)
	if status := tab.fill("alice", "wrong horse battery"); status != 403 {
		t.Errorf("a wrong password: %d", status)
	}
	tab.sees(login, "Sorry", wikiHost)
	tab.fill("alice", password)
	tab.sees(wiki, "GET /some/page?x=1 ", aliceEcho)

	other := b.tab()
	other.open(files)
	other.sees(files, aliceApp)
	other.open(notes)
	other.sees(notes, aliceEcho)
	b.wantCookies(wikiHost+" __Host-edge", filesHost+" __Host-edge", notesHost+" __Host-edge", loginHost+" __Host-edge-sso")

	tab.open(files)
	tab.open(p.url(wikiHost, "/.edge/logout"))
	tab.sees(p.url(wikiHost, "/.edge/logout"), "Log out?")
	tab.press()
	tab.sees(p.url(loginHost, "/logged-out"), "logged out of every site")
	b.wantCookies(filesHost+" __Host-edge", notesHost+" __Host-edge") // of no use any more

	other.load(chromedp.Reload())
	other.sees(login, notesHost)
	tab.back()
	tab.back() // the page as it was, out of the browser's memory
	tab.load(chromedp.Reload())
	tab.sees(login, filesHost)
	tab.open(wiki)
	tab.sees(login, wikiHost)

	b.wantErrors("status of 403")
	b.wantOrigins(p.url(loginHost, ""), p.url(wikiHost, ""), p.url(filesHost, ""), p.url(notesHost, ""))
}

// Who makes an account on the way to a page arrives there, known.
func TestRegisterInBrowser(t *testing.T) {
	p := startUnrelated(t)
	b := openBrowser(t)
	wiki := p.url(wikiHost, "/new?page")
	tab := b.tab()
	tab.open(wiki)
	tab.load(chromedp.Click(chromedp.CSS(".more a")))
	tab.sees(p.url(loginHost, "/register"), "Register", wikiHost)
	tab.fill("bob", password)
	tab.sees(wiki, "GET /new?page ", "You are bob.")
	tab.open(p.url(filesHost, "/"))
	tab.sees(p.url(filesHost, "/"), `"Remote-User":["bob"]`)
	tab.open(p.url(loginHost, "/"))
	tab.sees(p.url(loginHost, "/account"), "signed in as bob")
	b.wantErrors()
}

// Each step of a login is made on another process or configuration than the one before it, from the form to the logout.
func TestLoginSurvivesSignals(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	login, wiki, files, notes := p.url(loginHost, "/login"), p.url(wikiHost, "/"), p.url(filesHost, "/"), p.url(notesHost, "/")
	tab := b.tab()
	tab.open(wiki)
	p.upgrade()
	tab.fill("alice", password) // a form of the old process
	tab.sees(wiki, aliceEcho)
	p.reload()
	tab.open(files)
	tab.sees(files, aliceApp)
	p.upgrade()
	tab.open(notes)
	tab.sees(notes, aliceEcho)
	tab.load(chromedp.Reload())
	tab.open(p.url(filesHost, "/.edge/logout"))
	p.upgrade()
	tab.press()
	tab.sees(p.url(loginHost, "/logged-out"), "logged out of every site")
	p.reload()
	for _, page := range []string{wiki, files, notes} {
		tab.open(page)
		tab.sees(login, "Log in")
	}
	until(t, "the old processes have ended", func() bool { return len(p.alive()) == 1 })
	b.wantErrors()
}

// Ten tabs that began to log in at once, more at one host than a browser keeps logins for, each find their way back, whichever is the first to
// end, and whether by a form or by the login of another.
func TestTabsInBrowser(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	b := openBrowser(t)
	var addresses []string
	for i, host := range []string{wikiHost, filesHost, wikiHost, notesHost, wikiHost, wikiHost, filesHost, wikiHost, wikiHost, wikiHost} {
		addresses = append(addresses, p.url(host, fmt.Sprintf("/%d?tab", i)))
	}
	tabs := make([]*tab, len(addresses))
	for i := range tabs {
		tabs[i] = b.tab()
	}
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
	tabs[2].sees(addresses[2], "GET /2?tab ", aliceEcho)
	tabs[1].fill("alice", password) // a second login, which ends the first
	tabs[1].sees(addresses[1], `"uri":"/1?tab"`, aliceApp)
	tabs[0].fill("alice", password) // its cookie may be of those that had to go
	for i, tab := range tabs {
		tab.load(chromedp.Reload())
		tab.sees(addresses[i], fmt.Sprintf("/%d?tab", i), "alice")
	}
	b.wantCookies(wikiHost+" __Host-edge", filesHost+" __Host-edge", notesHost+" __Host-edge", loginHost+" __Host-edge-sso") // and none of a login under way
	b.wantErrors()
}

// A form that was left open for too long still leads on, also when it is asked for again. Over night a login ends on every host; one password in the morning, and each open tab
// is where it was.
func TestNightInBrowser(t *testing.T) {
	p, ahead := startClocked(t, func(t *testing.T, program string) *proc { return startUnrelatedAs(t, program, "closed") })
	p.user(password, "add", "alice")
	b := openBrowser(t)
	login, wiki, files := p.url(loginHost, "/login"), p.url(wikiHost, "/deep?x=1"), p.url(filesHost, "/")
	both := []*tab{b.tab(), b.tab()}
	tab, other := both[0], both[1]
	tab.open(wiki)
	form := tab.location()
	ahead(time.Hour)
	tab.fill("alice", password)
	tab.sees(wiki, "GET /deep?x=1 ", aliceEcho)
	tab.open(form) // which is not needed any more
	tab.sees(wiki, "GET /deep?x=1 ", aliceEcho)
	other.open(files)
	other.sees(files, aliceApp)
	b.wantCookies(wikiHost+" __Host-edge", filesHost+" __Host-edge", loginHost+" __Host-edge-sso")

	ahead(12 * time.Hour) // less than [login] idle since the last use
	other.load(chromedp.Reload())
	other.sees(files, aliceApp)
	ahead(25 * time.Hour)
	for _, tab := range both {
		tab.load(chromedp.Reload())
		tab.sees(login, "Log in")
	}
	tab.fill("alice", password)
	tab.sees(wiki, aliceEcho)
	other.load(chromedp.Reload())
	other.sees(files, aliceApp)
	b.wantErrors()
}

// A browser without cookies is told so, and not sent round in a circle.
func TestWithoutCookies(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	profile := t.TempDir()
	preferences := filepath.Join(profile, "Default", "Preferences")
	const noCookies = `{"profile":{"default_content_setting_values":{"cookies":2}}}`
	if err := cmp.Or(os.Mkdir(filepath.Dir(preferences), 0o700), os.WriteFile(preferences, []byte(noCookies), 0o600)); err != nil {
		t.Fatal(err)
	}
	b := openProcess(t, sitePin(), siteRules, chromedp.UserDataDir(profile))
	tab := b.tab()
	tab.open(p.url(wikiHost, "/deep?x=1"))
	var forms int
	for ; forms < 5 && strings.HasPrefix(tab.location(), p.url(loginHost, "/login")); forms++ { // the login host forgets as well
		tab.fill("alice", password)
	}
	tab.sees(p.url(wikiHost, "/.edge/auth/callback"), "Login not completed", "cookies are switched off", "Start over")
	if again := evaluate[string](tab, `document.querySelector("a.button").getAttribute("href")`); again != "/deep?x=1" || forms > 3 {
		t.Errorf("to start over at %s, after %d forms", again, forms)
	}
	b.wantCookies()
}

// The link of the first start makes the first account, and one of edge invite another, each once.
func TestInvitationInBrowser(t *testing.T) {
	p := startUnrelatedAs(t, "edge", "invite")
	setup := regexp.MustCompile(`https://` + loginHost + `:\d+/register\?invite=[\w-]{43}`)
	p.waitLog("there is no account yet")
	account := p.url(loginHost, "/account")
	open := func(link, name string) {
		t.Helper()
		tab := openBrowser(t).tab()
		tab.open(link)
		tab.sees(link, "Register")
		tab.fill(name, password)
		tab.sees(account, "signed in as "+name)
		tab.open(p.url(wikiHost, "/"))
		tab.sees(p.url(wikiHost, "/"), "You are "+name)
		tab.open(link)
		tab.sees(link, "Invitation not valid")
	}
	open(p.logged(setup)[0], "root")
	out, code := p.cli("invite", "--group", "staff")
	_, query, _ := strings.Cut(strings.TrimSpace(out), "?")
	if code != 0 || query == "" {
		t.Fatalf("edge invite: %d %s", code, out)
	}
	open(p.url(loginHost, "/register?"+query), "dave") // the configuration says port 0
	wants(t, p.user("", "list"), "root admin", "dave staff")
}

// The account page tells where one is signed in, and logs out there; and everywhere, which ends what was let in at every host, and a WebSocket
// that is open, within a second.
func TestAccountInBrowser(t *testing.T) {
	p := startUnrelated(t)
	p.user(password, "add", "alice")
	login, account, wiki, files, notes := p.url(loginHost, "/login"), p.url(loginHost, "/account"), p.url(wikiHost, "/"), p.url(filesHost, "/"), p.url(notesHost, "/")
	here, there := openBrowser(t).tab(), openBrowser(t).tab()
	for _, tab := range []*tab{here, there} {
		tab.open(wiki)
		tab.fill("alice", password)
		tab.sees(wiki, aliceEcho)
	}
	here.open(account)
	here.sees(account, "This browser")
	if n := evaluate[int](here, `document.querySelectorAll(".list li").length`); n != 2 {
		t.Errorf("%d browsers are shown, want 2", n)
	}
	here.load(chromedp.Click(chromedp.CSS(".list li:not(:has(.badge)) button")))
	here.sees(account, "That browser has been logged out")
	there.load(chromedp.Reload())
	there.sees(login, wikiHost)
	there.fill("alice", password)
	there.open(notes)
	there.open(files)
	there.sees(files, aliceApp)
	_, err := chromedp.Run(there.ctx, chromedp.Evaluate[bool](`new Promise(done => {
		window.socket = new WebSocket("wss://" + location.host + "/ws");
		socket.onclose = () => window.ended = Date.now();
		socket.onmessage = m => done(m.data == "ping");
		socket.onopen = () => socket.send("ping");
	})`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	here.load(chromedp.Reload())
	pressed := time.Now()
	here.load(chromedp.Click(chromedp.CSS("button.danger")))
	here.sees(p.url(loginHost, "/logged-out"), "Logged out")
	until(t, "the WebSocket has ended", func() bool { return evaluate[bool](there, "!!window.ended") })
	if took := evaluate[int64](there, "ended") - pressed.UnixMilli(); took > 1000 {
		t.Errorf("the WebSocket ends after %d ms", took)
	}
	for _, page := range []string{wiki, files, notes} {
		there.open(page)
		there.sees(login, "Log in")
	}
	here.open(wiki)
	here.sees(login, wikiHost)
	here.wantErrors()
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
	b := openProcess(t, p.pin("localhost"), "MAP localhost:8443 127.0.0.1:"+port+", MAP *.localhost:8443 127.0.0.1:"+port)
	tab := b.tab()
	tab.open("https://localhost:8443/")
	tab.sees("https://localhost:8443/", "The front door is open.")
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
	b.wantErrors()
}
