package upstream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// told answers with what a server sees of a request.
func told(w http.ResponseWriter, r *http.Request) {
	sni := ""
	if r.TLS != nil {
		sni = r.TLS.ServerName
	}
	fmt.Fprint(w, r.Proto, " ", sni, " ", r.Header.Get("Te"), " ", r.Header.Get("Accept-Encoding"))
}

// tlsServer is a server with the certificate of net/http/httptest, which is for example.com and 127.0.0.1.
func tlsServer(t *testing.T) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(told))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// otherServer is a server with a certificate of its own, for other.test.
func otherServer(t *testing.T) *httptest.Server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"other.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(told))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestHTTPS(t *testing.T) {
	test, other := tlsServer(t), otherServer(t)
	dir := t.TempDir()
	testCA, otherCA := filepath.Join(dir, "test.pem"), filepath.Join(dir, "other.pem")
	write(t, testCA, certificate(t, test))
	write(t, otherCA, certificate(t, other))
	for name, c := range map[string]struct {
		server         *httptest.Server
		ca, serverName string
		want           string // "": refused
	}{
		"CA":                     {test, testCA, "", "HTTP/1.1   "}, // the target's address is in the certificate
		"CA and name":            {test, testCA, "example.com", "HTTP/1.1 example.com  "},
		"CA, another name":       {test, testCA, "other.test", ""},
		"no CA":                  {test, "", "example.com", ""},
		"another CA":             {test, otherCA, "example.com", ""},
		"other, CA and name":     {other, otherCA, "other.test", "HTTP/1.1 other.test  "},
		"other, CA without name": {other, otherCA, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(c.server.URL)
			s.CA, s.TLSServerName = conf.File{Path: c.ca}, c.serverName
			got, err := try(draft(t, nil, s)[s], "/")
			var refused *tls.CertificateVerificationError
			if c.want == "" && !errors.As(err, &refused) || c.want != "" && (err != nil || got != c.want) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "up.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) }))
	up.Listener.Close()
	up.Listener = l
	up.Start()
	t.Cleanup(up.Close)
	s := spec("unix://" + path)
	u := draft(t, nil, s)[s]
	if got := ask(t, u, "/"); got != "localhost" || u.Targets()[0].Name != path {
		t.Errorf("%s got the host %q", u.Targets()[0].Name, got)
	}
	c, err := u.Targets()[0].Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// gRPC servers refuse requests without "te: trailers"; over HTTP/1 it would be a promise about the next hop only.
func TestH2C(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(told))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Config.Protocols.SetHTTP1(true)
	up.Start()
	t.Cleanup(up.Close)
	for scheme, want := range map[string]string{"h2c": "HTTP/2.0  trailers ", "http": "HTTP/1.1   "} {
		s := spec(scheme + strings.TrimPrefix(up.URL, "http"))
		if got := ask(t, draft(t, nil, s)[s], "/"); got != want {
			t.Errorf("%s: %q, want %q", scheme, got, want)
		}
	}
}

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := spec("tcp://" + l.Addr().String())
	target := draft(t, nil, s)[s].Targets()[0]
	c, err := target.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("a tunnel gets a %T, which cannot be spliced", c)
	}
	c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := target.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	l.Close()
	if _, err := target.Dial(t.Context()); err == nil {
		t.Error("nobody listens, and it connects")
	}
}

// A connection to an h2c target that was in use when the upstream was retired is closed when it carries nothing any more, and so is one that
// an exchange of before opens afterwards.
func TestRetiredH2C(t *testing.T) {
	release, begun, closed := make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-release
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	up.Start()
	t.Cleanup(up.Close)
	s := spec("h2c" + strings.TrimPrefix(up.URL, "http"))
	s.Timeouts.Idle, s.Timeouts.Response = time.Hour, time.Hour
	u := draft(t, nil, s)[s]
	for _, when := range []string{"before", "after"} {
		done := make(chan error, 1)
		go func() {
			_, err := tryH2(u.Targets()[0], "/")
			done <- err
		}()
		wait(t, "the request comes", begun)
		if when == "before" {
			u.Retire()
		}
		release <- struct{}{}
		if err := wait(t, "the request ends", done); err != nil {
			t.Errorf("one that began %s: %v", when, err)
		}
		wait(t, "the connection is closed", closed)
	}
}
