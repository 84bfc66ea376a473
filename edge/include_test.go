package edge

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A reload reads what the configuration includes anew, and a mistake in there changes nothing.
func TestReloadReadsIncludes(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, "vhosts.d"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "vhosts.d", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	vhost := func(host string) string { return "[[vhost]]\nhosts = \"" + host + ".localhost\"\necho = true\n" }
	put("a.toml", vhost("a"))
	s := newServer(t, dir, "", `include = "vhosts.d/*.toml"`+base)
	served := func() (names string) {
		for _, v := range s.live.Load().conf.Vhosts {
			names += v.ID + " "
		}
		return names
	}
	if got := served(); got != "a.localhost " {
		t.Fatal(got)
	}
	put("a.toml", vhost("c"))
	put("b.toml", vhost("b"))
	if err := s.reload(context.Background()); err != nil || served() != "c.localhost b.localhost " {
		t.Errorf("%v; served: %s", err, served())
	}
	put("a.toml", vhost("d")+"colour = 1\n")
	if err := s.reload(context.Background()); err == nil || served() != "c.localhost b.localhost " {
		t.Errorf("%v; served: %s", err, served())
	}
}
