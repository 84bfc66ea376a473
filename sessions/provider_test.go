package sessions

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// saying is a provider by whose word somebody is always alice, or who a test makes them. Package oidc tests the real one.
type saying struct {
	who    Stranger
	proved func() time.Time // nil: it does not say
	fresh  bool             // it was asked for a fresh proof
	bad    error            // of a logout there
}

func (s *saying) Start(_ context.Context, trip Trip) (string, error) {
	s.fresh = trip.Fresh
	return trip.Redirect + "?" + url.Values{"state": {trip.State}}.Encode(), nil
}

func (s *saying) Finish(context.Context, Trip, url.Values) (Stranger, error) {
	who := s.who
	if s.proved != nil {
		who.Proved = s.proved()
	}
	return who, nil
}

func (s *saying) LoggedOut(context.Context, string) (Farewell, error) {
	return Farewell{Origin: s.who.Origin, ID: "one", Expires: 1 << 60}, s.bad
}

// withProvider is a world in which alice is linked at a provider.
func withProvider(t testing.TB) (*world, *saying) {
	w := newWorld(t)
	s := &saying{who: Stranger{Origin: Origin{Issuer: "https://id.test", Subject: "sub-1"}, Level: AAL1}, proved: w.clock.Now}
	w.conf.Providers = []*conf.Provider{{Name: "corp", Title: "Corp", Issuer: s.who.Issuer}}
	w.Providers = map[string]Provider{"corp": s}
	w.users.linked = map[string]string{"sub-1": "alice"}
	return w, s
}

// byProvider presses the provider's button on a page.
func (b *browser) byProvider(p page) page {
	b.t.Helper()
	form := url.Values{}
	if f := hidden.FindStringSubmatch(p.body); f != nil {
		form.Set("f", f[1])
	}
	return b.post("https://"+loginHost+"/oidc/corp", form)
}

// sayBye is a logout at the provider.
func (w *world) sayBye() {
	w.t.Helper()
	if p := w.browser().post(login+"/oidc/corp/backchannel", url.Values{"logout_token": {"x"}}); p.status != http.StatusOK {
		w.t.Fatalf("a logout there: %d %s", p.status, p.body)
	}
}

// A login that began with a provider's word ends by it, whatever was proved after it.
func TestOriginStays(t *testing.T) {
	for name, proceed := range map[string]func(w *world, b *browser) page{
		"a passkey as second factor": func(w *world, b *browser) page {
			owner, a := w.browser(), newAuthenticator(w.t)
			owner.logIn("https://" + wiki + "/")
			owner.addPasskey(a, "")
			return b.usePasskey(a, forSecond, b.byProvider(b.get("https://"+wiki+"/")))
		},
		"a page of any passkey in another tab": func(w *world, b *browser) page {
			owner, a := w.browser(), newAuthenticator(w.t)
			owner.logIn("https://" + wiki + "/")
			owner.addPasskey(a, "")
			return b.usePasskey(a, forLogin, b.byProvider(b.get("https://"+wiki+"/")))
		},
		"a step up by a passkey": func(w *world, b *browser) page {
			b.sees(b.byProvider(b.get("https://"+wiki+"/")), "alice at /")
			owner, a := w.browser(), newAuthenticator(w.t)
			owner.logIn("https://" + wiki + "/")
			owner.addPasskey(a, "")
			b.usePasskey(a, forSecond, b.get("https://"+vault+"/"))
			return b.get("https://" + wiki + "/")
		},
		"a first passkey": func(w *world, b *browser) page {
			b.sees(b.byProvider(b.get("https://"+wiki+"/")), "alice at /")
			b.addPasskey(newAuthenticator(w.t), "")
			return b.get("https://" + wiki + "/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := withProvider(t)
			b := w.browser()
			b.sees(proceed(w, b), "alice at /")
			w.sayBye()
			w.clock.pass(time.Second)
			if p := b.get("https://" + wiki + "/"); p.url.Host != loginHost || !strings.Contains(p.body, "<h1>Log in</h1>") {
				t.Errorf("after a logout there: %s, %d %s", p.url, p.status, p.body)
			}
		})
	}
}

