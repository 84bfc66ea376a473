package listeners

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"edge/conf"
)

// childVariable makes the test binary one of children in place of the tests.
const childVariable = "LISTENERS_TEST_CHILD"

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(childVariable); ok {
		time.AfterFunc(time.Minute, func() { os.Exit(99) }) // whatever becomes of the test
		if err := children[name](); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// spec is a socket on line n of a configuration.
func spec(n int, name, network, address string) Spec {
	return Spec{Pos: conf.Pos{File: "f.toml", Line: n, Column: 1}, Name: name, Network: network, Address: address}
}

// everyKind is a spec of each kind of address that there is.
func everyKind(t *testing.T) []Spec {
	path := filepath.Join(t.TempDir(), "socket")
	return []Spec{
		spec(1, "four", "tcp", "127.0.0.1:0"),
		spec(2, "six", "tcp", "[::1]:0"),
		spec(3, "every", "tcp", ":0"),
		spec(4, "every four", "tcp", "0.0.0.0:0"),
		spec(5, "every six", "tcp", "[::]:0"),
		spec(6, "path", "unix", path),
		spec(7, "abstract", "unix", "@edge-test-"+filepath.Base(filepath.Dir(filepath.Dir(path)))+fmt.Sprint(os.Getpid())),
	}
}

// commit puts specs in force.
func commit(t *testing.T, table *Table, specs ...Spec) (added, gone []*Socket) {
	t.Helper()
	d, mistakes := table.Draft(specs)
	if mistakes != nil {
		t.Fatal(conf.Errors(mistakes))
	}
	return d.Commit()
}

// listen gives one socket in use.
func listen(t *testing.T, sp Spec) *Socket {
	t.Helper()
	added, _ := commit(t, &Table{}, sp)
	return added[0]
}

// closing closes sockets at the end of the test.
func closing(t *testing.T, sockets ...*Socket) {
	t.Cleanup(func() {
		for _, s := range sockets {
			s.Close()
			s.Unlink()
		}
	})
}

// server serves every connection with its greeting, once it may.
type server struct {
	greeting string
	may      chan struct{} // nil: at once; else each greeting waits for it
	mu       sync.Mutex
	open     int // connections now
	most     int // at once
	handled  int
	wait     sync.WaitGroup
}

// newServer gives a server whose connections the test waits for.
func newServer(t *testing.T, greeting string) *server {
	s := &server{greeting: greeting}
	t.Cleanup(s.wait.Wait)
	return s
}

func (s *server) handle(c net.Conn, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled++
	s.open++
	s.most = max(s.most, s.open)
	s.wait.Go(func() { s.greet(c, done) })
}

func (s *server) greet(c net.Conn, done func()) {
	if s.may != nil {
		<-s.may
	}
	c.Write([]byte(s.greeting))
	c.Close()
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	done()
}

// counts says how many connections there are, were at most, and were in all.
func (s *server) counts() (open, most, handled int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open, s.most, s.handled
}

// until waits for something that happens in another goroutine.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// dial connects to an address, of which port 0's host is the local one.
func dial(a net.Addr) (net.Conn, error) {
	c, err := net.DialTimeout(a.Network(), a.String(), 10*time.Second)
	if err == nil {
		c.SetDeadline(time.Now().Add(20 * time.Second))
	}
	return c, err
}

// dialMany connects n times.
func dialMany(t *testing.T, a net.Addr, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := dial(a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		conns[i] = c
	}
	return conns
}

// greeting reads what the server says, to the end, and closes.
func greeting(c net.Conn) (string, error) {
	defer c.Close()
	text, err := io.ReadAll(c)
	return string(text), err
}

// expect wants a greeting on every connection.
func expect(t *testing.T, want string, conns ...net.Conn) {
	t.Helper()
	for i, c := range conns {
		if got, err := greeting(c); got != want || err != nil {
			t.Fatalf("connection %d of %d gets %q, %v; want %q", i+1, len(conns), got, err, want)
		}
	}
}

// refused says whether nobody listens at an address.
func refused(a net.Addr) bool {
	c, err := dial(a)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT)
}

// flag says whether a socket's descriptor has a flag.
func flag(t *testing.T, s *Socket, get, flag int) bool {
	t.Helper()
	var flags int
	var err error
	if cerr := s.control(func(fd int) { flags, err = unix.FcntlInt(uintptr(fd), get, 0) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return flags&flag != 0
}

// descriptors counts this process's.
func descriptors() int {
	fds, _ := os.ReadDir("/proc/self/fd")
	return len(fds)
}
