package oidc

import (
	"maps"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"edge/conf"
)

var (
	secretText = regexp.MustCompile(`id="secret">([^<]+)<`)
	seedField  = regexp.MustCompile(`name="seed" value="([^"]+)"`)
)

// Who has no account gets one where the configuration says so, and is the same at every later login, whatever it is called there by then.
func TestCreate(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	if u, err := w.users.Get(ctx, "carol"); err != nil || u.Email != "carol@corp.test" {
		t.Errorf("%+v, %v", u, err)
	}
	w.idp.set(func() { w.idp.user["preferred_username"], w.idp.user["email"] = "karoline", "k@corp.test" })
	again := w.browser()
	again.sees(again.enter(), "carol of [] at level 1 at /page?x=1")
	if n := w.idp.times("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("the provider was asked about itself %d times", n)
	}
}

// Unset means refused.
func TestNobodyLinked(t *testing.T) {
	w := newWorld(t)
	w.account("carol", "carol@corp.test")
	b := w.browser()
	b.refused(b.enter(), 403, "no account here is linked")
}

func TestLinkByEmail(t *testing.T) {
	w := newWorld(t)
	w.at.LinkByEmail = true
	w.account("caroline", "Carol@Corp.test", "staff")
	b := w.browser()
	b.sees(b.enter(), "caroline of [staff] at level 1 at /page?x=1")
	w.idp.set(func() { w.idp.user["sub"] = "sub-2" }) // the address is another person's now
	other := w.browser()
	if p := other.enter(); p.status != 403 {
		t.Errorf("who was given the address is %d %s", p.status, p.body)
	}
	w.idp.set(func() { w.idp.user["sub"], w.idp.user["email"] = "sub-1", "new@corp.test" })
	same := w.browser()
	same.sees(same.enter(), "caroline of [staff] at level 1 at /page?x=1")
}

func TestLinkByEmailOfTwo(t *testing.T) {
	w := newWorld(t)
	w.at.LinkByEmail = true
	w.account("a", "carol@corp.test")
	w.account("b", "carol@corp.test")
	b := w.browser()
	b.refused(b.enter(), 403, "no account here is linked")
}

// A name that somebody has is not given to who comes from elsewhere.
func TestNameTaken(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	w.account("carol", "")
	b := w.browser()
	b.refused(b.enter(), 409, "this name is taken")
	w.idp.set(func() { w.idp.user["preferred_username"] = "no name\n" })
	b.refused(b.enter(), 422, "a name has")
}

// Groups that count are those of the list; leaving one there takes effect at the next login, in the sessions that are open as well.
func TestGroups(t *testing.T) {
	w := newWorld(t)
	w.at.Create, w.at.GroupsClaim, w.at.Groups = true, "roles", []string{"staff", "Ops"}
	w.idp.user["roles"] = []string{"staff", "Ops", "admin"}
	first := w.browser()
	first.sees(first.enter(), "carol of [ops staff] at level 1 at /page?x=1")
	if err := w.users.SetGroups(ctx, "carol", []string{"own"}); err != nil {
		t.Fatal(err)
	}
	w.idp.set(func() { w.idp.user["roles"] = "staff" })
	second := w.browser()
	second.sees(second.enter(), "carol of [own staff] at level 1 at /page?x=1")
	first.sees(first.send("GET", "https://wiki.test/", nil), "carol of [own staff] at level 1 at /")
	w.idp.set(func() { delete(w.idp.user, "roles") })
	third := w.browser()
	third.sees(third.enter(), "carol of [own] at level 1 at /page?x=1")
	w.at.Groups = []string{"*"}
	w.idp.set(func() { w.idp.user["roles"] = []any{"x", 1, "no group\n"} })
	fourth := w.browser()
	fourth.sees(fourth.enter(), "carol of [own x] at level 1 at /page?x=1")
}