// Who came from a provider does not stay in by a passkey when it has taken them back, nor does anybody where all come from there.
func TestPasskeyIsNoWayAroundAProvider(t *testing.T) {
	for name, change := range map[string]func(w *world){
		"an account without a password": func(w *world) {
			alice := w.users.all["alice"]
			alice.NoPassword = true
			w.users.all["alice"] = alice
		},
		"local = false": func(w *world) { w.conf.Elsewhere = true },
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := withProvider(t)
			b, a := w.browser(), newAuthenticator(t)
			b.byProvider(b.get("https://" + wiki + "/"))
			b.addPasskey(a, "")
			first := w.browser()
			g, _ := first.begin(forLogin)
			change(w)
			if w.conf.Elsewhere {
				if _, status := w.browser().begin(forLogin); status != http.StatusForbidden {
					t.Errorf("to begin: %d", status)
				}
				if p := w.browser().get(login + "/login"); strings.Contains(p.body, "passkey") || p.status != http.StatusOK {
					t.Errorf("the page offers what is refused: %s", p.body)
				}
			}
			p := first.post(login+"/passkey/login", url.Values{"state": {g.State}, "credential": {a.get(g)}})
			wantPage(t, p, http.StatusForbidden, "log in at the other site first")
			if first.jar[loginHost][ssoCookie] != "" {
				t.Error("there is a session")
			}
			first.sees(first.usePasskey(a, forSecond, first.byProvider(first.get("https://"+wiki+"/"))), "alice at /")
		})
	}
}

// A provider's word is good for one lifetime: what is proved here in the meantime does not renew the login that rests on it.
func TestAProvidersWordAges(t *testing.T) {
	w, s := withProvider(t)
	w.conf.Idle = w.conf.Lifetime
	w.process = w.start()
	w.Providers = map[string]Provider{"corp": s}
	b := w.browser()
	b.sees(b.byProvider(b.get("https://"+wiki+"/")), "alice at /")
	w.clock.pass(w.conf.Lifetime - time.Hour)
	b.post(login+"/login", url.Values{"name": {"alice"}, "password": {"correct horse"}})
	b.sees(b.get("https://"+wiki+"/"), "alice at /")
	w.clock.pass(time.Hour + time.Second)
	b.unknown("https://" + wiki + "/")
}

// Who unlinks a provider while somebody is on the way in by it keeps them out: before the second factor, and while the login is being made.
func TestUnlinkedMeanwhile(t *testing.T) {
	t.Run("before the second factor", func(t *testing.T) {
		w, _ := withProvider(t)
		owner := w.browser()
		owner.logIn("https://" + wiki + "/")
		seed, _ := w.enrol(owner, owner.get(login+"/account/totp"))
		w.clock.pass(time.Minute)
		b := w.browser()
		p := b.byProvider(b.get("https://" + wiki + "/"))
		wantPage(t, p, http.StatusOK, "One more proof")
		delete(w.users.linked, "sub-1")
		wantPage(t, b.give(p, "code", w.code(seed, 0)), http.StatusForbidden, "no account here is linked")
		if b.jar[loginHost][ssoCookie] != "" || len(w.logins("alice")) != 1 {
			t.Errorf("there is a session: %+v", w.logins("alice"))
		}
	})
	t.Run("while the login is made", func(t *testing.T) {
		w, _ := withProvider(t)
		b := w.browser()
		p := b.get("https://" + wiki + "/")
		w.users.during = func() { delete(w.users.linked, "sub-1") } // after Linked has found the account
		wantPage(t, b.byProvider(p), http.StatusForbidden, "no account here is linked")
		w.users.during = nil
		if b.jar[loginHost][ssoCookie] != "" || len(w.logins("alice")) != 0 {
			t.Errorf("there is a session: %+v", w.logins("alice"))
		}
	})
}

