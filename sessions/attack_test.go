package sessions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// The numbers are the rows of LOGIN.md §2h.

// 26: a cookie that somebody chose before the login is never the one after it.
func TestFixation(t *testing.T) {
	w := newWorld(t)
	attacker := w.browser()
	attacker.logIn("https://" + wiki + "/")
	for _, chosen := range []string{w.strange(), attacker.jar[wiki][sessionCookie], "x", ""} {
		victim := w.browser()
		victim.set(wiki, sessionCookie, chosen)
		victim.set(loginHost, ssoCookie, chosen)
		form := victim.get("https://" + loginHost + "/login")
		if !strings.Contains(form.body, "<h1>Log in</h1>") {
			t.Errorf("%q: no form", chosen)
		}
		victim.post("https://"+loginHost+"/login", url.Values{"name": {"bob"}, "password": {"battery staple"}})
		if got := victim.jar[loginHost][ssoCookie]; got == chosen || got[:36] == chosen {
			t.Errorf("the id was kept: %q", chosen)
		}
	}
}

// 26: a login while logged in gets a new id, and ends what was there, everywhere.
func TestLoginOverLogin(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	old := &browser{t: t, server: w.process, jar: map[string]map[string]string{wiki: {sessionCookie: b.jar[wiki][sessionCookie]}}}
	before := b.jar[loginHost][ssoCookie]
	b.post("https://"+loginHost+"/login", url.Values{"name": {"bob"}, "password": {"battery staple"}})
	if after := b.jar[loginHost][ssoCookie]; after[:36] == before[:36] {
		t.Error("same id")
	}
	if w.alive(old) {
		t.Error("the session below the login before is alive")
	}
	b.sees(b.get("https://"+wiki+"/"), "bob at /")
}

// 26: a login that becomes worth more does so under a new id; no cookie from before is worth anything, and nothing lives longer for it.
func TestRaise(t *testing.T) {
	w := newWorld(t)
	w.run(w.process)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	began := w.clock.Now()
	w.clock.pass(time.Hour)
	request := func() *http.Request {
		r := httptest.NewRequest("POST", "https://"+loginHost+"/", nil)
		r.Header.Set("Cookie", ssoCookie+"="+b.jar[loginHost][ssoCookie])
		return r
	}
	l, err := w.current(background, cookieField(request()), ssoCookie, "")
	if err != nil {
		t.Fatal(err)
	}
	before, rec := b.jar[loginHost][ssoCookie], httptest.NewRecorder()
	raised, err := w.raise(request(), rec, l, AAL2)
	if err != nil {
		t.Fatal(err)
	}
	if w.alive(b) {
		t.Error("the virtual host's session from before is alive")
	}
	if _, err := w.raise(request(), httptest.NewRecorder(), l, AAL2); !errors.Is(err, errEnded) {
		t.Errorf("raised twice: %v", err)
	}
	b.keep(loginHost, rec.Result().Cookies())
	if after := b.jar[loginHost][ssoCookie]; after[:36] == before[:36] || after[:36] != raised.id.String() {
		t.Errorf("the id is %s, and was %s", after[:36], before[:36])
	}
	b.jar[wiki] = map[string]string{}
	b.sees(b.get("https://"+wiki+"/"), "alice at /") // without a word
	who, err := w.Lookup(b.field(), wikiID)
	if err != nil || who == nil || who.Level != AAL2 || who.Session != raised.id || !who.Since.Equal(began) {
		t.Errorf("%+v, %v", who, err)
	}
	if list := w.logins("alice"); len(list) != 1 || list[0].Level != AAL2 || !list[0].Expires.Equal(began.Add(w.conf.Lifetime)) {
		t.Errorf("%+v", list)
	}
	old := &browser{t: t, server: w.process, jar: map[string]map[string]string{loginHost: {ssoCookie: before}}}
	if p := old.get("https://" + loginHost + "/login"); !strings.Contains(p.body, `name="password"`) {
		t.Error("the login's old cookie is good")
	}
}

// 27: the cookie of an ended login is worth nothing, and a login with it present gets another id.
func TestReplayAfterLogout(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	session, sso := b.jar[wiki][sessionCookie], b.jar[loginHost][ssoCookie]
	b.post("https://"+wiki+"/.edge/logout", nil)
	b.set(wiki, sessionCookie, session)
	b.set(loginHost, ssoCookie, sso)
	b.unknown("https://" + wiki + "/")
	b.sees(b.logIn("https://"+wiki+"/"), "alice at /")
	if b.jar[wiki][sessionCookie][:36] == session[:36] || b.jar[loginHost][ssoCookie][:36] == sso[:36] {
		t.Error("an ended session's id came back")
	}
}

