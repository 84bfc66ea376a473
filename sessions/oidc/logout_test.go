package oidc

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// logoutToken is one as it should be, but for what change does.
func (w *world) logoutToken(id string, change func(c map[string]any)) string {
	return w.logoutTokenOf(w.idp, id, change)
}

func (w *world) logoutTokenOf(p *provider, id string, change func(c map[string]any)) string {
	c := map[string]any{
		"iss": p.server.URL, "aud": "edge", "iat": w.clock.Now().Unix(), "exp": w.clock.Now().Add(2 * time.Minute).Unix(), "jti": id, "sub": "sub-1",
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
	if change != nil {
		change(c)
	}
	text, _ := json.Marshal(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sign != nil {
		return p.sign(p, text)
	}
	return p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, text)
}

// sayBye sends a token as the provider does: no browser, no cookie, no origin.
func (p *process) sayBye(token string) *httptest.ResponseRecorder { return p.sayByeAt("corp", token) }

func (p *process) sayByeAt(name, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "https://login.test/oidc/"+name+"/backchannel", strings.NewReader(url.Values{"logout_token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// in says whether the browser is still known at the wiki.
func (b *browser) in() bool { return b.send("GET", "https://wiki.test/", nil).url.Host == "wiki.test" }

// Who logs out there is out here: of everything, or of the one session that is named.
func TestLogoutThere(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	w.account("alice", "")
	open := func(sid string) *browser {
		w.idp.set(func() { w.idp.sid = sid })
		b := w.browser()
		b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
		return b
	}
	one, two := open("sid-1"), open("sid-2")
	alice := w.browser()
	alice.send("POST", "https://login.test/login", url.Values{"name": {"alice"}, "password": {"correct horse"}})

	if a := w.sayBye(w.logoutToken("a", func(c map[string]any) { c["sid"] = "sid-1" })); a.Code != 200 || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v %s", a.Code, a.Header(), a.Body)
	}
	if one.in() || !two.in() {
		t.Errorf("sid-1 has logged out; sid-1: %v, sid-2: %v", one.in(), two.in())
	}
	three := open("sid-3")
	if a := w.sayBye(w.logoutToken("b", func(c map[string]any) { delete(c, "sub"); c["sid"] = "sid-3" })); a.Code != 200 || three.in() || !two.in() {
		t.Errorf("%d; sid-3: %v, sid-2: %v", a.Code, three.in(), two.in())
	}
	if a := w.sayBye(w.logoutToken("c", nil)); a.Code != 200 || two.in() {
		t.Errorf("%d; sid-2: %v", a.Code, two.in())
	}
	if !strings.Contains(alice.send("GET", "https://login.test/", nil).body, "alice") {
		t.Error("who came in by a password has been logged out")
	}
}

// A token comes once, in whatever process: else who has one could log a person out again and again.
func TestLogoutReplayed(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	token := w.logoutToken("once", nil)
	if a := w.sayBye(token); a.Code != 200 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	for name, p := range map[string]*process{"the same process": w.process, "another": w.start(nil)} {
		if a := p.sayBye(token); a.Code != 400 || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	w.clock.pass(30 * time.Minute)
	if a := w.sayBye(token); a.Code != 400 {
		t.Errorf("after half an hour: %d %s", a.Code, a.Body)
	}
	if !b.in() {
		t.Error("logged out")
	}
}

// Each token that is wrong in one way ends nothing.
func TestBadLogoutTokens(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	set := func(name string, value any) func(map[string]any) { return func(c map[string]any) { c[name] = value } }
	without := func(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }
	for name, change := range map[string]func(map[string]any){
		"another issuer":   set("iss", "https://evil.test"),
		"another audience": set("aud", "another"),
		"no time":          without("iat"),
		"old":              set("iat", w.clock.Now().Add(-time.Hour).Unix()),
		"expired":          set("exp", w.clock.Now().Add(-2*time.Minute).Unix()),
		"from the future":  set("iat", w.clock.Now().Add(time.Hour).Unix()),
		"no id":            without("jti"),
		"a long id":        set("jti", strings.Repeat("a", 1000)),
		"a nonce":          set("nonce", "x"),
		"a null nonce":     set("nonce", nil),
		"no events":        without("events"),
		"another event":    set("events", map[string]any{"https://evil.test": map[string]any{}}),
		"an event of text": set("events", map[string]any{logoutEvent: "x"}),
		"nobody":           without("sub"),
	} {
		if a := w.sayBye(w.logoutToken(name, change)); a.Code != 400 {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	signs := map[string]func(*provider, []byte) string{"none": none, "hmac": hmac(strings.Repeat("s3cret", 9)), "another key": stranger, "cut": cut}
	for name, sign := range signs {
		w.idp.set(func() { w.idp.sign = sign })
		if a := w.sayBye(w.logoutToken(name, nil)); a.Code != 400 {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	w.idp.set(func() { w.idp.sign = nil })
	var id string // an ID token is none
	w.idp.set(func() {
		id = w.idp.jwt(map[string]any{"iss": w.idp.server.URL, "aud": "edge", "iat": w.clock.Now().Unix(), "sub": "sub-1", "nonce": "x", "jti": "x"})
	})
	for _, token := range []string{id, "", "x", "a.b.c"} {
		if a := w.sayBye(token); a.Code != 400 {
			t.Errorf("%.20q: %d %s", token, a.Code, a.Body)
		}
	}
	if a := w.sayBye(w.logoutToken("of somebody", set("sub", "sub-9"))); a.Code != 200 {
		t.Errorf("of somebody who is not here: %d %s", a.Code, a.Body)
	}
	if !b.in() {
		t.Error("logged out")
	}
	if a := w.sayBye(w.logoutToken("right", nil)); a.Code != 200 || b.in() {
		t.Errorf("the right one: %d, %v", a.Code, b.in())
	}
}

// With the provider down nobody can tell whose a token is; it may come again.
func TestLogoutWhileDown(t *testing.T) {
	w := newWorld(t)
	token := w.logoutToken("a", nil)
	w.idp.set(func() { w.idp.down = true })
	if a := w.sayBye(token); a.Code != 503 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	w.idp.set(func() { w.idp.down = false })
	w.clock.pass(pause)
	if a := w.sayBye(token); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}
