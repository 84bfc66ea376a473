package oidc

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// The address with the code is worth nothing to anybody but the browser that began (25 of LOGIN.md §2h), and there only once.
func TestBoundToTheBrowser(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	attacker := w.browser()
	address := attacker.back()
	victim := w.browser()
	if p := victim.send("GET", address, nil); p.status != 400 || !strings.Contains(p.body, "did not bring back") {
		t.Errorf("another browser: %d %s", p.status, p.body)
	}
	own := victim.back() // a login of its own under way does not help
	mixed, _ := url.Parse(own)
	stolen, _ := url.Parse(address)
	q := mixed.Query()
	q.Set("code", stolen.Query().Get("code"))
	mixed.RawQuery = q.Encode()
	if p := victim.send("GET", mixed.String(), nil); p.status != 403 { // PKCE: the code belongs to the attacker's verifier
		t.Errorf("a code of another browser's login: %d %s", p.status, p.body)
	}
	if victim.jar["login.test"]["__Host-edge-sso"] != "" {
		t.Error("there is a session")
	}
	fresh := w.browser()
	once := fresh.back()
	cookies := map[string]string{}
	for name, value := range fresh.jar["login.test"] {
		cookies[name] = value
	}
	fresh.sees(fresh.send("GET", once, nil), "carol of [] at level 1 at /page?x=1")
	for name := range fresh.jar["login.test"] {
		if strings.HasPrefix(name, "__Host-edge-oidc-") {
			t.Errorf("%s is left", name)
		}
	}
	replay := w.browser()
	replay.jar["login.test"] = cookies
	if p := replay.send("GET", once, nil); p.status != 403 {
		t.Errorf("a replay: %d %s", p.status, p.body)
	}
}

