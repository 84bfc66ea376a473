package tlsconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// signed is a certificate and its key.
type signed struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// sign makes a certificate for a client, valid for a day, signed by an authority or, without one, by itself; change may be nil.
func sign(t *testing.T, by *signed, change func(*x509.Certificate)) *signed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "client " + rand.Text()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	s := &signed{template, key}
	if by == nil {
		by = s
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

// authority is one that others, or it itself, have signed.
func authority(t *testing.T, by *signed) *signed {
	return sign(t, by, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	})
}

// file writes certificates into a file of their own.
func file(t *testing.T, certs ...*signed) conf.File {
	t.Helper()
	var data []byte
	for _, c := range certs {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})...)
	}
	return write(t, data)
}

func write(t *testing.T, data []byte) conf.File {
	t.Helper()
	f := conf.File{Pos: conf.Pos{File: "edge.toml", Line: 7, Column: 1}, Path: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(f.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func policy(t *testing.T, spec conf.TLSPolicy) *Policy {
	t.Helper()
	p, err := new(Policies).Load(spec)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// asking is a policy that asks for certificates that one of these signed.
func asking(t *testing.T, auth conf.ClientAuth, cas ...*signed) *Policy {
	return policy(t, conf.TLSPolicy{MinVersion: "1.2", ClientAuth: auth, ClientCA: []conf.File{file(t, cas...)}})
}

// showing makes a client that shows a certificate whatever it is asked for; nil: none.
func (s *signed) showing(c *tls.Config) {
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if s == nil {
			return new(tls.Certificate), nil
		}
		return &tls.Certificate{Certificate: [][]byte{s.cert.Raw}, PrivateKey: s.key}, nil
	}
}

func TestMinVersion(t *testing.T) {
	id, tickets := newIdentity(t), load(t, t.TempDir(), time.Now())
	server := serving(Server(id.get, tickets, policy(t, conf.TLSPolicy{MinVersion: "1.3"})))
	if r := shake(t, server, id.client(only(tls.VersionTLS12))); !isAlert(r.clientErr, alertProtocolVersion) {
		t.Errorf("1.2: %v", r.clientErr)
	}
	if r := shake(t, server, id.client(nil)); r.clientErr != nil || r.server.Version != tls.VersionTLS13 {
		t.Errorf("1.3: %v", r.clientErr)
	}
}

func TestClientCertificates(t *testing.T) {
	id, tickets := newIdentity(t), load(t, t.TempDir(), time.Now())
	ca, other := authority(t, nil), authority(t, nil)
	clients := map[string]*signed{
		"none": nil, "good": sign(t, ca, nil), "another authority's": sign(t, other, nil), "its own": sign(t, nil, nil),
		"expired":    sign(t, ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
		"a server's": sign(t, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
	}
	for auth, taken := range map[conf.ClientAuth]map[string]bool{
		conf.RequiredClientAuth: {"good": true},
		conf.OptionalClientAuth: {"good": true, "none": true},
		conf.NoClientAuth:       {"good": true, "none": true, "another authority's": true, "its own": true, "expired": true, "a server's": true},
	} {
		server := serving(Server(id.get, tickets, asking(t, auth, ca)))
		for name, client := range clients {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				r := shake(t, server, id.client(func(c *tls.Config) { client.showing(c); only(version)(c) }))
				if (r.clientErr == nil) != taken[name] || (r.serverErr == nil) != taken[name] {
					t.Errorf("%s, %s, %s: client %v, server %v", auth, name, tls.VersionName(version), r.clientErr, r.serverErr)
				}
				known := name == "good" && auth != conf.NoClientAuth
				if taken[name] && len(r.server.VerifiedChains) > 0 != known {
					t.Errorf("%s, %s: known %v", auth, name, !known)
				}
			}
		}
	}
}

// A session never resumes into what its client could not have had in a handshake of its own: not by a ticket of another policy, nor by one from
// before an authority was removed (GO-2026-4337, CVE-2025-23419).
func TestResumeIntoAnotherPolicy(t *testing.T) {
	id, tickets := newIdentity(t), load(t, t.TempDir(), time.Now())
	root, other := authority(t, nil), authority(t, nil)
	below := authority(t, root)
	good, others, deep := sign(t, root, nil), sign(t, other, nil), sign(t, below, nil)
	required, optional := asking(t, conf.RequiredClientAuth, root), asking(t, conf.OptionalClientAuth, root)
	public := asking(t, conf.NoClientAuth, root)
	for _, c := range []struct {
		name           string
		first, second  *Policy
		client         *signed
		taken, resumed bool
		known          bool // the server knows the client
	}{
		{"the same", required, required, good, true, true, true},
		{"the same, read again", required, asking(t, conf.RequiredClientAuth, root), good, true, true, true},
		{"an authority more", required, asking(t, conf.RequiredClientAuth, other, root), good, true, true, true},
		{"an authority less", asking(t, conf.RequiredClientAuth, other, root), required, others, false, false, false},
		{"an authority less, optional", asking(t, conf.OptionalClientAuth, other, root), optional, others, false, false, false},
		{"another authority", required, asking(t, conf.RequiredClientAuth, other), good, false, false, false},
		{"from a public one, without a certificate", public, required, nil, false, false, false},
		{"from a public one", public, required, good, true, false, true},
		{"from an optional one, without a certificate", optional, required, nil, false, false, false},
		{"from an optional one", optional, required, good, true, true, true},
		{"from one that takes others", asking(t, conf.OptionalClientAuth, other, root), required, others, false, false, false},
		{"to an optional one", required, optional, good, true, true, true},
		{"to an optional one that knows others", required, asking(t, conf.OptionalClientAuth, other), good, false, false, false},
		{"to a public one", required, public, good, true, false, false},
		{"public ones", public, policy(t, conf.TLSPolicy{MinVersion: "1.3"}), nil, true, true, false},
		// Its chain begins at an authority that root has signed: enough for crypto/tls, though no client without the chain would be taken.
		{"the authority above", asking(t, conf.RequiredClientAuth, below), required, deep, false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := id.client(func(cfg *tls.Config) {
				cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4)
				c.client.showing(cfg)
			})
			if r := shake(t, serving(Server(id.get, tickets, c.first)), client); r.clientErr != nil || r.serverErr != nil || r.client.DidResume {
				t.Fatalf("the first: client %v, server %v", r.clientErr, r.serverErr)
			}
			r := shake(t, serving(Server(id.get, tickets, c.second)), client)
			if (r.clientErr == nil) != c.taken || (r.serverErr == nil) != c.taken {
				t.Fatalf("the second: client %v, server %v; want it taken: %v", r.clientErr, r.serverErr, c.taken)
			}
			if c.taken && (r.server.DidResume != c.resumed || len(r.server.VerifiedChains) > 0 != c.known) {
				t.Errorf("resumed %v, known %v; want %v, %v", r.server.DidResume, len(r.server.VerifiedChains) > 0, c.resumed, c.known)
			}
		})
	}
}

// A certificate that has expired since is none, whatever the session says.
func TestVerifyNow(t *testing.T) {
	ca := authority(t, nil)
	client := sign(t, ca, nil)
	state := tls.ConnectionState{DidResume: true, PeerCertificates: []*x509.Certificate{client.cert}, VerifiedChains: [][]*x509.Certificate{{client.cert, ca.cert}}}
	p := asking(t, conf.OptionalClientAuth, ca)
	if err := p.verify(state, time.Now()); err != nil {
		t.Error(err)
	}
	var invalid x509.CertificateInvalidError
	if err := p.verify(state, client.cert.NotAfter.Add(time.Second)); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("after its end: %v", err)
	}
	if err := asking(t, conf.RequiredClientAuth, ca).verify(tls.ConnectionState{}, time.Now()); err == nil {
		t.Error("no certificate, and one is required")
	}
}

// Whatever a policy asks, the key exchange is the one that holds against quantum computers.
func TestKeyExchangeOfPolicies(t *testing.T) {
	id, tickets, ca := newIdentity(t), load(t, t.TempDir(), time.Now()), authority(t, nil)
	client := sign(t, ca, nil)
	for _, p := range []*Policy{asking(t, conf.RequiredClientAuth, ca), policy(t, conf.TLSPolicy{MinVersion: "1.3", ALPN: []string{"h2"}})} {
		r := shake(t, serving(Server(id.get, tickets, p)), id.client(client.showing))
		if r.clientErr != nil || r.client.CurveID != tls.X25519MLKEM768 || r.server.CurveID != tls.X25519MLKEM768 {
			t.Errorf("%v, %v", r.client.CurveID, r.clientErr)
		}
	}
}

func TestIDs(t *testing.T) {
	a, b := authority(t, nil), authority(t, nil)
	required := func(files ...conf.File) conf.TLSPolicy {
		return conf.TLSPolicy{MinVersion: "1.2", ClientAuth: conf.RequiredClientAuth, ClientCA: files, ALPN: []string{"h2"}}
	}
	same := policy(t, required(file(t, a, b))).ID()
	for i, spec := range []conf.TLSPolicy{required(file(t, b), file(t, a)), required(file(t, a, a, b)), required(file(t, b, a))} {
		if policy(t, spec).ID() != same {
			t.Errorf("%d: another policy", i)
		}
	}
	seen := map[ID]int{same: -1}
	optional, version, protocol := required(file(t, a, b)), required(file(t, a, b)), required(file(t, a, b))
	optional.ClientAuth, version.MinVersion, protocol.ALPN = conf.OptionalClientAuth, "1.3", []string{"http/1.1"}
	byDefault := (&conf.Listener{Protocol: conf.HTTPS}).TLSPolicy(nil)
	for i, spec := range []conf.TLSPolicy{required(file(t, a)), required(file(t, b)), optional, version, protocol, byDefault} {
		id := policy(t, spec).ID()
		if was, ok := seen[id]; ok {
			t.Errorf("%d and %d are the same policy", was, i)
		}
		seen[id] = i
	}
	if policy(t, byDefault).ID() != (ID{}) {
		t.Error("where the configuration says nothing the policy has an ID")
	}
	ps := new(Policies)
	one, err := ps.Load(required(file(t, a)))
	two, err2 := ps.Load(required(file(t, a)))
	if one != two || err != nil || err2 != nil {
		t.Error("a policy is made twice")
	}
}

// Every file that is wrong is told of, with its place.
func TestClientCAMistakes(t *testing.T) {
	ca := authority(t, nil)
	good, err := os.ReadFile(file(t, ca).Path)
	if err != nil {
		t.Fatal(err)
	}
	missing := conf.File{Pos: conf.Pos{File: "edge.toml", Line: 9, Column: 3}, Path: "/nowhere/ca.pem"}
	for want, bad := range map[string]conf.File{
		"edge.toml:9:3: client_ca /nowhere/ca.pem: no such file": missing,
		"no certificate in it": write(t, []byte("hello")),
		"malformed":            write(t, append(good, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...)),
		"edge.toml:7:1: client_ca " + filepath.Dir(missing.Path): {Pos: conf.Pos{File: "edge.toml", Line: 7, Column: 1}, Path: "/nowhere"},
	} {
		p, err := new(Policies).Load(conf.TLSPolicy{MinVersion: "1.2", ClientAuth: conf.RequiredClientAuth, ClientCA: []conf.File{file(t, ca), bad, missing}})
		var mistakes conf.Errors
		if p != nil || !errors.As(err, &mistakes) || len(mistakes) != 2 || !strings.Contains(mistakes[0].Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A handshake makes no settings: it gets those that were made with the configuration.
func TestForMakesNothing(t *testing.T) {
	s := Server(newIdentity(t).get, load(t, t.TempDir(), time.Now()), asking(t, conf.RequiredClientAuth, authority(t, nil)))
	for _, hello := range []*tls.ClientHelloInfo{{SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12}}, {SupportedVersions: []uint16{tls.VersionTLS12}}} {
		first := s.For(hello)
		if n := testing.AllocsPerRun(100, func() { s.For(hello) }); n != 0 || s.For(hello) != first {
			t.Errorf("%v: %v allocations, or other settings", hello.SupportedVersions, n)
		}
	}
}
