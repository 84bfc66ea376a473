package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// 57 of the attack list in docs/LOGIN.md: two generations at once.

// older asks site.localhost of a generation after it was replaced: each request is one whose head had come by half before.
type older struct {
	p       *proc
	begun   map[string][]*tls.Conn // by request line
	address string
}

// begin begins so many requests of a line.
func (o *older) begin(line string, n int) {
	o.p.t.Helper()
	for range n {
		c := o.p.connect("https", o.p.clientTLS("site.localhost", "http/1.1")).(*tls.Conn)
		o.p.t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(soon))
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: site.localhost:%s\r\n", line, o.address)
		o.begun[line] = append(o.begun[line], c)
	}
}

func (p *proc) older() *older {
	p.t.Helper()
	_, port, _ := net.SplitHostPort(p.addr("https"))
	return &older{p: p, begun: map[string][]*tls.Conn{}, address: port}
}

// ask ends one of them with the cookie of a client; nil has none.
func (o *older) ask(line string, who *http.Client) (status int, body string) {
	t := o.p.t
	t.Helper()
	if len(o.begun[line]) == 0 {
		t.Fatalf("asked too often: %s", line)
	}
	c := o.begun[line][0]
	o.begun[line] = o.begun[line][1:]
	cookie := "a=b"
	if who != nil {
		cookie = who.Jar.Cookies(&url.URL{Scheme: "https", Host: "site.localhost:" + o.address})[0].String()
	}
	fmt.Fprintf(c, "Origin: https://site.localhost:%s\r\nCookie: %s\r\nContent-Length: 0\r\n\r\n", o.address, cookie)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// upgradeBeside upgrades, and wants the older generation to stay with its requests.
func (p *proc) upgradeBeside() {
	p.t.Helper()
	p.upgrade()
	if n := len(p.alive()); n != 2 {
		p.t.Fatalf("%d processes, want the older one with its requests", n)
	}
}

// ledToLogin waits until a client is nobody at a site of the generation that serves.
func ledToLogin(t *testing.T, what string, c *http.Client, site string) {
	t.Helper()
	until(t, what, func() bool {
		at, _ := visit(t, c, site+"/")
		return at.Hostname() == "login.localhost"
	})
}

// newKey writes a key of 32 random bytes into state_dir.
func (p *proc) newKey(name string) {
	p.t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.WriteFile(filepath.Join(p.dir, "state", name), key, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// 57: what an older generation that drains has begun to read it decides by what is true now: a login made on the new one passes, and a logout there
// ends it on the new one; and the reverse. That the key of the tokens is exchanged between the two, as LOGIN.md says it is done, changes nothing of it,
// and at no moment does an app get a token by a key that it does not find where it asks, whichever of the two signed and whichever answers.
func TestAttackAcrossGenerations(t *testing.T) {
	sites := strings.Replace(attacked, "[login]\n", "[login]\nidentity = { jwt = \"X-Edge-Jwt-Assertion\" }\n", 1)
	p := start(t, "edge", strings.ReplaceAll(sites, "UP", mirror(t)))
	p.user("correct horse", "add", "alice")
	before, site := p.visitor("alice")
	p.newKey("jwt-next.key")
	p.reload()
	old := p.older()
	old.begin("GET /x", 50) // one for each time that the old one is asked, till it knows
	old.begin("POST /.edge/logout", 1)
	old.begin("GET /.edge/jwks", 1)
	state := filepath.Join(p.dir, "state")
	for _, step := range [][2]string{{"jwt.key", "jwt-old.key"}, {"jwt-next.key", "jwt.key"}} {
		if err := os.Rename(filepath.Join(state, step[0]), filepath.Join(state, step[1])); err != nil {
			t.Fatal(err)
		}
	}
	p.upgradeBeside()
	after, _ := p.visitor("alice") // on the new one

	status, body := old.ask("GET /x", after)
	if status != 200 {
		t.Fatalf("a login of the new one, on the old one: %d", status)
	}
	byOld := assertionIn(t, body)
	_, body = visit(t, after, site+"/x")
	byNew := assertionIn(t, body)
	_, oldKeys := old.ask("GET /.edge/jwks", nil)
	_, newKeys := visit(t, after, site+"/.edge/jwks")
	if signer(t, byOld) == signer(t, byNew) {
		t.Error("the key was not exchanged")
	}
	for what, keys := range map[string]string{"old": oldKeys, "new": newKeys} {
		for whose, token := range map[string]string{"old": byOld, "new": byNew} {
			if who, err := provedBy(t, keys, token); err != nil || who.Subject != "alice" {
				t.Errorf("the %s one's token, by the %s one's keys: %v, %v", whose, what, who.Subject, err)
			}
		}
	}

	if status, _ := old.ask("POST /.edge/logout", after); status != 303 {
		t.Errorf("the logout on the old one: %d", status)
	}
	ledToLogin(t, "what was logged out on the old one is out on the new one", after, site)
	before.CloseIdleConnections()
	if at, _ := visit(t, before, site+"/"); at.String() != site+"/" {
		t.Errorf("a login of the old one, on the new one, leads to %s", at)
	}
	u, _ := url.Parse(site + "/.edge/logout")
	cookies := before.Jar.Cookies(u)
	send(t, before, u, nil)
	stale := p.person()
	stale.Jar.SetCookies(u, cookies)
	ledToLogin(t, "what was logged out on the new one is out on the new one", stale, site)
	until(t, "what was logged out on the new one is out on the old one", func() bool {
		status, _ := old.ask("GET /x", stale)
		return status == 401
	})
}

// assertionIn is the token that an app of mirror got.
func assertionIn(t *testing.T, body string) string {
	t.Helper()
	var fields http.Header
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&fields); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return fields.Get("X-Edge-Jwt-Assertion")
}

func parsedToken(t *testing.T, token string) *jwt.JSONWebToken {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("%q: %v", token, err)
	}
	return parsed
}

// signer is the id of the key that signed a token.
func signer(t *testing.T, token string) string {
	t.Helper()
	return parsedToken(t, token).Headers[0].KeyID
}

// provedBy checks a token by a set of keys.
func provedBy(t *testing.T, keys, token string) (claims jwt.Claims, err error) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(keys), &set); err != nil {
		t.Fatalf("%v: %s", err, keys)
	}
	return claims, parsedToken(t, token).Claims(set, &claims)
}

