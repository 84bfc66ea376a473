package listeners

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// passed is a process that takes what it is passed for the specs in its environment, and binds the rest. It says what came of it, serves until its
// standard input ends, and then unlinks what is its own.
func passed() error {
	var specs []Spec
	for i, address := range strings.Fields(os.Getenv(specsVariable)) {
		network, address, _ := strings.Cut(address, "=")
		specs = append(specs, spec(i+1, fmt.Sprint("l", i+1), network, address))
	}
	table, refused := Passed(specs)
	for _, err := range refused {
		fmt.Println("refused:", err)
	}
	taken := len(table.Sockets())
	d, mistakes := table.Draft(specs)
	if mistakes != nil {
		return mistakes[0]
	}
	added, gone := d.Commit()
	fmt.Printf("%d taken, %d added, %d gone\n", taken, len(added), len(gone))
	out, err := exec.Command("/bin/sh", "-c", `echo "a program that it starts: pid '$LISTEN_PID' fds '$LISTEN_FDS' names '$LISTEN_FDNAMES' has"; for fd in 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done; true`).Output()
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(strings.Fields(string(out)), " "))
	srv := &server{greeting: "passed"}
	for _, s := range table.Sockets() {
		s.Serve(srv.handle)
	}
	fmt.Println("serving")
	io.Copy(io.Discard, os.Stdin)
	for _, s := range table.Sockets() {
		s.Unlink()
		s.Close()
	}
	srv.wait.Wait()
	return nil
}

// pass starts such a process, as systemd would. pid is what LISTEN_PID says, "$$" its own.
func pass(t *testing.T, pid, fds, names, specs string, files ...*os.File) (said string, stop func()) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "export LISTEN_PID="+pid+"; exec "+os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=passed", "LISTEN_FDS="+fds, "LISTEN_FDNAMES="+names, specsVariable+"="+specs, "GORACE=atexit_sleep_ms=0")
	cmd.ExtraFiles = files
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	buf := make([]byte, 4096)
	for !strings.HasSuffix(said, "serving\n") {
		n, err := stdout.Read(buf)
		said += string(buf[:n])
		if err != nil {
			t.Errorf("%v after %s", err, said)
			break
		}
	}
	return strings.TrimSuffix(said, "serving\n"), stop
}

// systemSocket is a socket that listens, as a file, and its address.
func systemSocket(t *testing.T, network, address string) (*os.File, string) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, ln.Addr().String()
}

// A passed socket is taken for the configured address that it is bound to, whatever its place and its name; what nobody wants is named and closed; the
// rest is bound as ever; and no program that is started hears of it.
func TestPassed(t *testing.T) {
	dir := t.TempDir()
	four, fourAt := systemSocket(t, "tcp", "127.0.0.1:0")
	every, everyAt := systemSocket(t, "tcp", "[::]:0")
	onlySix, onlySixAt := systemSocket(t, "tcp6", "[::]:0")
	path, pathAt := systemSocket(t, "unix", filepath.Join(dir, "passed"))
	unwanted, unwantedAt := systemSocket(t, "tcp", "127.0.0.1:0")
	deaf := rawSocket(t, unix.SOCK_STREAM)
	specs := fmt.Sprintf("tcp=127.0.0.1:0 unix=%s tcp=:%s tcp=%s unix=%s", pathAt, port(t, everyAt), fourAt, filepath.Join(dir, "bound"))
	said, stop := pass(t, "$$", "7", "web::six", specs, unwanted, every, onlySix, deaf, path, four, os.Stdin)
	want := fmt.Sprintf(`refused: descriptor 3, passed as "web", is not used: no [[listener]] has the address tcp %s
refused: descriptor 5, passed as "six", is not used: no [[listener]] has the address tcp %s
refused: descriptor 6, passed as "unnamed", is not used: the socket does not listen
refused: descriptor 9, passed as "unnamed", is not used: socket operation on non-socket
3 taken, 2 added, 0 gone
a program that it starts: pid '' fds '' names '' has
`, unwantedAt, onlySixAt)
	if said != want {
		t.Errorf("it says\n%swant\n%s", said, want)
	}
	for _, a := range []net.Addr{tcpAddr(t, fourAt), tcpAddr(t, everyAt), &net.UnixAddr{Name: pathAt, Net: "unix"}, &net.UnixAddr{Name: filepath.Join(dir, "bound"), Net: "unix"}} {
		expect(t, "passed", dialMany(t, a, 2)...)
	}
	stop()
	if _, err := os.Lstat(pathAt); err != nil {
		t.Errorf("it removes a file that was made by whoever passed the socket: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "bound")); err == nil {
		t.Error("it leaves a file of its own")
	}
}

// What is passed to another process, or is no number of sockets, is let be.
func TestPassedToAnother(t *testing.T) {
	for _, c := range []struct{ pid, fds, want string }{
		{"1", "1", "0 taken"},
		{"", "1", "0 taken"},
		{"$$", "", "0 taken"},
		{"$$", "0", "0 taken"},
		{"$$", "-1", `refused: LISTEN_FDS is "-1", which is no number of sockets: none is taken` + "\n0 taken"},
		{"$$", "9999999", `refused: LISTEN_FDS is "9999999"`},
		{"$$", "2", `refused: descriptor 4, passed as "unnamed", is not used: socket operation on non-socket` + "\n1 taken"},
	} {
		f, at := systemSocket(t, "tcp", "127.0.0.1:0")
		specs := "tcp=" + at
		if !strings.Contains(c.want, "1 taken") {
			specs = "tcp=127.0.0.1:0"
		}
		said, stop := pass(t, c.pid, c.fds, "", specs, f)
		stop()
		if !strings.HasPrefix(said, c.want) || !strings.Contains(said, "pid '' fds '' names ''") {
			t.Errorf("%+v: it says\n%s", c, said)
		}
	}
}

// A socket is what a configured address says if it takes just the clients that one bound for it would.
func TestSameTCP(t *testing.T) {
	for _, c := range []struct {
		network, address, configured string
		want                         bool
	}{
		{"tcp", "127.0.0.1:0", "127.0.0.1:PORT", true}, {"tcp", "127.0.0.1:0", "127.0.0.2:PORT", false}, {"tcp", "127.0.0.1:0", "127.0.0.1:1", false},
		{"tcp", "127.0.0.1:0", ":PORT", false}, {"tcp", "[::1]:0", "[::1]:PORT", true}, {"tcp", "[::1]:0", "127.0.0.1:PORT", false},
		{"tcp", "[::]:0", ":PORT", true}, {"tcp", "[::]:0", "[::]:PORT", true}, {"tcp", "[::]:0", "0.0.0.0:PORT", false},
		{"tcp6", "[::]:0", ":PORT", false}, {"tcp6", "[::]:0", "[::]:PORT", false}, {"tcp6", "[::1]:0", "[::1]:PORT", true},
		{"tcp4", "0.0.0.0:0", "0.0.0.0:PORT", true}, {"tcp4", "0.0.0.0:0", ":PORT", false},
	} {
		ln, err := net.Listen(c.network, c.address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		configured := strings.Replace(c.configured, "PORT", port(t, ln.Addr().String()), 1)
		if got := bound(ln, spec(1, "a", "tcp", configured)); got != c.want {
			t.Errorf("%s %s for %s: %v", c.network, c.address, c.configured, got)
		}
	}
}

func tcpAddr(t *testing.T, address string) net.Addr {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", "127.0.0.1:"+port(t, address))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
