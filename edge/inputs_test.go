package edge

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A reload of the same files leaves the very Snapshot in force, again and again; one of other files does not, nor does one when something is due.
func TestReloadOfTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		dir := t.TempDir()
		certify(t, dir, 90*day)
		s := newServer(t, dir, "", base+"[[certificate]]\ncert = \"a.pem\"\nkey = \"a.pem\"\n[[vhost]]\nhosts = \"a.test\"\necho = true\n")
		in := s.live.Load()
		reload := func() (same bool) {
			t.Helper()
			if err := s.reload(context.Background()); err != nil {
				t.Fatal(err)
			}
			was := in
			in = s.live.Load()
			return in == was
		}
		for range 3 {
			if !reload() {
				t.Fatal("a reload of the same files has made a new Snapshot")
			}
		}
		certify(t, dir, 80*day)
		if reload() || !reload() {
			t.Error("another certificate: not taken in, or taken in twice")
		}
		file := filepath.Join(dir, "edge.toml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, "# more\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		if reload() || !reload() {
			t.Error("another text: not taken in, or taken in twice")
		}
		for _, key := range []string{"tickets", "jwt-next.key"} { // that another process, or a person, puts there
			state := s.live.Load().conf.StateDir
			keys, err := os.ReadFile(filepath.Join(state, "tickets"))
			if err == nil {
				err = os.WriteFile(filepath.Join(state, key), append(keys, keys...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			if reload() || !reload() {
				t.Errorf("%s: not taken in, or taken in twice", key)
			}
		}
		time.Sleep(time.Until(s.due()) + time.Second)
		if reload() || !reload() {
			t.Error("what was due is not renewed, or is due for ever")
		}
	})
}

// What changes while it is read is equal to nothing: it may have been read before the change or after it.
func TestSettled(t *testing.T) {
	a, b := inputs{known: true}, inputs{known: true}
	b.given[0] = 1
	if settled(a, b).same(b) || !settled(b, b).same(b) || b.same(a) {
		t.Error("what has changed in between is taken for settled")
	}
}
