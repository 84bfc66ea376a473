// Package oidc asks OpenID providers who somebody is: it finds their endpoints and keys, sends browsers there and believes what comes back only
// as far as it is signed, fresh, and meant for this very login.
package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"edge/conf"
	"edge/sessions"
)

// Client is edge at one provider. It is safe for concurrent use and has nothing to close.
type Client struct {
	conf *conf.Provider
	*source
}

var _ sessions.Provider = (*Client)(nil)

// Draft makes the clients of a configuration, by name, and reads their authorities; the providers themselves are asked when somebody wants to log
// in. What old ones know of a provider is kept where its issuer and its authorities are the same. The error is one conf.Error for each
// that cannot be made.
func Draft(list []*conf.Provider, old map[string]*Client, now func() time.Time) (map[string]*Client, []*conf.Error) {
	clients := map[string]*Client{}
	var wrong []*conf.Error
	for _, p := range list {
		src, err := newSource(p, now)
		if err != nil {
			wrong = append(wrong, p.CA.Pos.Errorf("ca: %v", err))
			continue
		}
		for _, o := range old {
			if o.issuer == src.issuer && bytes.Equal(o.authorities, src.authorities) {
				src = o.source
			}
		}
		clients[p.Name] = &Client{p, src}
	}
	return clients, wrong
}

const (
	deadline = 10 * time.Second // for one question to a provider
	maxBody  = 1 << 20          // of its answer
)

// source is what is known of a provider, whoever asks.
type source struct {
	issuer      string
	authorities []byte // PEM; nil: the system's
	http        *http.Client
	now         func() time.Time

	turn  chan struct{} // who asks the provider about itself; the others wait for the answer
	known *endpoints    // nil: nobody has asked with success; changed by whose turn it is
	tried time.Time
	err   error // of the last try
}

func newSource(p *conf.Provider, now func() time.Time) (*source, error) {
	s := &source{issuer: p.Issuer, now: now, turn: make(chan struct{}, 1)}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CA.Path != "" {
		var err error
		if s.authorities, err = os.ReadFile(p.CA.Path); err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(s.authorities) {
			return nil, fmt.Errorf("%s holds no certificate", p.CA.Path)
		}
	}
	s.http = &http.Client{
		Timeout: deadline,
		// Logins are rare: no connection is kept, so there is nothing to close when the configuration changes.
		Transport: bounded{&http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}},
		// What the provider says stands at its own addresses; a redirect would lead our secret anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// bounded lets nobody make edge read for ever.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not asked without TLS", r.URL.Redacted())
	}
	answer, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = &boundedBody{answer.Body, maxBody}
	}
	return answer, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

var errLong = errors.New("the answer is too long")

func (b *boundedBody) Read(p []byte) (n int, err error) {
	if b.left == 0 {
		return 0, errLong
	}
	n, err = b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// down is sessions.ErrProviderDown with its reason, which is for the log alone.
func down(err error) error { return fmt.Errorf("%w: %w", sessions.ErrProviderDown, err) }

// notSigned is sessions.ErrNotSigned, likewise.
func notSigned(format string, args ...any) error {
	return fmt.Errorf("%w: %w", sessions.ErrNotSigned, fmt.Errorf(format, args...))
}

// get reads what stands at an address of the provider.
func (s *source) get(ctx context.Context, address, bearer string) (body []byte, kind string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("Accept", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := s.http.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s: %s", address, answer.Status)
	}
	body, err = io.ReadAll(answer.Body)
	return body, answer.Header.Get("Content-Type"), err
}
