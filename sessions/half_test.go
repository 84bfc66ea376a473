package sessions

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// stepUp gives a browser in which alice logged in before she had an app, and the page that asks for it.
func (w *world) stepUp() (b *browser, p page, seed string) {
	w.t.Helper()
	b, with := w.browser(), w.browser()
	b.logIn("https://" + wiki + "/")
	with.logIn("https://" + wiki + "/")
	seed, _ = w.enrol(with, with.get(login+"/account/totp"))
	w.clock.pass(time.Minute)
	if p = b.get("https://" + vault + "/"); p.url.String() != second {
		w.t.Fatalf("at %s, %d: %s", p.url, p.status, p.body)
	}
	return b, p, seed
}

// What ends all logins of somebody ends those as well of which the second factor is missing, in all processes; one that begins afterwards is good.
func TestHalvesEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, p *process) error{
		"of the account":        func(_ *world, p *process) error { _, err := p.EndAll(t.Context(), "alice", uuid.Nil); return err },
		"others of the account": func(_ *world, p *process) error { _, err := p.EndAll(t.Context(), "alice", uuid.New()); return err },
		"of everybody":          func(_ *world, p *process) error { _, err := p.EndEverybody(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			w, seed, _ := withTOTP(t)
			b, p := w.half("https://" + wiki + "/")
			w.clock.pass(time.Second)
			if err := end(w, w.start()); err != nil {
				t.Fatal(err)
			}
			if p := b.give(p, "code", w.code(seed, 0)); !strings.Contains(p.body, "<h1>Log in</h1>") || b.jar[loginHost][ssoCookie] != "" {
				t.Errorf("%s: %d %s", p.url, p.status, p.body)
			}
			b, p = w.half("https://" + wiki + "/")
			b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /")
		})
	}
	w, seed, _ := withTOTP(t)
	b, p := w.half("https://" + wiki + "/")
	w.clock.pass(time.Second)
	if _, err := w.EndAll(t.Context(), "bob", uuid.Nil); err != nil {
		t.Fatal(err)
	}
	b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /")
}

// One that was to make a login worth more ends with that login.
func TestHalfEndsWithItsLogin(t *testing.T) {
	w := newWorld(t)
	b, p, seed := w.stepUp()
	list, err := w.Logins(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.Level == AAL1 {
			err = w.EndAnyLogin(t.Context(), l.ID)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if p := b.give(p, "code", w.code(seed, 0)); !strings.Contains(p.body, "<h1>Log in</h1>") {
		t.Errorf("%s: %d %s", p.url, p.status, p.body)
	}
	b.unknown("https://" + wiki + "/")
}

// A code makes a login worth more, and no newer: it ends when it would have, and factors are not changed by it.
func TestStepUpKeepsTheAge(t *testing.T) {
	w := newWorld(t)
	began := w.clock.Now()
	b, _, seed := w.stepUp()
	w.clock.pass(9 * time.Minute)
	p := b.get("https://" + vault + "/")
	b.sees(b.give(p, "code", w.code(seed, 0)), "alice at /")
	list, err := w.Logins(t.Context(), "alice")
	if err != nil || len(list) != 2 || !list[0].Since.Equal(began) || list[0].Level != AAL2 || !list[0].Expires.Equal(began.Add(w.conf.Lifetime)) {
		t.Errorf("%+v, %v", list, err)
	}
	w.clock.pass(time.Minute)
	if p := b.get(login + "/account/totp"); p.url.Path != "/login" {
		t.Errorf("ten minutes later: %s, %d", p.url, p.status)
	}
	b.sees(b.get("https://"+vault+"/"), "alice at /")
	w.clock.pass(w.conf.Lifetime - 10*time.Minute + time.Millisecond)
	b.unknown("https://" + vault + "/")
}
