package certs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// What is wrong is said with the place of the value that is wrong.
func TestMistakes(t *testing.T) {
	good := func() *conf.Certificate { return write(t, newECDSA(t), 90*day, "a.test", "*.a.test", "10.0.0.1") }
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		spoil func(*conf.Certificate)
		want  []string // the beginning and a part of each line
	}{
		{"no certificate file", func(s *conf.Certificate) { os.Remove(s.Cert.Path) }, []string{"edge.toml:2:1: certificate /|no such file"}},
		{"no key file", func(s *conf.Certificate) { os.Remove(s.Key.Path) }, []string{"edge.toml:3:1: key /|no such file"}},
		{"neither", func(s *conf.Certificate) { os.Remove(s.Key.Path); os.Remove(s.Cert.Path) },
			[]string{"edge.toml:2:1: certificate /|no such file", "edge.toml:3:1: key /|no such file"}},
		{"a folder", func(s *conf.Certificate) { s.Cert.Path = filepath.Dir(s.Cert.Path) }, []string{"edge.toml:2:1: |is a directory"}},
		{"no PEM", func(s *conf.Certificate) { put(s.Cert.Path, "hello") }, []string{"edge.toml:2:1: |no certificate in it"}},
		{"the two exchanged", func(s *conf.Certificate) { s.Cert.Path, s.Key.Path = s.Key.Path, s.Cert.Path },
			[]string{"edge.toml:2:1: |no certificate in it"}},
		{"a damaged certificate", func(s *conf.Certificate) {
			put(s.Cert.Path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		},
			[]string{"edge.toml:2:1: |malformed"}},
		{"a key without PEM", func(s *conf.Certificate) { put(s.Key.Path, "") }, []string{"edge.toml:3:1: |failed to find any PEM data"}},
		{"the key of another", func(s *conf.Certificate) { s.Key.Path = good().Key.Path },
			[]string{"edge.toml:3:1: |does not go with the certificate", "private key does not match"}},
		{"a key of another kind", func(s *conf.Certificate) { s.Key.Path = write(t, newRSA(t), day, "x").Key.Path },
			[]string{"edge.toml:3:1: |does not match public key type"}},
		{"hosts that it is not for", func(s *conf.Certificate) {
			with(s, "a.test", "b.test", "*.b.test", "x.a.test", "10.0.0.2", "*.x.a.test")
		},
			[]string{"edge.toml:11:1: |is not for b.test: it holds *.a.test, 10.0.0.1, a.test", "edge.toml:12:1: |not for *.b.test", "edge.toml:14:1: |10.0.0.2", "edge.toml:15:1: |not for *.x.a.test"}},
		{"no names", func(s *conf.Certificate) { *s = *write(t, newECDSA(t), 90*day) }, []string{"edge.toml:2:1: |holds no name"}},
		{"dev for other hosts", func(s *conf.Certificate) { *s = *dev(t.TempDir(), "localhost", "a.test", "10.0.0.1") },
			[]string{`edge.toml:11:1: |not for "a.test"`, `edge.toml:12:1: |not for "10.0.0.1"`}},
		{"dev in a folder of all", func(s *conf.Certificate) { *s = *dev("/tmp", "localhost") }, []string{"edge.toml:1:1: /tmp|written by others"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := good()
			c.spoil(spec)
			store, err := Load([]*conf.Certificate{good(), spec}, nil, epoch)
			var mistakes conf.Errors
			if store != nil || !errors.As(err, &mistakes) {
				t.Fatalf("store %v, error %v", store, err)
			}
			checkLines(t, mistakes.Error(), c.want)
		})
	}
}

func checkLines(t *testing.T, text string, want []string) {
	t.Helper()
	for _, w := range want {
		start, part, ok := strings.Cut(w, "|")
		if !ok {
			start, part = "", w
		}
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return strings.HasPrefix(line, start) && strings.Contains(line, part)
		}) {
			t.Errorf("want %q in\n%s", w, text)
		}
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	one, two := write(t, newECDSA(t), day, "a.test"), write(t, newECDSA(t), day, "b.test")
	os.Remove(one.Cert.Path)
	os.Remove(two.Key.Path)
	_, err := Load([]*conf.Certificate{one, two, dev(t.TempDir(), "c.test")}, nil, epoch)
	if mistakes, _ := err.(conf.Errors); len(mistakes) != 3 {
		t.Errorf("%d mistakes, want 3:\n%v", len(mistakes), err)
	}
}