// 32: no cookie that edge did not give out is anybody's, and none is an error.
func TestMalformedCookie(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	good := b.jar[wiki][sessionCookie]
	id, secret, _ := strings.Cut(good, ".")
	flipped, tag := []byte(good), []byte(good)
	flipped[50] ^= 1
	tag[len(tag)-1] ^= 1
	field := func(values ...string) []byte { return []byte("a=b; " + strings.Join(values, "; ")) }
	for _, cookie := range [][]byte{
		nil, []byte(""), []byte(";"), []byte("="), []byte("__Host-edge"), []byte("__Host-edge="),
		field("__Host-edge=" + id), field("__Host-edge=" + id + "."), field("__Host-edge=." + secret), field("__Host-edge=" + string(flipped)), field("__Host-edge=" + string(tag)),
		field("__Host-edge=" + strings.ToUpper(id) + "." + secret), field("__Host-edge={" + id + "}." + secret), field("__Host-edge=" + good + "="),
		field("__Host-edge=" + strings.ReplaceAll(id, "-", "") + "." + secret), field(`__Host-edge="` + good + `"`), field("__host-edge=" + good),
		field("__Host-edge= " + good), field("__Host-edge-sso=" + good), field("__Host-edge=" + b.jar[loginHost][ssoCookie]),
		field("__Host-edge="+good, "__Host-edge="+good), field("__Host-edge="+good, "__Host-edge="), // two of our name: cookie tossing
		field("__Host-edge=" + w.strange()), []byte(strings.Repeat("a=b; ", 5000)),
	} {
		if who, err := w.Lookup(cookie, "id of wiki.example"); who != nil || err != nil {
			t.Errorf("%.200q: %v, %v", cookie, who, err)
		}
	}
	for _, vhost := range []string{"", "id of shop.invalid", "wiki.example"} {
		if who, err := w.Lookup(field("__Host-edge="+good), vhost); who != nil || err != nil {
			t.Errorf("at virtual host %q: %v, %v", vhost, who, err)
		}
	}
	for _, cookie := range [][]byte{field("__Host-edge=" + good), []byte("__Host-edge=" + good + ";x"), []byte(strings.Repeat("a=b; ", 5000) + "__Host-edge=" + good)} {
		if who, err := w.Lookup(cookie, "id of wiki.example"); who == nil || err != nil {
			t.Errorf("%.200q: %v, %v, want alice", cookie, who, err)
		}
	}
}

// 33: while the store or the users do not answer, nobody passes, and the pages say so.
func TestStoreDown(t *testing.T) {
	for name, breakIt := range map[string]func(w *world){
		"sessions": func(w *world) { w.db.Close() },
		"users":    func(w *world) { w.users.down = errors.New("disk on fire") },
	} {
		w := newWorld(t)
		b := w.browser()
		address := b.callback("https://" + shop + "/")
		b.sees(b.get("https://"+wiki+"/"), "alice at /")
		form := w.browser().get("https://" + wiki + "/")
		breakIt(w)
		if who, err := w.Lookup([]byte(sessionCookie+"="+b.jar[wiki][sessionCookie]), "id of wiki.example"); who != nil || err == nil {
			t.Errorf("%s: %v, %v, want an error", name, who, err)
		}
		for what, p := range map[string]page{
			"application": b.get("https://" + wiki + "/"),
			"login host":  b.get("https://" + loginHost + "/"),
			"callback":    b.get(address),
			"login":       b.fill(form, "alice", "correct horse"),
		} {
			if p.status != http.StatusServiceUnavailable {
				t.Errorf("%s down, %s: %d, want 503", name, what, p.status)
			}
		}
	}
}