// Where nobody logs in by password any more, a login that a password has begun gets no further; what a provider has begun does, and what is to make a login
// that there is worth more.
func TestHalfByPasswordWhereNoneCounts(t *testing.T) {
	enrol := func(w *world) (seed string) {
		owner := w.browser()
		owner.logIn("https://" + wiki + "/")
		seed, _ = w.enrol(owner, owner.get(login+"/account/totp"))
		w.clock.pass(time.Minute)
		return seed
	}
	elsewhere := func(w *world) {
		changed := *w.conf
		changed.Elsewhere = true
		s := New(w.db, w.users, &changed, w.hosts)
		s.Providers = w.Providers
		w.Service = s
	}
	for name, next := range map[string]func(w *world, b *browser, p page, seed string) page{
		"a code":   func(w *world, b *browser, p page, seed string) page { return b.give(p, "code", w.code(seed, 0)) },
		"the page": func(_ *world, b *browser, _ page, _ string) page { return b.get(second) },
		"the password": func(_ *world, b *browser, _ page, _ string) page {
			return b.post(login+"/login", url.Values{"name": {"alice"}, "password": {"correct horse"}})
		},
	} {
		t.Run("by a password: "+name, func(t *testing.T) {
			w, _ := withProvider(t)
			seed := enrol(w)
			b, p := w.half("https://" + wiki + "/")
			elsewhere(w)
			p = next(w, b, p, seed)
			if b.jar[loginHost][ssoCookie] != "" || strings.Contains(p.body, "at /") || name != "the password" && !strings.Contains(p.body, "<h1>Log in</h1>") {
				t.Errorf("%s: %d %s", p.url, p.status, p.body)
			}
			if name == "a code" {
				b.sees(b.give(b.byProvider(p), "code", w.code(seed, 1)), "alice at /")
			}
		})
	}
	t.Run("by a password: a passkey", func(t *testing.T) {
		w, _ := withProvider(t)
		owner, a := w.browser(), newAuthenticator(t)
		owner.logIn("https://" + wiki + "/")
		owner.addPasskey(a, "")
		b, _ := w.half("https://" + wiki + "/")
		g, _ := b.begin(forSecond)
		elsewhere(w)
		if _, status := b.begin(forSecond); status != http.StatusForbidden {
			t.Errorf("to begin: %d", status)
		}
		p := b.post(login+"/passkey/login", url.Values{"state": {g.State}, "credential": {a.get(g)}})
		wantPage(t, p, http.StatusForbidden, "log in at the other site first")
		if b.jar[loginHost][ssoCookie] != "" {
			t.Error("there is a session")
		}
	})
	t.Run("by a provider", func(t *testing.T) {
		w, _ := withProvider(t)
		seed := enrol(w)
		b := w.browser()
		p := b.byProvider(b.get("https://" + wiki + "/"))
		elsewhere(w)
		b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /")
	})
	t.Run("of a login", func(t *testing.T) {
		w, s := withProvider(t)
		b, p, seed := w.stepUp()
		w.Providers = map[string]Provider{"corp": s}
		elsewhere(w)
		b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /")
	})
}

// A provider that knows the browser leads whoever sits there in without a question: that is no proof by which second factors are changed.
func TestSilentProviderIsNoProof(t *testing.T) {
	w, s := withProvider(t)
	page, there := login+"/account/passkeys", w.clock.Now().Add(-time.Hour)
	for name, proved := range map[string]func() time.Time{"long ago": func() time.Time { return there }, "not said": nil} {
		t.Run(name, func(t *testing.T) {
			s.proved = proved
			b := w.browser()
			b.sees(b.byProvider(b.get("https://"+wiki+"/")), "alice at /")
			if _, status := b.begin(forEnrol); status != http.StatusForbidden || s.fresh {
				t.Errorf("to enrol: %d; asked anew: %v", status, s.fresh)
			}
			p := b.get(page)
			wantPage(t, p, http.StatusOK, "<h1>Log in</h1>")
			wantPage(t, b.byProvider(p), http.StatusForbidden, "did not ask you again")
			if !s.fresh {
				t.Error("the provider was not told to ask anew")
			}
			if _, status := b.begin(forEnrol); status != http.StatusForbidden {
				t.Errorf("to enrol: %d", status)
			}
			s.proved = w.clock.Now
			if p := b.byProvider(p); p.url.String() != page || p.status != http.StatusOK {
				t.Errorf("%s, %d %s", p.url, p.status, p.body)
			}
			if _, status := b.begin(forEnrol); status != http.StatusOK {
				t.Errorf("to enrol after a proof: %d", status)
			}
		})
	}
}

// Logouts there that are refused write little, and nothing that a stranger sent; a good one counts after any number of them.
func TestBadFarewellsWriteLittle(t *testing.T) {
	w, s := withProvider(t)
	path := filepath.Join(t.TempDir(), "audit")
	audit, err := OpenAudit(path)
	if err != nil {
		t.Fatal(err)
	}
	defer audit.Close()
	w.Audit = audit
	b := w.browser()
	b.sees(b.byProvider(b.get("https://"+wiki+"/")), "alice at /")
	before, _ := os.ReadFile(path)
	s.bad = fmt.Errorf("%w: the algorithm is %s", ErrNotSigned, strings.Repeat("evil", 10_000))
	for range 200 {
		if p := w.browser().post(login+"/oidc/corp/backchannel", url.Values{"logout_token": {"x"}}); p.status != http.StatusBadRequest {
			t.Fatalf("%d %s", p.status, p.body)
		}
	}
	written, err := os.ReadFile(path)
	written = written[len(before):]
	lines := strings.Count(string(written), "\n")
	if err != nil || lines < 5 || lines > 20 || len(written) > 300*lines || strings.Contains(string(written), "evil") {
		t.Errorf("%d lines of %d bytes, %v: %.300s", lines, len(written), err, written)
	}
	s.bad = nil
	w.sayBye()
	b.unknown("https://" + wiki + "/")
}
