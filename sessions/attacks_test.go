package sessions

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The numbers are the rows of the attack list in docs/LOGIN.md.

// 31: a session that the cache knows at one virtual host is nobody's at another, whichever was asked first, and a refusal there is none here.
func TestCacheKnowsTheVhost(t *testing.T) {
	w := newWorld(t)
	w.run(w.process)
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	for range 3 {
		for vhost, want := range map[string]bool{wikiID: true, "id of shop.invalid": false, "": false} {
			if who, err := w.Lookup(b.field(), vhost); (who != nil) != want || err != nil {
				t.Errorf("at %q: %v, %v", vhost, who, err)
			}
		}
	}
}

// 35: no number of cookies makes an answer long, or an error.
func TestManyFlows(t *testing.T) {
	w := newWorld(t)
	junk := make([]string, 3000)
	for i := range junk {
		junk[i] = fmt.Sprintf("%s%08x=junk", flowPrefix, i)
	}
	odd := flowPrefix + "\x7f\"(,=x"
	for _, cookie := range []string{strings.Join(junk, "; "), odd, strings.Repeat(";", 1<<16), strings.Repeat(sessionCookie+"=x; ", 3000)} {
		_, set, err := w.Begin(wikiID, wiki, "/", []byte(cookie))
		if err != nil || len(set) == 0 || len(set) > 8*maxFlows+1 || slices.Contains(set, "") {
			t.Errorf("%.60q: %d cookies are set, %.200q, %v", cookie, len(set), set, err)
		}
	}
}

// 41: nothing that keeps somebody out can be guessed from what came before: all of it is from crypto/rand, and none comes twice.
func TestUnpredictable(t *testing.T) {
	for _, dir := range []string{".", "users", "../edge/guard"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), `"math/rand`) {
				t.Errorf("%s uses numbers that can be guessed", file)
			}
		}
	}
	w := newWorld(t)
	seen := map[string]bool{}
	for range 200 {
		b := w.browser()
		f := newFlow(wikiID, "/", 0, w.clock.Now())
		u, err := url.Parse(b.callback("https://" + wiki + "/"))
		if err != nil {
			t.Fatal(err)
		}
		code, sso := u.Query().Get("code"), b.jar[loginHost][ssoCookie]
		if len(f.Nonce) != 32 || len(f.ID) != 32 || len(code) != 43 || len(sso) < 36+43 {
			t.Fatalf("%d, %d, %d, %d", len(f.Nonce), len(f.ID), len(code), len(sso))
		}
		for _, secret := range []string{f.ID, string(f.Nonce), code, sso[:36], sso[37:], u.Query().Get("flow")} {
			if seen[secret] {
				t.Fatal("twice the same")
			}
			seen[secret] = true
		}
	}
}

// 42: every path that takes a form refuses those of other origins, and of none, whatever features add.
func TestForeignFormsEverywhere(t *testing.T) {
	w, _ := withProvider(t)
	paths := map[string]map[string]route{loginHost: w.Pages().(*loginPages).paths, wiki: w.Service.Vhost(wikiID).(*vhostPages).paths}
	n := 0
	for host, all := range paths {
		for path, at := range all {
			if at.post == nil {
				continue
			}
			n++
			for _, fields := range []http.Header{{}, {"Origin": {"https://evil.example"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}} {
				r := httptest.NewRequest("POST", "https://"+host+path, nil)
				maps.Copy(r.Header, fields)
				rec := httptest.NewRecorder()
				w.ServeHTTP(rec, r)
				if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "<h1>Form refused</h1>") {
					t.Errorf("%s%s %v: %d", host, path, fields, rec.Code)
				}
			}
		}
	}
	if n < 10 || paths[loginHost]["/account/oidc/corp/unlink"].post == nil {
		t.Errorf("only %d paths", n)
	}
}