// A logout needs neither the users nor a client that waits for its answer.
func TestLogoutAlways(t *testing.T) {
	for _, host := range []string{wiki, loginHost} {
		w := newWorld(t)
		b := w.browser()
		b.logIn("https://" + wiki + "/")
		w.users.down = errors.New("disk on fire")
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		path := map[string]string{wiki: "/.edge/logout", loginHost: "/logout"}[host]
		r := httptest.NewRequestWithContext(gone, "POST", "https://"+host+path, nil)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		for name, value := range b.jar[host] {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		w.ServeHTTP(httptest.NewRecorder(), r)
		if n := w.rows("session"); n != 0 {
			t.Errorf("%s: %d sessions are left", host, n)
		}
	}
}

// 40: nothing that was typed is markup.
func TestEscaped(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	p := b.fill(b.get("https://"+wiki+"/"), `"><script>alert(1)</script>`, "x")
	if strings.Contains(p.body, "<script>") || !strings.Contains(p.body, "&lt;script&gt;") {
		t.Error(p.body)
	}
}

// 42: a form of another origin, or of one that nobody tells, does nothing.
func TestForeignForms(t *testing.T) {
	w := newWorld(t)
	w.conf.Registration = conf.Open
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	form := url.Values{"name": {"bob"}, "password": {"battery staple"}}.Encode()
	for _, host := range []string{loginHost, wiki} {
		for _, path := range []string{"/login", "/register", "/logout", "/.edge/logout"} {
			for name, fields := range map[string]http.Header{
				"cross-site":            {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}},
				"same-site":             {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://sub.login.test:8443"}},
				"old browser":           {"Origin": {"https://evil.example"}},
				"plain HTTP, same host": {"Origin": {"http://" + host}},
				"null":                  {"Origin": {"null"}},
				"nothing":               {},
			} {
				if (host == wiki) != strings.HasPrefix(path, "/.edge/") {
					continue
				}
				r := httptest.NewRequest("POST", "https://"+host+path, strings.NewReader(form))
				r.Header = fields.Clone()
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				for k, v := range b.jar[host] {
					r.Header.Add("Cookie", k+"="+v)
				}
				rec := httptest.NewRecorder()
				w.ServeHTTP(rec, r)
				if rec.Code != http.StatusForbidden || rec.Header().Get("Set-Cookie") != "" {
					t.Errorf("%s, %s%s: %d %v", name, host, path, rec.Code, rec.Header())
				}
			}
		}
	}
	if !w.alive(b) {
		t.Error("a foreign form logged out")
	}
	r := httptest.NewRequest("POST", "https://"+wiki+"/.edge/logout", nil)
	r.Header.Set("Origin", "https://"+wiki) // an older browser's form, of our own
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	if rec.Code != http.StatusSeeOther {
		t.Errorf("own form: %d", rec.Code)
	}
}

// 53: bots and health checkers leave nothing in the store.
func TestBeginLeavesNoRows(t *testing.T) {
	w := newWorld(t)
	for range 1000 {
		w.browser().get("https://" + wiki + "/health")
		w.clock.pass(4 * time.Second)
	}
	if n := w.rows("session") + w.rows("ticket"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// 57: two processes over one folder, as in an upgrade: a login in one is good in the other, and a logout there is one here.
func TestTwoProcesses(t *testing.T) {
	w := newWorld(t)
	older, newer := w.process, w.start()
	for _, p := range []struct{ first, second *process }{{older, newer}, {newer, older}} {
		b := w.browser()
		b.server = p.first
		address := b.callback("https://" + wiki + "/x")
		b.server = p.second // the code was made by one and is used at the other
		b.sees(b.get(address), "alice at /x")
		b.server = p.first
		b.sees(b.get("https://"+wiki+"/y"), "alice at /y")
		b.server = p.second
		b.post("https://"+wiki+"/.edge/logout", nil)
		b.server = p.first
		b.unknown("https://" + wiki + "/y")
	}
}

// The codes go to the port at which the login host was reached, whatever a link says: another server may listen on another port.
func TestPortOfCode(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + shop + "/")
	location, _, err := w.Begin("id of wiki.example", "wiki.example:6666", "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	b.stop = callbackPath
	p := b.get(strings.Replace(location, ":6666", ":8443", 1))
	if got := p.header.Get("Location"); !strings.HasPrefix(got, "https://"+wiki+callbackPath) {
		t.Errorf("the code goes to %q", got)
	}
}

// Codes that nobody gave out do not take turns with those who log in and out: there are only so many writes a second.
func TestStrangeCodesCostNoWrite(t *testing.T) {
	w := newWorld(t)
	writes := 0
	w.db.file.OnCommit(func() { writes++ })
	b := w.browser()
	for i := range 20 {
		b.get(fmt.Sprintf("https://%s/.edge/auth/callback?code=%d&flow=%s", wiki, i, strings.Repeat("0", 32)))
	}
	if writes != 0 {
		t.Errorf("20 strange codes made %d writes", writes)
	}
	b.sees(b.logIn("https://"+wiki+"/"), "alice at /")
}

// The longest address that a login returns to fits into the cookies, whatever is in it: browsers drop one of more than 4096 bytes.
func TestLongestReturn(t *testing.T) {
	w := newWorld(t)
	target := "/?" + strings.Repeat("&", maxReturn-2)
	_, set, err := w.Begin(wikiID, wiki, target, nil)
	if err != nil || len(set) != 1 || len(set[0]) > 4096 {
		t.Errorf("%d cookies, of %d bytes, %v", len(set), len(strings.Join(set, "")), err)
	}
	b := w.browser()
	b.sees(b.logIn("https://"+wiki+target), "alice at "+target)
}