// 57, after a leak of login.key, which is replaced under a running edge and then an upgrade: no cookie by the one key is anybody by the other, on either
// generation, nor is it an error; what the old one knows it goes on knowing until it is logged out, and what is revoked ends on both.
func TestLoginKeyAcrossGenerations(t *testing.T) {
	p := start(t, "edge", strings.ReplaceAll(attacked, "UP", mirror(t)))
	p.user("correct horse", "add", "alice")
	before, site := p.visitor("alice")
	also, _ := p.visitor("alice")
	old := p.older()
	old.begin("GET /x", 50)
	old.begin("POST /.edge/logout", 1)
	was, err := os.ReadFile(filepath.Join(p.dir, "state", "login.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.newKey("login.key")
	p.upgradeBeside()
	if now, err := os.ReadFile(filepath.Join(p.dir, "state", "login.key")); err != nil || bytes.Equal(was, now) {
		t.Fatalf("the key is as it was: %v", err)
	}
	ask := func(who *http.Client, want int) {
		t.Helper()
		if status, _ := old.ask("GET /x", who); status != want {
			t.Errorf("on the old one: %d, want %d", status, want)
		}
	}
	for _, c := range []*http.Client{before, also} {
		ask(c, 200)
		u, _ := url.Parse(site)
		moved := p.person()
		moved.Jar.SetCookies(u, c.Jar.Cookies(u))
		if resp, _ := askOnce(t, moved, "GET", site+"/x", nil); resp.StatusCode != 401 {
			t.Errorf("a cookie by the old key, on the new one: %d, want 401", resp.StatusCode)
		}
	}
	after, _ := p.visitor("alice")
	ask(after, 401)
	if status, _ := old.ask("POST /.edge/logout", before); status != 303 {
		t.Errorf("the logout on the old one: %d", status)
	}
	ask(before, 401)
	ask(also, 200)
	if at, _ := visit(t, after, site+"/x"); at.String() != site+"/x" {
		t.Errorf("somebody else's logout on the old one: the login on the new one leads to %s", at)
	}
	p.session("revoke", "--user", "alice")
	ledToLogin(t, "what was revoked is out on the new one", after, site)
	until(t, "what was revoked is out on the old one", func() bool {
		status, _ := old.ask("GET /x", also)
		return status == 401
	})
}
