package sessions

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

func TestOneLoginEverywhere(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.sees(b.logIn("https://"+wiki+"/a//b?c=%20d"), "alice at /a//b?c=%20d")
	asked := b.visited
	b.sees(b.get("https://"+shop+"/x"), "alice at /x")
	if hops := b.visited - asked; hops != 4 { // shop, login host, callback, shop
		t.Errorf("a silent login took %d requests, want 4", hops)
	}
	if p := b.get("https://" + loginHost + "/"); !strings.Contains(p.body, "<strong>alice</strong>") {
		t.Errorf("the login host does not say who I am: %s", p.body)
	}

	p := b.post("https://"+shop+"/.edge/logout", nil)
	if p.url.Host != loginHost || p.url.Path != "/logged-out" || p.status != http.StatusOK {
		t.Errorf("a logout ends at %s, %d", p.url, p.status)
	}
	for _, host := range []string{wiki, shop} {
		b.unknown("https://" + host + "/")
	}
	if n := w.rows("session"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if _, there := b.jar[loginHost][ssoCookie]; there {
		t.Error("the login host's cookie is left")
	}
}

func TestLogoutAtLoginHost(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	if p := b.get("https://" + loginHost + "/logged-out"); p.url.Path != accountPath || !strings.Contains(p.body, "alice") {
		t.Errorf("a GET of /logged-out ended at %s: %s", p.url, p.body)
	}
	b.post("https://"+loginHost+"/logout", nil)
	b.unknown("https://" + wiki + "/")
}

// A wrong password shows the same page again, with the name, and says the same of an unknown user.
func TestWrongPassword(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	form := b.get("https://" + wiki + "/")
	wrong := b.fill(form, "alice", "wrong")
	unknown := b.fill(form, "carol", "wrong")
	if wrong.status != http.StatusForbidden || unknown.status != http.StatusForbidden {
		t.Errorf("%d, %d, want 403", wrong.status, unknown.status)
	}
	same := strings.ReplaceAll(unknown.body, "carol", "alice")
	if same != wrong.body || !strings.Contains(wrong.body, "name or the password is wrong") {
		t.Errorf("the pages differ:\n%s\n%s", wrong.body, unknown.body)
	}
	b.sees(b.fill(wrong, "alice", "correct horse"), "alice at /")
}

func TestRegister(t *testing.T) {
	w := newWorld(t)
	if p := w.browser().get("https://" + loginHost + "/register"); p.status != http.StatusNotFound {
		t.Errorf("closed registration: %d, want 404", p.status)
	}
	if p := w.browser().post("https://"+loginHost+"/register", url.Values{"name": {"dave"}, "password": {"12345678"}}); p.status != http.StatusNotFound {
		t.Errorf("closed registration, POST: %d, want 404", p.status)
	}
	w.conf.Registration = conf.Open
	b := w.browser()
	login := b.get("https://" + wiki + "/new")
	link := strings.SplitAfter(strings.SplitAfter(login.body, `href="/register`)[1], `"`)[0]
	form := b.get("https://" + loginHost + "/register" + strings.TrimSuffix(link, `"`))
	if p := b.fill(form, "alice", "12345678"); p.status != http.StatusConflict {
		t.Errorf("a name that is taken: %d, want 409", p.status)
	}
	b.sees(b.fill(form, "dave", "12345678"), "dave at /new")
}

// Nobody takes a name by which the configuration lets somebody in, but who is given the first account.
func TestListedName(t *testing.T) {
	w := newWorld(t)
	w.Service = New(w.db, w.users, w.conf, hosts{"wiki.example": nil, "shop.invalid": {"boss"}})
	w.users.invited = map[string]Invitation{"C0DE": {ID: "1"}, "SETUP": {ID: "2", Setup: true}}
	register := func(name, code string) page {
		return w.browser().post("https://"+loginHost+"/register", url.Values{"name": {name}, "password": {"12345678"}, "invite": {code}})
	}
	w.conf.Registration = conf.Open
	for _, code := range []string{"", "C0DE"} {
		for _, name := range []string{"boss", " BOSS ", "\uff42oss"} { // a wide letter
			if p := register(name, code); p.status != http.StatusConflict || !strings.Contains(p.body, "this name is taken") {
				t.Errorf("%q by the code %q: %d %s", name, code, p.status, p.body)
			}
		}
	}
	if p := register("dave", "C0DE"); p.status != http.StatusOK {
		t.Errorf("another name: %d %s", p.status, p.body)
	}
	if p := register("boss", "SETUP"); p.status != http.StatusOK {
		t.Errorf("by the setup link: %d %s", p.status, p.body)
	}
}

// Nobody takes an e-mail address for a name, by whatever way one types it: an app that is told of it would believe that it is who has the address. It is
// given by the setup link, whose owner may add anybody.
func TestAddressIsNoNameOfOnesOwn(t *testing.T) {
	w := newWorld(t)
	w.users.invited = map[string]Invitation{"C0DE": {ID: "1"}, "SETUP": {ID: "2", Setup: true}}
	w.conf.Registration = conf.Open
	register := func(name, code string) page {
		return w.browser().post("https://"+loginHost+"/register", url.Values{"name": {name}, "password": {"12345678"}, "invite": {code}})
	}
	for _, code := range []string{"", "C0DE"} {
		for _, name := range []string{"boss@corp.example", " BOSS@corp.example ", "boss\uff20corp.example", "@", "boss@"} {
			if p := register(name, code); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.body, "a name with @ is given by an administrator only") {
				t.Errorf("%q by the code %q: %d %s", name, code, p.status, p.body)
			}
		}
	}
	if n := len(w.users.all); n != 2 {
		t.Errorf("%d accounts, want alice and bob", n)
	}
	if p := register("boss@corp.example", "SETUP"); p.status != http.StatusOK {
		t.Errorf("by the setup link: %d %s", p.status, p.body)
	}
}

