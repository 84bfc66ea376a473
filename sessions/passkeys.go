package sessions

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
)

var passkeyScript = asset("passkey.js")

const (
	ceremonyLife   = 10 * time.Minute
	ceremonyPlace  = "ceremony"
	maxPasskeyName = 64 // bytes
)

// ceremony is what a passkey is asked, sealed in the form that carries the answer: any number of tabs may ask at once, and nothing is kept
// of those that never answer. What a page of another origin would have a passkey sign does not pass, and a challenge works once (spend).
type ceremony struct {
	For     string               `json:"for"`
	User    string               `json:"user"`  // whose passkey is wanted; "": anybody's
	Login   uuid.UUID            `json:"login"` // to enrol: in which login
	Session webauthn.SessionData `json:"session"`
	Issued  int64                `json:"issued"`
}

// What ceremonies are for.
const (
	forLogin  = "login"
	forSecond = "second"
	forEnrol  = "enrol"
)

// relyingParty is the login host as passkeys know it: bound to the name, and to the origin with the port of reached.
func (s *Service) relyingParty(r *http.Request) (*webauthn.WebAuthn, error) {
	_, port := s.reached(r.Host)
	return webauthn.New(&webauthn.Config{
		RPID: s.conf.Host, RPDisplayName: s.conf.Host, RPOrigins: []string{s.loginURL(port)},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(), ResidentKey: protocol.ResidentKeyRequirementRequired,
			UserVerification: protocol.VerificationRequired,
		},
	})
}

// owner is an account as the library wants to see it.
type owner struct {
	name        string
	handle      []byte
	credentials []webauthn.Credential
}

func (o *owner) WebAuthnID() []byte                         { return o.handle }
func (o *owner) WebAuthnName() string                       { return o.name }
func (o *owner) WebAuthnDisplayName() string                { return o.name }
func (o *owner) WebAuthnCredentials() []webauthn.Credential { return o.credentials }

func (o *owner) descriptors() (out []protocol.CredentialDescriptor) {
	for _, c := range o.credentials {
		out = append(out, c.Descriptor())
	}
	return out
}

func newOwner(name string, f Factors) (*owner, error) {
	o := &owner{name: name, handle: f.Handle}
	for _, p := range f.Passkeys {
		var c webauthn.Credential
		if err := json.Unmarshal(p.Credential, &c); err != nil {
			return nil, err
		}
		c.Authenticator.SignCount = p.Count
		o.credentials = append(o.credentials, c)
	}
	return o, nil
}

// passkeyBegin answers a script: what to ask a passkey, and the same sealed.
func (p *loginPages) passkeyBegin(w http.ResponseWriter, r *http.Request) {
	var options any
	c := &ceremony{For: r.PostForm.Get("for"), Issued: p.db.millis()}
	var err error
	switch {
	case c.For == forLogin && !p.conf.Elsewhere:
		options, err = p.beginLogin(r, c, nil)
	case c.For == forSecond:
		options, err = p.beginSecond(r, c)
	case c.For == forEnrol:
		options, err = p.beginEnrol(r, c)
	default:
		err = ErrBadPasskey
	}
	var sealed string
	if err == nil {
		sealed, err = p.db.factors.ceremonies.seal(ceremonyPlace, c)
	}
	if err != nil {
		p.passkeyError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"options": options, "state": sealed})
}

// passkeyError answers a script that cannot begin; the page says why, or that it did not work.
func (p *loginPages) passkeyError(w http.ResponseWriter, err error) {
	status := http.StatusForbidden
	if !errors.Is(err, ErrBadPasskey) && !errors.Is(err, ErrTooMany) {
		slog.Error("login: a passkey cannot be asked", "error", err)
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
}

func (p *loginPages) beginLogin(r *http.Request, c *ceremony, only []protocol.CredentialDescriptor) (any, error) {
	rp, err := p.relyingParty(r)
	if err != nil {
		return nil, err
	}
	assertion, session, err := rp.BeginDiscoverableLogin(webauthn.WithAllowedCredentials(only))
	if err != nil {
		return nil, err
	}
	c.Session = *session
	return assertion.Response, nil
}

// beginSecond asks for a passkey of who has given the password.
func (p *loginPages) beginSecond(r *http.Request, c *ceremony) (any, error) {
	user, _, ok, err := p.halfOf(r)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrBadPasskey
	}
	o, err := p.owner(r.Context(), user.Name)
	if err != nil {
		return nil, err
	}
	c.User = user.Name
	return p.beginLogin(r, c, o.descriptors())
}

func (p *loginPages) owner(ctx context.Context, name string) (*owner, error) {
	f, err := p.users.Factors(ctx, name)
	if err != nil {
		return nil, err
	}
	return newOwner(name, f)
}

