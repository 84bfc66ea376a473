package sessions

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"edge/statefile"
)

// Assertions tell virtual hosts' apps who asks by tokens that they can check: JWTs (RFC 7519), signed by ES256. Each is good for one virtual host
// and for a minute, and is made anew after half of it, so that most requests of a session have one that was made before. It is safe for
// concurrent use and has nothing to close.
type Assertions struct {
	issuer string
	vhosts map[string]bool // that want one
	signer jose.Signer
	set    []byte // the public keys, a JWK Set
	now    func() time.Time

	mu            sync.RWMutex
	recent, older map[assertionKey]*assertion // of about the last minute
	turned        time.Time                   // when recent was begun
}

const (
	assertionLife  = time.Minute
	assertionRenew = assertionLife / 2
)

type assertionKey struct {
	session uuid.UUID
	vhost   string
}

// assertion is a token, and whom it speaks of.
type assertion struct {
	text string
	made time.Time
	who  *Identity
}

// claims are what a token says.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience string   `json:"aud"`
	Subject  string   `json:"sub"`
	Groups   []string `json:"groups"`
	Email    string   `json:"email,omitempty"`
	Session  string   `json:"sid"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
}

// The key that signs, and two that only stand in the JWK Set while it is exchanged for another: the one that will sign, and the one that did.
const (
	assertionFile     = "jwt.key"
	assertionFileNext = "jwt-next.key"
	assertionFileOld  = "jwt-old.key"
)

// AssertionFiles are what OpenAssertions reads.
func AssertionFiles(dir string) []string {
	return []string{filepath.Join(dir, assertionFile), filepath.Join(dir, assertionFileNext), filepath.Join(dir, assertionFileOld)}
}

// OpenAssertions reads the keys in DIR (statefile.Dir), of which the first who asks makes the one that signs; both processes of an upgrade have the
// same. The tokens are the login host's, and only for these virtual hosts.
func OpenAssertions(dir, loginHost string, vhosts map[string]bool, now func() time.Time) (*Assertions, error) {
	files := AssertionFiles(dir)
	seed, err := statefile.Key(files[0], rootLen, "apps must read /.edge/jwks again then")
	if err != nil {
		return nil, err
	}
	key, err := assertionKeyOf(seed)
	if err != nil {
		return nil, err
	}
	public, id, err := publicKey(key)
	if err != nil {
		return nil, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}}
	for _, file := range files[1:] {
		if err := addPublic(&set, file); err != nil {
			return nil, err
		}
	}
	a := &Assertions{issuer: httpsURL(loginHost, ""), vhosts: vhosts, now: now, recent: map[assertionKey]*assertion{}}
	if a.set, err = json.Marshal(set); err != nil {
		return nil, err
	}
	options := new(jose.SignerOptions).WithType("JWT").WithHeader("kid", id)
	a.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	return a, err
}

// assertionKeyOf gives the key that a seed stands for.
func assertionKeyOf(seed []byte) (*ecdsa.PrivateKey, error) {
	for n := range 8 { // that one does not do happens once in 2^32
		scalar, err := hkdf.Key(sha256.New, seed, nil, "edge jwt es256 "+strconv.Itoa(n), 32)
		if err != nil {
			return nil, err
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("no key comes of this seed")
}

// publicKey gives the public half as a JWK Set has it, and its id, the thumbprint of RFC 7638.
func publicKey(key *ecdsa.PrivateKey) (public jose.JSONWebKey, id string, err error) {
	public = jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.ES256), Use: "sig"}
	thumb, err := public.Thumbprint(crypto.SHA256)
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	return public, public.KeyID, err
}

// addPublic adds the public half of a key that does not sign, if there is one.
func addPublic(set *jose.JSONWebKeySet, file string) error {
	seed, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(seed) != rootLen:
		return fmt.Errorf("%s has %d bytes, want %d: remove it, or make it of as many random ones", file, len(seed), rootLen)
	}
	key, err := assertionKeyOf(seed)
	if err != nil {
		return err
	}
	public, _, err := publicKey(key)
	set.Keys = append(set.Keys, public)
	return err
}

// For gives the token that tells a virtual host who asks; "": it wants none.
func (a *Assertions) For(who *Identity, vhost string) (string, error) {
	if a == nil || !a.vhosts[vhost] {
		return "", nil
	}
	key, now := assertionKey{who.Session, vhost}, a.now()
	if held := a.held(key); held != nil && held.good(who, now) {
		return held.text, nil
	}
	text, err := a.sign(who, vhost, now)
	if err != nil {
		return "", err
	}
	a.keep(key, &assertion{text: text, made: now, who: who}, now)
	return text, nil
}

func (a *Assertions) held(key assertionKey) *assertion {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if held := a.recent[key]; held != nil {
		return held
	}
	return a.older[key]
}

// good says whether the token still says what is so, and will for a while.
func (t *assertion) good(who *Identity, now time.Time) bool {
	age := now.Sub(t.made)
	return 0 <= age && age < assertionRenew && t.who.User == who.User && t.who.Email == who.Email && slices.Equal(t.who.Groups, who.Groups)
}

// keep keeps a token, and lets go of those that are not good any more.
func (a *Assertions) keep(key assertionKey, made *assertion, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.turned).Abs() >= assertionRenew {
		a.recent, a.older, a.turned = map[assertionKey]*assertion{}, a.recent, now
	}
	a.recent[key] = made
}

func (a *Assertions) sign(who *Identity, vhost string, now time.Time) (string, error) {
	groups := who.Groups
	if groups == nil {
		groups = []string{} // for apps that take null amiss
	}
	return jwt.Signed(a.signer).Claims(claims{
		Issuer: a.issuer, Audience: vhost, Subject: who.User, Groups: groups, Email: who.Email, Session: who.Session.String(),
		IssuedAt: now.Unix(), Expires: now.Add(assertionLife).Unix(),
	}).Serialize()
}

// SetAssertions has the Service tell apps by tokens; before it is used.
func (s *Service) SetAssertions(a *Assertions) { s.assertions = a }

// Assert gives the token that tells a virtual host who asks; "": it wants none.
func (s *Service) Assert(who *Identity, vhost string) (string, error) {
	return s.assertions.For(who, vhost)
}

const jwksPath = reserved + "jwks"

// jwks tells apps the keys by which they check tokens.
func (rs routes) jwks(w http.ResponseWriter, r *http.Request) {
	a := rs.service.assertions
	if a == nil {
		rs.service.show(w, r, http.StatusNotFound, "missing", view{Base: rs.base})
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.set)))
	w.Write(a.set)
}
