package devcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// Whoever steals the authority's key can sign what they like. Clients must not take it.
func TestStolenKeyIsBound(t *testing.T) {
	f := mustEnsure(t, t.TempDir(), hosts, epoch)
	ca := stolen(t, f)
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, c := range []struct {
		name  string
		leaf  x509.Certificate
		taken bool
	}{
		{"localhost", x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: server}, true},
		{"below .localhost", x509.Certificate{DNSNames: []string{"a.b.localhost"}, ExtKeyUsage: server}, true},
		{"another domain", x509.Certificate{DNSNames: []string{"example.org"}, ExtKeyUsage: server}, false},
		{"another domain beside ours", x509.Certificate{DNSNames: []string{"localhost", "example.org"}, ExtKeyUsage: server}, false},
		{"a name that ends alike", x509.Certificate{DNSNames: []string{"evillocalhost"}, ExtKeyUsage: server}, false},
		{"another address", x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}, ExtKeyUsage: server}, false},
		{"a neighbour address", x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 2)}, ExtKeyUsage: server}, false},
		{"another address, IPv6", x509.Certificate{IPAddresses: []net.IP{net.ParseIP("2001:db8::1")}, ExtKeyUsage: server}, false},
		{"a client", x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, false},
		{"mail", x509.Certificate{EmailAddresses: []string{"a@example.org"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}}, false},
	} {
		c.leaf.NotBefore, c.leaf.NotAfter = epoch.Add(-time.Hour), epoch.Add(time.Hour)
		cert, _ := forge(t, &c.leaf, ca)
		_, err := cert.Verify(x509.VerifyOptions{Roots: trusting(t, f), CurrentTime: epoch, KeyUsages: c.leaf.ExtKeyUsage})
		if (err == nil) != c.taken {
			t.Errorf("%s: %v, want it taken: %v", c.name, err, c.taken)
		}
	}
}

// Nor can it make an authority below it, which other verifiers may forget to bind.
func TestNoAuthorityBelow(t *testing.T) {
	f := mustEnsure(t, t.TempDir(), hosts, epoch)
	from, to := epoch.Add(-time.Hour), epoch.Add(time.Hour)
	below, key := forge(t, &x509.Certificate{NotBefore: from, NotAfter: to, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, stolen(t, f))
	leaf, _ := forge(t, &x509.Certificate{NotBefore: from, NotAfter: to, DNSNames: []string{"localhost"}}, &tls.Certificate{Leaf: below, PrivateKey: key})
	between := x509.NewCertPool()
	between.AddCert(below)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: trusting(t, f), Intermediates: between, CurrentTime: epoch}); err == nil {
		t.Error("taken")
	}
}

func stolen(t *testing.T, f Files) *tls.Certificate {
	t.Helper()
	path := filepath.Join(filepath.Dir(f.CA), "ca-key.pem")
	ca, err := tls.LoadX509KeyPair(path, path)
	if err != nil {
		t.Fatal(err)
	}
	return &ca
}

func forge(t *testing.T, template *x509.Certificate, ca *tls.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}