// What a provider says of somebody counts in logins by its word alone, and as far as the configuration that is in force lets it.
func TestGroupsOfAnotherWayIn(t *testing.T) {
	w := newWorld(t)
	w.at.LinkByEmail, w.at.GroupsClaim, w.at.Groups = true, "roles", []string{"Admins", "staff"}
	w.idp.user["roles"] = []string{"Admins", "staff"}
	w.account("carol", "carol@corp.test", "own")
	here := w.browser()
	f := regexp.MustCompile(`name="f" value="([^"]*)"`).FindStringSubmatch(here.send("GET", "https://wiki.test/page?x=1", nil).body)
	byPassword := func() page {
		return here.send("POST", "https://login.test/login", url.Values{"f": {f[1]}, "name": {"carol"}, "password": {"correct horse"}})
	}
	here.sees(byPassword(), "carol of [own] at level 1 at /page?x=1")
	there := w.browser()
	there.sees(there.enter(), "carol of [admins own staff] at level 1 at /page?x=1")
	here.sees(here.send("GET", "https://wiki.test/", nil), "carol of [own] at level 1 at /")

	w.login = &conf.Login{Host: "login.test", Registration: conf.Closed, Idle: time.Hour, Lifetime: 24 * time.Hour, Providers: []*conf.Provider{w.at}}
	narrow := *w.at
	narrow.Groups = []string{"staff"}
	w.login.Providers = []*conf.Provider{&narrow}
	there.server = w.start(nil)
	there.sees(there.send("GET", "https://wiki.test/", nil), "carol of [own staff] at level 1 at /")
	w.login = &conf.Login{Host: "login.test", Registration: conf.Closed, Idle: time.Hour, Lifetime: 24 * time.Hour}
	there.server = w.start(nil)
	there.sees(there.send("GET", "https://wiki.test/", nil), "carol of [own] at level 1 at /")
}

// 50 of LOGIN.md §2h: what is not verified, or not read by everybody in the same way, is no address.
func TestEmailIsVerified(t *testing.T) {
	w := newWorld(t)
	w.account("victim", "carol@corp.test")
	for _, user := range []map[string]any{
		{"email": "carol@corp.test"},
		{"email": "carol@corp.test", "email_verified": false},
		{"email": "carol@corp.test", "email_verified": "yes"},
		{"email": "carol@corp.test", "email_verified": 1},
		{"email": "a@evil@corp.test", "email_verified": true},
		{"email": `"a@evil"@corp.test`, "email_verified": true},
		{"email": "a@evil.test,b@corp.test", "email_verified": true},
		{"email": "Carol <carol@corp.test>", "email_verified": true},
		{"email": "carol@corp.test\n", "email_verified": true},
		{"email": "carol@corp.test.evil", "email_verified": true},
		{"email": "carol@sub.corp.test", "email_verified": true},
		{"email": "carol@evilcorp.test", "email_verified": true},
		{"email": "carol@\u0441orp.test", "email_verified": true}, // a Cyrillic letter
		{"email": "\u0441arol@corp.test", "email_verified": true},
		{"email": "carol%evil.test@corp.test", "email_verified": true}, // a route
		{"email": "@corp.test", "email_verified": true},
		{"email": []string{"carol@corp.test"}, "email_verified": true},
		{},
	} {
		w.at.Create, w.at.LinkByEmail, w.at.AllowedDomains = true, true, []string{"corp.test"}
		user["sub"], user["preferred_username"] = "sub-1", "carol"
		w.idp.set(func() { w.idp.user = user })
		b := w.browser()
		b.refused(b.enter(), 403, "may not be used here")
		w.at.AllowedDomains, w.at.Create = nil, false
		b.refused(b.enter(), 403, "no account here is linked") // nor is anybody linked by it
		if t.Failed() {
			t.Fatalf("%v", user)
		}
	}
}

func TestAllowed(t *testing.T) {
	w := newWorld(t)
	w.at.Create, w.at.AllowedEmails = true, []string{"bob@other.test", "carol@corp.test"}
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	w.at.AllowedEmails = []string{"bob@other.test"}
	if p := w.browser().enter(); p.status != 403 {
		t.Errorf("who is allowed no more: %d", p.status)
	}
}

// A second factor there counts only where the configuration trusts it.
func TestLevel(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	for _, c := range []struct {
		claims map[string]any
		trust  bool
		want   string
	}{
		{map[string]any{"amr": []string{"pwd", "mfa"}}, true, "2"},
		{map[string]any{"amr": []string{"pwd", "mfa"}}, false, "1"},
		{map[string]any{"amr": []string{"pwd", "otp"}}, true, "1"},
		{map[string]any{"acr": "phr"}, true, "2"},
		{map[string]any{"acr": "1"}, true, "1"},
		{nil, true, "1"},
	} {
		w.at.TrustMFA = c.trust
		w.idp.set(func() {
			delete(w.idp.user, "amr")
			delete(w.idp.user, "acr")
			maps.Copy(w.idp.user, c.claims)
		})
		b := w.browser()
		b.sees(b.enter(), "carol of [] at level "+c.want+" at /page?x=1")
	}
}

