package oidc

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"edge/conf"
	"edge/sessions"
)

// withTwo is a world with a second provider, "club", of which the sub and the sid are the same as the first one's: whoever decides by them alone
// takes one person for another.
func withTwo(t testing.TB) (w *world, club *provider, at *conf.Provider) {
	w = newWorld(t)
	club = newProvider(t)
	club.now = w.clock.Now
	at = club.conf()
	at.Name, at.Title = "club", "The Club"
	w.all = append(w.all, club)
	w.login.Providers = append(w.login.Providers, at)
	w.process = w.start(nil)
	return w, club, at
}

// enterBy opens the wiki and logs in by this provider on the way.
func (b *browser) enterBy(name string) page {
	b.w.t.Helper()
	return b.pressFor(name, b.send("GET", "https://wiki.test/page?x=1", nil))
}

// logIn is a login by the password that account gives.
func (w *world) logIn(name string) *browser {
	w.t.Helper()
	b := w.browser()
	p := b.send("POST", "https://login.test/login", url.Values{"name": {name}, "password": {"correct horse"}})
	if p.status != 200 || p.url.Path != "/account" {
		w.t.Fatalf("%s: %d %s", p.url, p.status, p.body)
	}
	return b
}

// The page has a button for each, in the order of the configuration, with its name.
func TestTwoButtons(t *testing.T) {
	w, _, _ := withTwo(t)
	p := w.browser().send("GET", "https://login.test/login", nil)
	buttons := regexp.MustCompile(`(?s)action="/oidc/(\w+)">.*?<button[^>]*>([^<]*)<`).FindAllStringSubmatch(p.body, -1)
	var got []string
	for _, b := range buttons {
		got = append(got, b[1]+": "+b[2])
	}
	if want := []string{"corp: Log in with Corp", "club: Log in with The Club"}; !slices.Equal(got, want) {
		t.Errorf("buttons %q, want %q", got, want)
	}
}

// One sub of two providers is two people: each provider makes, or does not make, its own account, as its own rules say.
func TestTwoPeopleOfOneSubject(t *testing.T) {
	w, club, at := withTwo(t)
	w.at.Create = true
	b := w.browser()
	b.sees(b.enterBy("corp"), "carol of [] at level 1 at /page?x=1")
	// The other one makes no accounts, and its carol is not ours.
	b = w.browser()
	if p := b.enterBy("club"); p.status != 403 || !strings.Contains(p.body, "no account here is linked") || b.jar["login.test"]["__Host-edge-sso"] != "" {
		t.Errorf("%d %s", p.status, p.body)
	}
	at.Create = true
	b = w.browser()
	if p := b.enterBy("club"); p.status != 409 || !strings.Contains(p.body, "this name is taken") {
		t.Errorf("the name of another: %d %s", p.status, p.body)
	}
	club.set(func() { club.user["preferred_username"] = "dora" })
	b = w.browser()
	b.sees(b.enterBy("club"), "dora of [] at level 1 at /page?x=1")
	b = w.browser()
	b.sees(b.enterBy("corp"), "carol of [] at level 1 at /page?x=1")
	// Each asks its own list first.
	at.AllowedDomains = []string{"club.test"}
	w.process = w.start(nil)
	b = w.browser()
	if p := b.enterBy("club"); p.status != 403 || !strings.Contains(p.body, "may not be used here") {
		t.Errorf("not of its domain: %d %s", p.status, p.body)
	}
	b = w.browser()
	b.sees(b.enterBy("corp"), "carol of [] at level 1 at /page?x=1")
}

