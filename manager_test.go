package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// serviceManager hears what systemd would, and from whom.
type serviceManager struct {
	t     *testing.T
	c     *net.UnixConn
	heard []notice
}

type notice struct {
	from  int
	lines []string
	files []*os.File
}

func newServiceManager(t *testing.T, name string) *serviceManager {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", name)
	return &serviceManager{t: t, c: c}
}

// next waits for a notice.
func (m *serviceManager) next() notice {
	m.t.Helper()
	buf, oob := make([]byte, 4096), make([]byte, 256)
	m.c.SetReadDeadline(time.Now().Add(soon))
	n, oobn, _, _, err := m.c.ReadMsgUnix(buf, oob)
	if err != nil {
		m.t.Fatalf("%v; heard: %v", err, m.heard)
	}
	control, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		m.t.Fatal(err)
	}
	cred, err := unix.ParseUnixCredentials(&control[0])
	if err != nil {
		m.t.Fatal(err)
	}
	got := notice{from: int(cred.Pid), lines: strings.Split(string(buf[:n]), "\n")}
	for _, more := range control[1:] {
		fds, err := unix.ParseUnixRights(&more)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			f := os.NewFile(uintptr(fd), "stored")
			m.t.Cleanup(func() { f.Close() })
			got.files = append(got.files, f)
		}
	}
	m.heard = append(m.heard, got)
	return got
}

// hears waits for the next notice that is not a watchdog's, and checks that it comes from a process and has these lines; one that ends with "…" goes on.
func (m *serviceManager) hears(from int, lines ...string) notice {
	m.t.Helper()
	got := m.next()
	for slices.Equal(got.lines, []string{"WATCHDOG=1"}) {
		got = m.next()
	}
	ok := got.from == from && slices.EqualFunc(got.lines, lines, func(got, want string) bool {
		begin, open := strings.CutSuffix(want, "…")
		return got == want || open && strings.HasPrefix(got, begin)
	})
	if !ok {
		m.t.Fatalf("process %d says %q; want process %d, %q", got.from, got.lines, from, lines)
	}
	return got
}

func monotonic() int64 {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano() / 1000
}

// The service manager hears of the start, of reloads and their verdicts, of upgrades, of which process is the service, and of the stop (R61), by a
// socket in the file system and by an abstract one.
func TestServiceManager(t *testing.T) {
	for name, socket := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "notify"),
		"abstract": fmt.Sprintf("@edge-test-%d", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) { serviceManagerHears(t, socket) })
	}
}

func serviceManagerHears(t *testing.T, socket string) {
	m := newServiceManager(t, socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	site := "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"here\" }\n"
	p := start(t, "edge", config+site)
	first := p.pid()
	m.hears(first, "READY=1", fmt.Sprintf("MAINPID=%d", first), "STATUS=serving")

	before := monotonic()
	p.reload()
	at := m.hears(first, "RELOADING=1", "MONOTONIC_USEC=…").lines[1]
	if usec, err := strconv.ParseInt(strings.TrimPrefix(at, "MONOTONIC_USEC="), 10, 64); err != nil || usec < before || usec > monotonic() {
		t.Errorf("%s, asked at %d, now %d", at, before, monotonic())
	}
	m.hears(first, "READY=1", "STATUS=serving; reloaded")

	write(t, p.dir, "no TOML at all")
	p.signal(syscall.SIGHUP)
	m.hears(first, "RELOADING=1", "MONOTONIC_USEC=…")
	m.hears(first, "READY=1", "STATUS=serving; reload refused: …")
	p.signal(syscall.SIGUSR2)
	m.hears(first, "STATUS=serving; upgrade failed: …")

	write(t, p.dir, config+site)
	p.upgrade()
	second := p.pid()
	if second == first {
		t.Fatal("nothing has taken over")
	}
	m.hears(first, fmt.Sprintf("MAINPID=%d", second), fmt.Sprintf("STATUS=serving; process %d has taken over", second))
	for range 3 { // the watchdog is fed by the new process, and by it alone
		if got := m.next(); got.from != second || !slices.Equal(got.lines, []string{"WATCHDOG=1"}) {
			t.Fatalf("process %d says %q", got.from, got.lines)
		}
	}
	p.signal(syscall.SIGTERM)
	m.hears(second, "STOPPING=1", "STATUS=stopping")
}