func (p *loginPages) beginEnrol(r *http.Request, c *ceremony) (any, error) {
	l, err := p.signedIn(r)
	if err != nil {
		return nil, err
	}
	if l == nil || !p.isSure(l) {
		return nil, ErrBadPasskey
	}
	o, err := p.owner(r.Context(), l.User)
	if err != nil {
		return nil, err
	}
	if len(o.credentials) >= MaxPasskeys {
		return nil, ErrTooMany
	}
	if o.handle, err = p.users.PasskeyHandle(r.Context(), l.User); err != nil {
		return nil, err
	}
	rp, err := p.relyingParty(r)
	if err != nil {
		return nil, err
	}
	creation, session, err := rp.BeginRegistration(o, webauthn.WithExclusions(o.descriptors()))
	if err != nil {
		return nil, err
	}
	c.User, c.Login, c.Session = l.User, l.id, *session
	return creation.Response, nil
}

// answered opens the ceremony that a form answers.
func (p *loginPages) answered(r *http.Request, purposes ...string) (*ceremony, error) {
	var c ceremony
	if !p.db.factors.ceremonies.open(ceremonyPlace, r.PostForm.Get("state"), &c) {
		return nil, ErrBadPasskey
	}
	for _, purpose := range purposes {
		if c.For == purpose {
			if p.db.now().Sub(time.UnixMilli(c.Issued)) > ceremonyLife {
				return nil, ErrTooLate
			}
			return &c, nil
		}
	}
	return nil, ErrBadPasskey
}

// passkeyLogin is a login by passkey alone, or by one after the password. Either way it is two factors: the passkey, and what its
// authenticator wants of its owner.
func (p *loginPages) passkeyLogin(w http.ResponseWriter, r *http.Request) {
	req, v, ok := p.request(w, r, r.PostForm.Get("f"))
	if !ok {
		return
	}
	user, err := p.provePasskey(r)
	if err == nil {
		err = p.afterFirst(r, &user)
	}
	switch {
	case err == nil:
		p.admit(w, r, user, AAL2, eventPasskey, req)
	case errors.Is(err, ErrElsewhere):
		p.refuse(w, r, eventPasskey, "login", v, err)
	case errors.Is(err, ErrBadPasskey) || errors.Is(err, ErrTooLate):
		if half, _, ok, err2 := p.halfOf(r); ok && err2 == nil {
			p.noteRefused(r, eventPasskey, half.Name, err)
			p.askSecond(w, r, half, req, err)
			return
		}
		p.refuse(w, r, eventPasskey, "login", v, err)
	default:
		p.down(w, r, err)
	}
}

// afterFirst gives the user of a passkey what the login that it completes in this browser, if any, had: by whose word that began. Where only a
// provider can begin one, a passkey alone is too little, or who was locked out there would stay in here: ErrElsewhere.
func (p *loginPages) afterFirst(r *http.Request, user *User) error {
	first, _, ok, err := p.halfOf(r)
	switch {
	case err != nil:
		return err
	case ok && first.Name == user.Name:
		user.origin = first.origin
	case p.conf.Elsewhere || user.NoPassword:
		return ErrElsewhere
	}
	return nil
}

// provePasskey is the user whose passkey answered: ErrBadPasskey, ErrTooLate.
func (p *loginPages) provePasskey(r *http.Request) (User, error) {
	c, err := p.answered(r, forLogin, forSecond)
	if err != nil {
		return User{}, err
	}
	rp, err := p.relyingParty(r)
	if err != nil {
		return User{}, err
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes([]byte(r.PostForm.Get("credential")))
	if err != nil {
		return User{}, errors.Join(ErrBadPasskey, err)
	}
	o, err := p.ownerOf(r.Context(), answer.RawID, answer.Response.UserHandle)
	if err != nil {
		return User{}, err
	}
	if c.User != "" && c.User != o.name {
		return User{}, ErrBadPasskey
	}
	find := func(_, _ []byte) (webauthn.User, error) { return o, nil }
	_, credential, err := rp.ValidatePasskeyLogin(find, c.Session, answer)
	if err != nil {
		return User{}, errors.Join(ErrBadPasskey, err)
	}
	if credential.Authenticator.CloneWarning {
		slog.Warn("a passkey's signature counter did not rise: there may be a copy of it", "user", o.name, "client", r.RemoteAddr)
		return User{}, ErrBadPasskey
	}
	return p.spendPasskey(r.Context(), c, o.name, answer.RawID, credential.Authenticator.SignCount)
}

// ownerOf is the account of a passkey, if the passkey calls it by its handle.
func (p *loginPages) ownerOf(ctx context.Context, id, handle []byte) (*owner, error) {
	name, err := p.users.PasskeyOwner(ctx, id)
	if errors.Is(err, ErrNoUser) {
		return nil, ErrBadPasskey
	}
	if err != nil {
		return nil, err
	}
	o, err := p.owner(ctx, name)
	if errors.Is(err, ErrNoUser) || err == nil && (len(o.handle) == 0 || subtle.ConstantTimeCompare(o.handle, handle) != 1) {
		return nil, ErrBadPasskey
	}
	return o, err
}

// spendPasskey uses up the challenge and the counter of an answer that is right.
func (p *loginPages) spendPasskey(ctx context.Context, c *ceremony, name string, id []byte, count uint32) (User, error) {
	first, err := p.db.spend(ctx, c.Session.Challenge, time.UnixMilli(c.Issued).Add(ceremonyLife))
	if err == nil && first {
		first, err = p.users.UsePasskey(ctx, id, count)
	}
	if err != nil {
		return User{}, err
	}
	if !first {
		return User{}, ErrBadPasskey
	}
	user, err := p.users.Get(ctx, name)
	if errors.Is(err, ErrNoUser) {
		err = ErrBadPasskey
	}
	return user, err
}

// spend remembers a challenge until it has expired, and says whether this is its first use. Only answers that are right come here, so
// strangers cannot fill the table, which is that of the codes: the name keeps a challenge from being taken for one.
func (db *DB) spend(ctx context.Context, challenge string, expires time.Time) (first bool, err error) {
	name := append([]byte("challenge "), hashCode(challenge)...)
	child := uuid.Nil
	err = db.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		const add = "INSERT INTO ticket(h, exp, child, data) VALUES(?, ?, ?, '{}') ON CONFLICT DO NOTHING"
		res, err := tx.Exec(add, name, expires.UnixMilli(), child[:])
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		first = n == 1
		return err
	})
	return first && err == nil, err
}

