package devcert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hosts = []string{"localhost", "*.localhost", "wiki.localhost", "127.0.0.1", "::1"}
)

const day = 24 * time.Hour

func mustEnsure(t *testing.T, dir string, hosts []string, now time.Time) Files {
	t.Helper()
	f, err := Ensure(dir, hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// trusting gives the pool of a client that has imported the authority.
func trusting(t *testing.T, f Files) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	data, err := os.ReadFile(f.CA)
	if err != nil || !pool.AppendCertsFromPEM(data) {
		t.Fatalf("%s: %v", f.CA, err)
	}
	return pool
}

func TestFirstStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs", "dev")
	f := mustEnsure(t, dir, hosts, epoch)
	if !f.Made {
		t.Error("the authority was not made now")
	}
	if want := epoch.Add(60 * day); !f.RenewAt.Equal(want) {
		t.Errorf("renew at %v, want %v", f.RenewAt, want)
	}
	for _, name := range []string{"localhost", "a.localhost", "wiki.localhost", "127.0.0.1", "::1"} {
		_, err := f.Certificate.Leaf.Verify(x509.VerifyOptions{Roots: trusting(t, f), DNSName: name, CurrentTime: epoch})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]os.FileMode{".": 0o700, "ca.pem": 0o644, "ca-key.pem": 0o600, "leaf.pem": 0o600, "lock": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
	pair, err := tls.LoadX509KeyPair(f.Leaf, f.Leaf)
	if err != nil || !pair.Leaf.Equal(f.Certificate.Leaf) {
		t.Errorf("what is in %s is not what was returned: %v", f.Leaf, err)
	}
	if data, _ := os.ReadFile(f.CA); bytes.Contains(data, []byte("PRIVATE")) {
		t.Error("ca.pem holds the key")
	}
}

// What a second Ensure does after something has happened to the folder, or to the time.
func TestWhatIsMadeAnew(t *testing.T) {
	overwrite := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, name)) }
	}
	for _, c := range []struct {
		name           string
		do             func(*testing.T, string)
		hosts          []string
		after          time.Duration
		newCA, newLeaf bool
	}{
		{name: "nothing happened"},
		{name: "the same hosts in another order, one twice", hosts: append([]string{"::1", "::1"}, hosts[:4]...)},
		{name: "60 days later, 30 are left", after: 60 * day},
		{name: "less than 30 days are left", after: 60*day + time.Second, newLeaf: true},
		{name: "long expired", after: 300 * day, newLeaf: true},
		{name: "the clock was set back", after: -2 * time.Hour, newCA: true, newLeaf: true},
		{name: "the authority would end before a new leaf", after: 10*365*day - 89*day, newCA: true, newLeaf: true},
		{name: "a host more", hosts: append([]string{"new.localhost"}, hosts...), newLeaf: true},
		{name: "a host less", hosts: hosts[1:], newLeaf: true},
		{name: "an address less", hosts: hosts[:4], newLeaf: true},
		{name: "no leaf", do: remove("leaf.pem"), newLeaf: true},
		{name: "a damaged leaf", do: overwrite("leaf.pem", "-----BEGIN CERTIFICATE-----\nMIIB"), newLeaf: true},
		{name: "an empty leaf", do: overwrite("leaf.pem", ""), newLeaf: true},
		{name: "a leaf with the key of another", do: swapKey, newLeaf: true},
		{name: "a leaf of another authority", do: foreignLeaf, newLeaf: true},
		{name: "no authority", do: remove("ca-key.pem"), newCA: true, newLeaf: true},
		{name: "a damaged authority", do: overwrite("ca-key.pem", "no"), newCA: true, newLeaf: true},
		{name: "no ca.pem", do: remove("ca.pem")},
		{name: "another ca.pem", do: overwrite("ca.pem", "no")},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := mustEnsure(t, dir, hosts, epoch)
			caBefore, _ := os.ReadFile(before.CA)
			if c.do != nil {
				c.do(t, dir)
			}
			if c.hosts == nil {
				c.hosts = hosts
			}
			after := mustEnsure(t, dir, c.hosts, epoch.Add(c.after))
			caAfter, _ := os.ReadFile(after.CA)
			if got := !bytes.Equal(caBefore, caAfter); got != c.newCA || after.Made != c.newCA {
				t.Errorf("new authority: %v, said %v, want %v", got, after.Made, c.newCA)
			}
			if got := !before.Certificate.Leaf.Equal(after.Certificate.Leaf); got != c.newLeaf {
				t.Errorf("new leaf: %v, want %v", got, c.newLeaf)
			}
			checkFolder(t, after, c.hosts, epoch.Add(c.after))
		})
	}
}

// checkFolder expects the files to be good, whatever was there before: the next Ensure changes nothing, clients take the leaf.
func checkFolder(t *testing.T, f Files, hosts []string, now time.Time) {
	t.Helper()
	if _, err := f.Certificate.Leaf.Verify(x509.VerifyOptions{Roots: trusting(t, f), CurrentTime: now}); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(f.CA); err != nil || fi.Mode().Perm() != 0o644 {
		t.Errorf("ca.pem: %v, %v", fi.Mode(), err)
	}
	again := mustEnsure(t, filepath.Dir(f.CA), hosts, now)
	if again.Made || !again.Certificate.Leaf.Equal(f.Certificate.Leaf) {
		t.Error("the next Ensure makes it anew")
	}
}

// swapKey puts the key of another leaf behind the certificate.
func swapKey(t *testing.T, dir string) {
	other := mustEnsure(t, t.TempDir(), hosts, epoch)
	mine, _ := os.ReadFile(filepath.Join(dir, "leaf.pem"))
	theirs, _ := os.ReadFile(other.Leaf)
	cert, _, _ := strings.Cut(string(mine), "-----BEGIN PRIVATE KEY")
	_, key, _ := strings.Cut(string(theirs), "-----BEGIN PRIVATE KEY")
	os.WriteFile(filepath.Join(dir, "leaf.pem"), []byte(cert+"-----BEGIN PRIVATE KEY"+key), 0o600)
}

func foreignLeaf(t *testing.T, dir string) {
	other := mustEnsure(t, t.TempDir(), hosts, epoch)
	data, _ := os.ReadFile(other.Leaf)
	os.WriteFile(filepath.Join(dir, "leaf.pem"), data, 0o600)
}

func TestRefusesOtherHosts(t *testing.T) {
	for _, host := range []string{"example.org", "*.example.org", "notlocalhost", "localhost.example.org", "127.0.0.2", "0.0.0.0", "::2", "*", ""} {
		dir := filepath.Join(t.TempDir(), "dev")
		if _, err := Ensure(dir, []string{"localhost", host}, epoch); err == nil || !strings.Contains(err.Error(), `not for "`+host+`"`) {
			t.Errorf("%q: %v", host, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q: the folder was made all the same", host)
		}
	}
	if _, err := Ensure(t.TempDir(), nil, epoch); err == nil {
		t.Error("no hosts: no error")
	}
}

// An authority that cannot be read is not replaced: people have imported it.
func TestUnreadableAuthority(t *testing.T) {
	dir := t.TempDir()
	mustEnsure(t, dir, hosts, epoch)
	path := filepath.Join(dir, "ca-key.pem")
	os.Remove(path)
	os.Mkdir(path, 0o700)
	if _, err := Ensure(dir, hosts, epoch); err == nil {
		t.Error("no error")
	}
}
