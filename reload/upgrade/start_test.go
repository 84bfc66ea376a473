package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// errNotReady is why a test gives up on a child.
var errNotReady = errors.New("the new process is not ready in time")

// reports is a pipe for what children report. read gives all of it, when the last of them has ended.
func reports(t *testing.T) (w *os.File, read func() string) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, func() string {
		w.Close()
		r.SetReadDeadline(time.Now().Add(30 * time.Second))
		text, err := io.ReadAll(r)
		if err != nil {
			t.Errorf("what the children report: %v", err)
		}
		return string(text)
	}
}

// healthy is what the tests ask of a child's health.
func healthy(h Health) error {
	if h.Panics > 0 {
		return fmt.Errorf("it panics: %d times, %d of %d failed", h.Panics, h.Failed, h.Requests)
	}
	return nil
}

// play is an upgrade to the child as edge does it, without sockets. It says how far it came.
func play(p Program, w *os.File, ready, grace time.Duration) (pid int, step string, err error) {
	c, err := Start(p, 2, []*os.File{w}, []byte(`[{"name":"report"}]`))
	if err != nil {
		return 0, "start", err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), ready, errNotReady)
	defer cancel()
	for _, s := range []struct {
		name string
		run  func() error
	}{
		{"ready", func() error { return c.Ready(ctx) }},
		{"go", func() error { return c.Go(ctx) }},
		{"probation", func() error { return c.Probation(ctx, 300*time.Millisecond, healthy) }},
		{"commit", c.Commit},
	} {
		if err := s.run(); err != nil {
			return c.PID(), s.name, errors.Join(err, c.Kill(context.Background(), err, grace))
		}
	}
	<-c.exited
	return c.PID(), "done", c.exit
}

// descriptors counts this process's.
func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// same waits for a count to be what it was: goroutines that the test does not wait for close descriptors too.
func same(t *testing.T, what string, was int, count func(*testing.T) int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); count(t) != was; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%d %s, %d before", count(t), what, was)
			return
		}
	}
}

// noChildren says whether every child that ever was has been waited for.
func noChildren() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
}

// Every way in which a child can go wrong is noticed, at the right step, and named; nothing is left of the child (R12, R14, R17, R19, R25).
func TestChildren(t *testing.T) {
	for _, test := range []struct{ child, step, want string }{
		{"good", "done", ""},
		{"exits", "ready", "the new process has ended: exit status 7"},
		{"exits with a word", "ready", "the new process has ended: exit status 1"},
		{"fails", "ready", "the new process refuses: no certificate for a.example"},
		{"fails at length", "ready", "the new process refuses: \x01\x01\x01"},
		{"fails, hears nobody", "ready", "the new process refuses: deaf"},
		{"hangs", "ready", errNotReady.Error()},
		{"garbage", "ready", "the conversation with the new process: a message that is none: invalid character 'g'"},
		{"too long", "ready", "the conversation with the new process: a message of more than 65536 bytes"},
		{"out of turn", "ready", `the new process says "SERVING" out of turn`},
		{"unknown", "ready", `the new process says "HELP" out of turn`},
		{"old", "ready", "version 0 of the conversation is not spoken any more"},
		{"chatters", "ready", `the new process says "SERVING" out of turn`},
		{"closes", "ready", "the new process has closed the conversation"},
		{"exits at GO", "go", "the new process has ended: exit status 9"},
		{"killed in probation", "probation", "the new process has ended: signal: killed"},
		{"sick", "probation", "it panics: 5 times, 4 of 10 failed"},
		{"fails in probation", "probation", "the new process refuses: too many errors"},
		{"no kind in probation", "probation", "a message of no kind"},
	} {
		t.Run(test.child, func(t *testing.T) {
			before := descriptors(t)
			w, read := reports(t)
			limit := 30 * time.Second
			if test.child == "hangs" {
				limit = 100 * time.Millisecond
			}
			pid, step, err := play(testProgram(t, test.child), w, limit, 0)
			switch {
			case step != test.step:
				t.Errorf("it came to %q, want %q: %v", step, test.step, err)
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %q, want %q", err, test.want)
			}
			if said := read(); test.child == "good" && said != "generation 2 [{\"name\":\"report\"}]\ncommitted\n" {
				t.Errorf("the child reports %q", said)
			}
			if !noChildren() {
				t.Errorf("process %d was not waited for", pid)
			}
			same(t, "descriptors", before+1, descriptors) // the report's read end
		})
	}
}

