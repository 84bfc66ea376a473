package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/conf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func newECDSA(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// write puts a self-signed certificate for the names, valid from a day before epoch, and its key into a new folder. The spec it gives
// names no hosts.
func write(t *testing.T, key crypto.Signer, life time.Duration, names ...string) *conf.Certificate {
	t.Helper()
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "test"},
		NotBefore: epoch.Add(-day),
		NotAfter:  epoch.Add(-day).Add(life),
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &conf.Certificate{
		Pos:    at(1),
		Issuer: "files",
		Cert:   conf.File{Pos: at(2), Path: writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", der)},
		Key:    conf.File{Pos: at(3), Path: writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", pkcs8)},
	}
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// dev gives a spec of a development certificate.
func dev(dir string, names ...string) *conf.Certificate {
	return with(&conf.Certificate{Pos: at(1), Issuer: "dev", Dir: dir}, names...)
}

// with sets the spec's hosts.
func with(spec *conf.Certificate, names ...string) *conf.Certificate {
	for i, name := range names {
		spec.Hosts = append(spec.Hosts, conf.Host{Pos: at(10 + i), Name: name})
	}
	return spec
}

// at is a place in the configuration that the tests pretend to have read.
func at(line int) conf.Pos { return conf.Pos{File: "edge.toml", Line: line, Column: 1} }

func load(t *testing.T, served []string, specs ...*conf.Certificate) *Store {
	t.Helper()
	store, err := Load(specs, served, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// parse gives the certificate of a spec as a handshake would present it.
func parse(t *testing.T, spec *conf.Certificate) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(spec.Cert.Path, spec.Key.Path)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// trusting gives the pool of a client that has imported the development authority in dir.
func trusting(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	data, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil || !pool.AppendCertsFromPEM(data) {
		t.Fatal(err)
	}
	return pool
}
