package listeners

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A socket file that nobody listens on is replaced; everything else at the path is spared.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	unixListener := func(name string) *net.UnixListener {
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path(name)})
		if err != nil {
			t.Fatal(err)
		}
		ln.SetUnlinkOnClose(false)
		return ln
	}
	unixListener("stale").Close()
	live := unixListener("live")
	defer live.Close()
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path("datagrams")})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	if err := os.WriteFile(path("file"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "file", "link to live": "live", "dangling": "nothing"} {
		if err := os.Symlink(target, path(name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"new":          "",
		"stale":        "",
		"live":         "another program listens on " + path("live"),
		"datagrams":    path("datagrams") + " is there, and it cannot be told whether it is in use",
		"file":         path("file") + " is there and is no socket",
		".":            "is there and is no socket",
		"link":         path("link") + " is there and is no socket",
		"link to live": path("link to live") + " is there and is no socket",
		"dangling":     path("dangling") + " is there and is no socket",
	} {
		before, _ := os.Lstat(path(name))
		table := &Table{}
		d, mistakes := table.Draft([]Spec{spec(1, name, "unix", path(name))})
		if want == "" {
			if mistakes != nil {
				t.Errorf("%s: %v", name, mistakes)
				continue
			}
			added, _ := d.Commit()
			closing(t, added...)
			added[0].Serve(newServer(t, "hello").handle)
			expect(t, "hello", dialMany(t, added[0].Addr(), 1)...)
			continue
		}
		if len(mistakes) != 1 || !strings.Contains(mistakes[0].Msg, want) {
			t.Errorf("%s: %v, want %q", name, mistakes, want)
		}
		if after, err := os.Lstat(path(name)); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is not what it was: %v", name, err)
		}
	}
	if text, err := os.ReadFile(path("file")); string(text) != "precious" {
		t.Errorf("the file: %q, %v", text, err)
	}
}

// R29: a socket's file outlives its Close, for whoever is handed the socket; Unlink removes it while it is the socket's own.
func TestUnlink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	there := func() bool {
		_, err := os.Lstat(path)
		return err == nil
	}
	s := listen(t, spec(1, "a", "unix", path))
	s.Serve(newServer(t, "hello").handle)
	s.Close()
	if !there() {
		t.Error("Close removes the file")
	}
	s.Unlink()
	if there() {
		t.Error("Unlink leaves the file")
	}
	s.Unlink() // of nothing is nothing

	s = listen(t, spec(1, "a", "unix", path))
	os.Remove(path)
	other := listen(t, spec(2, "b", "unix", path))
	s.Unlink()
	if !there() {
		t.Error("Unlink removes another socket's file")
	}
	s.Close()
	other.Unlink()
	if there() {
		t.Error("Unlink leaves the file")
	}
	other.Close()
}

// R29: it is the same with a socket that was inherited: what was put in its file's place before is not its own.
func TestUnlinkInherited(t *testing.T) {
	for name, replace := range map[string]bool{"its own": false, "another's": true} {
		path := filepath.Join(t.TempDir(), "socket")
		table := &Table{}
		added, _ := commit(t, table, spec(1, "a", "unix", path))
		var other net.Listener
		if replace {
			os.Remove(path)
			var err error
			if other, err = net.Listen("unix", path); err != nil {
				t.Fatal(err)
			}
		}
		heir := inherit(t, table).Sockets()[0]
		heir.Unlink()
		if _, err := os.Lstat(path); (err == nil) != replace {
			t.Errorf("%s: after Unlink: %v", name, err)
		}
		added[0].Close()
		heir.Close()
		if other != nil {
			other.Close()
		}
	}
}

// R31: an abstract socket has no file, even where one has its name.
func TestUnlinkAbstract(t *testing.T) {
	t.Chdir(t.TempDir())
	name := fmt.Sprintf("@edge-test-unlink-%d", os.Getpid())
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	table := &Table{}
	added, _ := commit(t, table, spec(1, "a", "unix", name))
	heir := inherit(t, table).Sockets()[0]
	for _, s := range []*Socket{added[0], heir} {
		s.Unlink()
		s.Close()
	}
	if _, err := os.Lstat(name); err != nil {
		t.Error(err)
	}
}