// 51: what one provider has said does not count for a flow that was begun at the other (mix-up, RFC 9207 §2): not its code, with or without the
// name of who gave it, at neither address. No code is told to a provider by another one's address.
func TestMixUp(t *testing.T) {
	for name, c := range map[string]struct {
		silent bool   // the providers do not name themselves
		told   string // at whose token endpoint the code is tried
		at     string
		mix    func(corp, club url.Values) url.Values
	}{
		"its code and name": {at: "corp", mix: func(corp, club url.Values) url.Values {
			club.Set("state", corp.Get("state"))
			return club
		}},
		"its code in the other's name": {at: "corp", told: "corp", mix: func(corp, club url.Values) url.Values {
			corp.Set("code", club.Get("code"))
			return corp
		}},
		"its code in nobody's name": {at: "corp", mix: func(corp, club url.Values) url.Values {
			corp.Set("code", club.Get("code"))
			corp.Del("iss")
			return corp
		}},
		"its code, of silent ones": {at: "corp", told: "corp", silent: true, mix: func(corp, club url.Values) url.Values {
			corp.Set("code", club.Get("code"))
			corp.Del("iss")
			return corp
		}},
		"its code and name, of silent ones": {at: "corp", silent: true, mix: func(corp, club url.Values) url.Values {
			club.Set("state", corp.Get("state"))
			return club
		}},
		"two names": {at: "corp", mix: func(corp, _ url.Values) url.Values {
			corp["iss"] = append(corp["iss"], "https://evil.test")
			return corp
		}},
		"an answer at the other's address":                {at: "club", mix: func(corp, _ url.Values) url.Values { return corp }},
		"an answer at the other's address, of silent one": {at: "club", silent: true, mix: func(corp, _ url.Values) url.Values { corp.Del("iss"); return corp }},
		"the other's answer":                              {at: "corp", silent: true, mix: func(_, club url.Values) url.Values { club.Del("iss"); return club }},
	} {
		t.Run(name, func(t *testing.T) {
			w, club, at := withTwo(t)
			w.at.Create, at.Create = true, true
			for _, p := range w.all {
				p.discovery = func(document map[string]any) { document["authorization_response_iss_parameter_supported"] = !c.silent }
			}
			b := w.browser()
			answer := func(name string) url.Values {
				b.stop = "https://login.test/oidc/" + name + "/callback"
				u, err := url.Parse(b.enterBy(name).header.Get("Location"))
				if err != nil || u.Query().Get("code") == "" {
					t.Fatal(u, err)
				}
				return u.Query()
			}
			mixed := c.mix(answer("corp"), answer("club"))
			b.stop = ""
			if p := b.send("GET", "https://login.test/oidc/"+c.at+"/callback?"+mixed.Encode(), nil); p.status != 400 && p.status != 403 {
				t.Errorf("%d %s", p.status, p.body)
			}
			if list, err := w.service.Logins(ctx, ""); err != nil || len(list) != 0 || b.jar["login.test"]["__Host-edge-sso"] != "" {
				t.Errorf("%d logins, %v", len(list), err)
			}
			for name, p := range map[string]*provider{"corp": w.idp, "club": club} {
				if told := p.times("/token") > 0; told != (name == c.told) {
					t.Errorf("%s was told the code: %v", name, told)
				}
			}
		})
	}
}

// An account that is linked at both comes in by both, with the groups of the one that it came by.
func TestGroupsOfTwo(t *testing.T) {
	w, club, at := withTwo(t)
	w.at.GroupsClaim, at.GroupsClaim = "groups", "groups"
	w.at.Groups, at.Groups = []string{"staff", "admins"}, []string{"members"}
	w.idp.set(func() { w.idp.user["groups"] = []string{"staff", "members"} })
	club.set(func() { club.user["groups"] = []string{"members", "admins"} })
	w.account("alice", "", "own")
	b := w.logIn("alice")
	for _, name := range []string{"corp", "club"} {
		if p := b.send("POST", "https://login.test/account/oidc/"+name, nil); p.status != 200 || !strings.Contains(p.body, "opens this one from now on") {
			t.Errorf("%d %s", p.status, p.body)
		}
	}
	corp, theirs := w.browser(), w.browser()
	corp.sees(corp.enterBy("corp"), "alice of [own staff] at level 1 at /page?x=1")
	theirs.sees(theirs.enterBy("club"), "alice of [members own] at level 1 at /page?x=1")
	corp.sees(corp.send("GET", "https://wiki.test/page?x=1", nil), "alice of [own staff] at level 1 at /page?x=1")
	b.sees(b.send("GET", "https://wiki.test/page?x=1", nil), "alice of [own] at level 1 at /page?x=1")
	// What one takes back it takes back from its own.
	club.set(func() { club.user["groups"] = []string{} })
	again := w.browser()
	again.sees(again.enterBy("club"), "alice of [own] at level 1 at /page?x=1")
	theirs.sees(theirs.send("GET", "https://wiki.test/page?x=1", nil), "alice of [own] at level 1 at /page?x=1")
	corp.sees(corp.send("GET", "https://wiki.test/page?x=1", nil), "alice of [own staff] at level 1 at /page?x=1")
	// A group that the configuration moves from one to the other is not the first one's any more.
	w.at.Groups, at.Groups = []string{"admins"}, []string{"members", "staff"}
	w.process = w.start(nil)
	corp.server = w.process
	corp.sees(corp.send("GET", "https://wiki.test/page?x=1", nil), "alice of [own] at level 1 at /page?x=1")
}

