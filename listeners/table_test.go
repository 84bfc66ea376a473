package listeners

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"edge/conf"
)

// R28, R33: every kind of address is bound as it reads, with the longest queue that the machine gives.
func TestBind(t *testing.T) {
	table := &Table{}
	added, gone := commit(t, table, everyKind(t)...)
	if len(added) != 7 || len(gone) != 0 {
		t.Fatalf("%d added, %d gone", len(added), len(gone))
	}
	for _, s := range added {
		srv := newServer(t, s.Name())
		s.Serve(srv.handle)
		expect(t, s.Name(), dialMany(t, s.Addr(), 3)...)
		if !flag(t, s, unix.F_GETFL, unix.O_NONBLOCK) || !flag(t, s, unix.F_GETFD, unix.FD_CLOEXEC) {
			t.Errorf("%s is not both non-blocking and close-on-exec", s.Name())
		}
	}
	closing(t, added...) // before the servers' own ends: what is dialled below may still be on its way to them
	for name, want := range map[string]struct{ four, six bool }{
		"every": {true, true}, "every four": {true, false}, "every six": {true, true}, "four": {true, false}, "six": {false, true},
	} {
		for _, s := range added {
			if s.Name() != name {
				continue
			}
			port := s.Addr().(*net.TCPAddr).Port
			four := !refused(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			six := !refused(&net.TCPAddr{IP: net.IPv6loopback, Port: port})
			if four != want.four || six != want.six {
				t.Errorf("%s, bound to %s: IPv4 %t, IPv6 %t; want %t, %t", name, s.Addr(), four, six, want.four, want.six)
			}
		}
	}
	checkQueue(t, added[0])
}

// checkQueue looks at the accept queue's length, and that the protocol is TCP itself.
func checkQueue(t *testing.T, s *Socket) {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	s.control(func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || int(info.Sacked) != most {
			t.Errorf("the queue has room for %d (%v), the machine gives %d", info.Sacked, err, most)
		}
		if p, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
			t.Errorf("protocol %d, %v", p, err)
		}
	})
}

// A draft tells every mistake with its place, leaves nothing bound and what is in use alone.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	table := &Table{}
	kept := spec(1, "kept", "tcp", "127.0.0.1:0")
	added, _ := commit(t, table, kept)
	closing(t, added...)
	added[0].Serve(newServer(t, "kept").handle)

	before := descriptors()
	good := []Spec{
		spec(2, "good", "unix", filepath.Join(dir, "socket")),
		spec(4, "good", "unix", fmt.Sprintf("@edge-test-mistakes-%d", os.Getpid())),
		spec(6, "good", "tcp", "127.0.0.1:0"),
	}
	d, mistakes := table.Draft([]Spec{
		good[0],
		spec(3, "taken", "tcp", other.Addr().String()),
		good[1],
		spec(5, "nowhere", "tcp", "192.0.2.1:0"),
		good[2], kept,
		spec(7, "in the way", "unix", file),
		spec(8, "no folder", "unix", filepath.Join(dir, "no", "socket")),
	})
	if d != nil {
		t.Error("there is a draft")
	}
	want := []string{
		`f.toml:3:1: listener "taken": listen tcp ` + other.Addr().String() + `: bind: address already in use (another program, perhaps another edge, listens there: stop it, or choose another address)`,
		`f.toml:5:1: listener "nowhere": listen tcp 192.0.2.1:0: bind: cannot assign requested address (this machine has no such address)`,
		`f.toml:7:1: listener "in the way": ` + file + ` is there and is no socket: remove it, or choose another path`,
		`f.toml:8:1: listener "no folder": listen unix ` + filepath.Join(dir, "no", "socket") + `: bind: no such file or directory`,
	}
	if got := conf.Errors(mistakes).Error(); got != strings.Join(want, "\n") {
		t.Errorf("mistakes:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	if n := descriptors(); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files: %v", files)
	}
	if text, err := os.ReadFile(file); string(text) != "precious" {
		t.Errorf("the file in the way: %q, %v", text, err)
	}
	expect(t, "kept", dialMany(t, added[0].Addr(), 1)...)
	if len(table.Sockets()) != 1 || table.Sockets()[0] != added[0] {
		t.Errorf("the table has changed: %v", table.Sockets())
	}
	added, _ = commit(t, &Table{}, good...) // nothing holds them
	closing(t, added...)
}

