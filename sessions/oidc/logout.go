package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"edge/sessions"
)

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutLife  = 5 * time.Minute // a logout token without an expiry is believed for so long; one with a later one as well
	maxID       = 200             // bytes of a token's id or a session's
)

// logoutClaims are what of a logout token go-oidc does not check.
type logoutClaims struct {
	ID      string                     `json:"jti"`
	Subject string                     `json:"sub"`
	Session string                     `json:"sid"`
	Nonce   json.RawMessage            `json:"nonce"`
	Issued  *float64                   `json:"iat"`
	Expires *float64                   `json:"exp"`
	Events  map[string]json.RawMessage `json:"events"`
}

// LoggedOut implements sessions.Provider (OpenID Connect Back-Channel Logout 1.0 §2.6). That a token comes once is the caller's to see to.
func (c *Client) LoggedOut(ctx context.Context, token string) (bye sessions.Farewell, err error) {
	e, err := c.discover(ctx)
	if err != nil {
		return bye, err
	}
	// An expiry is not of every provider's tokens (it became required late), so it is looked at below.
	id, err := c.verify(ctx, e, token, &oidc.Config{SkipExpiryCheck: true})
	if err != nil {
		return bye, err
	}
	var cl logoutClaims
	if err := errors.Join(id.Claims(&cl), typeOf(token)); err != nil {
		return bye, notSigned("logout token: %w", err)
	}
	until, err := c.life(cl)
	if err != nil {
		return bye, notSigned("logout token: %w", err)
	}
	if err := cl.check(); err != nil {
		return bye, notSigned("logout token: %w", err)
	}
	bye.Origin = sessions.Origin{Issuer: c.issuer, Subject: cl.Subject, Session: cl.Session}
	bye.ID, bye.Expires = cl.ID, until.UnixMilli()
	return bye, nil
}

// check wants all that tells a logout token from others, an ID token above all (§2.4).
func (cl logoutClaims) check() error {
	var event map[string]json.RawMessage
	switch {
	case cl.Nonce != nil:
		return errors.New("it has a nonce, as an ID token")
	case json.Unmarshal(cl.Events[logoutEvent], &event) != nil:
		return errors.New("it tells of another event")
	case cl.ID == "" || len(cl.ID) > maxID:
		return errors.New("it has no jti, or a long one")
	case cl.Subject == "" && cl.Session == "" || len(cl.Subject) > maxSubject || len(cl.Session) > maxID:
		return errors.New("it does not say who")
	}
	return nil
}

// life is until when a token is believed.
func (c *Client) life(cl logoutClaims) (until time.Time, err error) {
	if cl.Issued == nil {
		return until, errors.New("it does not say when it was issued")
	}
	now, issued := c.now(), time.Unix(int64(*cl.Issued), 0)
	until = issued.Add(logoutLife)
	if cl.Expires != nil && time.Unix(int64(*cl.Expires), 0).Before(until) {
		until = time.Unix(int64(*cl.Expires), 0)
	}
	if issued.After(now.Add(skew)) || !now.Before(until.Add(skew)) {
		return until, errors.New("it is too old, or from the future")
	}
	return until.Add(skew), nil
}

// typeOf lets through what is a logout token by its header, or says nothing of it (§2.4).
func typeOf(token string) error {
	signed, err := jose.ParseSignedCompact(token, joseAlgorithms())
	if err != nil {
		return err
	}
	switch kind, _ := signed.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string); strings.ToLower(kind) {
	case "", "jwt", "logout+jwt", "application/logout+jwt":
		return nil
	}
	return errors.New("its type is another")
}