// A request that access refuses is a use of its session: who sits there is at work.
func TestRefusedIsUse(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	open := w.Service
	for range 3 {
		w.clock.pass(w.conf.Idle - time.Minute)
		w.Service = New(w.db, w.users, w.conf, hosts{"wiki.example": {"bob"}})
		if p := b.get("https://" + wiki + "/"); p.status != http.StatusForbidden || p.url.Host != wiki {
			t.Fatalf("%s: %d", p.url, p.status)
		}
	}
	w.Service = open
	w.clock.pass(w.conf.Idle - time.Minute)
	b.sees(b.get("https://"+wiki+"/"), "alice at /")
}

// The one who may not is told at the login host, and gets no code.
func TestNotAllowed(t *testing.T) {
	w := newWorld(t)
	w.Service = New(w.db, w.users, w.conf, hosts{"wiki.example": nil, "shop.invalid": {"bob"}})
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	p := b.get("https://" + shop + "/")
	if p.url.Host != loginHost || p.status != http.StatusForbidden || !strings.Contains(p.body, "<strong>shop.invalid</strong>") {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
	if n := w.rows("ticket"); n != 1 { // wiki's tombstone
		t.Errorf("%d tickets, want 1", n)
	}
}

// A reload may take away the virtual host of a login that is under way (#56).
func TestVhostGone(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	form := b.get("https://" + wiki + "/")
	w.Service = New(w.db, w.users, w.conf, hosts{"shop.invalid": nil})
	if p := b.fill(form, "alice", "correct horse"); p.status != http.StatusNotFound || p.header.Get("Location") != "" {
		t.Errorf("%d to %q, want 404", p.status, p.header.Get("Location"))
	}
}

// Ten tabs are opened one after the other, and the login form of the first is filled in: it still comes home, as do the others.
func TestTenTabs(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	var tabs []page
	for i := range 10 {
		tabs = append(tabs, b.get(fmt.Sprintf("https://%s/%d", wiki, i)))
		w.clock.pass(time.Second)
	}
	if n := len(b.jar[wiki]); n != maxFlows {
		t.Errorf("%d flow cookies, want %d", n, maxFlows)
	}
	b.sees(b.fill(tabs[0], "alice", "correct horse"), "alice at /0")
	for i, tab := range tabs[1:] {
		b.sees(b.get(tab.url.String()), fmt.Sprintf("alice at /%d", i+1)) // "reload"
	}
}

// The form lay open until the flow's cookie was gone.
func TestFlowExpires(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	form := b.get("https://" + wiki + "/deep?q")
	w.clock.pass(flowLife + time.Second)
	b.jar[wiki] = nil // the browser forgets it
	b.sees(b.fill(form, "alice", "correct horse"), "alice at /deep?q")
}

// A session ends over night; the open tab asks for one login and is back.
func TestOverNight(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	w.clock.pass(12*time.Hour + time.Second)
	b.sees(b.logIn("https://"+wiki+"/next"), "alice at /next")
}

// With cookies off there is a page, not a loop.
func TestCookiesOff(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.off = true
	p := b.logIn("https://" + wiki + "/")
	if p.status == http.StatusOK && strings.Contains(p.body, "Log in") { // the login host forgets as well, and asks each time
		for range maxHops {
			p = b.fill(p, "alice", "correct horse")
		}
	}
	if p.url.Host != wiki || p.status != http.StatusBadRequest || !strings.Contains(p.body, "cookies are switched off") {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}

	b = w.browser() // off at one host only
	b.logIn("https://" + shop + "/")
	b.off = true
	if p := b.get("https://" + wiki + "/"); p.url.Host != wiki || p.status != http.StatusBadRequest {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
}

// The back button to the address with the code ends the session that it made, and makes a new one by itself.
func TestBackButton(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	address := b.callback("https://" + wiki + "/home")
	b.sees(b.get(address), "alice at /home")
	before := b.jar[wiki][sessionCookie]
	b.sees(b.get(address), "alice at /home")
	if b.jar[wiki][sessionCookie] == before {
		t.Error("the session is the same")
	}
}

// Two session cookies, however they came there, must not send a browser round in a loop.
func TestTwoSessionCookiesAreCleared(t *testing.T) {
	w := newWorld(t)
	_, set, err := w.Begin("id of wiki.example", wiki, "/", []byte("__Host-edge=a; __Host-edge=b"))
	if err != nil || len(set) != 2 || !strings.HasPrefix(set[0], "__Host-edge=; ") || !strings.Contains(set[0], "Max-Age=0") {
		t.Errorf("%q, %v", set, err)
	}
	_, set, err = w.Begin("id of wiki.example", wiki, "/", []byte("__Host-edge=a"))
	if err != nil || len(set) != 1 {
		t.Errorf("one cookie: %q, %v", set, err)
	}
}

func TestPageHeaders(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	for _, address := range []string{loginHost + "/", loginHost + "/login", loginHost + "/nothing", wiki + "/.edge/logout", wiki + "/.edge/x"} {
		h := b.get("https://" + address).header
		csp := h.Get("Content-Security-Policy")
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") {
			t.Errorf("%s: %v", address, h)
		}
	}
	if p := b.get("https://" + wiki + "/.edge/style.css"); p.status != http.StatusOK || !strings.HasPrefix(p.header.Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %v", p.status, p.header)
	}
	if p := b.send("PUT", "https://"+loginHost+"/login", nil); p.status != http.StatusMethodNotAllowed || p.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("PUT: %d %v", p.status, p.header)
	}
	b.stop = callbackPath
	p := b.logIn("https://" + wiki + "/")
	if p.status != http.StatusSeeOther || p.header.Get("Referrer-Policy") != "no-referrer" || p.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the redirect with the code: %d %v", p.status, p.header)
	}
}

func TestLargeForm(t *testing.T) {
	w := newWorld(t)
	if p := w.browser().post("https://"+loginHost+"/login", url.Values{"name": {strings.Repeat("a", maxForm)}}); p.status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d, want 413", p.status)
	}
}
