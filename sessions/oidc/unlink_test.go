package oidc

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/sessions"
)

const unlinkCorp = "https://login.test/account/oidc/corp/unlink"

// audited keeps what is noted, and gives the lines of one event.
func (w *world) audited() (lines func(event string) []string) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "audit")
	audit, err := sessions.OpenAudit(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { audit.Close() })
	w.service.Audit = audit
	return func(event string) (list []string) {
		text, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, `"event":"`+event+`"`) {
				list = append(list, line)
			}
		}
		return list
	}
}

// link links the account of who is signed in.
func (b *browser) link(name string) {
	b.w.t.Helper()
	if p := b.send("POST", "https://login.test/account/oidc/"+name, nil); p.status != 200 || !strings.Contains(p.body, "opens this one from now on") {
		b.w.t.Fatalf("%d %s", p.status, p.body)
	}
}

// Who unlinks an account there comes in by it no more, is out wherever that let them in, and stays in where a password did. Nobody is made, or found by
// an address, in place of it; the owner may link it again, and nobody else.
func TestUnlinkOwn(t *testing.T) {
	w, _, _ := withTwo(t)
	w.at.Create, w.at.LinkByEmail = true, true
	w.at.GroupsClaim, w.at.Groups = "groups", []string{"staff"}
	w.idp.set(func() { w.idp.user["groups"] = []string{"staff"} })
	w.account("alice", "carol@corp.test")
	w.account("bob", "")
	lines := w.audited()
	own, there := w.logIn("alice"), w.browser()
	if p := own.send("GET", "https://login.test/account", nil); strings.Contains(p.body, "Unlink</button>") {
		t.Errorf("there is nothing to unlink: %s", p.body)
	}
	own.link("corp")
	if p := own.send("GET", "https://login.test/account", nil); !strings.Contains(p.body, `action="/account/oidc/corp/unlink"`) || strings.Contains(p.body, "club/unlink") {
		t.Errorf("%s", p.body)
	}
	there.sees(there.enter(), "alice of [staff] at level 1 at /page?x=1")
	p := own.send("POST", unlinkCorp, nil)
	if p.status != 200 || !strings.Contains(p.body, "does not open this one any more") || strings.Contains(p.body, ">Linked<") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if there.in() || !own.in() {
		t.Errorf("in by corp: %v, by the password: %v", there.in(), own.in())
	}
	if at, err := w.users.Elsewhere(ctx, "alice"); err != nil || len(at) != 0 {
		t.Errorf("groups %v, %v", at, err)
	}
	if l := lines(sessions.EventUnlinked); len(l) != 1 || !strings.Contains(l[0], `"user":"alice"`) || !strings.Contains(l[0], `"detail":"corp"`) ||
		!strings.Contains(l[0], `"result":"ok"`) {
		t.Errorf("noted: %q", l)
	}
	b := w.browser()
	if p := b.enter(); p.status != 403 || !strings.Contains(p.body, "may not be used here") {
		t.Errorf("unlinked: %d %s", p.status, p.body)
	}
	if p := w.logIn("bob").send("POST", "https://login.test/account/oidc/corp", nil); p.status != 403 || !strings.Contains(p.body, "may not be used here") {
		t.Errorf("another account: %d %s", p.status, p.body)
	}
	if p := own.send("POST", unlinkCorp, nil); p.status != 200 { // again, from a page that was open
		t.Errorf("%d %s", p.status, p.body)
	}
	own.link("corp")
	b.sees(b.enter(), "alice of [staff] at level 1 at /page?x=1")
}

