package sessions

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// withPasskey is a world in which alice has a passkey.
func withPasskey(t testing.TB) (*world, *authenticator) {
	w := newWorld(t)
	b, a := w.browser(), newAuthenticator(t)
	b.logIn("https://" + wiki + "/")
	wantPage(t, b.addPasskey(a, "My <key>"), http.StatusOK, "not shown again")
	return w, a
}

// A passkey logs in without name or password, and is worth two factors.
func TestPasskey(t *testing.T) {
	w, a := withPasskey(t)
	if len(a.handle) < 16 || strings.Contains(string(a.handle), "alice") {
		t.Errorf("the user handle is %q", a.handle)
	}
	w.clock.pass(24 * time.Hour)
	b := w.browser()
	p := b.usePasskey(a, forLogin, b.get("https://"+vault+"/a?b"))
	b.sees(p, "alice at /a?b")
	p = b.get(login + "/account/passkeys")
	wantPage(t, p, http.StatusOK, "My &lt;key&gt;")
	wantPage(t, p, http.StatusOK, "added 2026-11-22, last used 2026-11-23")
	g, _ := b.begin(forEnrol)
	if len(g.Options.ExcludeCredentials) != 1 || g.Options.ExcludeCredentials[0].ID != raw64(a.id) {
		t.Errorf("to enrol again: %+v", g.Options)
	}
	if g, _ := w.browser().begin(forLogin); g.Options.UserVerification != "required" || g.Options.RPID != "login.test" || len(g.Options.AllowCredentials) > 0 {
		t.Errorf("%+v", g.Options)
	}
	if csp := b.get(login + "/account/passkeys").header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self';") {
		t.Errorf("CSP %s", csp)
	}
	if csp := b.get(login + "/").header.Get("Content-Security-Policy"); strings.Contains(csp, "script-src") {
		t.Errorf("CSP of a page without script: %s", csp)
	}
	b.post(login+"/account/passkeys/remove", url.Values{"id": {"00"}})
	b2 := w.browser()
	b2.sees(b2.usePasskey(a, forLogin, b2.get("https://"+wiki+"/")), "alice at /")
	for _, p := range w.users.all["alice"].passkeys {
		b2.post(login+"/account/passkeys/remove", url.Values{"id": {hexOf(p.ID)}})
	}
	b3 := w.browser()
	wantPage(t, b3.usePasskey(a, forLogin, b3.get("https://"+wiki+"/")), http.StatusForbidden, "this passkey did not work here")
	if codes := w.users.all["alice"].recovery; len(codes) > 0 {
		t.Error("recovery codes without a factor")
	}
}

func hexOf(id []byte) string {
	const digits = "0123456789abcdef"
	var s []byte
	for _, b := range id {
		s = append(s, digits[b>>4], digits[b&15])
	}
	return string(s)
}

// With a passkey the password alone does not log in; the passkey, or a recovery code, is the second factor.
func TestPasskeyAsSecondFactor(t *testing.T) {
	w, a := withPasskey(t)
	b, p := w.half("https://" + wiki + "/")
	if strings.Contains(p.body, `name="code"`) || !strings.Contains(p.body, `data-for="second"`) {
		t.Errorf("asks for %s", p.body)
	}
	if g, _ := b.begin(forSecond); len(g.Options.AllowCredentials) != 1 {
		t.Errorf("%+v", g.Options)
	}
	if _, status := w.browser().begin(forSecond); status != http.StatusForbidden {
		t.Errorf("without a password: %d", status)
	}
	b.sees(b.usePasskey(a, forSecond, p), "alice at /")

	bob, theirs := w.browser(), newAuthenticator(t)
	bob.post(login+"/login", url.Values{"name": {"bob"}, "password": {"battery staple"}})
	bob.addPasskey(theirs, "")
	b, p = w.half("https://" + wiki + "/")
	wantPage(t, b.usePasskey(theirs, forSecond, p), http.StatusForbidden, "this passkey did not work here")
	if b.jar[loginHost][ssoCookie] != "" {
		t.Error("bob's passkey ended alice's half login")
	}
}