// A certificate out of its time may be served: the clients decide, and the others of the configuration must not stop.
func TestOutOfTimeIsAWarning(t *testing.T) {
	spec := write(t, newECDSA(t), 30*day, "a.test")
	for after, want := range map[time.Duration]string{0: "", 15*day - time.Second: "", 15 * day: "for a.test expires on 2026-03-30 12:00:00, 14 days from now",
		27 * day: "2 days from now", 28 * day: "1 day from now", 29*day - time.Second: "less than a day from now",
		30 * day: "for a.test has expired on 2026-03-30", -2 * day: "for a.test is not valid before 2026-02-28"} {
		store, err := Load([]*conf.Certificate{spec}, nil, epoch.Add(after))
		switch {
		case err != nil:
			t.Error(err)
		case want == "" && len(store.Warnings) != 0:
			t.Errorf("after %v: %v", after, store.Warnings)
		case want != "" && (len(store.Warnings) != 1 || store.Warnings[0].Pos != at(2) || !strings.Contains(store.Warnings[0].Msg, want)):
			t.Errorf("after %v: %v, want %q", after, store.Warnings, want)
		}
	}
}

func TestDevHoldsTheServedNamesItCovers(t *testing.T) {
	served := []string{"wiki.localhost", "*.wiki.localhost", "a.b.localhost", "localhost", "example.org", "127.0.0.1", "evillocalhost"}
	for _, c := range []struct{ hosts, want []string }{
		{[]string{"*.localhost"}, []string{"*.localhost", "*.wiki.localhost", "a.b.localhost", "wiki.localhost"}},
		{[]string{"localhost"}, []string{"localhost"}},
		{[]string{"localhost", "*.b.localhost"}, []string{"*.b.localhost", "a.b.localhost", "localhost"}},
		{[]string{"127.0.0.1", "::1"}, []string{"127.0.0.1", "::1"}},
	} {
		store := load(t, served, dev(t.TempDir(), c.hosts...))
		leaf := store.first[0].Leaf
		if got := namesOf(leaf); !slices.Equal(got, c.want) {
			t.Errorf("%q: the leaf holds %q, want %q", c.hosts, got, c.want)
		}
		for _, name := range c.want {
			if len(store.byName[name]) != 1 {
				t.Errorf("%q: %d certificates for %s", c.hosts, len(store.byName[name]), name)
			}
		}
	}
}

// Two specs of one folder would otherwise make their leaf anew in turns, at every start.
func TestDevSpecsShareAFolder(t *testing.T) {
	dir := t.TempDir()
	specs := []*conf.Certificate{dev(dir, "a.localhost"), dev(dir, "b.localhost")}
	first, again := load(t, nil, specs...), load(t, nil, specs...)
	a, b := first.byName["a.localhost"], first.byName["b.localhost"]
	if len(a) != 1 || !slices.Equal(a, b) || !a[0].Leaf.Equal(again.first[0].Leaf) || len(first.Trust()) != 2 {
		t.Errorf("a: %d, b: %d certificates; trust %q", len(a), len(b), first.Trust())
	}
}

func TestRenewAt(t *testing.T) {
	files := write(t, newECDSA(t), 90*day, "a.test")
	end := epoch.Add(89 * day)
	if at := load(t, nil, files).RenewAt(); !at.Equal(end.Add(-14 * day)) {
		t.Errorf("files only: %v, want two weeks before their end", at)
	}
	for _, late := range []time.Time{end.Add(-14 * day), end.Add(-day), end.Add(day)} {
		if store, err := Load([]*conf.Certificate{files}, nil, late); err != nil || !store.RenewAt().Equal(late.Add(day)) {
			t.Errorf("files that end at %v, at %v: %v, want to warn again in a day", end, late, store.RenewAt())
		}
	}
	dir := t.TempDir()
	old := load(t, nil, dev(dir, "localhost"))
	later, err := Load([]*conf.Certificate{dev(t.TempDir(), "a.localhost"), dev(dir, "localhost")}, nil, epoch.Add(20*day))
	if err != nil || !later.RenewAt().Equal(old.RenewAt()) {
		t.Errorf("%v, %v; want the earlier, %v", later.RenewAt(), err, old.RenewAt())
	}
	renewed, err := Load([]*conf.Certificate{dev(dir, "localhost")}, nil, old.RenewAt().Add(time.Second))
	if err != nil || !renewed.RenewAt().After(old.RenewAt().Add(59*day)) {
		t.Errorf("after the renewal: %v, %v", renewed.RenewAt(), err)
	}
}

