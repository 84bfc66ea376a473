package listeners

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What is lacking is told of at its beginning, and then once a second with a count, whatever comes between.
func TestWantIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &fakeListener{start: time.Now(), fail: func() error { return unix.EMFILE }}
		s := newSocket(Spec{Name: "fake"}, l)
		var told []string
		s.OnWant(func(w Want) {
			if !errors.Is(w.Err, unix.EMFILE) || w.Refused != 0 {
				t.Errorf("%+v", w)
			}
			told = append(told, fmt.Sprint(time.Since(l.start).Milliseconds(), " ms: ", w.Failures))
		})
		s.Serve(func(net.Conn, func()) { t.Error("a connection") })
		time.Sleep(3500 * time.Millisecond)
		s.Close()
		if want := "0 ms: 1, 1275 ms: 8, 2275 ms: 1, 3275 ms: 1"; strings.Join(told, ", ") != want {
			t.Errorf("told: %s\nwant: %s", strings.Join(told, ", "), want)
		}
	})
}

// A want that ends between two attempts leaves those who wait alone, and the next one is counted from its own beginning.
func TestWantEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n int
		l := &fakeListener{start: time.Now()}
		l.fail = func() error {
			if n++; n%5 == 0 {
				return nil
			}
			return unix.EMFILE
		}
		s := newSocket(Spec{Name: "fake"}, l)
		s.Serve(func(c net.Conn, done func()) {
			c.Close()
			if s.want.wait != 0 || !s.want.since.IsZero() || s.want.spare < 0 {
				t.Errorf("after a success: %+v", s.want)
			}
			done()
		})
		time.Sleep(3 * time.Second)
		s.Close()
		if s.want.spare >= 0 {
			t.Error("the spare descriptor outlives the socket")
		}
	})
}

// full is a process that has descriptors for those who came first only, until its test says that they may end. It tells each want and how many it
// has served.
func full() error {
	added, err := short(8)
	if err != nil {
		return err
	}
	srv := &server{greeting: "hello", may: make(chan struct{})}
	added[0].OnWant(func(w Want) {
		_, _, handled := srv.counts()
		fmt.Println("want", w.Failures, w.Refused, handled, w.Err)
	})
	added[0].Serve(srv.handle)
	fmt.Println(added[0].Addr())
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	close(srv.may)
	io.Copy(io.Discard, in)
	added[0].Close()
	srv.wait.Wait()
	return nil
}

// short gives a socket to a process that may then open no more than so many descriptors.
func short(more int) ([]*Socket, error) {
	table := &Table{}
	d, mistakes := table.Draft([]Spec{spec(1, "a", "tcp", "127.0.0.1:0")})
	if mistakes != nil {
		return nil, mistakes[0]
	}
	added, _ := d.Commit()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	few := unix.Rlimit{Cur: uint64(len(fds) + more), Max: uint64(len(fds) + more)}
	return added, unix.Setrlimit(unix.RLIMIT_NOFILE, &few)
}

// R32 with a real limit, and a want that lasts: those who came first are served, all the others get an end and not silence, nothing spins; and
// whoever comes when the want is over is served.
func TestSentAway(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=full")
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
	got := make(chan string, starvedClients)
	for _, c := range dialMany(t, a, starvedClients) {
		go func() { text, _ := greeting(c); got <- text }()
	}
	next := func() (failures, refused, handled int) {
		t.Helper()
		line, err := lines.ReadString('\n')
		if n, _ := fmt.Sscanf(line, "want %d %d %d", &failures, &refused, &handled); n < 3 || !strings.Contains(line, "too many open files") {
			t.Fatalf("the process says %q, %v", line, err)
		}
		return failures, refused, handled
	}
	away, handled := 0, 0
	for away+handled < starvedClients {
		var refused int
		_, refused, handled = next()
		away += refused
	}
	for range away {
		if text := <-got; text != "" {
			t.Errorf("one of those who are sent away gets %q", text)
		}
	}
	before, begun := cpuTime(t, cmd.Process.Pid), time.Now()
	if failures, _, _ := next(); failures > 3 {
		t.Errorf("it tried %d times in a second", failures)
	}
	if used, passed := cpuTime(t, cmd.Process.Pid)-before, time.Since(begun); passed > 100*time.Millisecond && used > passed/2 {
		t.Errorf("it spins: %v of work in %v", used, passed)
	}
	io.WriteString(stdin, "free\n")
	for range handled {
		if text := <-got; text != "hello" {
			t.Errorf("one of the first gets %q", text)
		}
	}
	expect(t, "hello", dialMany(t, a, 3)...)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if handled < 3 || away < 3 {
		t.Errorf("%d were served, %d sent away", handled, away)
	}
}

// cpuTime is how long a process has worked.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}