// Nothing but a fresh answer by the passkey itself, to this origin, with its owner there, logs in; and all else is refused in the same words.
func TestBadPasskeys(t *testing.T) {
	w, a := withPasskey(t)
	var first string
	refused := func(name string, bad *authenticator, change func(form url.Values)) {
		t.Helper()
		b := w.browser()
		g, _ := b.begin(forLogin)
		form := url.Values{"state": {g.State}, "credential": {bad.get(g)}}
		change(form)
		p := b.post(login+"/passkey/login", form)
		if first == "" {
			first = p.body
		}
		if p.status != http.StatusForbidden || p.body != first || b.jar[loginHost][ssoCookie] != "" || !strings.Contains(p.body, "this passkey did not work here") {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
	}
	same := func(url.Values) {}
	with := func(change func(a *authenticator)) *authenticator {
		changed := *a
		change(&changed)
		return &changed
	}
	refused("unknown", newAuthenticator(t), same)
	refused("another key", with(func(a *authenticator) { a.key = newAuthenticator(t).key }), same)
	refused("another handle", with(func(a *authenticator) { a.handle = []byte("alice") }), same)
	refused("no handle", with(func(a *authenticator) { a.handle = nil }), same)
	refused("another origin", with(func(a *authenticator) { a.origin = "https://login.evil.test:8443" }), same)
	refused("another port", with(func(a *authenticator) { a.origin = "https://login.test" }), same)
	refused("plain http", with(func(a *authenticator) { a.origin = "http://" + loginHost }), same)
	refused("the owner is not there", with(func(a *authenticator) { a.flags = 1 }), same)
	refused("a counter that fell", with(func(a *authenticator) { a.count = 0 }), same)
	refused("a damaged answer", a, func(form url.Values) { form.Set("credential", "{}") })
	refused("a state of somebody's own", a, func(form url.Values) { form.Set("state", "x") })
	refused("a state of another challenge", a, func(form url.Values) {
		g, _ := w.browser().begin(forLogin)
		form.Set("state", g.State)
	})
	owner := w.browser()
	owner.usePasskey(a, forLogin, page{})
	enrolling, _ := owner.begin(forEnrol)
	refused("the state of an enrolment", a, func(form url.Values) {
		form.Set("state", enrolling.State)
		form.Set("credential", a.get(enrolling))
	})

	b := w.browser()
	g, _ := b.begin(forLogin)
	w.clock.pass(ceremonyLife + time.Second)
	wantPage(t, b.post(login+"/passkey/login", url.Values{"state": {g.State}, "credential": {a.get(g)}}), http.StatusForbidden, "took too long")
	w.users.remove("alice")
	refused("of an account that is gone", a, same)
}

// An answer works once, also for an authenticator that does not count, and while another edge uses it.
func TestReplayOfPasskey(t *testing.T) {
	for _, counts := range []bool{true, false} {
		w, a := withPasskey(t)
		if !counts {
			a.count = ^uint32(0) // the next is 0
			p := &w.users.all["alice"].passkeys[0]
			p.Count = 0
		}
		b := w.browser()
		g, _ := b.begin(forLogin)
		form := url.Values{"state": {g.State}, "credential": {a.get(g)}}
		b.post(login+"/passkey/login", form)
		if b.jar[loginHost][ssoCookie] == "" {
			t.Error("refused")
		}
		thief := w.browser()
		thief.server = w.start()
		if p := thief.post(login+"/passkey/login", form); p.status != http.StatusForbidden || thief.jar[loginHost][ssoCookie] != "" {
			t.Errorf("counting %v: replayed, %d %s", counts, p.status, p.body)
		}
		w.clock.pass(ceremonyLife + time.Second)
		if err := w.db.collect(t.Context()); err != nil || w.rows("ticket") > 0 {
			t.Errorf("%v, %d rows are kept", err, w.rows("ticket"))
		}
	}
}

// A passkey is enrolled only in the login that asked for it, freshly proved, and by its own new key.
func TestBadEnrolment(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	g, _ := b.begin(forEnrol)
	a := newAuthenticator(t)
	good := url.Values{"state": {g.State}, "credential": {a.create(g)}}
	bob := w.browser()
	bob.post(login+"/login", url.Values{"name": {"bob"}, "password": {"battery staple"}})
	wantPage(t, bob.post(login+"/account/passkeys", good), http.StatusForbidden, "this passkey did not work here")
	elsewhere := w.browser()
	elsewhere.logIn("https://" + wiki + "/")
	wantPage(t, elsewhere.post(login+"/account/passkeys", good), http.StatusForbidden, "this passkey did not work here")
	a.flags = 1
	wantPage(t, b.post(login+"/account/passkeys", url.Values{"state": {g.State}, "credential": {a.create(g)}}), http.StatusForbidden, "this passkey did not work here")
	w.clock.pass(sureFor + time.Second)
	if _, status := b.begin(forEnrol); status != http.StatusForbidden {
		t.Errorf("to enrol with an old login: %d", status)
	}
	if p := b.post(login+"/account/passkeys", good); !strings.Contains(p.body, "<h1>Log in</h1>") {
		t.Errorf("an old login: %d %s", p.status, p.body)
	}
	if n := len(w.users.all["alice"].passkeys) + len(w.users.all["bob"].passkeys); n > 0 {
		t.Errorf("%d passkeys", n)
	}
	// 52: a body without end
	r := b.once("POST", &url.URL{Scheme: "https", Host: loginHost, Path: "/passkey/begin"}, url.Values{"for": {strings.Repeat("x", maxForm)}})
	if r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %d", r.status)
	}
}
