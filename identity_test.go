package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const identitySites = config + `
[log]
access = "DIR/access.log"
[login]
host = "login.localhost"
identity = { user = "X-Who", jwt = "X-Edge-Jwt-Assertion" }
[[vhost]]
hosts = ["one.localhost"]
access = "login"
proxy = "http://UP"
  [[vhost.route]]
  path = "/h2c/"
  proxy = "h2c://UP"
  [[vhost.route]]
  path = "/public/"
  access = "public"
  proxy = "http://UP"
[[vhost]]
hosts = ["two.localhost"]
access = "public"
proxy = "http://UP"
identity = { user = "X-Other", jwt = "" }
`

// mirror is an app that answers with the fields of the request, over HTTP/1.1 and h2c.
func mirror(t *testing.T) (addr string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { json.NewEncoder(w).Encode(r.Header) }))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// mirrored asks for a page with fields that a client may not send, and gives those that the app got.
func mirrored(t *testing.T, c *http.Client, page string, socket bool) http.Header {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, page, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Who", "x_who", "X-Other", "X_Other", "Remote-User", "Remote_Groups", "Remote-Groups", "Remote-Email", "X-Edge-Jwt-Assertion", "X_Edge_Jwt_Assertion"} {
		r.Header[name] = []string{"admin"}
	}
	if socket {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Origin", "https://"+r.URL.Host)
	}
	_, body := do(t, c, r)
	var got http.Header
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%s: %v: %s", page, err, body)
	}
	return got
}

// claims checks the token that an app got, as it would: by the keys that its own host tells.
func claims(t *testing.T, c *http.Client, origin, token string) (claims jwt.Claims, err error) {
	t.Helper()
	_, text := visit(t, c, origin+"/.edge/jwks")
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatalf("%q: %v", token, err)
	}
	return claims, parsed.Claims(keys, &claims)
}

// An app behind a login is told who asks, over every protocol, before and after an upgrade; where the route is public nobody is told of, and what clients
// send in place of it goes nowhere (attacks 2, 3 and 4 of LOGIN.md §2h). Our cookies and codes reach neither the app nor the logs (attack 49).
func TestIdentity(t *testing.T) {
	p := start(t, "edge", strings.ReplaceAll(identitySites, "UP", mirror(t)))
	p.user("correct horse", "add", "alice")
	_, port, _ := net.SplitHostPort(p.addr("https"))
	one, two := "https://one.localhost:"+port, "https://two.localhost:"+port
	alice := p.person()
	at, body := visit(t, alice, one+"/")
	if at, body = logIn(t, alice, at, body, "alice", "correct horse"); at.String() != one+"/" {
		t.Fatalf("after the login at %s:\n%s", at, body)
	}
	visit(t, alice, "https://login.localhost:"+port+"/")
	plain := p.person() // a WebSocket's handshake is HTTP/1.1's
	plain.Jar = alice.Jar
	plain.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	plain.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
	asked := func() {
		t.Helper()
		for what, got := range map[string]http.Header{
			"HTTP/2": mirrored(t, alice, one+"/", false), "h2c": mirrored(t, alice, one+"/h2c/", false), "WebSocket": mirrored(t, plain, one+"/", true),
		} {
			token := got.Get("X-Edge-Jwt-Assertion")
			c, err := claims(t, alice, one, token)
			if err != nil || c.Subject != "alice" || c.Issuer != "https://login.localhost" || len(c.Audience) != 1 || c.Audience[0] != "one.localhost" {
				t.Errorf("%s: the token says %+v, %v", what, c, err)
			}
			if who := got["X-Who"]; len(who) != 1 || who[0] != "alice" || strings.Contains(strings.ReplaceAll(mustJSON(t, got), token, ""), "admin") || strings.Contains(mustJSON(t, got), "__Host-edge") {
				t.Errorf("%s: the app gets %v", what, got)
			}
		}
		for _, page := range []string{one + "/public/", two + "/"} {
			if got := mustJSON(t, mirrored(t, alice, page, false)); strings.Contains(got, "admin") || strings.Contains(got, "alice") || strings.Contains(got, "__Host-edge") {
				t.Errorf("%s: the app gets %s", page, got)
			}
		}
	}
	asked()
	before := mirrored(t, alice, one+"/", false).Get("X-Edge-Jwt-Assertion")
	p.upgrade()
	alice.CloseIdleConnections()
	plain.CloseIdleConnections()
	asked()
	if _, err := claims(t, alice, "https://login.localhost:"+port, before); err != nil {
		t.Errorf("the new process's keys do not prove the old one's token: %v", err)
	}
	p.hidesSecrets(alice, one, "https://login.localhost:"+port)
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// code is one in an address, or something sealed.
var code = regexp.MustCompile(`(code|f)=[\w-]{9}`)

// hidesSecrets looks for the cookies of a browser and for codes in both logs.
func (p *proc) hidesSecrets(c *http.Client, origins ...string) {
	p.t.Helper()
	file, err := os.Open(filepath.Join(p.dir, "access.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer file.Close()
	logs, err := io.ReadAll(file)
	if err != nil || !bytes.Contains(logs, []byte("/.edge/auth/callback")) {
		p.t.Fatalf("%v: no callback in the log:\n%s", err, logs)
	}
	p.mu.Lock()
	logs = append(logs, strings.Join(p.log, "\n")...)
	p.mu.Unlock()
	if found := code.Find(logs); found != nil {
		p.t.Errorf("a code is in the logs:\n%s", logs)
	}
	n := 0
	for _, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, cookie := range c.Jar.Cookies(u) {
			n++
			if _, secret, ok := strings.Cut(cookie.Value, "."); !ok || bytes.Contains(logs, []byte(secret)) {
				p.t.Errorf("%s is in the logs", cookie.Name)
			}
		}
	}
	if n != 2 {
		p.t.Errorf("%d cookies, not a session's and the login's", n)
	}
}
