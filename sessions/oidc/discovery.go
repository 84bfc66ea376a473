package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	fresh  = 24 * time.Hour  // for so long a provider is not asked about itself again
	pause  = 5 * time.Second // after a try that failed
	behind = time.Minute     // after one that failed while what was said before still does
)

// endpoints is what a provider says of itself.
type endpoints struct {
	at    time.Time
	auth  oauth2.Endpoint
	user  string // of UserInfo; "": none
	names bool   // its answers name the issuer (RFC 9207)
	keys  *keySet
}

// metadata is what of the discovery document go-oidc does not give.
type metadata struct {
	JWKS    string   `json:"jwks_uri"`
	Methods []string `json:"token_endpoint_auth_methods_supported"`
	Names   bool     `json:"authorization_response_iss_parameter_supported"`
	Issuer  string   `json:"issuer"`
}

// discover gives what the provider says of itself. It asks when nobody has, or long ago; while it does not answer, what it said before holds,
// and who comes soon after a failure hears of that one: a provider that is down is not asked by every visitor.
func (s *source) discover(ctx context.Context) (*endpoints, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, down(ctx.Err())
	}
	now := s.now()
	wait := pause
	if s.known != nil {
		if now.Sub(s.known.at) < fresh {
			return s.known, nil
		}
		wait = behind
	}
	if s.err == nil || now.Sub(s.tried) >= wait {
		found, err := s.ask(ctx)
		switch {
		case err == nil:
			s.known, s.err = found, nil
			return found, nil
		case ctx.Err() == nil: // else who asked has left
			s.tried, s.err = now, err
		case s.known == nil:
			return nil, down(err)
		}
	}
	if s.known != nil {
		return s.known, nil
	}
	return nil, down(s.err)
}

// ask reads the discovery document, whose issuer must be the one that is configured.
func (s *source) ask(ctx context.Context) (*endpoints, error) {
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, s.http), s.issuer)
	if err != nil {
		return nil, err
	}
	var m metadata
	if err := p.Claims(&m); err != nil {
		return nil, err
	}
	if m.Issuer != s.issuer {
		return nil, fmt.Errorf("the issuer is %q", m.Issuer)
	}
	found := &endpoints{at: s.now(), auth: p.Endpoint(), user: p.UserInfoEndpoint(), names: m.Names}
	// Said outright: the library would try one way and then the other, and a code works once.
	found.auth.AuthStyle = oauth2.AuthStyleInHeader
	if len(m.Methods) > 0 && !slices.Contains(m.Methods, "client_secret_basic") {
		found.auth.AuthStyle = oauth2.AuthStyleInParams
	}
	for _, address := range []string{found.auth.AuthURL, found.auth.TokenURL, m.JWKS} {
		if err := secure(address); err != nil {
			return nil, err
		}
	}
	if found.user != "" && secure(found.user) != nil {
		found.user = ""
	}
	found.keys = &keySet{source: s, address: m.JWKS}
	if s.known != nil && s.known.keys.address == m.JWKS {
		found.keys = s.known.keys
	}
	return found, nil
}

func secure(address string) error {
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" {
		return errors.New("an endpoint is not below https: " + address)
	}
	return nil
}
