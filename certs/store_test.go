package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"edge/conf"
)

// present does a handshake over loopback, at the server's address ip, and gives the certificate that the client was shown.
func present(t *testing.T, store *Store, ip string, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { handshake(ln, store) })
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Client(raw, client)
	if err := conn.Handshake(); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

func handshake(ln net.Listener, store *Store) {
	raw, err := ln.Accept()
	if err != nil {
		return
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	conn := tls.Server(raw, &tls.Config{GetCertificate: store.Get})
	conn.Handshake()
	conn.Read(make([]byte, 1)) // until the client hangs up
}

// asking gives a client that asks for the name and takes what comes.
func asking(name string) *tls.Config { return &tls.Config{ServerName: name, InsecureSkipVerify: true} }

func TestChoice(t *testing.T) {
	first := write(t, newECDSA(t), 90*day, "first.test")
	exact := write(t, newECDSA(t), 90*day, "A.test", "www.a.test")
	wild := write(t, newECDSA(t), 90*day, "*.a.test")
	loopback := write(t, newECDSA(t), 90*day, "127.0.0.1", "::1")
	narrow := with(write(t, newECDSA(t), 90*day, "in.test", "out.test"), "in.test")
	store := load(t, nil, first, exact, wild, loopback, narrow)
	names := map[string]*x509.Certificate{
		"first": parse(t, first), "exact": parse(t, exact), "wild": parse(t, wild), "loopback": parse(t, loopback), "narrow": parse(t, narrow),
	}
	for _, c := range []struct{ ip, sni, want string }{
		{"127.0.0.1", "first.test", "first"},
		{"127.0.0.1", "a.test", "exact"},
		{"127.0.0.1", "A.Test", "exact"},
		{"127.0.0.1", "www.a.test", "exact"},
		{"127.0.0.1", "x.a.test", "wild"},
		{"127.0.0.1", "X.A.TEST", "wild"},
		{"127.0.0.1", "x.y.a.test", ""}, // a wildcard is one label
		{"127.0.0.1", "unknown.test", ""},
		{"127.0.0.1", "test", ""},
		{"127.0.0.1", "in.test", "narrow"},
		{"127.0.0.1", "out.test", ""}, // it is for the hosts that the configuration says
		{"127.0.0.1", "", "loopback"},
		{"::1", "", "loopback"},
		{"127.0.0.2", "", "first"},
	} {
		got, err := present(t, store, c.ip, asking(c.sni))
		switch {
		case c.want == "" && !isUnrecognizedName(err):
			t.Errorf("%q: %v, want unrecognized_name", c.sni, err)
		case c.want != "" && (err != nil || !got.Equal(names[c.want])):
			t.Errorf("%q at %s: not %s; %v", c.sni, c.ip, c.want, err)
		}
	}
}

// Some clients send an address as the name, though RFC 6066 section 3 forbids it: that names nothing.
func TestAddressAsName(t *testing.T) {
	store := load(t, nil, write(t, newECDSA(t), 90*day, "a.test"))
	for _, sni := range []string{"127.0.0.1", "::1"} {
		if cert, err := store.Get(&tls.ClientHelloInfo{ServerName: sni}); cert == nil || err != nil {
			t.Errorf("%s: %v, %v", sni, cert, err)
		}
	}
}

func isUnrecognizedName(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == tls.AlertError(112).Error()
}

// crypto/tls refuses a name with a last dot (RFC 6066 3) before it asks us; QUIC's may not.
func TestLastDot(t *testing.T) {
	store := load(t, nil, write(t, newECDSA(t), 90*day, "a.test"))
	if cert, err := store.Get(&tls.ClientHelloInfo{ServerName: "a.test."}); cert == nil || err != nil {
		t.Errorf("%v, %v", cert, err)
	}
}

func TestNoCertificates(t *testing.T) {
	store := load(t, nil)
	for _, name := range []string{"", "a.test"} {
		if _, err := present(t, store, "127.0.0.1", asking(name)); !isUnrecognizedName(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A client that knows no ECDSA gets the RSA certificate of the name, whichever way it asks and whichever stands first; all others get the ECDSA one.
func TestKindOfKey(t *testing.T) {
	ec, rs := write(t, newECDSA(t), 90*day, "a.test", "*.a.test", "127.0.0.1"), write(t, newRSA(t), 90*day, "a.test", "*.a.test", "127.0.0.1")
	ec.Default = true
	old := func(name string) *tls.Config {
		c := asking(name)
		c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		return c
	}
	for _, store := range []*Store{load(t, nil, ec, rs), load(t, nil, rs, ec)} {
		for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
			for _, name := range []string{"a.test", "x.a.test", "unknown.test", ""} {
				if got, err := present(t, store, ip, asking(name)); err != nil || !got.Equal(parse(t, ec)) {
					t.Errorf("%q at %s: not the ECDSA one; %v", name, ip, err)
				}
				if got, err := present(t, store, ip, old(name)); err != nil || !got.Equal(parse(t, rs)) {
					t.Errorf("%q at %s, without ECDSA: not the RSA one; %v", name, ip, err)
				}
			}
		}
	}
}

// The default certificate is for names that none is for, and only for those.
func TestDefault(t *testing.T) {
	first, byDefault := write(t, newECDSA(t), 90*day, "a.test"), with(write(t, newECDSA(t), 90*day, "b.test", "*.b.test"), "b.test")
	byDefault.Default = true
	store := load(t, nil, first, byDefault)
	for name, want := range map[string]*conf.Certificate{"a.test": first, "b.test": byDefault, "x.b.test": byDefault, "c.test": byDefault, "": first} {
		if got, err := present(t, store, "127.0.0.1", asking(name)); err != nil || !got.Equal(parse(t, want)) {
			t.Errorf("%q: not the right one; %v", name, err)
		}
	}
	if !store.HasDefault() || store.Covers("c.test") || load(t, nil, first).HasDefault() {
		t.Error("the store does not know whether it has a default, or takes it for a name's own")
	}
}

// What the development certificate is for: a client that trusts the authority reaches every host that is served.
func TestDevIsTrusted(t *testing.T) {
	dir := t.TempDir()
	spec := dev(dir, "localhost", "*.localhost", "127.0.0.1", "::1")
	store := load(t, []string{"wiki.localhost", "*.wiki.localhost", "login.localhost"}, spec)
	roots := trusting(t, dir)
	for _, name := range []string{"localhost", "wiki.localhost", "x.wiki.localhost", "login.localhost"} {
		client := &tls.Config{RootCAs: roots, ServerName: name, Time: func() time.Time { return epoch }}
		if _, err := present(t, store, "127.0.0.1", client); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		client := &tls.Config{RootCAs: roots, ServerName: ip, Time: func() time.Time { return epoch }}
		if _, err := present(t, store, ip, client); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
}

func TestGetIsSafeConcurrently(t *testing.T) {
	store := load(t, nil, write(t, newECDSA(t), 90*day, "a.test"), write(t, newRSA(t), 90*day, "a.test"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				store.Get(&tls.ClientHelloInfo{ServerName: "A.test", SupportedVersions: []uint16{tls.VersionTLS13}})
			}
		})
	}
	wg.Wait()
}
