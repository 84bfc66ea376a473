package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"edge/conf"
)

// issuer signs certificates and says what has become of them.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{key: newECDSA(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: epoch.Add(-day), NotAfter: epoch.Add(1000 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	i.cert = i.sign(t, template, template, i.key)
	return i
}

func (i *issuer) sign(t *testing.T, template, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), i.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue gives a spec of a certificate for a.test, with its issuer in the file; what OCSP says is that, if there is a template.
func (i *issuer) issue(t *testing.T, serial int64, says *ocsp.Response) *conf.Certificate {
	t.Helper()
	key, dir := newECDSA(t), t.TempDir()
	leaf := i.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"a.test"}, NotBefore: epoch.Add(-day), NotAfter: epoch.Add(900 * day),
	}, i.cert, key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spec := &conf.Certificate{
		Pos: at(1), Issuer: "files",
		Cert: conf.File{Pos: at(2), Path: writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", leaf.Raw)},
		Key:  conf.File{Pos: at(3), Path: writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", pkcs8)},
		OCSP: conf.File{Pos: at(4), Path: filepath.Join(dir, "ocsp")},
	}
	chain, _ := os.ReadFile(spec.Cert.Path)
	put(t, spec.Cert.Path, append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})...))
	if says != nil {
		put(t, spec.OCSP.Path, i.says(t, says))
	}
	return spec
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (i *issuer) says(t *testing.T, r *ocsp.Response) []byte {
	t.Helper()
	der, err := ocsp.CreateResponse(i.cert, i.cert, *r, i.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// of is what is said of a certificate for a week from epoch's eve.
func of(serial int64, status int) *ocsp.Response {
	return &ocsp.Response{SerialNumber: big.NewInt(serial), Status: status, ThisUpdate: epoch.Add(-day), NextUpdate: epoch.Add(6 * day), RevokedAt: epoch.Add(-day)}
}

// staple does a handshake and gives what came with the certificate.
func staple(t *testing.T, store *Store, version uint16) []byte {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() { defer close(done); handshake(ln, store) }()
	conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, MaxVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Close(); <-done }()
	return conn.ConnectionState().OCSPResponse
}

// What the authority says is shown if it is good now; else the certificate is shown without it, and a warning says why.
func TestOCSP(t *testing.T) {
	ca := newIssuer(t)
	future, past := of(7, ocsp.Good), of(7, ocsp.Good)
	future.ThisUpdate, past.NextUpdate = epoch.Add(time.Hour), epoch
	endless := of(7, ocsp.Good)
	endless.NextUpdate = time.Time{}
	for name, c := range map[string]struct {
		spec func() *conf.Certificate
		want string // of the warning; "": it is shown
	}{
		"good":           {func() *conf.Certificate { return ca.issue(t, 7, of(7, ocsp.Good)) }, ""},
		"without an end": {func() *conf.Certificate { return ca.issue(t, 7, endless) }, ""},
		"revoked":        {func() *conf.Certificate { return ca.issue(t, 7, of(7, ocsp.Revoked)) }, "revoked on 2026-02-28"},
		"unknown":        {func() *conf.Certificate { return ca.issue(t, 7, of(7, ocsp.Unknown)) }, "does not know"},
		"of another":     {func() *conf.Certificate { return ca.issue(t, 7, of(8, ocsp.Good)) }, "no response matching"},
		"expired":        {func() *conf.Certificate { return ca.issue(t, 7, past) }, "expired on 2026-03-01"},
		"of tomorrow":    {func() *conf.Certificate { return ca.issue(t, 7, future) }, "not valid before"},
		"by another authority": {func() *conf.Certificate {
			spec := ca.issue(t, 7, nil)
			put(t, spec.OCSP.Path, newIssuer(t).says(t, of(7, ocsp.Good)))
			return spec
		}, "signature"},
		"damaged": {func() *conf.Certificate {
			spec := ca.issue(t, 7, nil)
			put(t, spec.OCSP.Path, []byte("hello"))
			return spec
		}, "asn1"},
		"a refusal": {func() *conf.Certificate {
			spec := ca.issue(t, 7, nil)
			put(t, spec.OCSP.Path, ocsp.TryLaterErrorResponse)
			return spec
		}, "try later"},
		"no authority in the file": {func() *conf.Certificate {
			spec := ca.issue(t, 7, of(7, ocsp.Good))
			writePEM(t, spec.Cert.Path, "CERTIFICATE", parse(t, spec).Raw)
			return spec
		}, "does not hold"},
	} {
		spec := c.spec()
		store := load(t, nil, spec)
		shown, _ := os.ReadFile(spec.OCSP.Path)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			if got := staple(t, store, version); c.want == "" && string(got) != string(shown) || c.want != "" && got != nil {
				t.Errorf("%s, %s: shown %d bytes", name, tls.VersionName(version), len(got))
			}
		}
		if c.want == "" && len(store.Warnings) != 0 || c.want != "" && (len(store.Warnings) != 1 || store.Warnings[0].Pos != at(4) || !strings.Contains(store.Warnings[0].Msg, c.want)) {
			t.Errorf("%s: the warnings are %v, want %q", name, store.Warnings, c.want)
		}
	}
}

// A response is read anew when its time is over, and a missing file is a mistake.
func TestOCSPEnds(t *testing.T) {
	ca := newIssuer(t)
	spec := ca.issue(t, 7, of(7, ocsp.Good))
	end := epoch.Add(6 * day)
	if at := load(t, nil, spec).RenewAt(); !at.Equal(end) {
		t.Errorf("the next Load is to come at %v, want %v", at, end)
	}
	store, err := Load([]*conf.Certificate{spec}, nil, end)
	if err != nil || staple(t, store, 0) != nil || len(store.Warnings) != 1 {
		t.Errorf("after its end: %v, %v", err, store.Warnings)
	}
	os.Remove(spec.OCSP.Path)
	_, err = Load([]*conf.Certificate{spec}, nil, epoch)
	var mistakes conf.Errors
	if !errors.As(err, &mistakes) || len(mistakes) != 1 || mistakes[0].Pos != at(4) || !strings.Contains(mistakes[0].Msg, "no such file") {
		t.Errorf("a missing file: %v", err)
	}
}
