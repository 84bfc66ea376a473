package sessions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edge/conf"
)

// audited has the world write an audit log, and gives what reads it.
func (w *world) audited() (read func() []Entry) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), "audit.log")
	a, err := OpenAudit(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { a.Close() })
	w.Audit = a
	return func() (list []Entry) { return entries(w.t, path) }
}

func entries(t testing.TB, path string) (list []Entry) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, e)
	}
	return list
}

// What people do is written down, with the account, the address and the login's id; what was typed that is nobody's name is not.
func TestAuditOfLogins(t *testing.T) {
	w := newWorld(t)
	read := w.audited()
	b := w.at("192.0.2.1:7")
	for _, name := range []string{"my secret password", "nobody", "Alice"} {
		b.try(name, "wrong")
	}
	b.logIn("https://" + wiki + "/")
	id := b.jar[loginHost][ssoCookie][:36]
	b.post("https://"+wiki+"/.edge/logout", nil)
	for range passwordTries.pair.free + 1 {
		b.try("bob", "wrong")
	}
	got := ""
	for _, e := range read() {
		if e.Client != "192.0.2.1:7" || !e.Time.Equal(w.clock.Now()) {
			t.Errorf("%+v", e)
		}
		got += fmt.Sprintln(e.Event, e.User, e.Result, e.Vhost, strings.ReplaceAll(e.Session, id, "ID"), e.Detail)
	}
	bad := ErrBadCredentials.Error()
	want := fmt.Sprintln("login", "", "refused", "", "", bad) + fmt.Sprintln("login", "", "refused", "", "", bad) + fmt.Sprintln("login alice refused", "", "", bad) +
		fmt.Sprintln("login alice ok id of wiki.example ID", "") + fmt.Sprintln("logout alice ok id of wiki.example ID", "") +
		strings.Repeat(fmt.Sprintln("login bob refused", "", "", bad), passwordTries.pair.free) + fmt.Sprintln("guess limit bob refused", "", "", "too many tries")
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A browser makes an account by an invitation, where registration is not open to all.
func TestInvitePages(t *testing.T) {
	w := newWorld(t)
	w.conf.Registration = conf.Invite
	w.users.invited = map[string]Invitation{"C0DE": {ID: "1"}}
	read := w.audited()
	b := w.browser()
	for _, link := range []string{"/register", "/register?invite=", "/register?invite=wrong", "/register?invite=c0de"} {
		if p := b.get("https://" + loginHost + link); p.status != http.StatusNotFound || strings.Contains(p.body, "<form") {
			t.Errorf("%s: %d %s", link, p.status, p.body)
		}
	}
	if p := b.get("https://" + loginHost + "/login"); strings.Contains(p.body, "/register") {
		t.Error("the login page offers to register")
	}
	for _, code := range []string{"", "wrong"} {
		if p := b.post("https://"+loginHost+"/register", url.Values{"name": {"eve"}, "password": {"12345678"}, "invite": {code}}); p.status != http.StatusNotFound {
			t.Errorf("code %q: %d", code, p.status)
		}
	}
	p := b.get("https://" + loginHost + "/register?invite=C0DE")
	if p.status != http.StatusOK || !strings.Contains(p.body, `name="invite" value="C0DE"`) {
		t.Fatalf("%d %s", p.status, p.body)
	}
	form := url.Values{"name": {"alice"}, "password": {"12345678"}, "invite": {"C0DE"}}
	if p := b.post("https://"+loginHost+"/register", form); p.status != http.StatusConflict || !strings.Contains(p.body, `value="C0DE"`) {
		t.Errorf("a taken name: %d %s", p.status, p.body)
	}
	form.Set("name", "dave")
	if p := b.post("https://"+loginHost+"/register", form); !b.entered(p) || !strings.Contains(p.body, "dave") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if p := w.browser().get("https://" + loginHost + "/register?invite=C0DE"); p.status != http.StatusNotFound {
		t.Errorf("used, and good: %d", p.status)
	}
	list := read()
	if last := list[len(list)-2]; last.Event != "invite used" || last.User != "dave" || last.Result != Done {
		t.Errorf("%+v", last)
	}
	for _, e := range list {
		if strings.Contains(fmt.Sprint(e), "C0DE") {
			t.Errorf("the code is in the audit log: %+v", e)
		}
	}
	w.conf.Registration = conf.Closed
	w.users.invited["X"] = Invitation{ID: "2"}
	if p := b.get("https://" + loginHost + "/register?invite=X"); p.status != http.StatusNotFound {
		t.Errorf("closed meanwhile: %d", p.status)
	}
	w.users.invited["S"] = Invitation{ID: "3", Setup: true}
	if p := w.browser().get("https://" + loginHost + "/register?invite=S"); p.status != http.StatusOK {
		t.Errorf("the setup link: %d", p.status)
	}
	for range 20 {
		p = w.at("203.0.113.9:1").get("https://" + loginHost + "/register?invite=guess")
	}
	if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") != "1" {
		t.Errorf("codes can be guessed: %d", p.status)
	}
}

