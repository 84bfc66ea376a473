package notify

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What is told arrives as one datagram, at a socket in the file system and at an abstract one.
func TestTell(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@edge-notify-test-" + strconv.Itoa(os.Getpid())} {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		t.Setenv(SocketVariable, name)
		m, err := Find()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Tell(Ready, MainPID(42), Status("two\nlines")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1000)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(buf)
		if want := "READY=1\nMAINPID=42\nSTATUS=two lines"; err != nil || string(buf[:n]) != want {
			t.Errorf("%s: %q, %v; want %q", name, buf[:n], err, want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Setenv(SocketVariable, "")
	if m, err := Find(); m != nil || err != nil || m.Tell(Ready) != nil {
		t.Errorf("without a manager: %v, %v", m, err)
	}
	t.Setenv(SocketVariable, "vsock:2:1234")
	if m, err := Find(); m != nil || err == nil {
		t.Errorf("a socket that is none: %v, %v", m, err)
	}
	t.Setenv(SocketVariable, filepath.Join(t.TempDir(), "nobody"))
	if m, err := Find(); err != nil || m.Tell(Ready) == nil {
		t.Errorf("nobody listens: %v, and no error", err)
	}
}

// A manager that does not read costs no more than sendTime.
func TestTellToTheDeaf(t *testing.T) {
	name := filepath.Join(t.TempDir(), "deaf")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv(SocketVariable, name)
	m, err := Find()
	for begun := time.Now(); err == nil; err = m.Tell(Alive) {
		if time.Since(begun) > 20*time.Second {
			t.Fatal("the socket's queue is never full")
		}
	}
	if nerr, ok := err.(net.Error); !ok || !nerr.Timeout() {
		t.Error(err)
	}
}

func TestStatusIsBounded(t *testing.T) {
	if s := Status(strings.Repeat("ä", 1000)); len(s) > len("STATUS=")+maxStatus || s != strings.ToValidUTF8(s, "?") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}

func TestWatchdog(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, test := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0}, {"2000000", "", 2 * time.Second}, {"2000000", self, 2 * time.Second}, {"2000000", "1", 0}, {"0", "", 0}, {"-5", "", 0}, {"x", self, 0},
		{"99999999999999999", "", 0},
	} {
		t.Setenv(watchdogVariable, test.usec)
		t.Setenv(watchdogPIDVariable, test.pid)
		if got := Watchdog(); got != test.want {
			t.Errorf("%q of %q: %v, want %v", test.usec, test.pid, got, test.want)
		}
	}
}
