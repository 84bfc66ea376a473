package sessions

import (
	"context"
	"strings"
	"testing"
	"time"
)

// The numbers are the rows of LOGIN.md §2h.

// 28: what is taken from a user is taken from its sessions, at the next request.
func TestSessionEndsWithItsReason(t *testing.T) {
	for name, c := range map[string]func(w *world){
		"password changed": func(w *world) { w.users.set("alice", "other", 2) },
		"user removed":     func(w *world) { w.users.remove("alice") },
		"idle":             func(w *world) { w.clock.pass(12*time.Hour + time.Second) },
		"login's row gone": func(w *world) { w.exec("DELETE FROM session WHERE id = parent") },
		"lifetime over, though it is longer now": func(w *world) {
			w.conf.Lifetime, w.conf.Idle = 1000*time.Hour, 1000*time.Hour
			w.Service = New(w.db, w.users, w.conf, w.hosts)
			w.clock.pass(168*time.Hour + time.Second)
		},
		"lifetime over": func(w *world) {
			w.conf.Lifetime = time.Hour
			w.Service = New(w.db, w.users, w.conf, w.hosts)
			w.clock.pass(time.Hour + time.Second)
		},
	} {
		w := newWorld(t)
		b := w.browser()
		b.logIn("https://" + wiki + "/")
		if !w.alive(b) {
			t.Fatal("not logged in")
		}
		if c(w); w.alive(b) {
			t.Errorf("%s: the session is alive", name)
		}
		b.unknown("https://" + wiki + "/")
		b.unknown("https://" + shop + "/")
	}
}

// 28: groups are those of now, not of the login.
func TestGroupsAreCurrent(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	for _, want := range []string{"staff", ""} {
		who, err := w.Lookup([]byte(sessionCookie+"="+b.jar[wiki][sessionCookie]), "id of wiki.example")
		if err != nil || who == nil || strings.Join(who.Groups, " ") != want {
			t.Fatalf("%+v, %v, want groups %q", who, err, want)
		}
		w.users.set("alice", "correct horse", 1)
	}
}

// A use now and then keeps a session and its login, but not beyond the lifetime.
func TestUseKeepsAlive(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	for range 20 { // 8 hours each
		w.clock.pass(8 * time.Hour)
		if !w.alive(b) {
			t.Fatal("ended by idleness although used")
		}
		if err := w.db.writeSeen(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	b.sees(b.get("https://"+shop+"/"), "alice at /") // the login was kept by the wiki's use
	w.clock.pass(8*time.Hour + time.Second)
	if w.alive(b) {
		t.Error("alive beyond its lifetime")
	}
	if err := w.db.collect(context.Background()); err != nil || w.rows("session")+w.rows("ticket") != 0 {
		t.Errorf("%d sessions, %d tickets are left, %v", w.rows("session"), w.rows("ticket"), err)
	}
}
