package statefile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestDir(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "a", "state")
	if err := Dir(fresh); err != nil {
		t.Fatal(err)
	}
	wide := t.TempDir()
	os.Chmod(wide, 0o755)
	if err := SafeDir(wide); err != nil {
		t.Fatal(err)
	}
	if fi, _ := os.Stat(wide); fi.Mode().Perm() != 0o755 {
		t.Errorf("SafeDir made the mode %v", fi.Mode())
	}
	if err := Dir(wide); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{fresh, wide} {
		if fi, _ := os.Stat(dir); fi.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v, want 0700", dir, fi.Mode())
		}
	}
	os.Chmod(wide, 0o770)
	if err := Dir(wide); err == nil || !strings.Contains(err.Error(), "written by others") {
		t.Errorf("a folder that the group can write: %v", err)
	}
	if os.Geteuid() == 0 {
		os.Chmod(wide, 0o700)
		os.Chown(wide, 12345, -1)
		if err := Dir(wide); err == nil || !strings.Contains(err.Error(), "belongs to user id 12345") {
			t.Errorf("a folder of another user: %v", err)
		}
	}
}

// A reader beside many writers sees one of the contents, whole.
func TestWriteIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	a, b := bytes.Repeat([]byte("a"), 1<<16), bytes.Repeat([]byte("b"), 1<<16)
	if err := Write(path, a); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			if err := Write(path, [][]byte{a, b}[i%2]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 200 {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, a) && !bytes.Equal(got, b) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
	}
	wg.Wait()
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", fi.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".f.*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var wg sync.WaitGroup
	var inside, turns atomic.Int32
	for range 8 {
		wg.Go(func() {
			for range 50 {
				unlock, err := Lock(path)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d inside at once", n)
				}
				turns.Add(1)
				inside.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	if n := turns.Load(); n != 400 {
		t.Errorf("%d turns, want 400", n)
	}
}

func TestHolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "generations")
	if err := Hold(dir); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "99999999"), nil, 0o600) // of a process that is no more
	for range 2 {
		if pids, err := Holders(dir); err != nil || len(pids) != 1 || pids[0] != os.Getpid() {
			t.Fatalf("alive are %v, %v; want %d alone", pids, err, os.Getpid())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "99999999")); err == nil {
		t.Error("a dead process's mark is still there")
	}
}

// Who looks while a process marks itself finds it, and hinders neither it nor others who look.
func TestHoldBesideHolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "generations")
	if err := Dir(dir); err != nil {
		t.Fatal(err)
	}
	before := len(holds)
	defer func() { holds = holds[:before] }()
	var end atomic.Bool
	var lookers sync.WaitGroup
	for range 4 {
		lookers.Go(func() {
			for !end.Load() {
				if _, err := Holders(dir); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 500 {
		if err := Hold(dir); err != nil {
			t.Error(err)
			break
		}
		mine := holds[len(holds)-1]
		if pids, err := Holders(dir); err != nil || len(pids) != 1 {
			t.Errorf("alive are %v, %v; want %d", pids, err, os.Getpid())
			break
		}
		mine.Close() // as at the process's end: its mark is a dead one's
	}
	end.Store(true)
	lookers.Wait()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// What cannot be looked at is not taken for dead.
func TestHoldersUnknown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "generations")
	if err := Hold(dir); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "99999998")
	os.Symlink(loop, loop) // open says ELOOP, as it may say EMFILE
	if pids, err := Holders(dir); err == nil {
		t.Errorf("alive are %v, and no error", pids)
	}
	if _, err := os.Lstat(loop); err != nil {
		t.Errorf("the mark is gone: %v", err)
	}
}
