package sessions

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
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
		"after 30 s": func(t *testing.T, w *world, victim *browser, address string) {
			w.clock.pass(30*time.Second + time.Millisecond)
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