// Some providers say in UserInfo what the ID token does not; it counts for the same subject alone.
func TestUserInfo(t *testing.T) {
	w := newWorld(t)
	w.at.Create, w.at.AllowedDomains, w.at.GroupsClaim, w.at.Groups = true, []string{"corp.test"}, "groups", []string{"*"}
	w.idp.user = map[string]any{"sub": "sub-1"}
	w.idp.info = map[string]any{"sub": "sub-2", "email": "carol@corp.test", "email_verified": true, "groups": []string{"staff"}}
	b := w.browser()
	b.refused(b.enter(), 403, "not one that can be believed")
	w.idp.set(func() { w.idp.info["sub"] = "sub-1" })
	b.sees(b.enter(), "carol@corp.test of [staff] at level 1 at /page?x=1") // no name is said: the address

	// An address of the token is not verified by UserInfo's word for another one.
	w.idp.set(func() {
		w.idp.user = map[string]any{"sub": "sub-3", "email": "boss@corp.test"}
		w.idp.info = map[string]any{"sub": "sub-3", "email": "mallory@corp.test", "email_verified": true}
	})
	if p := w.browser().enter(); p.status != 403 {
		t.Errorf("%d %s", p.status, p.body)
	}
	// Nor one of UserInfo by the token's.
	w.idp.set(func() {
		w.idp.user = map[string]any{"sub": "sub-4", "email_verified": true}
		w.idp.info = map[string]any{"sub": "sub-4", "email": "boss@corp.test", "email_verified": false}
	})
	if p := w.browser().enter(); p.status != 403 {
		t.Errorf("%d %s", p.status, p.body)
	}
	w.idp.set(func() { delete(w.idp.info, "email_verified") })
	if p := w.browser().enter(); p.status != 403 {
		t.Errorf("%d %s", p.status, p.body)
	}
}

// An account that is disabled is nobody's, and one that was removed does not come back with its name.
func TestDisabledAndRemoved(t *testing.T) {
	w := newWorld(t)
	w.at.LinkByEmail = true
	w.account("carol", "carol@corp.test")
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	if err := w.users.Disable(ctx, "carol"); err != nil {
		t.Fatal(err)
	}
	if p := w.browser().enter(); p.status != 403 {
		t.Errorf("disabled: %d", p.status)
	}
	if err := w.users.Remove(ctx, "carol"); err != nil {
		t.Fatal(err)
	}
	w.at.Create = true
	fresh := w.browser()
	fresh.refused(fresh.enter(), 403, "may not be used here")
	w.clock.pass(time.Second)
	w.account("carol", "carol@corp.test")
	fresh.refused(fresh.enter(), 403, "may not be used here")
}

// Who has a second factor here is asked for it after the provider, and that is nobody before; the login is still the provider's to end.
func TestSecondFactorHere(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	p := b.send("GET", "https://login.test/account/totp", nil)
	if p.url.Path != "/login" {
		t.Errorf("without a fresh proof there: %s", p.url)
	}
	p = b.press(p)
	secret, seed := secretText.FindStringSubmatch(p.body), seedField.FindStringSubmatch(p.body)
	if secret == nil || seed == nil {
		t.Fatalf("%d %s", p.status, p.body)
	}
	code := func(steps time.Duration) string {
		c, err := totp.GenerateCode(strings.ReplaceAll(secret[1], " ", ""), w.clock.Now().Add(steps*30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if p = b.send("POST", "https://login.test/account/totp", url.Values{"seed": {seed[1]}, "code": {code(-1)}}); p.status != 200 {
		t.Fatalf("%d %s", p.status, p.body)
	}
	w.clock.pass(5 * time.Minute)
	again := w.browser()
	p = again.enter()
	if p.url.Path != "/second-factor" || again.jar["login.test"]["__Host-edge-sso"] != "" || again.in() {
		t.Fatalf("at %s, %v", p.url, again.jar)
	}
	give := func(b *browser, p page) page {
		flow := regexp.MustCompile(`name="f" value="([^"]+)"`).FindStringSubmatch(p.body)
		return b.send("POST", "https://login.test/second-factor", url.Values{"f": {flow[1]}, "code": {code(0)}})
	}
	for id, change := range map[string]func(map[string]any){
		"subject": nil, "both": func(c map[string]any) { c["sid"] = "sid-1" }, "session": func(c map[string]any) { delete(c, "sub"); c["sid"] = "sid-1" },
	} {
		late := w.browser()
		asked := late.enter()
		w.clock.pass(time.Second)
		if a := w.sayBye(w.logoutToken(id, change)); a.Code != 200 {
			t.Errorf("%s: %d %s", id, a.Code, a.Body)
		}
		if p := give(late, asked); p.url.Path != "/login" || late.in() {
			t.Errorf("%s: a logout there leaves half a login, at %s", id, p.url)
		}
	}
	again = w.browser()
	p = give(again, again.enter())
	again.sees(p, "carol of [] at level 2 at /page?x=1")
	if a := w.sayBye(w.logoutToken("a", nil)); a.Code != 200 || again.in() {
		t.Errorf("a logout there: %d, in: %v", a.Code, again.in())
	}
}
