package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"edge/sessions"
)

func (c *Client) oauth(e *endpoints, trip sessions.Trip) *oauth2.Config {
	return &oauth2.Config{
		ClientID: c.conf.ClientID, ClientSecret: c.conf.ClientSecret.Reveal(), Endpoint: e.auth, RedirectURL: trip.Redirect, Scopes: c.conf.Scopes,
	}
}

// Start implements sessions.Provider: the authorization code flow, with PKCE (RFC 7636) and a nonce.
func (c *Client) Start(ctx context.Context, trip sessions.Trip) (location string, err error) {
	e, err := c.discover(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(trip.Nonce), oauth2.S256ChallengeOption(trip.Verifier)}
	if trip.Fresh { // with max_age the answer must say auth_time (OpenID Connect Core §3.1.2.1)
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return c.oauth(e, trip).AuthCodeURL(trip.State, options...), nil
}

// Finish implements sessions.Provider. The caller has compared the state.
func (c *Client) Finish(ctx context.Context, trip sessions.Trip, answer url.Values) (who sessions.Stranger, err error) {
	e, err := c.discover(ctx)
	if err != nil {
		return who, err
	}
	if err := c.from(e, answer); err != nil {
		return who, err
	}
	if reason := answer.Get("error"); reason != "" {
		return who, fmt.Errorf("%w: %.100q", sessions.ErrCanceled, reason)
	}
	code := answer.Get("code")
	if code == "" || len(answer["code"]) != 1 {
		return who, notSigned("the answer has no code, or several")
	}
	ctx = oidc.ClientContext(ctx, c.http) // which oauth2 looks for as well
	token, err := c.oauth(e, trip).Exchange(ctx, code, oauth2.VerifierOption(trip.Verifier))
	if err != nil {
		return who, exchangeError(err)
	}
	cl, err := c.idToken(ctx, e, trip, token)
	if err != nil {
		return who, err
	}
	if err := c.askMore(ctx, e, token, &cl); err != nil {
		return who, err
	}
	return c.stranger(cl)
}

// from wants an answer that names an issuer to name this one, and where the provider says that its answers do, to name one (RFC 9207): else
// the code of one provider might be told to another.
func (c *Client) from(e *endpoints, answer url.Values) error {
	named := answer["iss"]
	if len(named) == 0 && !e.names {
		return nil
	}
	if len(named) != 1 || named[0] != c.issuer {
		return notSigned("the answer is of the issuer %.200q", named)
	}
	return nil
}

// exchangeError tells a provider that refuses a code from one that does not answer. Nothing of the answer's text is kept: it may hold anything.
func exchangeError(err error) error {
	refused := (*oauth2.RetrieveError)(nil)
	if !errors.As(err, &refused) {
		return down(err)
	}
	if refused.Response != nil && refused.Response.StatusCode >= 500 {
		return down(fmt.Errorf("token endpoint: %s", refused.Response.Status))
	}
	return notSigned("the token endpoint refuses the code: %.100q", refused.ErrorCode)
}

// verify believes a token as far as the library does: signature, algorithm, issuer, audience, and expiry unless config leaves it out.
func (c *Client) verify(ctx context.Context, e *endpoints, token string, config *oidc.Config) (*oidc.IDToken, error) {
	config.ClientID, config.SupportedSigningAlgs, config.Now = c.conf.ClientID, algorithms, c.now
	keys := &heard{keySet: e.keys}
	id, err := oidc.NewVerifier(c.issuer, keys, config).Verify(ctx, token)
	switch {
	case errors.Is(keys.err, sessions.ErrProviderDown): // which the library forgets
		return nil, keys.err
	case err != nil:
		return nil, notSigned("token: %w", err)
	case id.Issuer != c.issuer: // it lets one provider off
		return nil, notSigned("token: the issuer is %.200q", id.Issuer)
	}
	return id, nil
}

// heard keeps why keys did not verify a signature.
type heard struct {
	*keySet
	err error
}

func (h *heard) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	payload, h.err = h.keySet.VerifySignature(ctx, token)
	return payload, h.err
}

// idToken believes the ID token of an answer (OpenID Connect Core §3.1.3.7).
func (c *Client) idToken(ctx context.Context, e *endpoints, trip sessions.Trip, token *oauth2.Token) (cl claims, err error) {
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return cl, notSigned("the answer has no ID token")
	}
	id, err := c.verify(ctx, e, raw, &oidc.Config{})
	if err != nil {
		return cl, err
	}
	if err := id.Claims(&cl); err != nil {
		return cl, notSigned("ID token: %w", err)
	}
	if trip.Nonce == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(trip.Nonce)) != 1 {
		return cl, notSigned("ID token: the nonce is not that of this login")
	}
	if id.Subject == "" || len(id.Subject) > maxSubject {
		return cl, notSigned("ID token: a subject of %d bytes", len(id.Subject))
	}
	if azp, given := cl["azp"]; given && azp != any(c.conf.ClientID) || !given && len(id.Audience) > 1 {
		return cl, notSigned("ID token: it is for %q, to be used by %.100v", id.Audience, cl["azp"])
	}
	if id.IssuedAt.After(c.now().Add(skew)) {
		return cl, notSigned("ID token: from the future, %v", id.IssuedAt)
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return cl, notSigned("ID token: %w", err)
		}
	}
	return cl, nil
}

// askMore asks UserInfo for what the ID token does not say: some providers say there only who it is.
func (c *Client) askMore(ctx context.Context, e *endpoints, token *oauth2.Token, cl *claims) error {
	wanted := []string{"email", "email_verified", c.conf.GroupsClaim}
	if c.conf.Create {
		wanted = append(wanted, c.usernameClaim())
	}
	lacks := func(name string) bool { return name != "" && (*cl)[name] == nil }
	if e.user == "" || !slices.ContainsFunc(wanted, lacks) {
		return nil
	}
	body, kind, err := c.get(ctx, e.user, token.AccessToken)
	if err != nil {
		return down(err)
	}
	more, err := userInfo(body, kind)
	if err != nil {
		return notSigned("UserInfo: %w", err)
	}
	if more["sub"] != (*cl)["sub"] { // OpenID Connect Core §5.3.2: else the access token was somebody else's
		return notSigned("UserInfo: it is of another subject")
	}
	if (*cl)["email"] != nil { // the address and whether it is verified are said by the same mouth
		delete(more, "email")
		delete(more, "email_verified")
	} else {
		delete(*cl, "email_verified")
	}
	for name, value := range more {
		if (*cl)[name] == nil {
			(*cl)[name] = value
		}
	}
	return nil
}
