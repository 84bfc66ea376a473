package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"edge/conf"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	goleak.VerifyTestMain(m)
}

// provider is an OpenID provider that says what a test wants it to, true or not.
type provider struct {
	t      testing.TB
	server *httptest.Server

	mu        sync.Mutex
	key       *ecdsa.PrivateKey
	kid       string
	sid       string
	codes     map[string]url.Values // what each was asked for with
	asked     map[string]int        // how often, by path
	down      bool
	now       func() time.Time
	user      map[string]any                          // claims of the ID token
	info      map[string]any                          // of UserInfo; nil: there is none
	twist     func(claims map[string]any)             // changes an ID token's
	sign      func(p *provider, claims []byte) string // nil: as it should be
	discovery func(document map[string]any)
	answer    func(query url.Values) // changes what the browser brings back
}

func newProvider(t testing.TB) *provider {
	p := &provider{t: t, codes: map[string]url.Values{}, asked: map[string]int{}, now: time.Now, kid: "one", sid: "sid-1"}
	p.user = map[string]any{"sub": "sub-1", "email": "Carol@corp.test", "email_verified": true, "preferred_username": "carol"}
	p.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.document)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userInfo)
	p.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked[r.URL.Path]++
		if p.down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(p.server.Close)
	return p
}

// set changes the provider.
func (p *provider) set(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

func (p *provider) times(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

func (p *provider) document(w http.ResponseWriter, _ *http.Request) {
	at := p.server.URL
	doc := map[string]any{
		"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token", "jwks_uri": at + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "authorization_response_iss_parameter_supported": true,
	}
	if p.info != nil {
		doc["userinfo_endpoint"] = at + "/userinfo"
	}
	if p.discovery != nil {
		p.discovery(doc)
	}
	reply(w, doc)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	reply(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.kid, Algorithm: "ES256", Use: "sig"}}})
}

// authorize is where the browser is sent: the person there says yes. It gives the address to which the browser goes back.
func (p *provider) authorize(location string) string {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	u, err := url.Parse(location)
	q := u.Query()
	if err != nil || u.Scheme+"://"+u.Host+u.Path != p.server.URL+"/authorize" || q.Get("response_type") != "code" || q.Get("client_id") != "edge" ||
		q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("nonce") == "" || q.Get("state") == "" {
		p.t.Fatalf("sent to %s", location)
	}
	code := rand.Text()
	p.codes[code] = q
	back := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.server.URL}}
	if p.answer != nil {
		p.answer(back)
	}
	return q.Get("redirect_uri") + "?" + back.Encode()
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	asked, ok := p.codes[code]
	delete(p.codes, code)
	id, secret, _ := r.BasicAuth()
	hash := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || id != "edge" || secret != "s3cret" || base64.RawURLEncoding.EncodeToString(hash[:]) != asked.Get("code_challenge") ||
		r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		reply(w, map[string]any{"error": "invalid_grant"})
		return
	}
	access := sha256.Sum256([]byte("access"))
	claims := map[string]any{
		"iss": p.server.URL, "aud": "edge", "iat": p.now().Unix(), "exp": p.now().Add(time.Minute).Unix(), "nonce": asked.Get("nonce"),
		"at_hash": base64.RawURLEncoding.EncodeToString(access[:16]), "sid": p.sid,
	}
	if asked.Get("max_age") == "0" && asked.Get("prompt") == "login" { // the person proves anew
		claims["auth_time"] = p.now().Unix()
	}
	for name, value := range p.user {
		claims[name] = value
	}
	if p.twist != nil {
		p.twist(claims)
	}
	reply(w, map[string]any{"access_token": "access", "token_type": "Bearer", "id_token": p.jwt(claims)})
}

// jwt signs claims, as it should or as the test wants.
func (p *provider) jwt(claims map[string]any) string {
	text, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.sign != nil {
		return p.sign(p, text)
	}
	return p.signed(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, text)
}

func (p *provider) signed(key jose.SigningKey, text []byte) string {
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		p.t.Fatal(err)
	}
	token, err := signer.Sign(text)
	if err != nil {
		p.t.Fatal(err)
	}
	s, err := token.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *provider) userInfo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer access" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply(w, p.info)
}

// conf is how edge is told of the provider.
func (p *provider) conf() *conf.Provider {
	ca := filepath.Join(p.t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}), 0o600); err != nil {
		p.t.Fatal(err)
	}
	secret := filepath.Join(filepath.Dir(ca), "f.toml")
	text := `state_dir = "s"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[certificate]]
hosts = "localhost"
issuer = "dev"
[login]
host = "login.test"
[[login.provider]]
name = "corp"
title = "Corp"
issuer = "` + p.server.URL + `"
client_id = "edge"
client_secret = "s3cret"
ca = "ca.pem"
`
	if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	cfg, err := conf.Load(secret)
	if err != nil {
		p.t.Fatal(err)
	}
	return cfg.Login.Providers[0]
}