func TestTrust(t *testing.T) {
	dir := t.TempDir()
	for _, made := range []bool{true, false} {
		lines := strings.Join(load(t, nil, dev(dir, "localhost")).Trust(), "\n")
		if strings.Contains(lines, "made now") != made || !strings.Contains(lines, "--cacert "+filepath.Join(dir, "ca.pem")) {
			t.Errorf("made %v:\n%s", made, lines)
		}
	}
	if lines := load(t, nil, write(t, newECDSA(t), day, "a.test")).Trust(); len(lines) != 0 {
		t.Errorf("files only: %q", lines)
	}
}

// A host has one certificate for each kind of key.
func TestSameHostAndKind(t *testing.T) {
	ec := func(names ...string) *conf.Certificate { return write(t, newECDSA(t), 90*day, names...) }
	rs := func(names ...string) *conf.Certificate { return write(t, newRSA(t), 90*day, names...) }
	dir := t.TempDir()
	for i, c := range []struct {
		specs []*conf.Certificate
		want  string // "": no mistake
	}{
		{[]*conf.Certificate{ec("a.test"), rs("a.test")}, ""},
		{[]*conf.Certificate{ec("a.test"), ec("b.test", "a.test")}, ""},
		{[]*conf.Certificate{with(ec("a.test"), "a.test"), with(ec("b.test", "a.test"), "b.test", "a.test")},
			"edge.toml:11:1: a certificate with a key of the kind ECDSA is for a.test already, edge.toml:10:1"},
		{[]*conf.Certificate{ec("a.test"), with(ec("b.test", "a.test"), "b.test")}, ""},
		{[]*conf.Certificate{ec("a.test"), with(rs("a.test"), "a.test"), with(rs("a.test"), "a.test")}, "kind RSA is for a.test already"},
		{[]*conf.Certificate{ec("*.a.test"), ec("x.a.test")}, ""},
		{[]*conf.Certificate{dev(dir, "localhost", "a.localhost"), dev(dir, "localhost")}, ""},
		{[]*conf.Certificate{dev(dir, "localhost"), dev(t.TempDir(), "localhost")}, "edge.toml:10:1: a certificate with a key of the kind ECDSA is for localhost already, edge.toml:10:1"},
		{[]*conf.Certificate{dev(dir, "localhost", "*.localhost"), ec("wiki.localhost")}, ""},
	} {
		store, err := Load(c.specs, []string{"wiki.localhost"}, epoch)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%d: %v", i, err)
		case c.want != "" && (store != nil || err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%d: %v, want %s", i, err, c.want)
		}
	}
}

// Of two certificates that hold a name the first is used, with a warning; one that the configuration says is for the name goes before both.
func TestSaidBeforeHeld(t *testing.T) {
	old, renewed := write(t, newECDSA(t), 90*day, "a.test", "b.test"), write(t, newECDSA(t), 90*day, "a.test", "b.test")
	said := with(write(t, newECDSA(t), 90*day, "a.test"), "a.test")
	for i, specs := range [][]*conf.Certificate{{old, renewed, said}, {said, old, renewed}, {old, said, renewed}} {
		store := load(t, nil, specs...)
		a, b := store.byName["a.test"], store.byName["b.test"]
		if len(a) != 1 || !a[0].Leaf.Equal(parse(t, said)) || len(b) != 1 || !b[0].Leaf.Equal(parse(t, old)) {
			t.Errorf("%d: %d certificates for a, %d for b, or the wrong ones", i, len(a), len(b))
		}
		if n := len(store.Warnings); n == 0 || !strings.Contains(store.Warnings[n-1].Msg, "this certificate is for b.test, too") {
			t.Errorf("%d: %v", i, store.Warnings)
		}
	}
}

// A development leaf holds the names that it covers, but does not take them from a certificate that is for them.
func TestDevYields(t *testing.T) {
	files := write(t, newRSA(t), 90*day, "wiki.localhost")
	store := load(t, []string{"wiki.localhost", "app.localhost"}, dev(t.TempDir(), "*.localhost"), files)
	if got := store.byName["wiki.localhost"]; len(got) != 1 || !got[0].Leaf.Equal(parse(t, files)) {
		t.Errorf("%d certificates, or the wrong one", len(got))
	}
}
