package sessions

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

var background = context.Background()

func (w *world) logins(user string) []LoginInfo {
	w.t.Helper()
	list, err := w.Logins(background, user)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// login is the browser's, by its public handle.
func (b *browser) login() uuid.UUID {
	b.t.Helper()
	id, err := uuid.Parse(b.jar[loginHost][ssoCookie][:36])
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// A person sees every login that is good: when and from where it was made, when it was last used, and what is below it.
func TestLogins(t *testing.T) {
	w := newWorld(t)
	first, second := w.browser(), w.browser()
	first.logIn("https://" + wiki + "/")
	began := w.clock.Now()
	w.clock.pass(time.Hour)
	first.get("https://" + shop + "/")
	second.logIn("https://" + shop + "/")
	if len(w.logins("bob")) != 0 || len(w.logins("")) != 2 {
		t.Errorf("bob has %+v, everybody %+v", w.logins("bob"), w.logins(""))
	}
	for _, got := range w.logins("alice") {
		if got.ID == second.login() {
			continue
		}
		if got.ID != first.login() || got.User != "alice" || got.Level != AAL1 || !got.Since.Equal(began) || !got.Seen.Equal(w.clock.Now()) ||
			!got.Expires.Equal(began.Add(w.conf.Lifetime)) || strings.Join(got.Vhosts, " ") != "id of shop.invalid id of wiki.example" ||
			got.Address != "192.0.2.1" || got.Agent != "Browser/1.0" {
			t.Errorf("%+v", got)
		}
	}
	w.clock.pass(11*time.Hour + time.Minute)
	if n := len(w.logins("alice")); n != 2 {
		t.Errorf("%d logins before they are idle", n)
	}
	w.clock.pass(time.Hour)
	if list := w.logins("alice"); len(list) != 0 {
		t.Errorf("idle, and still listed: %+v", list)
	}
}

// What a changed password or the removal of the account has ended is not listed.
func TestLoginsOfAnEpoch(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"password": func(w *world) { w.users.set("alice", "correct horse", 2) },
		"removed":  func(w *world) { w.users.remove("alice") },
	} {
		w := newWorld(t)
		w.browser().logIn("https://" + wiki + "/")
		if end(w); len(w.logins("alice")) != 0 {
			t.Errorf("%s: %+v", name, w.logins("alice"))
		}
	}
}

// One login is ended by its handle, with all below it; by nobody but its user.
func TestEndLogin(t *testing.T) {
	w := newWorld(t)
	stays, goes := w.browser(), w.browser()
	stays.logIn("https://" + wiki + "/")
	goes.logIn("https://" + wiki + "/")
	goes.get("https://" + shop + "/")
	child, _ := uuid.Parse(goes.jar[wiki][sessionCookie][:36])
	for what, err := range map[string]error{
		"bob":     w.EndLogin(background, "bob", goes.login()),
		"a child": w.EndLogin(background, "alice", child),
		"unknown": w.EndLogin(background, "alice", uuid.New()),
	} {
		if !errors.Is(err, ErrNoLogin) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.EndLogin(background, "alice", goes.login()); err != nil {
		t.Fatal(err)
	}
	goes.unknown("https://" + wiki + "/")
	goes.unknown("https://" + shop + "/")
	stays.sees(stays.get("https://"+wiki+"/"), "alice at /")
	if w.rows("session") != 2 {
		t.Errorf("%d rows are left", w.rows("session"))
	}
	if err := w.EndLogin(background, "alice", goes.login()); !errors.Is(err, ErrNoLogin) {
		t.Errorf("twice: %v", err)
	}
}

// A user's logins end together, but for the one that asks; other users' stay.
func TestEndAll(t *testing.T) {
	w := newWorld(t)
	mine, other, bob := w.browser(), w.browser(), w.browser()
	mine.logIn("https://" + wiki + "/")
	other.logIn("https://" + wiki + "/")
	bob.fill(bob.get("https://"+wiki+"/"), "bob", "battery staple")
	code := other.callback("https://" + shop + "/")
	if n, err := w.EndAll(background, "alice", mine.login()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	other.unknown("https://" + wiki + "/")
	if other.get(code); w.alive(other) {
		t.Error("a code outlived its login")
	}
	if !w.alive(mine) || !w.alive(bob) {
		t.Error("too much was ended")
	}
	if n, err := w.EndAll(background, "alice", uuid.Nil); n != 1 || err != nil || w.alive(mine) || !w.alive(bob) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := w.EndEverybody(background); n != 1 || err != nil || w.alive(bob) || w.rows("session") != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

// What a browser says of itself is shown as it is, so it holds nothing that moves a cursor or turns text around, and has an end.
func TestCleanAgent(t *testing.T) {
	for in, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux)":      "Mozilla/5.0 (X11; Linux)",
		"a\x1b[31m\r\nb\x00":            "a[31mb",
		"a\u202eb\u200b\ufeff":          "ab",
		"\xff\xfe x":                    "x",
		"Käse 浏览器":                      "Käse 浏览器",
		strings.Repeat("a", 5000):       strings.Repeat("a", maxAgent),
		strings.Repeat("a", 199) + "é…": strings.Repeat("a", 199),
	} {
		if got := cleanAgent(in); got != want {
			t.Errorf("%.20q becomes %q", in, got)
		}
	}
}
