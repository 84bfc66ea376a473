package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// writePair puts a self-signed certificate for a.test, valid from a day before now for so long, and its key into dir.
func writePair(t *testing.T, dir, name string, from time.Time, life time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name + ".test"}, NotBefore: from, NotAfter: from.Add(life)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: cert}, name + ".key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What only the files beside the configuration show is told like all else: the place, the line, a caret; in the order of the files.
func TestCheckExplains(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a", time.Now().Add(-time.Hour), 2*time.Hour)
	writePair(t, dir, "b", time.Now().Add(-time.Hour), 2*time.Hour)
	for name, text := range map[string]string{
		"edge.toml": `include = "vhosts.d/*"
state_dir = "state"
log = { access = "nowhere/access.log" }
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[certificate]]
cert = "a.pem"
key = "b.key"
[[certificate]]
cert = "none.pem"
key = "none.key"
`,
		"vhosts.d/a": `[[vhost]]
hosts = "a.test"
	files = "site" # a folder
[[vhost]]
hosts = "b.test"
files = "a"
[[vhost]]
hosts = "c.test"
proxy = "app"
[[upstream]]
name = "app"
targets = "https://127.0.0.1"
tls = { server_name = "app", ca = "ca.pem" }
`,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	cfg, err := conf.Load("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	var mistakes conf.Errors
	if err := Check(cfg); !errors.As(err, &mistakes) {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(`edge.toml:3:18: access: stat DIR/nowhere: no such file or directory
    log = { access = "nowhere/access.log" }
                     ^
edge.toml:10:7: key DIR/b.key does not go with the certificate DIR/a.pem: private key does not match public key
    key = "b.key"
          ^
edge.toml:12:8: certificate DIR/none.pem: no such file or directory
    cert = "none.pem"
           ^
edge.toml:13:7: key DIR/none.key: no such file or directory
    key = "none.key"
          ^
vhosts.d/a:3:10: files: stat DIR/vhosts.d/site: no such file or directory
    	files = "site" # a folder
    	        ^
vhosts.d/a:6:9: files: DIR/vhosts.d/a is no folder
    files = "a"
            ^
vhosts.d/a:13:35: ca: open DIR/vhosts.d/ca.pem: no such file or directory
    tls = { server_name = "app", ca = "ca.pem" }
                                      ^`, "DIR", dir)
	if got := mistakes.Explain(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// A certificate out of its time is no mistake, but a warning at its place.
func TestCheckWarnsOfTimes(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	writePair(t, dir, "old", now.Add(-48*time.Hour), 24*time.Hour)
	writePair(t, dir, "new", now.Add(24*time.Hour), 24*time.Hour)
	cfg := load(t, dir, "", base+"[[certificate]]\ncert = \"old.pem\"\nkey = \"old.key\"\n[[certificate]]\ncert = \"new.pem\"\nkey = \"new.key\"\n")
	if err := Check(cfg); err != nil {
		t.Fatal(err)
	}
	date := func(after time.Duration) string { return now.Add(after).UTC().Format(time.DateOnly) }
	want := []string{
		fmt.Sprintf("%s/edge.toml:15:8: certificate %[1]s/old.pem for old.test has expired on %s", dir, date(-24*time.Hour)),
		fmt.Sprintf("%s/edge.toml:18:8: certificate %[1]s/new.pem for new.test is not valid before %s", dir, date(24*time.Hour)),
	}
	if len(cfg.Warnings) != 2 {
		t.Fatalf("%v", cfg.Warnings)
	}
	for i, w := range cfg.Warnings {
		if !strings.HasPrefix(w.Explain(), want[i]) || !strings.Contains(w.Explain(), "\n    cert = \"") || !strings.HasSuffix(w.Explain(), "\n           ^") {
			t.Errorf("got:\n%s\nwant:\n%s", w.Explain(), want[i])
		}
	}
}
