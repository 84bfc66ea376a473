package sessions

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

func openAssertions(t *testing.T, dir string, c *clock) *Assertions {
	t.Helper()
	a, err := OpenAssertions(dir, "login.test", map[string]bool{"wiki.example": true}, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *Assertions) of(t *testing.T, who *Identity) string {
	t.Helper()
	token, err := a.For(who, "wiki.example")
	if err != nil || token == "" {
		t.Fatalf("%q, %v", token, err)
	}
	return token
}

// verify checks a token as an app would, by the JWK Set alone.
func verify(t *testing.T, token string, set []byte) (map[string]any, error) {
	t.Helper()
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(set, &keys); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	return claims, parsed.Claims(keys, &claims)
}

// A token says who asks, for one virtual host and a minute, and the public keys prove it; no other host's do.
func TestAssertionClaims(t *testing.T) {
	c := &clock{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	a := openAssertions(t, t.TempDir(), c)
	who := &Identity{User: "alice", Groups: []string{"staff"}, Email: "a@example.org", Session: uuid.MustParse("11111111-2222-4333-8444-555555555555")}
	claims, err := verify(t, a.of(t, who), a.set)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(claims)
	want := `{"aud":"wiki.example","email":"a@example.org","exp":1795334460,"groups":["staff"],"iat":1795334400,"iss":"https://login.test","sid":"11111111-2222-4333-8444-555555555555","sub":"alice"}`
	if string(got) != want {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}
	if token, err := a.For(who, "shop.invalid"); token != "" || err != nil {
		t.Errorf("a host that wants none gets %q, %v", token, err)
	}
	if _, err := verify(t, a.of(t, who), openAssertions(t, t.TempDir(), c).set); err == nil {
		t.Error("another edge's keys prove it")
	}
	if strings.Contains(string(a.set), `"d"`) {
		t.Errorf("the JWK Set has a private key: %s", a.set)
	}
}

// A token is used again for half its life and by nobody else, and not when what it says has changed; it costs no allocation.
func TestAssertionIsKept(t *testing.T) {
	c := &clock{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
	a := openAssertions(t, t.TempDir(), c)
	alice := Identity{User: "alice", Groups: []string{"staff"}, Session: uuid.New()}
	first := a.of(t, &alice)
	if n := testing.AllocsPerRun(100, func() { a.For(&alice, "wiki.example") }); n > 0 {
		t.Errorf("a token that is kept costs %v allocations", n)
	}
	again := alice
	c.pass(assertionRenew - time.Second)
	if a.of(t, &again) != first {
		t.Error("it was made anew within half its life")
	}
	for what, change := range map[string]func(*Identity){
		"another session": func(i *Identity) { i.Session = uuid.New() },
		"another group":   func(i *Identity) { i.Groups = []string{"staff", "admin"} },
		"no group":        func(i *Identity) { i.Groups = nil },
		"an address":      func(i *Identity) { i.Email = "a@example.org" },
	} {
		other := alice
		if change(&other); a.of(t, &other) == first {
			t.Errorf("%s: the same token", what)
		}
	}
	first = a.of(t, &alice)
	c.pass(assertionRenew)
	if a.of(t, &alice) == first {
		t.Error("it was used after half its life")
	}
	for range 100 { // what nobody asks for any more is let go
		other := Identity{User: "bob", Session: uuid.New()}
		a.of(t, &other)
		c.pass(assertionRenew)
	}
	if n := len(a.recent) + len(a.older); n > 3 {
		t.Errorf("%d tokens are kept", n)
	}
}

// All generations sign by the same key. It is exchanged in two steps: the next one is shown first, then signs while the old one is shown.
func TestAssertionKeysRotate(t *testing.T) {
	c := &clock{now: time.Now()}
	dir := t.TempDir()
	who := &Identity{User: "alice", Session: uuid.New()}
	proves := func(by, signed *Assertions) {
		t.Helper()
		if _, err := verify(t, signed.of(t, who), by.set); err != nil {
			t.Error(err)
		}
	}
	before := openAssertions(t, dir, c)
	proves(before, openAssertions(t, dir, c))
	next := make([]byte, rootLen)
	rand.Read(next)
	if err := os.WriteFile(filepath.Join(dir, assertionFileNext), next, 0o600); err != nil {
		t.Fatal(err)
	}
	shown := openAssertions(t, dir, c)
	proves(before, shown)
	for _, step := range [][2]string{{assertionFile, assertionFileOld}, {assertionFileNext, assertionFile}} {
		if err := os.Rename(filepath.Join(dir, step[0]), filepath.Join(dir, step[1])); err != nil {
			t.Fatal(err)
		}
	}
	after := openAssertions(t, dir, c)
	proves(shown, after)
	proves(after, before)
	if _, err := verify(t, after.of(t, who), before.set); err == nil {
		t.Error("the key is the same")
	}
	if err := os.WriteFile(filepath.Join(dir, assertionFileOld), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAssertions(dir, "login.test", nil, c.Now); err == nil || !strings.Contains(err.Error(), "5 bytes, want 32") {
		t.Errorf("a damaged key: %v", err)
	}
}

// The keys are told to whoever asks, on the login host and on every virtual host, and nothing where nobody wants tokens.
func TestJWKS(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	pages := []string{"https://" + loginHost + "/.edge/jwks", "https://" + wiki + "/.edge/jwks"}
	for _, page := range pages {
		if got := b.get(page); got.status != 404 {
			t.Errorf("%s without tokens: %d", page, got.status)
		}
	}
	a := openAssertions(t, w.dir, w.clock)
	w.SetAssertions(a)
	for _, page := range pages {
		if got := b.get(page); got.status != 200 || got.body != string(a.set) {
			t.Errorf("%s: %d %q", page, got.status, got.body)
		}
	}
}
