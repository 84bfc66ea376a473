package static

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// someFolder is a folder that is open, and its path.
func someFolder(t *testing.T) (*folder, string) {
	t.Helper()
	path := t.TempDir()
	d, err := openFolder(path, &unix.Stat_t{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	return d, path
}

// opened gives what a name holds at a time, and whether the kernel was asked for it.
func opened(t *testing.T, d *folder, name string, at time.Time) (text string, asked bool, err error) {
	t.Helper()
	f := file{fd: -1}
	if err := d.open(&f, name, at); err != nil {
		return "", true, err
	}
	defer f.close()
	if f.data != nil {
		return string(f.data), f.fd >= 0, nil
	}
	b := make([]byte, f.stat.Size)
	if err := f.readAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b), true, nil
}

// later is a time at which the files of a test are no longer young.
func later() time.Time { return time.Now().Add(settled + time.Second) }

func TestKept(t *testing.T) {
	d, path := someFolder(t)
	put(t, filepath.Join(path, "a.txt"), []byte("old"), time.Now())
	at := later()
	steps := []struct {
		after time.Duration
		do    func()
		text  string
		asked bool
	}{
		{0, nil, "old", true},
		{time.Millisecond, nil, "old", true}, // asked for again, and kept from now on
		{2 * time.Millisecond, nil, "old", false},
		{3 * time.Millisecond, func() { put(t, filepath.Join(path, "a.txt"), []byte("new"), time.Now()) }, "old", false}, // of the same size
		{fresh - time.Millisecond, nil, "old", false},
		{fresh + 2*time.Millisecond, nil, "new", true},
	}
	for _, s := range steps {
		if s.do != nil {
			s.do()
		}
		text, asked, err := opened(t, d, "a.txt", at.Add(s.after))
		if err != nil || text != s.text || asked != s.asked {
			t.Fatalf("after %v: %q, asked %v, %v; want %q, %v", s.after, text, asked, err, s.text, s.asked)
		}
	}
}

// A file that is as before is kept for longer, one that is gone, or that nobody may read, is not.
func TestKeptIsLookedAtAgain(t *testing.T) {
	d, path := someFolder(t)
	put(t, filepath.Join(path, "a.txt"), []byte("text"), time.Now())
	at := later()
	for range 3 {
		opened(t, d, "a.txt", at)
	}
	at = at.Add(5 * fresh)
	if text, asked, err := opened(t, d, "a.txt", at); text != "text" || !asked || err != nil {
		t.Fatalf("%q, asked %v, %v", text, asked, err)
	}
	if text, asked, _ := opened(t, d, "a.txt", at.Add(1)); text != "text" || asked {
		t.Fatalf("%q, asked %v, of a file that is as before", text, asked)
	}
	if err := os.Remove(filepath.Join(path, "a.txt")); err != nil {
		t.Fatal(err)
	}
	if text, _, err := opened(t, d, "a.txt", at.Add(2*fresh)); !os.IsNotExist(err) {
		t.Fatalf("%q, %v of a file that is gone", text, err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(path, "a.txt")); err != nil {
		t.Fatal(err)
	}
	if text, _, err := opened(t, d, "a.txt", at.Add(3*fresh)); err == nil {
		t.Fatalf("%q, which lies outside", text)
	}
}

// Who writes through a mapping dates the file only when the kernel writes it back: it is read again each second, however often it is asked for.
func TestKeptIsReadAgain(t *testing.T) {
	d, path := someFolder(t)
	name := filepath.Join(path, "a.txt")
	put(t, name, []byte("old"), time.Now())
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 3, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	copy(m, "one")
	at := later()
	for range 3 {
		opened(t, d, "a.txt", at)
	}
	copy(m, "two")
	if text, _, _ := opened(t, d, "a.txt", at); text != "one" {
		t.Fatalf("%q: the file was dated, so this test shows nothing", text)
	}
	for end := at.Add(forget + fresh); at.Before(end); at = at.Add(fresh / 2) {
		opened(t, d, "a.txt", at)
	}
	if text, _, err := opened(t, d, "a.txt", at); text != "two" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if text, asked, _ := opened(t, d, "a.txt", at); text != "two" || asked {
		t.Errorf("%q, asked %v: it is kept no more", text, asked)
	}
}

// Of a file that was written just now nobody knows whether it will be written again without another date.
func TestYoungFilesAreNotKept(t *testing.T) {
	d, path := someFolder(t)
	put(t, filepath.Join(path, "a.txt"), []byte("old"), time.Now())
	now := time.Now()
	for range 5 {
		if _, asked, err := opened(t, d, "a.txt", now); !asked || err != nil {
			t.Fatalf("asked %v, %v", asked, err)
		}
	}
}

// What is kept is little, and nothing where nobody asks.
func TestKeptIsBounded(t *testing.T) {
	nothingKept(t)
	synctest.Test(t, func(t *testing.T) {
		d, path := someFolder(t)
		name := func(i int) string { return fmt.Sprintf("%d.txt", i) }
		for i := range mostKept + 10 {
			put(t, filepath.Join(path, name(i)), []byte("some text"), time.Now())
		}
		put(t, filepath.Join(path, "large"), make([]byte, atOnce+1), time.Now())
		time.Sleep(time.Until(dated(t, filepath.Join(path, "large")).Add(settled + 1)))
		for i := range mostKept + 10 {
			for range 3 {
				opened(t, d, name(i), time.Now())
				opened(t, d, "large", time.Now())
			}
		}
		if n, bytes := d.kept.len(), keptBytes.Load(); n != mostKept || bytes != int64(n*len("some text")) {
			t.Errorf("%d files are kept, %d bytes", n, bytes)
		}
		time.Sleep(2*forget + 1)
		synctest.Wait()
		if n, bytes := d.kept.len(), keptBytes.Load(); n != 0 || bytes != 0 {
			t.Errorf("%d files are kept when nobody asks, %d bytes", n, bytes)
		}
	})
}

func (k *kept) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.files)
}

// nothingKept waits for the folders of other tests to be forgotten.
func nothingKept(t *testing.T) {
	t.Helper()
	until(t, "nothing is kept", func() bool { return keptBytes.Load() == 0 })
}

// dated gives when a file was written. A bubble's clock starts years before.
func dated(t *testing.T, path string) time.Time {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return time.Unix(s.Ctim.Unix())
}

// All folders together keep only so much.
func TestKeptBytesAreBounded(t *testing.T) {
	d, path := someFolder(t)
	put(t, filepath.Join(path, "a.txt"), []byte("some text"), time.Now())
	nothingKept(t)
	keptBytes.Add(mostKeptBytes)
	defer keptBytes.Add(-mostKeptBytes)
	at := later()
	for range 5 {
		if _, asked, err := opened(t, d, "a.txt", at); !asked || err != nil {
			t.Fatalf("asked %v, %v", asked, err)
		}
	}
	if keptBytes.Load() != mostKeptBytes {
		t.Errorf("%d bytes are counted", keptBytes.Load())
	}
}
