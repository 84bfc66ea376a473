package sessions

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/conf"
)

// The numbers are the rows of LOGIN.md §2h.

// 24: a code is good once, soon, in the browser and at the virtual host that it was made for, and while the login lasts.
func TestHandOverCode(t *testing.T) {
	for name, attack := range map[string]func(t *testing.T, w *world, victim *browser, address string){
		"replay": func(t *testing.T, w *world, victim *browser, address string) {
			cookies := victim.jar[wiki]
			victim.jar[wiki] = map[string]string{}
			for k, v := range cookies {
				victim.jar[wiki][k] = v
			}
			victim.sees(victim.get(address), "alice at /")
			thief := w.browser()
			thief.jar[wiki] = cookies // with the flow's cookie, even
			nobody(t, w, thief, address)
			if w.alive(victim) {
				t.Error("the second use did not end the session of the first")
			}
		},
		"another virtual host": func(t *testing.T, w *world, victim *browser, address string) {
			victim.jar[shop] = victim.jar[wiki]
			nobody(t, w, victim, strings.Replace(address, wiki, shop, 1))
			nobody(t, w, victim, address) // and it is used up
		},
		"another browser": func(t *testing.T, w *world, victim *browser, address string) {
			nobody(t, w, w.browser(), address)
			nobody(t, w, victim, address)
		},
		"another flow of another browser": func(t *testing.T, w *world, victim *browser, address string) {
			thief := w.browser()
			own, _ := url.Parse(address)
			flow := theirFlow(thief, "https://"+wiki+"/")
			q := own.Query()
			q.Set("flow", flow)
			own.RawQuery = q.Encode()
			nobody(t, w, thief, own.String())
		},
		"after logout": func(t *testing.T, w *world, victim *browser, address string) {
			victim.post("https://"+loginHost+"/logout", nil)
			nobody(t, w, victim, address)
		},
		"after a change of password": func(t *testing.T, w *world, victim *browser, address string) {
			w.users.set("alice", "correct horse", 2)
			nobody(t, w, victim, address)
		},
		"after 60 s": func(t *testing.T, w *world, victim *browser, address string) {
			w.clock.pass(60 * time.Second)
			nobody(t, w, victim, address)
		},
		"damaged": func(t *testing.T, w *world, victim *browser, address string) {
			nobody(t, w, victim, strings.Replace(address, "code=", "code=x", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			victim := w.browser()
			attack(t, w, victim, victim.callback("https://"+wiki+"/"))
		})
	}
}

// nobody wants the one request to give no session.
func nobody(t *testing.T, w *world, b *browser, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	p := b.once("GET", u, nil)
	if _, set := b.jar[u.Host][sessionCookie]; set && w.alive(b) || p.header.Get("Location") == "/" {
		t.Errorf("%d %v: a session", p.status, p.header)
	}
}

// alive says whether the browser is known at the wiki.
func (w *world) alive(b *browser) bool {
	w.t.Helper()
	who, err := w.Lookup([]byte(sessionCookie+"="+b.jar[wiki][sessionCookie]), "id of wiki.example")
	if err != nil {
		w.t.Fatal(err)
	}
	return who != nil
}

// theirFlow starts a login and returns the id of its flow.
func theirFlow(b *browser, address string) string {
	address = b.callback(address)
	u, _ := url.Parse(address)
	return u.Query().Get("flow")
}

// 24: many use one code at once; at most one session is made, and it does not outlive the others' tries.
func TestHandOverCodeInParallel(t *testing.T) {
	for range 20 {
		w := newWorld(t)
		victim := w.browser()
		address, _ := url.Parse(victim.callback("https://" + wiki + "/"))
		browsers := make([]*browser, 8)
		var wg sync.WaitGroup
		for i := range browsers {
			b := w.browser()
			b.jar[wiki] = map[string]string{}
			for k, v := range victim.jar[wiki] {
				b.jar[wiki][k] = v
			}
			browsers[i] = b
			wg.Go(func() { b.once("GET", address, nil) })
		}
		wg.Wait()
		made := 0
		for _, b := range browsers {
			if b.jar[wiki][sessionCookie] != "" {
				made++
			}
			if w.alive(b) {
				t.Error("a session of a code that was used twice is alive")
			}
		}
		if made > 1 {
			t.Errorf("%d sessions were made of one code", made)
		}
	}
}

// 25: the victim opens the address with the code of the attacker's login: it does not become the attacker.
func TestLoginCSRF(t *testing.T) {
	w := newWorld(t)
	attacker, victim := w.browser(), w.browser()
	address := attacker.callback("https://" + wiki + "/")
	if p := victim.get(address); p.url.Host != loginHost || !strings.Contains(p.body, "<h1>Log in</h1>") {
		t.Errorf("the victim is at %s: %d %s", p.url, p.status, p.body)
	}
	victim = w.browser()
	victim.fill(victim.get("https://"+shop+"/"), "bob", "battery staple")
	victim.sees(victim.get(attacker.callback("https://"+wiki+"/mine")), "bob at /mine")
}

// 26: a cookie that somebody chose before the login is never the one after it.
func TestFixation(t *testing.T) {
	w := newWorld(t)
	attacker := w.browser()
	attacker.logIn("https://" + wiki + "/")
	for _, chosen := range []string{newHandle().String(), attacker.jar[wiki][sessionCookie], "x", ""} {
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

// 28: what is taken from a user is taken from its sessions, at the next request.
func TestSessionEndsWithItsReason(t *testing.T) {
	for name, c := range map[string]func(w *world){
		"password changed": func(w *world) { w.users.set("alice", "other", 2) },
		"user removed":     func(w *world) { w.users.remove("alice") },
		"idle":             func(w *world) { w.clock.pass(12*time.Hour + time.Second) },
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

// 32: no cookie that edge did not give out is anybody's, and none is an error.
func TestMalformedCookie(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	good := b.jar[wiki][sessionCookie]
	id, secret, _ := strings.Cut(good, ".")
	flipped := []byte(good)
	flipped[50] ^= 1
	field := func(values ...string) []byte { return []byte("a=b; " + strings.Join(values, "; ")) }
	for _, cookie := range [][]byte{
		nil, []byte(""), []byte(";"), []byte("="), []byte("__Host-edge"), []byte("__Host-edge="),
		field("__Host-edge=" + id), field("__Host-edge=" + id + "."), field("__Host-edge=." + secret), field("__Host-edge=" + string(flipped)),
		field("__Host-edge=" + strings.ToUpper(id) + "." + secret), field("__Host-edge={" + id + "}." + secret), field("__Host-edge=" + good + "="),
		field("__Host-edge=" + strings.ReplaceAll(id, "-", "") + "." + secret), field(`__Host-edge="` + good + `"`), field("__host-edge=" + good),
		field("__Host-edge= " + good), field("__Host-edge-sso=" + good), field("__Host-edge=" + b.jar[loginHost][ssoCookie]),
		field("__Host-edge="+good, "__Host-edge="+good), field("__Host-edge="+good, "__Host-edge="), // two of our name: cookie tossing
		field("__Host-edge=" + newHandle().String()), []byte(strings.Repeat("a=b; ", 5000)),
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
			"logout":      b.post("https://"+wiki+"/.edge/logout", nil),
		} {
			if p.status != http.StatusServiceUnavailable {
				t.Errorf("%s down, %s: %d, want 503", name, what, p.status)
			}
		}
	}
}

// 40: nothing that was typed is markup.
func TestEscaped(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	p := b.fill(b.get("https://"+wiki+"/"), `"><script>alert(1)</script>`, "x")
	if strings.Contains(p.body, "<script") || !strings.Contains(p.body, "&lt;script&gt;") {
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