// The browser that unlinks what let it in is out as well, and told so.
func TestUnlinkWhereOneIs(t *testing.T) {
	w := newWorld(t)
	w.account("alice", "")
	w.logIn("alice").link("corp")
	b := w.browser()
	b.sees(b.enter(), "alice of [] at level 1 at /page?x=1")
	p := b.send("GET", "https://login.test/account", nil)
	if p = b.send("POST", unlinkCorp, nil); p.url.Path != "/login" { // the provider has not asked who sits there
		t.Fatalf("%s: %d %s", p.url, p.status, p.body)
	}
	if p = b.press(p); p.url.Path != "/account" {
		t.Fatalf("%s: %d %s", p.url, p.status, p.body)
	}
	if p = b.send("POST", unlinkCorp, nil); p.url.Path != "/logged-out" || p.status != 200 || b.in() || b.jar["login.test"]["__Host-edge-sso"] != "" {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
}

// Nobody unlinks the only way in: with a password that counts, or another provider that is configured, it is not.
func TestUnlinkLastWay(t *testing.T) {
	w, club, _ := withTwo(t)
	w.at.Create = true
	club.set(func() { club.user["sub"] = "sub-2" })
	lines := w.audited()
	w.account("alice", "")
	refused := func(b *browser, name string) {
		t.Helper()
		p := b.send("POST", "https://login.test/account/oidc/"+name+"/unlink", nil)
		if p.url.Path == "/login" {
			p = b.pressFor(name, p)
			p = b.send("POST", "https://login.test/account/oidc/"+name+"/unlink", nil)
		}
		if p.status != 409 || !strings.Contains(p.body, "Sorry, you could not log in any more") || !strings.Contains(p.body, ">Linked<") || !b.in() {
			t.Errorf("%s: %d %s", p.url, p.status, p.body)
		}
	}
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	refused(b, "corp")
	if l := lines(sessions.EventUnlinked); len(l) != 1 || !strings.Contains(l[0], `"user":"carol"`) || !strings.Contains(l[0], `"result":"refused"`) {
		t.Errorf("noted: %q", l)
	}
	b.link("club")
	if p := b.send("POST", unlinkCorp, nil); p.url.Path != "/logged-out" {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
	b.sees(b.enterBy("club"), "carol of [] at level 1 at /page?x=1")
	refused(b, "club")
	// A link at a provider that is not configured any more is no way in.
	if err := w.users.Link(ctx, "carol", sessions.Origin{Issuer: "https://gone.test", Subject: "x"}); err != nil {
		t.Fatal(err)
	}
	refused(b, "club")
	// Nor is a password where none counts.
	w.idp.set(func() { w.idp.user["sub"] = "sub-3" })
	own := w.logIn("alice")
	own.link("corp")
	w.login.Elsewhere = true
	w.process = w.start(nil)
	own.server = w.process
	refused(own, "corp")
	w.login.Elsewhere = false
	w.process = w.start(nil)
	own.server = w.process
	if p := own.send("POST", unlinkCorp, nil); p.status != 200 || !strings.Contains(p.body, "does not open this one any more") {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
}

// It takes a proof that was given lately, and a form of our own page.
func TestUnlinkIsGuarded(t *testing.T) {
	w := newWorld(t)
	w.account("alice", "")
	b := w.logIn("alice")
	b.link("corp")
	linked := func() bool { at, err := w.users.LinkedAt(ctx, "alice"); return err == nil && len(at) == 1 }
	if p := b.send("GET", unlinkCorp, nil); p.status != 405 || !linked() {
		t.Errorf("by GET: %d", p.status)
	}
	for name, site := range map[string]string{"of another site": "cross-site", "of a sibling": "same-site", "of nobody": ""} {
		r := httptest.NewRequest("POST", unlinkCorp, nil)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		for name, value := range b.jar["login.test"] {
			r.Header.Add("Cookie", name+"="+value)
		}
		a := httptest.NewRecorder()
		w.ServeHTTP(a, r)
		if a.Code != 403 || !linked() {
			t.Errorf("a form %s: %d", name, a.Code)
		}
	}
	if p := w.browser().send("POST", unlinkCorp, nil); p.url.Path != "/login" || !linked() {
		t.Errorf("a stranger: %s %d", p.url, p.status)
	}
	w.clock.pass(11 * time.Minute)
	p := b.send("POST", unlinkCorp, nil)
	if p.url.Path != "/login" || !linked() {
		t.Errorf("an old login: %s %d", p.url, p.status)
	}
	f := url.Values{"name": {"alice"}, "password": {"correct horse"}, "f": {p.url.Query().Get("f")}}
	if p = b.send("POST", "https://login.test/login", f); p.url.Path != "/account" {
		t.Errorf("%s %d", p.url, p.status)
	}
	if p = b.send("POST", unlinkCorp, nil); p.status != 200 || linked() {
		t.Errorf("%s %d %s", p.url, p.status, p.body)
	}
}

// What an administrator takes stays taken, also where its owner had taken it before.
func TestUnlinkByBoth(t *testing.T) {
	for name, end := range map[string]func(w *world) error{
		"of the provider": func(w *world) error { _, err := w.users.Unlink(ctx, "alice", w.at.Issuer); return err },
		"of all":          func(w *world) error { _, err := w.users.Unlink(ctx, "alice", ""); return err },
		"with the account": func(w *world) error {
			err := w.users.Remove(ctx, "alice")
			w.clock.pass(time.Second)
			w.account("alice", "")
			return err
		},
	} {
		w := newWorld(t)
		w.account("alice", "")
		b := w.logIn("alice")
		b.link("corp")
		b.send("POST", unlinkCorp, nil)
		if err := end(w); err != nil {
			t.Fatal(err)
		}
		if p := w.logIn("alice").send("POST", "https://login.test/account/oidc/corp", nil); p.status != 403 || !strings.Contains(p.body, "may not be used here") {
			t.Errorf("%s: %d %s", name, p.status, p.body)
		}
		err := w.users.Readmit(ctx, "alice", sessions.Origin{Issuer: w.at.Issuer, Subject: "sub-1"})
		if b = w.browser(); err != nil {
			t.Error(err)
		}
		b.sees(b.enter(), "alice of [] at level 1 at /page?x=1")
	}
}

// Of two ways in that are given up at the same time, one stays.
func TestForgoBothAtOnce(t *testing.T) {
	w := newWorld(t)
	issuers := []string{"https://a.test", "https://b.test"}
	who := sessions.Stranger{Origin: sessions.Origin{Issuer: issuers[0], Subject: "x"}, Name: "dora"}
	_, err := w.users.Linked(ctx, who, sessions.Terms{Create: true})
	if err := errors.Join(err, w.users.Link(ctx, "dora", sessions.Origin{Issuer: issuers[1], Subject: "x"})); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for _, issuer := range issuers {
		go func() { done <- w.users.Forgo(ctx, "dora", issuer, sessions.Ways{Password: true, Issuers: issuers}) }()
	}
	a, b := <-done, <-done
	if (a == nil) == (b == nil) || !errors.Is(errors.Join(a, b), sessions.ErrLastWay) {
		t.Errorf("%v, %v", a, b)
	}
}

// Whose account has no password is not told of one, nor asked for one.
func TestPagesOfNoPassword(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	w.account("alice", "")
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	p := b.press(b.send("GET", "https://login.test/account/passkeys", nil))
	if p.url.Path != "/account/passkeys" || strings.Contains(p.body, "password") || !strings.Contains(p.body, "one more proof that it is you") {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
	if p = b.send("GET", "https://login.test/account", nil); p.status != 200 || strings.Contains(p.body, "assword") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if p = w.logIn("alice").send("GET", "https://login.test/account", nil); !strings.Contains(p.body, "Change password") || !strings.Contains(p.body, "and change your password") {
		t.Errorf("%d %s", p.status, p.body)
	}
}
