package tlsconf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTicketsAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first := load(t, dir, epoch)
	if len(first.Keys) != 1 || first.Keys[0] == [32]byte{} || first.Warning != "" || !first.RotateAt.Equal(epoch.Add(24*time.Hour)) {
		t.Errorf("%d keys, rotate at %v, warning %q", len(first.Keys), first.RotateAt, first.Warning)
	}
	if fi, err := os.Stat(filepath.Join(dir, "tickets")); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", fi.Mode(), err)
	}
	if again := load(t, dir, epoch.Add(23*time.Hour)); !slices.Equal(first.Keys, again.Keys) {
		t.Error("other keys a moment later")
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	var newest [][32]byte // of each load, the newest load first
	for _, step := range []struct {
		at   time.Duration
		keys int
		new  bool
	}{
		{0, 1, true},
		{23 * time.Hour, 1, false},
		{24 * time.Hour, 2, true},
		{47 * time.Hour, 2, false},
		{48 * time.Hour, 3, true},
		{71 * time.Hour, 3, false},
		{72 * time.Hour, 3, true}, // the first is gone
		{300 * time.Hour, 1, true},
		{200 * time.Hour, 1, true}, // the clock was set back
	} {
		now := epoch.Add(step.at)
		got := load(t, dir, now)
		if len(got.Keys) != step.keys || !got.RotateAt.After(now) || got.RotateAt.After(now.Add(24*time.Hour)) {
			t.Errorf("at %v: %d keys, rotate at %v; want %d keys", step.at, len(got.Keys), got.RotateAt, step.keys)
		}
		if isNew := !slices.Contains(newest, got.Keys[0]); isNew != step.new {
			t.Errorf("at %v: a new key %v, want %v", step.at, isNew, step.new)
		}
		if step.new {
			newest = slices.Insert(newest, 0, got.Keys[0])
		}
		if !slices.Equal(got.Keys, newest[:len(got.Keys)]) {
			t.Errorf("at %v: the keys are not the newest ones, newest first", step.at)
		}
	}
}

func TestTogether(t *testing.T) {
	dir := t.TempDir()
	all := make([]*Tickets, 8)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			var err error
			if all[i], err = LoadTickets(dir, epoch); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, other := range all[1:] {
		if !slices.Equal(all[0].Keys, other.Keys) {
			t.Error("they have different keys")
		}
	}
}

func TestDamagedFile(t *testing.T) {
	good := strings.Repeat("5a", 32)
	for name, text := range map[string]string{
		"not text":          "\x00\x01\x02",
		"no key":            "2026-03-01T12:00:00Z\n",
		"a short key":       "2026-03-01T12:00:00Z 5a5a\n",
		"a long key":        "2026-03-01T12:00:00Z " + good + "5a\n",
		"not hexadecimal":   "2026-03-01T12:00:00Z " + strings.Repeat("zz", 32) + "\n",
		"zeros":             "2026-03-01T12:00:00Z " + strings.Repeat("00", 32) + "\n",
		"no time":           "yesterday " + good + "\n",
		"a second bad line": "2026-03-01T12:00:00Z " + good + "\n2026-03-01T12",
		"an endless file":   strings.Repeat("2026-03-01T12:00:00Z "+good+"\n", 2000),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "tickets")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := load(t, dir, epoch)
		if len(got.Keys) != 1 || !strings.Contains(got.Warning, path+" was damaged") || strings.Contains(got.Warning, "5a5a") {
			t.Errorf("%s: %d keys, warning %q", name, len(got.Keys), got.Warning)
		}
		if again := load(t, dir, epoch); again.Warning != "" || !slices.Equal(got.Keys, again.Keys) {
			t.Errorf("%s: it is not repaired: %q", name, again.Warning)
		}
	}
}

func TestFileOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(path string) error
		want string
	}{
		"readable by the group": {func(path string) error { return os.Chmod(path, 0o640) }, "can be read by others (mode 0640)"},
		"a link": {func(path string) error {
			return replace(path, func() error { return os.Symlink("/etc/hostname", path) })
		}, "too many levels"},
		"a folder":       {func(path string) error { return replace(path, func() error { return os.Mkdir(path, 0o700) }) }, "not a regular file"},
		"another user's": {func(path string) error { return os.Chown(path, 12345, -1) }, "belongs to user id 12345"},
	} {
		if name == "another user's" && os.Geteuid() != 0 {
			continue // only root can give files away
		}
		dir := t.TempDir()
		load(t, dir, epoch)
		if err := c.do(filepath.Join(dir, "tickets")); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTickets(dir, epoch); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wide := t.TempDir()
	os.Chmod(wide, 0o777)
	if _, err := LoadTickets(wide, epoch); err == nil {
		t.Error("a state directory that others can write: no error")
	}
}

func replace(path string, with func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with()
}

func FuzzParseKeys(f *testing.F) {
	f.Add(formatKeys([]key{newKey(epoch), newKey(epoch.Add(time.Hour))}))
	f.Add([]byte("2026-03-01T12:00:00Z 00\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := parseKeys(data)
		if err != nil && keys != nil {
			t.Error("keys from a damaged file")
		}
		if again, err := parseKeys(formatKeys(keys)); err != nil || len(again) != len(keys) {
			t.Errorf("%d keys are %d when written and read again: %v", len(keys), len(again), err)
		}
	})
}
