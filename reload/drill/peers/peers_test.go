package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge/reload/drill"
)

func TestMain(m *testing.M) {
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	if err := adopt(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// startLab gives a lab, and the contestant of this name and event, if it is installed.
func startLab(t *testing.T, name, event string) (*lab, contestant) {
	t.Helper()
	i := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == name && c.event == event })
	if _, err := exec.LookPath(contestants[i].program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l, err := newLab(t.Context(), options{reloads: 2, upgrades: 1, clients: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l, contestants[i]
}

// A peer is drilled by every kind of client that it can serve: they get answers, lose nothing while nothing changes, and each change is in force. Nothing
// that was started is left.
func TestDrill(t *testing.T) {
	for _, event := range []string{"HUP", "USR2, WINCH, QUIT"} {
		t.Run(event, func(t *testing.T) {
			l, c := startLab(t, "nginx", event)
			o, err := l.drill(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			for key, r := range o.calm {
				if r.Failed > 0 || r.ClosedUnder > 0 || r.OK+o.reports[key].OK == 0 {
					t.Errorf("%s: before any change %v, and then %v", key, r, o.reports[key])
				}
			}
			if want := 1 + o.changes; o.site.Version != want || o.changes == 0 {
				t.Errorf("configuration %d is in force, want %d", o.site.Version, want)
			}
			if left := descendants(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// nginx ignores the second of two upgrades while a connection holds the process before the first: why "tunnel, one" and "WebSocket, one" do
// not ask it then.
func TestNginxIgnoresSecondUpgrade(t *testing.T) {
	l, c := startLab(t, "nginx", "USR2, WINCH, QUIT")
	if l.site.Stream == "" {
		t.Skip("libnginx-mod-stream is not installed")
	}
	s, err := l.start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer endAll()
	tunnel, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.site.Tunnel))
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	tunnel.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(tunnel, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(tunnel, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	old, err := s.succeedNginx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.nginxMaster()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(now, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	ignores := regexp.MustCompile(`\(SIGUSR2\) received from \d+, ignoring`)
	err = until(t.Context(), "nginx says that it ignores the signal", func() bool {
		said, _ := os.ReadFile(filepath.Join(s.site.Dir, "error.log"))
		return ignores.Match(said)
	})
	if err != nil {
		t.Error(err)
	}
	tunnel.Close()
	if err := until(t.Context(), "the old master has ended", func() bool { return ended(old) }); err != nil {
		t.Error("without the tunnel:", err)
	}
}

func TestCause(t *testing.T) {
	for text, want := range map[string]string{
		"reading: unexpected EOF": "reading: unexpected EOF",
		"reading: read tcp 127.0.0.1:54321->127.0.0.1:8080: read: connection reset by peer": "reading: read: connection reset by peer",
		"writing: write unix @->/tmp/peer.sock: write: broken pipe":                         "writing: write: broken pipe",
		"connecting: dial tcp 127.0.0.1:8080: connect: connection refused":                  "connecting: connect: connection refused",
		"stream: http2: server sent GOAWAY and closed the connection; LastStreamID=1235":    "stream: http2: server sent GOAWAY and closed the connection; LastStreamID=…",
	} {
		if got := cause(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestStatOf(t *testing.T) {
	for text, want := range map[string]struct {
		pid, parent int
		zombie      bool
	}{
		"12 (nginx) S 3 12 12 0": {12, 3, false},
		"13 (a) (Z 1) Z 4 12 12": {13, 4, true},
		"":                       {0, 0, false},
	} {
		if pid, parent, zombie := statOf(text); pid != want.pid || parent != want.parent || zombie != want.zombie {
			t.Errorf("%q: %d, %d, %v", text, pid, parent, zombie)
		}
	}
}

// The tables tell what failed, what of it a client may ask for again, who was not asked and why, and what was lost before any change.
func TestTables(t *testing.T) {
	o := &outcome{
		server:  &server{contestant: contestant{name: "one", event: "HUP", without: noLayer4}},
		version: "1.0", changes: 2, double: 7,
		calm: map[string]*drill.Report{"h1 pipelined, 0s": {Failed: 5}},
		reports: map[string]*drill.Report{
			"h1 pipelined, 0s":  {OK: 10, Failed: 8, ClosedUnder: 4, Errors: map[string]int64{behindLast: 5, "reading: EOF": 3}},
			"h2, 4 streams, 0s": {OK: 1, Failed: 4, Errors: map[string]int64{aboveLast: 4}},
			resuming + ", 0s":   {OK: 1, Opened: 9, Resumed: 8},
		},
	}
	var b strings.Builder
	if err := printTables(&b, []*outcome{o}); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"1 one 1.0 HUP 2 0 ms 24 12 6.0 6 7 4 0 8 of 9",
		"h1 pipelined 0 ms 8 / 4 ", "tunnel, one 10 ms not asked",
		"(before any change 5 failed and 0 idle connections were closed) 5 × reading: the second of two requests has no answer, 4 × stream:",
		"not asked: tunnel of 5 s; tunnel, one: it relays TCP only with a plugin",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}