// 40, 8: a name that was typed cannot forge a line of the audit log.
func TestAuditCannotBeForged(t *testing.T) {
	w := newWorld(t)
	read := w.audited()
	b := w.at("192.0.2.1:7")
	b.agent = "x\"}\n{\"event\":\"login\",\"user\":\"root\",\"result\":\"ok\"}"
	for _, name := range []string{"x\n{\"event\":\"login\",\"user\":\"root\",\"result\":\"ok\"}", "alice\",\"result\":\"ok", "al\u2028ice", "\x00"} {
		b.try(name, "wrong")
	}
	b.logIn("https://" + wiki + "/")
	list := read()
	for i, e := range list {
		line, _ := json.Marshal(e)
		if e.User == "root" || e.Result == Done && i < 4 || strings.ContainsAny(e.User, "\n\"") {
			t.Errorf("line %d: %s", i, line)
		}
	}
	if len(list) != 5 {
		t.Errorf("%d lines, want 5", len(list))
	}
}

// 47: what a proxy in front took as early data of TLS, anybody can send again: no code is used up by it, and no form is heard.
func TestEarlyData(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	address := b.callback("https://" + wiki + "/x")
	for _, c := range []struct{ method, address string }{{"GET", address}, {"POST", "https://" + loginHost + "/login"}, {"POST", "https://" + wiki + "/.edge/logout"}} {
		r := httptest.NewRequest(c.method, c.address, nil)
		r.Header.Set("Early-Data", "1")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		if rec.Code != http.StatusTooEarly {
			t.Errorf("%s %s: %d", c.method, c.address, rec.Code)
		}
	}
	b.sees(b.get(address), "alice at /x") // as the client does then
}

// 56: a virtual host, a user or the key that goes while somebody logs in makes a clear page or a new start; never a code for what is gone, and
// never a session.
func TestGoneMidFlow(t *testing.T) {
	for name, c := range map[string]struct {
		gone   func(w *world)
		status int // of the form that was open
	}{
		"virtual host":        {func(w *world) { delete(w.Service.hosts.(hosts), "wiki.example") }, http.StatusNotFound},
		"right to it":         {func(w *world) { w.Service.hosts.(hosts)["wiki.example"] = []string{"bob"} }, http.StatusForbidden},
		"user":                {func(w *world) { w.users.remove("alice") }, http.StatusForbidden},
		"user's old password": {func(w *world) { w.users.set("alice", "other", 2) }, http.StatusForbidden},
		"key":                 {func(w *world) { w.newKey() }, http.StatusBadRequest},
	} {
		w := newWorld(t)
		b := w.browser()
		form := b.get("https://" + wiki + "/x")
		c.gone(w)
		b.server, b.stop = w.process, callbackPath
		if p := b.fill(form, "alice", "correct horse"); p.status != c.status || p.header.Get("Location") != "" {
			t.Errorf("%s, before the form: %d %v", name, p.status, p.header)
		}

		w = newWorld(t)
		b = w.browser()
		address := b.callback("https://" + wiki + "/x")
		c.gone(w)
		b.server = w.process
		if name == "virtual host" {
			continue // what is gone answers 421: TestAttackMidReload
		}
		if p := b.get(address); p.status == http.StatusOK && strings.HasPrefix(p.body, "alice at") {
			t.Errorf("%s, before the callback: %s", name, p.body)
		}
	}
}

// newKey starts the process again with another key.
func (w *world) newKey() {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.dir, "login.key")); err != nil {
		w.t.Fatal(err)
	}
	w.process = w.start()
}

// TOTP and recovery codes are asked for only after a password: without it nothing says whether there is such an account.
func TestSecondFactorWithoutTheFirst(t *testing.T) {
	w := newWorld(t)
	w.set2("alice")
	for _, cookie := range []string{"", "x", w.strange()} {
		b := w.browser()
		if cookie != "" {
			b.set(loginHost, halfCookie, cookie)
		}
		for _, form := range []url.Values{{"code": {"000000"}}, {"recovery": {"aaaa-bbbb"}}, {"name": {"alice"}, "code": {"000000"}}} {
			p := b.post(second, form)
			if p.url.Path != "/login" || p.status != http.StatusOK || strings.Contains(p.body, "alice") {
				t.Errorf("%q, %v: %s %d", cookie, form, p.url, p.status)
			}
		}
	}
}

// set2 gives an account a second factor.
func (w *world) set2(name string) {
	b := w.browser()
	b.logIn("https://" + wiki + "/")
	w.enrol(b, b.get(login+"/account/totp"))
	w.clock.pass(time.Minute)
}