// 51: a login ends by the word of the provider that made it, and by no other one's, whatever sub and sid that names.
func TestLogoutOfTwo(t *testing.T) {
	w, club, at := withTwo(t)
	w.at.Create, at.Create = true, true
	club.set(func() { club.user["preferred_username"] = "dora" })
	corp, theirs := w.browser(), w.browser()
	corp.sees(corp.enterBy("corp"), "carol of [] at level 1 at /page?x=1")
	theirs.sees(theirs.enterBy("club"), "dora of [] at level 1 at /page?x=1")
	sid := func(c map[string]any) { c["sid"] = "sid-1" }
	for name, bye := range map[string]struct {
		at, token string
		status    int
	}{
		"the other's, at its own address":   {"club", w.logoutTokenOf(club, "a", sid), 200},
		"the other's, at this one's":        {"corp", w.logoutTokenOf(club, "b", sid), 400},
		"the other's in this one's name":    {"corp", w.logoutTokenOf(club, "c", func(c map[string]any) { sid(c); c["iss"] = w.idp.server.URL }), 400},
		"this one's, at the other's":        {"club", w.logoutTokenOf(w.idp, "d", sid), 400},
		"the other's of every session":      {"club", w.logoutTokenOf(club, "e", nil), 200},
		"the other's, by the session alone": {"club", w.logoutTokenOf(club, "f", func(c map[string]any) { sid(c); delete(c, "sub") }), 200},
	} {
		if a := w.sayByeAt(bye.at, bye.token); a.Code != bye.status {
			t.Errorf("%s: %d %s, want %d", name, a.Code, a.Body, bye.status)
		}
		if !corp.in() {
			t.Errorf("%s: it ended a login of the first", name)
		}
	}
	if theirs.in() {
		t.Error("the other's own login is open")
	}
	if a := w.sayByeAt("corp", w.logoutTokenOf(w.idp, "a", sid)); a.Code != 200 || corp.in() { // with an id that the other one has used
		t.Errorf("%d; in: %v", a.Code, corp.in())
	}
}

// With local = false both are there, and nothing else is.
func TestElsewhereOnlyOfTwo(t *testing.T) {
	w, club, at := withTwo(t)
	w.login.Elsewhere, w.at.Create, at.Create = true, true, true
	club.set(func() { club.user["preferred_username"] = "dora" })
	p := w.browser().send("GET", "https://login.test/login", nil)
	if strings.Contains(p.body, `type="password"`) || strings.Contains(p.body, "passkey") || strings.Count(p.body, "<button>Log in with ") != 2 {
		t.Errorf("%s", p.body)
	}
	b := w.browser()
	b.sees(b.enterBy("corp"), "carol of [] at level 1 at /page?x=1")
	b = w.browser()
	b.sees(b.enterBy("club"), "dora of [] at level 1 at /page?x=1")
}

// One that is down has a page that says so, at its button and on the way back, and hinders neither the other one nor its logouts.
func TestOneOfTwoDown(t *testing.T) {
	w, club, at := withTwo(t)
	w.at.Create, at.Create = true, true
	late := w.browser()
	late.stop = "https://login.test/oidc/club/callback"
	back := late.enterBy("club").header.Get("Location")
	late.stop = ""
	club.set(func() { club.down = true })
	w.process = w.start(nil) // which has read nothing of either
	late.server = w.process
	down := func(p page) {
		t.Helper()
		if p.status != 503 || !strings.Contains(p.body, "the other site does not answer at this moment") || !strings.Contains(p.body, "<strong>The Club</strong>") ||
			!strings.Contains(p.body, "Log in with Corp") || !strings.Contains(p.body, "Log in with The Club") {
			t.Errorf("%s: %d %s", p.url, p.status, p.body)
		}
	}
	b := w.browser()
	p := b.enterBy("club")
	down(p)
	b.sees(b.pressFor("corp", p), "carol of [] at level 1 at /page?x=1") // on that very page, to where one wanted to go
	down(late.send("GET", back, nil))
	if a := w.sayByeAt("club", w.logoutTokenOf(club, "a", nil)); a.Code != 503 || !b.in() {
		t.Errorf("%d; in: %v", a.Code, b.in())
	}
	if a := w.sayByeAt("corp", w.logoutTokenOf(w.idp, "a", nil)); a.Code != 200 || b.in() {
		t.Errorf("%d; in: %v", a.Code, b.in())
	}
	club.set(func() { club.down = false; club.user["preferred_username"] = "dora" })
	w.clock.pass(time.Minute)
	b = w.browser()
	b.sees(b.enterBy("club"), "dora of [] at level 1 at /page?x=1")
}

// 51: each provider's secret and keys are its own: what one signs in the other's name is nobody's.
func TestTokenOfTheOther(t *testing.T) {
	w, club, at := withTwo(t)
	w.at.Create, at.Create = true, true
	club.set(func() { club.twist = func(c map[string]any) { c["iss"] = w.idp.server.URL } })
	b := w.browser()
	b.refused(b.enterBy("club"), 403, "not one that can be believed")
	if links, err := w.users.Links(ctx, "carol"); !errors.Is(err, sessions.ErrNoUser) {
		t.Errorf("an account was made: %v, %v", links, err)
	}
}