func (p *loginPages) passkeysPage(w http.ResponseWriter, r *http.Request) {
	if _, _, v, ok := p.sure(w, r, r.URL.Query().Get("f")); ok {
		p.showPasskeys(w, r, v, nil)
	}
}

func (p *loginPages) showPasskeys(w http.ResponseWriter, r *http.Request, v view, wrong error) {
	v.Factor.For = forEnrol
	status := http.StatusOK
	if wrong != nil {
		status, v.Error, _ = refusal(w, r, wrong)
	}
	p.show(w, r, status, "passkeys", v)
}

// passkeyAdd enrols a passkey.
func (p *loginPages) passkeyAdd(w http.ResponseWriter, r *http.Request) {
	l, f, v, ok := p.sure(w, r, r.PostForm.Get("f"))
	if !ok {
		return
	}
	err := p.enrolPasskey(r, l)
	switch {
	case err == nil:
		p.enrolled(w, r, l, f, v, eventPasskey, "/account/passkeys")
	case errors.Is(err, ErrTooMany):
		p.showPasskeys(w, r, v, ErrTooMany)
	case errors.Is(err, ErrBadPasskey) || errors.Is(err, ErrTooLate):
		p.noteRefused(r, eventPasskey+" added", l.User, err)
		p.showPasskeys(w, r, v, err)
	default:
		p.down(w, r, err)
	}
}

func (p *loginPages) enrolPasskey(r *http.Request, l *live) error {
	c, err := p.answered(r, forEnrol)
	if err != nil {
		return err
	}
	if c.User != l.User || c.Login != l.id {
		return ErrBadPasskey
	}
	rp, err := p.relyingParty(r)
	if err != nil {
		return err
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes([]byte(r.PostForm.Get("credential")))
	if err != nil {
		return errors.Join(ErrBadPasskey, err)
	}
	o := &owner{name: l.User, handle: c.Session.UserID}
	made, err := rp.CreateCredential(o, c.Session, answer)
	if err != nil {
		return errors.Join(ErrBadPasskey, err)
	}
	first, err := p.db.spend(r.Context(), c.Session.Challenge, time.UnixMilli(c.Issued).Add(ceremonyLife))
	if err != nil {
		return err
	}
	if !first {
		return ErrBadPasskey
	}
	made.Attestation = webauthn.CredentialAttestation{} // of no use without a list of makers to trust
	data, err := json.Marshal(made)
	if err != nil {
		return err
	}
	err = p.users.AddPasskey(r.Context(), l.User, o.handle, Passkey{
		ID: made.ID, Name: passkeyName(r.PostForm.Get("name")), Count: made.Authenticator.SignCount, Credential: data,
	})
	if errors.Is(err, ErrTaken) {
		return ErrBadPasskey // an id that somebody has: chance does not do that
	}
	return err
}

// passkeyName is what was typed, made short and printable.
func passkeyName(typed string) string {
	name := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return -1
		}
		return c
	}, strings.TrimSpace(typed))
	for len(name) > maxPasskeyName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

func (p *loginPages) passkeyRemove(w http.ResponseWriter, r *http.Request) {
	l, _, _, ok := p.sure(w, r, "")
	if !ok {
		return
	}
	id, err := hex.DecodeString(r.PostForm.Get("id"))
	if err == nil {
		err = p.users.RemovePasskey(r.Context(), l.User, id)
	}
	if err != nil {
		p.down(w, r, err)
		return
	}
	p.noteAccount(r, l, eventPasskey+" removed")
	redirect(w, "/account/passkeys")
}