// Changing one's password rotates one's own login and ends all others.
func TestChangeOwnPassword(t *testing.T) {
	w := newWorld(t)
	read := w.audited()
	mine, other := w.browser(), w.browser()
	mine.logIn("https://" + wiki + "/")
	other.logIn("https://" + wiki + "/")
	before := mine.jar[loginHost][ssoCookie]
	change := func(current, password string) error {
		t.Helper()
		p := &loginPages{routes{service: w.Service}, w.Service}
		r := httptest.NewRequest("POST", "https://"+loginHost+"/account/password", nil)
		for name, value := range mine.jar[loginHost] {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		l, err := p.signedIn(r)
		if l == nil {
			t.Fatal("not signed in", err)
		}
		rec := httptest.NewRecorder()
		_, err = p.newPassword(rec, r, l, current, password)
		mine.keep(loginHost, rec.Result().Cookies())
		return err
	}
	if err := change("wrong", "new password"); err == nil || mine.jar[loginHost][ssoCookie] != before {
		t.Error("changed by a wrong password")
	}
	if err := change("correct horse", "new password"); err != nil {
		t.Fatal(err)
	}
	if after := mine.jar[loginHost][ssoCookie]; after[:36] == before[:36] {
		t.Error("the id is the same")
	}
	mine.sees(mine.get("https://"+wiki+"/x"), "alice at /x")
	other.unknown("https://" + wiki + "/")
	list := read()
	if n := len(list); list[n-2].Event != "password changed" || list[n-2].Result != Refused || list[n-1].Event != "password changed" || list[n-1].By != "alice" {
		t.Errorf("%+v", list)
	}
}

// Two processes append to one file, only its owner may read it, and it may be rotated.
func TestAuditFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	var both [2]*Audit
	for i := range both {
		a, err := OpenAudit(path)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		both[i] = a
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				both[i%2].Write(Entry{Event: "x", Detail: strings.Repeat("y", 300)})
			}
		})
	}
	wg.Wait()
	if n := len(entries(t, path)); n != 800 {
		t.Errorf("%d whole lines, want 800", n)
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Error(fi.Mode())
	}
	os.Rename(path, path+".1")
	if err := both[0].Reopen(); err != nil {
		t.Fatal(err)
	}
	both[0].Write(Entry{Event: "new"})
	both[1].Write(Entry{Event: "old"})
	if list := entries(t, path); len(list) != 1 || list[0].Event != "new" || list[0].Result != Done || list[0].Time.IsZero() {
		t.Errorf("%+v", list)
	}
	var none *Audit
	none.Write(Entry{Event: "nothing"})
	if _, err := OpenAudit(t.TempDir()); err == nil {
		t.Error("a folder is no log")
	}
}

// Only what happened is written down: not that a session ended which is somebody else's or none, nor, as a refusal, that a store was down.
func TestAuditTellsNoTales(t *testing.T) {
	w := newWorld(t)
	b := w.signedIn(onLinux)
	read := w.audited()
	b.post("https://"+loginHost+"/account/sessions/end", url.Values{"id": {"11111111-2222-4333-8444-555555555555"}})
	w.users.during = func() { w.users.fail(errors.New("the disk is on fire")) }
	b.post("https://"+loginHost+"/account/password", url.Values{"current": {"correct horse"}, "new": {"new password"}, "again": {"new password"}})
	if list := read(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}