// R12: nothing piles up.
func TestManyFailures(t *testing.T) {
	w, _ := reports(t)
	p := Program{Path: "/bin/false", Dir: "/"}
	before := descriptors(t)
	for range 50 {
		if _, _, err := play(p, w, 30*time.Second, 0); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Fatal(err)
		}
	}
	if !noChildren() {
		t.Error("a zombie is left")
	}
	same(t, "descriptors", before, descriptors)
}

// A child's own words reach the one who reads the log (R13).
func TestStandardError(t *testing.T) {
	r, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	was := os.Stderr
	os.Stderr = stderr
	w, _ := reports(t)
	play(testProgram(t, "exits with a word"), w, 30*time.Second, 0)
	os.Stderr = was
	stderr.Close()
	if text, _ := io.ReadAll(r); string(text) != "conf/edge.toml:1:1: unknown key\n" {
		t.Errorf("standard error: %q", text)
	}
}

// A child that obeys ABORT ends by itself, knowing why; one that does not is killed when its grace is over.
func TestKill(t *testing.T) {
	for child, grace := range map[string]time.Duration{"good": 30 * time.Second, "ignores ABORT": 200 * time.Millisecond} {
		t.Run(child, func(t *testing.T) {
			w, read := reports(t)
			c, err := Start(testProgram(t, child), 2, []*os.File{w}, []byte(`[{}]`))
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			if err := errors.Join(c.Ready(ctx), c.Go(ctx)); err != nil {
				t.Fatal(err)
			}
			if pgid, err := syscall.Getpgid(c.PID()); err != nil || pgid != c.PID() {
				t.Errorf("the child is in process group %d (%v): a Ctrl-C would reach it (R11)", pgid, err)
			}
			begun := time.Now()
			if err := c.Kill(context.Background(), errors.New("the moon is full"), grace); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); child == "ignores ABORT" && took < grace || took > 20*time.Second {
				t.Errorf("Kill took %v with %v of grace", took, grace)
			}
			for range 20 { // again is no error
				if err := c.Kill(context.Background(), errors.New("again"), 0); err != nil {
					t.Fatal(err)
				}
			}
			said := read()
			if child == "good" && !strings.Contains(said, "error: the running process takes it back: the moon is full") {
				t.Errorf("the child reports %q", said)
			}
			if !noChildren() {
				t.Error("the child was not waited for")
			}
		})
	}
}

// A step that is given up says why.
func TestGivenUp(t *testing.T) {
	w, _ := reports(t)
	c, err := Start(testProgram(t, "ignores ABORT"), 2, []*os.File{w}, []byte(`[{}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill(context.Background(), errors.New("the test is over"), 0)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("TERM"))
	if err := c.Probation(ctx, time.Minute, healthy); err == nil || err.Error() != "TERM" {
		t.Errorf("probation: %v", err)
	}
}

// R5, R6: over many generations neither the environment nor the descriptors grow.
func TestChain(t *testing.T) {
	w, read := reports(t)
	p := testProgram(t, "chain")
	file, err := os.Open(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p.runs = &image{Path: p.Path, file: file}
	p.Env = append(p.Env, "LISTEN_FDS=1", "LISTEN_PID=1", "WATCHDOG_PID=1", "NOTIFY_SOCKET=/run/systemd/notify")
	if _, step, err := play(p, w, 30*time.Second, 0); err != nil {
		t.Fatal(step, err)
	}
	lines := strings.Split(strings.TrimSpace(read()), "\n")
	if len(lines) != generations-1 {
		t.Fatalf("generations 2 to %d, say:\n%s", generations, strings.Join(lines, "\n"))
	}
	numbers := regexp.MustCompile(`\d+ `)
	for i, line := range lines {
		if prefix := fmt.Sprintf("generation %d: ", i+2); !strings.HasPrefix(line, prefix) {
			t.Errorf("line %d: %q", i, line)
		}
		if !slices.Equal(numbers.FindAllString(line, -1), numbers.FindAllString(lines[0], -1)) {
			t.Errorf("%s; in the first one: %s", line, lines[0])
		}
	}
}
