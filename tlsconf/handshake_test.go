package tlsconf

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/certs/devcert"
	"edge/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// identity is a certificate for localhost and who trusts it.
type identity struct {
	cert  tls.Certificate
	roots *x509.CertPool
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	f, err := devcert.Ensure(t.TempDir(), []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id := identity{f.Certificate, x509.NewCertPool()}
	data, err := os.ReadFile(f.CA)
	if err != nil || !id.roots.AppendCertsFromPEM(data) {
		t.Fatalf("%s: %v", f.CA, err)
	}
	return id
}

func (id identity) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &id.cert, nil }

// plain serves by a policy that asks nothing of its clients but one of these protocols.
func plain(get GetCertificate, tickets *Tickets, alpn ...string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	p, err := new(Policies).Load(conf.TLSPolicy{MinVersion: "1.2", ClientAuth: conf.NoClientAuth, ALPN: alpn})
	if err != nil {
		panic(err)
	}
	return serving(Server(get, tickets, p))
}

func serving(s *Settings) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return s.For(hello), nil }
}

// client gives the settings of a client; change may be nil.
func (id identity) client(change func(*tls.Config)) *tls.Config {
	c := &tls.Config{RootCAs: id.roots, ServerName: "localhost"}
	if change != nil {
		change(c)
	}
	return c
}

// result is what a handshake came to on both sides.
type result struct {
	client, server       tls.ConnectionState
	clientErr, serverErr error
	fromServer           []byte // what the server sent, as it went over the wire
}

// shake does a handshake over loopback, and reads a byte after it, so that the client has the tickets that came along.
func shake(t *testing.T, settings func(*tls.ClientHelloInfo) (*tls.Config, error), client *tls.Config) (r result) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.server, r.serverErr = serveOne(ln, settings)
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	tap := &tapped{Conn: raw}
	conn := tls.Client(tap, client)
	_, r.clientErr = io.ReadFull(conn, make([]byte, 1))
	r.client, r.fromServer = conn.ConnectionState(), tap.read.Bytes()
	conn.Close()
	<-served
	return r
}

func serveOne(ln net.Listener, settings func(*tls.ClientHelloInfo) (*tls.Config, error)) (tls.ConnectionState, error) {
	raw, err := ln.Accept()
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Server(raw, &tls.Config{GetConfigForClient: settings})
	_, err = conn.Write([]byte("x"))
	io.Copy(io.Discard, conn) // the client hangs up first: a reset would lose the alert
	return conn.ConnectionState(), err
}

// tapped remembers what was read through it.
type tapped struct {
	net.Conn
	read bytes.Buffer
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Write(p[:n])
	return n, err
}

func load(t *testing.T, stateDir string, now time.Time) *Tickets {
	t.Helper()
	tickets, err := LoadTickets(stateDir, now)
	if err != nil {
		t.Fatal(err)
	}
	return tickets
}

func only(version uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
}

const alertProtocolVersion, alertUnrecognizedName, alertNoApplicationProtocol = tls.AlertError(70), tls.AlertError(112), tls.AlertError(120)

// isAlert says whether the peer's alert a is what ended the handshake.
func isAlert(err error, a tls.AlertError) bool {
	var op *net.OpError // "remote error", around an alert of an unexported type that prints like the exported one
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == a.Error()
}

func TestVersions(t *testing.T) {
	id := newIdentity(t)
	server := plain(id.get, load(t, t.TempDir(), time.Now()), "h2")
	for version, taken := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		r := shake(t, server, id.client(only(version)))
		switch {
		case taken && (r.clientErr != nil || r.server.Version != version):
			t.Errorf("%s: got %s, %v", tls.VersionName(version), tls.VersionName(r.server.Version), r.clientErr)
		case !taken && !isAlert(r.clientErr, alertProtocolVersion):
			t.Errorf("%s: %v", tls.VersionName(version), r.clientErr)
		}
	}
}

// A TLS 1.2 client is told that the server could have done better: it would end the handshake if it had asked for that.
func TestDowngradeIsMarked(t *testing.T) {
	id := newIdentity(t)
	r := shake(t, plain(id.get, load(t, t.TempDir(), time.Now())), id.client(only(tls.VersionTLS12)))
	if r.clientErr != nil || !bytes.Contains(r.fromServer, []byte("DOWNGRD\x01")) {
		t.Errorf("the ServerHello has no mark; %v", r.clientErr)
	}
}

func TestSuites(t *testing.T) {
	id := newIdentity(t)
	server := plain(id.get, load(t, t.TempDir(), time.Now()))
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if suite.SupportedVersions[0] == tls.VersionTLS13 || !bytes.Contains([]byte(suite.Name), []byte("ECDSA")) {
			continue
		}
		r := shake(t, server, id.client(func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{suite.ID} }))
		good := bytes.Contains([]byte(suite.Name), []byte("GCM")) || bytes.Contains([]byte(suite.Name), []byte("POLY1305"))
		if (r.clientErr == nil) != good {
			t.Errorf("%s: %v", suite.Name, r.clientErr)
		}
	}
	if r := shake(t, server, id.client(nil)); r.server.CurveID != tls.X25519MLKEM768 {
		t.Errorf("key exchange by %v, want the one that holds against quantum computers", r.server.CurveID)
	}
}

func TestProtocols(t *testing.T) {
	id := newIdentity(t)
	tickets := load(t, t.TempDir(), time.Now())
	for _, c := range []struct {
		server, client []string
		want           string
		refused        bool
	}{
		{server: []string{"h2", "http/1.1"}, client: []string{"http/1.1", "h2"}, want: "h2"},
		{server: []string{"h2", "http/1.1"}, client: []string{"http/1.1"}, want: "http/1.1"},
		{server: []string{"h2", "http/1.1"}, client: []string{"spdy/3", "http/1.1"}, want: "http/1.1"},
		{server: []string{"h2", "http/1.1"}, client: nil, want: ""},
		{server: []string{"h2", "http/1.1"}, client: []string{"imap"}, refused: true},
		{server: nil, client: []string{"imap"}, want: ""},
		{server: nil, client: nil, want: ""},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			r := shake(t, plain(id.get, tickets, c.server...), id.client(func(cfg *tls.Config) {
				cfg.NextProtos = c.client
				only(version)(cfg)
			}))
			switch {
			case c.refused && !isAlert(r.clientErr, alertNoApplicationProtocol):
				t.Errorf("%s, %q to %q: %v, want a refusal", tls.VersionName(version), c.client, c.server, r.clientErr)
			case !c.refused && (r.clientErr != nil || r.client.NegotiatedProtocol != c.want):
				t.Errorf("%s, %q to %q: %q, %v; want %q", tls.VersionName(version), c.client, c.server, r.client.NegotiatedProtocol, r.clientErr, c.want)
			}
		}
	}
}

func TestNoCertificateIsUnrecognizedName(t *testing.T) {
	id := newIdentity(t)
	none := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	server := plain(none, load(t, t.TempDir(), time.Now()))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if r := shake(t, server, id.client(only(version))); !isAlert(r.clientErr, alertUnrecognizedName) {
			t.Errorf("%s: %v", tls.VersionName(version), r.clientErr)
		}
	}
}
