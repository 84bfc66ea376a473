package listeners

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