// What a unix socket's folder forbids has nothing to do with ports.
func TestExplain(t *testing.T) {
	denied := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", unix.EACCES)}
	if got := explain(spec(1, "a", "unix", "/a"), denied).Error(); strings.Contains(got, "port") {
		t.Error(got)
	}
	if got := explain(spec(1, "a", "tcp", ":443"), denied); !strings.Contains(got.Error(), "CAP_NET_BIND_SERVICE") || !errors.Is(got, unix.EACCES) {
		t.Error(got)
	}
}

// R39: a socket is kept by what it is bound to, whatever it is called and wherever it stands; a new name is in force with the draft, not before.
func TestKept(t *testing.T) {
	table := &Table{}
	path := filepath.Join(t.TempDir(), "socket")
	first, _ := commit(t, table, spec(1, "a", "tcp", "127.0.0.1:0"), spec(2, "b", "unix", path), spec(3, "c", "tcp", "[::1]:0"))
	closing(t, first...)
	for _, s := range first {
		s.Serve(newServer(t, "hello").handle)
	}
	waiting := dialMany(t, first[1].Addr(), 1)
	d, mistakes := table.Draft([]Spec{spec(1, "new", "tcp", ":0"), spec(2, "renamed", "unix", path), spec(3, "a", "tcp", "127.0.0.1:0")})
	if mistakes != nil {
		t.Fatal(conf.Errors(mistakes))
	}
	if first[1].Name() != "b" || len(table.Sockets()) != 3 || table.Sockets()[2] != first[2] {
		t.Error("a draft changes what is in force")
	}
	var names []string
	var sockets []*Socket
	for s, name := range d.Sockets() {
		names, sockets = append(names, name), append(sockets, s)
	}
	if strings.Join(names, " ") != "new renamed a" || len(sockets) != 3 || sockets[1] != first[1] || sockets[2] != first[0] {
		t.Errorf("the draft has %v, %v", names, sockets)
	}
	added, gone := d.Commit()
	closing(t, added...)
	if len(added) != 1 || added[0] != sockets[0] || len(gone) != 1 || gone[0] != first[2] {
		t.Errorf("added %v, gone %v", added, gone)
	}
	if first[1].Name() != "renamed" || fmt.Sprint(table.Sockets()) != fmt.Sprint(sockets) {
		t.Errorf("named %s, in use %v", first[1].Name(), table.Sockets())
	}
	expect(t, "hello", append(waiting, dialMany(t, first[1].Addr(), 1)...)...)
}

// A draft that is not wanted leaves nothing behind, and nothing of its own touches what is in use.
func TestDiscard(t *testing.T) {
	dir := t.TempDir()
	table := &Table{}
	kept := spec(1, "kept", "unix", filepath.Join(dir, "kept"))
	added, _ := commit(t, table, kept)
	closing(t, added...)
	added[0].Serve(newServer(t, "kept").handle)
	before := descriptors()
	d, mistakes := table.Draft([]Spec{kept, spec(2, "new", "unix", filepath.Join(dir, "new")), spec(3, "new", "tcp", "127.0.0.1:0")})
	if mistakes != nil {
		t.Fatal(conf.Errors(mistakes))
	}
	var fresh []*Socket
	for s, name := range d.Sockets() {
		if name == "new" {
			fresh = append(fresh, s)
		}
	}
	d.Discard()
	for _, s := range fresh {
		if !refused(s.Addr()) {
			t.Errorf("%s is still there", s.Addr())
		}
	}
	if n := descriptors(); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 || files[0].Name() != "kept" {
		t.Errorf("files: %v", files)
	}
	expect(t, "kept", dialMany(t, added[0].Addr(), 1)...)
}

// An address that overlaps one of our own is not blamed on others, and both places are named (DESIGN.md section 7).
func TestOverlapWithOurOwn(t *testing.T) {
	table := &Table{}
	added, _ := commit(t, table, spec(1, "narrow", "tcp", "127.0.0.1:0"))
	closing(t, added...)
	_, port, err := net.SplitHostPort(added[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, mistakes := table.Draft([]Spec{spec(7, "wide", "tcp", "0.0.0.0:"+port)})
	want := `f.toml:7:1: listener "wide": 0.0.0.0:` + port + ` overlaps 127.0.0.1:` + port + `, which edge holds since f.toml:1:1: leave that out first, reload, and add this then`
	if len(mistakes) != 1 || mistakes[0].Error() != want {
		t.Errorf("got  %v\nwant %s", mistakes, want)
	}
}