// A unix socket's file lets in whom its mode says, whatever the umask, and nobody but edge's own user where nothing is said.
func TestMode(t *testing.T) {
	defer unix.Umask(unix.Umask(0o027))
	for mode, want := range map[os.FileMode]os.FileMode{0: 0o600, 0o660: 0o660, 0o666: 0o666, 0o200: 0o200} {
		sp := spec(1, "a", "unix", filepath.Join(t.TempDir(), "socket"))
		sp.Mode = mode
		s := listen(t, sp)
		if got := fileMode(t, sp.Address); got != want {
			t.Errorf("mode %v for %v", got, mode)
		}
		s.Unlink()
		s.Close()
	}
}

func fileMode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// The socket's file has no wider mode than is wanted at any time, not even when its name is another.
func TestModeFromTheBeginning(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	var lc net.ListenConfig
	path := filepath.Join(t.TempDir(), "socket")
	lc.Control = func(_, _ string, c syscall.RawConn) error { return restrict(c, 0o640) }
	ln, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if got := fileMode(t, path); got != 0o640 {
		t.Errorf("mode %v after bind", got)
	}
}

// R30: a stale file is replaced in one step: its path is never without a file. No name but the path is left.
func TestReplacedAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	stale := listen(t, spec(1, "a", "unix", path))
	stale.Close()
	stop, watched := make(chan struct{}), make(chan int)
	go func() {
		looks := 0
		for {
			select {
			case <-stop:
				watched <- looks
				return
			default:
			}
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
			looks++
		}
	}()
	for range 200 {
		s := listen(t, spec(1, "a", "unix", path))
		if refused(s.Addr()) {
			t.Error("the path is there, and nobody listens")
		}
		s.Close() // its file stays, stale
	}
	close(stop)
	if looks := <-watched; looks < 200 {
		t.Errorf("looked only %d times", looks)
	}
	if files, err := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files: %v, %v", files, err)
	}
}

// A socket whose queue is full is in use, and is spared.
func TestFullQueueIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		c, err := net.Dial("unix", path)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	_, mistakes := (&Table{}).Draft([]Spec{spec(1, "a", "unix", path)})
	if len(mistakes) != 1 || !strings.Contains(mistakes[0].Msg, "another program listens on "+path) {
		t.Errorf("%v", mistakes)
	}
}

// A new mode is in force with the draft, not before; one process after the other knows it; and another's file in the socket's place keeps its own.
func TestModeChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	sp := spec(1, "a", "unix", path)
	table := &Table{}
	first, _ := commit(t, table, sp)
	closing(t, first...)
	sp.Mode = 0o660
	d, mistakes := table.Draft([]Spec{sp})
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	if got := fileMode(t, path); got != 0o600 {
		t.Errorf("mode %v with the draft", got)
	}
	if added, gone := d.Commit(); len(added)+len(gone) != 0 {
		t.Errorf("a new mode makes a new socket: %v, %v", added, gone)
	}
	if got := fileMode(t, path); got != 0o660 {
		t.Errorf("mode %v after the commit", got)
	}
	heirs := inherit(t, table)
	closing(t, heirs.Sockets()...)
	sp.Mode = 0o606
	commit(t, heirs, sp)
	if got := fileMode(t, path); got != 0o606 {
		t.Errorf("mode %v in the next process", got)
	}
	os.Remove(path)
	if err := os.WriteFile(path, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	sp.Mode = 0o666
	commit(t, heirs, sp)
	if got := fileMode(t, path); got != 0o400 {
		t.Errorf("another's file has mode %v now", got)
	}
	os.Remove(path)
}

// A folder whose name leaves no room for the name that a socket has at first is a mistake that says so.
func TestLongFolder(t *testing.T) {
	dir := t.TempDir()
	if room := 100 - len(dir) - 1; room > 0 {
		dir = filepath.Join(dir, strings.Repeat("d", room))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, mistakes := (&Table{}).Draft([]Spec{spec(1, "a", "unix", filepath.Join(dir, "s"))})
	if len(mistakes) != 1 || !strings.Contains(mistakes[0].Msg, "the folder's name is too long") {
		t.Errorf("%v", mistakes)
	}
}