func TestStates(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	for name, spoil := range map[string]func(b *browser, q url.Values){
		"no state":      func(_ *browser, q url.Values) { q.Del("state") },
		"another state": func(_ *browser, q url.Values) { q.Set("state", strings.Repeat("0", 32)) },
		"the same beginning": func(_ *browser, q url.Values) {
			q.Set("state", q.Get("state")[:8]+strings.Repeat("0", 24))
		},
		"a long state":  func(_ *browser, q url.Values) { q.Set("state", strings.Repeat("0", 3000)) },
		"an old cookie": func(*browser, url.Values) { w.clock.pass(10*time.Minute + time.Second) },
		"a damaged cookie": func(b *browser, _ url.Values) {
			for name, value := range b.jar["login.test"] {
				b.jar["login.test"][name] = value[:len(value)-2]
			}
		},
		"another's cookie": func(b *browser, q url.Values) {
			other := w.browser()
			other.back()
			for _, value := range other.jar["login.test"] {
				b.jar["login.test"]["__Host-edge-oidc-"+q.Get("state")[:8]] = value
			}
		},
	} {
		b := w.browser()
		u, _ := url.Parse(b.back())
		q := u.Query()
		spoil(b, q)
		u.RawQuery = q.Encode()
		if p := b.send("GET", u.String(), nil); p.status != 400 || b.jar["login.test"]["__Host-edge-sso"] != "" {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
}

// Several tabs each come home; a flood of them leaves few cookies.
func TestTabs(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	first := b.back()
	for range 8 {
		w.clock.pass(time.Second)
		b.back()
	}
	last := b.back()
	trips := 0
	for name := range b.jar["login.test"] {
		if strings.HasPrefix(name, "__Host-edge-oidc-") {
			trips++
		}
	}
	if trips != 5 {
		t.Errorf("%d cookies, want 5", trips)
	}
	if p := b.send("GET", first, nil); p.status != 400 {
		t.Errorf("the first of ten: %d", p.status)
	}
	b.sees(b.send("GET", last, nil), "carol of [] at level 1 at /page?x=1")
}

// A login that began in one process ends in another, and a reload meanwhile changes nothing; one that makes another provider of it does.
func TestOverProcesses(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	address := b.back()
	newer := w.start(nil)
	b.server = newer
	b.sees(b.send("GET", address, nil), "carol of [] at level 1 at /page?x=1")

	old := w.browser()
	old.server = newer
	address = old.back()
	old.server = w.process
	old.sees(old.send("GET", address, nil), "carol of [] at level 1 at /page?x=1")

	asked := w.idp.times("/.well-known/openid-configuration")
	b = w.browser()
	address = b.back()
	again := *w.at
	again.Title = "Other"
	w.login.Providers = []*conf.Provider{&again}
	b.server = w.start(w.clients)
	b.sees(b.send("GET", address, nil), "carol of [] at level 1 at /page?x=1")
	if n := w.idp.times("/.well-known/openid-configuration"); n != asked {
		t.Errorf("the provider was asked about itself again")
	}

	b = w.browser()
	b.server = w.process
	w.login.Providers = []*conf.Provider{w.at}
	address = b.back()
	moved := *w.at
	moved.Issuer = "https://another.test"
	w.login.Providers = []*conf.Provider{&moved}
	b.server = w.start(w.clients)
	if p := b.send("GET", address, nil); p.status != 400 {
		t.Errorf("the provider is another by now: %d", p.status)
	}
}

// A cross-site form starts nothing, and a link preview uses nothing up.
func TestMethods(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	if p := b.send("GET", "https://login.test/oidc/corp", nil); p.status != 405 {
		t.Errorf("GET: %d", p.status)
	}
	address := b.back()
	if p := b.send("HEAD", address, nil); p.status != 405 {
		t.Errorf("HEAD: %d", p.status)
	}
	b.sees(b.send("GET", address, nil), "carol of [] at level 1 at /page?x=1")
	if p := b.send("POST", "https://login.test/oidc/other", nil); p.status != 404 {
		t.Errorf("a provider that is none: %d", p.status)
	}
}

// With local = false there is no form for a password, and nobody logs in by one.
func TestElsewhereOnly(t *testing.T) {
	w := newWorld(t)
	w.at.Create, w.login.Elsewhere = true, true
	w.account("alice", "")
	b := w.browser()
	if p := b.send("GET", "https://wiki.test/", nil); strings.Contains(p.body, `type="password"`) || !strings.Contains(p.body, "Log in with Corp") {
		t.Errorf("%s", p.body)
	}
	if p := b.send("POST", "https://login.test/login", url.Values{"name": {"alice"}, "password": {"correct horse"}}); p.status != 405 {
		t.Errorf("a password: %d %s", p.status, p.body)
	}
	for _, path := range []string{"/register", "/.well-known/change-password"} {
		if p := b.send("GET", "https://login.test"+path, nil); p.status != 404 {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
}

// Who is signed in links an account there on the account page, and comes in by it from then on. What is linked to another is not.
func TestLinkOwn(t *testing.T) {
	w := newWorld(t)
	w.account("alice", "", "staff")
	w.account("bob", "")
	login := func(name string) *browser {
		b := w.browser()
		if p := b.send("POST", "https://login.test/login", url.Values{"name": {name}, "password": {"correct horse"}}); p.status != 200 {
			t.Fatalf("%d %s", p.status, p.body)
		}
		return b
	}
	alice := login("alice")
	p := alice.send("POST", "https://login.test/account/oidc/corp", nil)
	if p.status != 200 || !strings.Contains(p.body, "opens this one from now on") || !strings.Contains(p.body, "Linked") {
		t.Errorf("%d %s", p.status, p.body)
	}
	b := w.browser()
	b.sees(b.enter(), "alice of [staff] at level 1 at /page?x=1")
	if p = login("bob").send("POST", "https://login.test/account/oidc/corp", nil); p.status != 409 || !strings.Contains(p.body, "linked to another") {
		t.Errorf("%d %s", p.status, p.body)
	}
	// Nobody else's browser, and no later login, ends what one began.
	alice.stop = "https://login.test/oidc/corp/callback"
	address := alice.send("POST", "https://login.test/account/oidc/corp", nil).header.Get("Location")
	cookies := alice.jar["login.test"]
	victim := login("bob")
	for name, value := range cookies {
		if strings.HasPrefix(name, "__Host-edge-oidc-") {
			victim.jar["login.test"][name] = value
		}
	}
	if p := victim.send("GET", address, nil); p.status != 400 {
		t.Errorf("%d %s", p.status, p.body)
	}
	// An old login proves itself anew first.
	alice.stop = ""
	w.clock.pass(20 * time.Minute)
	if p := alice.send("POST", "https://login.test/account/oidc/corp", nil); p.url.Path != "/login" {
		t.Errorf("an old login is at %s, %d", p.url, p.status)
	}
	if _, err := w.users.Unlink(ctx, "alice", w.at.Issuer); err != nil {
		t.Fatal(err)
	}
	b = w.browser()
	if p := b.enter(); p.status != 403 || !strings.Contains(p.body, "may not be used here") {
		t.Errorf("unlinked: %d %s", p.status, p.body)
	}
}

// Authorities that cannot be read refuse the configuration, at their place.
func TestBadAuthorities(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{empty: "holds no certificate", "/nowhere/ca.pem": "no such file"} {
		_, wrong := Draft([]*conf.Provider{{Name: "a", CA: conf.File{Path: path}}}, nil, time.Now)
		if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s: %v", path, wrong)
		}
	}
}
