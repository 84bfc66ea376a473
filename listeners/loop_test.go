package listeners

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// fakeListener is a listener whose Accept fails as a test says.
type fakeListener struct {
	fail     func() error // nil: a connection
	mu       sync.Mutex
	deadline bool
	attempts []time.Duration // since the start
	start    time.Time
}

func (l *fakeListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadline {
		return nil, &net.OpError{Op: "accept", Err: os.ErrDeadlineExceeded}
	}
	l.attempts = append(l.attempts, time.Since(l.start))
	if err := l.fail(); err != nil {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	c, _ := net.Pipe()
	return c, nil
}

func (l *fakeListener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline = !t.IsZero()
	return nil
}

func (*fakeListener) Close() error                          { return nil }
func (*fakeListener) Addr() net.Addr                        { return &net.TCPAddr{} }
func (*fakeListener) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }

// times gives the attempts so far.
func (l *fakeListener) times() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.attempts
}

// R32: without files or memory the loop tries again, ever more slowly up to a second, and does not end.
func TestBackOff(t *testing.T) {
	for _, reason := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS} {
		synctest.Test(t, func(t *testing.T) {
			l := &fakeListener{start: time.Now(), fail: func() error { return reason }}
			s := newSocket(Spec{Name: "fake"}, l)
			s.Serve(func(net.Conn, func()) { t.Error("a connection") })
			time.Sleep(10 * time.Second)
			want := []time.Duration{0, 5, 15, 35, 75, 155, 315, 635, 1275, 2275, 3275, 4275, 5275, 6275, 7275, 8275, 9275} // ms
			for i := range want {
				want[i] *= time.Millisecond
			}
			if got := l.times(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v: attempts at %v\nwant %v", reason, got, want)
			}
			begun := time.Now()
			s.Pause()
			s.Resume()
			s.Close()
			if took := time.Since(begun); took != 0 {
				t.Errorf("pause, resume and close waited %v", took)
			}
		})
	}
}

// A client that is gone before it is accepted (ECONNABORTED) costs the others nothing; after a success the patience is new.
func TestBackOffEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := []error{unix.EMFILE, unix.EMFILE, unix.EMFILE, nil, unix.EMFILE, unix.ECONNABORTED, unix.ECONNABORTED, nil}
		l := &fakeListener{start: time.Now(), fail: func() error {
			if len(script) == 0 {
				return unix.ENFILE
			}
			err := script[0]
			script = script[1:]
			return err
		}}
		s := newSocket(Spec{Name: "fake"}, l)
		served := 0
		s.Serve(func(c net.Conn, done func()) {
			served++
			c.Close()
			done()
		})
		time.Sleep(41 * time.Millisecond)
		want := []time.Duration{0, 5, 15, 35, 35, 40, 40, 40, 40}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if got := l.times(); fmt.Sprint(got) != fmt.Sprint(want) || served != 2 {
			t.Errorf("%d served, attempts at %v\nwant %v", served, got, want)
		}
		s.Close()
	})
}

// starvedClients is how many clients come to a process that has files for a few.
const starvedClients = 30

// starved is a process that has too few descriptors for its clients, until the first of them end.
func starved() error {
	added, err := short(8)
	if err != nil {
		return err
	}
	srv := &server{greeting: "hello", may: make(chan struct{})}
	added[0].patience = time.Hour // how fast the machine is must not matter
	added[0].Serve(srv.handle)
	fmt.Println(added[0].Addr())
	for { // until there are no more
		f, err := os.Open("/dev/null")
		if errors.Is(err, unix.EMFILE) {
			break
		}
		f.Close()
		time.Sleep(time.Millisecond)
	}
	fmt.Println("full")
	io.Copy(io.Discard, os.Stdin)
	close(srv.may)
	for handled := 0; handled < starvedClients; time.Sleep(time.Millisecond) {
		_, _, handled = srv.counts()
	}
	added[0].Close()
	srv.wait.Wait()
	return nil
}

// R32 with a real limit: those for whom there is no descriptor wait, and none is lost.
func TestStarved(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=starved")
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	address, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	a, err := net.ResolveTCPAddr("tcp", strings.TrimSpace(address))
	if err != nil {
		t.Fatal(err)
	}
	conns := dialMany(t, a, starvedClients)
	if line, err := lines.ReadString('\n'); line != "full\n" {
		t.Fatal(line, err)
	}
	stdin.Close()
	expect(t, "hello", conns...)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
