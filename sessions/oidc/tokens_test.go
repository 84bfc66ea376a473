package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// none is a token that nobody has signed.
func none(_ *provider, claims []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64(claims) + "."
}

// hmac signs with what everybody, or edge, knows.
func hmac(key string) func(*provider, []byte) string {
	return func(p *provider, claims []byte) string {
		return p.signed(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(key)}, claims)
	}
}

// stranger signs with another key, under the id of the right one.
func stranger(p *provider, claims []byte) string {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: p.kid}}, claims)
}

// embedded signs with another key, and sends it along.
func embedded(p *provider, claims []byte) string {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		p.t.Fatal(err)
	}
	token, _ := signer.Sign(claims)
	s, _ := token.CompactSerialize()
	return s
}

// cut is the right token without its signature.
func cut(p *provider, claims []byte) string {
	whole := p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, claims)
	return whole[:strings.LastIndexByte(whole, '.')+1]
}

// Each token that is wrong in one way makes no session; the same without the mistake does.
func TestBadTokens(t *testing.T) {
	claim := func(name string, value any) func(*provider) {
		return func(p *provider) { p.twist = func(c map[string]any) { c[name] = value } }
	}
	without := func(name string) func(*provider) {
		return func(p *provider) { p.twist = func(c map[string]any) { delete(c, name) } }
	}
	sign := func(s func(*provider, []byte) string) func(*provider) { return func(p *provider) { p.sign = s } }
	w := newWorld(t)
	w.at.Create = true
	for name, spoil := range map[string]func(*provider){
		"another issuer":              claim("iss", "https://evil.test"),
		"no issuer":                   without("iss"),
		"another audience":            claim("aud", "another"),
		"no audience":                 without("aud"),
		"two audiences, nobody named": claim("aud", []string{"edge", "another"}),
		"for another to use":          claim("azp", "another"),
		"another nonce":               claim("nonce", "x"),
		"no nonce":                    without("nonce"),
		"an empty nonce":              claim("nonce", ""),
		"expired":                     func(p *provider) { claim("exp", p.now().Add(-time.Second).Unix())(p) },
		"no expiry":                   without("exp"),
		"from the future":             func(p *provider) { claim("iat", p.now().Add(time.Hour).Unix())(p) },
		"not yet good":                func(p *provider) { claim("nbf", p.now().Add(time.Hour).Unix())(p) },
		"no subject":                  without("sub"),
		"an empty subject":            claim("sub", ""),
		"a long subject":              claim("sub", strings.Repeat("a", 256)),
		"of another access token":     claim("at_hash", "x"),
		"no algorithm":                sign(none),
		"HMAC of our secret":          sign(hmac("s3cret-s3cret-s3cret-s3cret-s3cret")),
		"another key":                 sign(stranger),
		"a key that comes along":      sign(embedded),
		"no signature":                sign(cut),
		"no token":                    sign(func(*provider, []byte) string { return "" }),
		"no JSON":                     sign(func(p *provider, _ []byte) string { p.sign = nil; return p.jwt(nil) }),
		"an answer of another issuer": func(p *provider) { p.answer = func(q url.Values) { q.Set("iss", "https://evil.test") } },
		"an answer of no issuer":      func(p *provider) { p.answer = func(q url.Values) { q.Del("iss") } },
		"an answer of two issuers":    func(p *provider) { p.answer = func(q url.Values) { q.Add("iss", "https://evil.test") } },
		"a code that nobody gave":     func(p *provider) { p.answer = func(q url.Values) { q.Set("code", "x") } },
		"no code":                     func(p *provider) { p.answer = func(q url.Values) { q.Del("code") } },
		"two codes":                   func(p *provider) { p.answer = func(q url.Values) { q.Add("code", "x") } },
		"two audiences, without edge": func(p *provider) { claim("aud", []string{"another", "third"})(p) },
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.idp.set(func() { spoil(w.idp) })
			defer w.idp.set(func() { w.idp.twist, w.idp.sign, w.idp.answer = nil, nil, nil })
			b := w.browser()
			b.refused(b.enter(), 403, "not one that can be believed")
			if list, err := w.users.List(ctx); err != nil || len(list) != 0 {
				t.Errorf("%d accounts, %v", len(list), err)
			}
		})
	}
	w.t = t
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
}

// A person who says no there is told so here.
func TestCanceled(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	w.idp.answer = func(q url.Values) { q.Del("code"); q.Set("error", "access_denied<b>") }
	b := w.browser()
	b.refused(b.enter(), 403, "did not log you in")
}

// A key that the provider has replaced is found at once, and one that it has taken back counts no more soon; a flood of tokens with unknown
// keys does not ask the provider each time.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	b := w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	old, oldID := w.idp.key, w.idp.kid
	w.clock.pass(keysPause)
	w.idp.set(func() {
		w.idp.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		w.idp.kid = "two"
	})
	b = w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
	asked := w.idp.times("/keys")
	w.idp.set(func() {
		w.idp.sign = func(p *provider, claims []byte) string {
			return p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: old, KeyID: oldID}}, claims)
		}
	})
	for range 5 {
		if p := w.browser().enter(); p.status != 403 {
			t.Errorf("signed with the key before: %d", p.status)
		}
	}
	w.clock.pass(keysPause)
	for range 5 {
		w.browser().enter()
	}
	if n := w.idp.times("/keys"); n != asked+1 {
		t.Errorf("the provider was asked for its keys %d times, want 1", n-asked)
	}
}

// While the provider is down everything else works, who presses the button is told, and it is not asked by each of them.
func TestDown(t *testing.T) {
	w := newWorld(t)
	w.at.Create = true
	w.account("alice", "")
	w.idp.set(func() { w.idp.down = true })
	b := w.browser()
	b.refused(b.enter(), 503, "does not answer at this moment")
	b.refused(b.enter(), 503, "does not answer at this moment")
	if n := w.idp.times("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
	w.idp.set(func() { w.idp.down = false })
	w.clock.pass(pause)
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")

	w.idp.set(func() { w.idp.down = true }) // what it said before holds: only the code cannot be redeemed
	w.clock.pass(fresh)
	if p := w.browser().enter(); p.status != 503 {
		t.Errorf("%d", p.status)
	}
	w.idp.set(func() { w.idp.down = false })
	b = w.browser()
	b.sees(b.enter(), "carol of [] at level 1 at /page?x=1")
}

// What a provider says of itself is believed only if it says that it is the one that was asked for, with all its addresses below https.
func TestBadDiscovery(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(map[string]any){
		"another issuer":     func(d map[string]any) { d["issuer"] = "https://evil.test" },
		"an open endpoint":   func(d map[string]any) { d["token_endpoint"] = "http://evil.test/token" },
		"no keys":            func(d map[string]any) { delete(d, "jwks_uri") },
		"no authorization":   func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"a document too big": func(d map[string]any) { d["x"] = strings.Repeat("a", maxBody) },
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.idp.set(func() { w.idp.discovery = spoil })
			fresh, _ := Draft(w.login.Providers, nil, w.clock.Now)
			w.service.Providers["corp"] = fresh["corp"]
			b := w.browser()
			b.refused(b.enter(), 503, "does not answer at this moment")
		})
	}
}
