package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// firstVariable marks the children of the first process.
const firstVariable = "EDGE_TEST_NOT_FIRST"

// isFirst makes the first process take the place of process 1: orphans come to it.
func isFirst() bool {
	if os.Getenv(firstVariable) != "" {
		return false
	}
	os.Setenv(firstVariable, "1")
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == nil
}

const hereSite = "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\nrespond = { body = \"here\" }\n"

// parentOf and stateOf are what the kernel says of a process; "" where there is none.
func parentOf(pid int) string { return statusOf(pid, "PPid:") }
func stateOf(pid int) string  { return statusOf(pid, "State:") }

func statusOf(pid int, key string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.Fields(v)[0]
		}
	}
	return ""
}

// exitOf waits for the first process.
func (p *proc) exitOf() int {
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// Process 1 passes every signal on to the process that serves now, over upgrades; the service manager outside hears of it as of one process; and it ends
// with the status of the last (R60).
func TestCaretaker(t *testing.T) {
	m := newServiceManager(t, filepath.Join(t.TempDir(), "notify"))
	p := start(t, "edge-caretaker", config+hereSite)
	one, first := p.cmd.Process.Pid, p.pid()
	if first == one || parentOf(first) != strconv.Itoa(one) {
		t.Fatalf("process %d serves, a child of %s; process 1 is %d", first, parentOf(first), one)
	}
	m.hears(one, "READY=1", "STATUS=serving")
	tell := func(sig syscall.Signal, text string) {
		t.Helper()
		n := p.count(text)
		if err := syscall.Kill(one, sig); err != nil {
			t.Fatal(err)
		}
		p.waitLogs(text, n+1)
	}
	for range 3 {
		tell(syscall.SIGHUP, "msg=reloaded")
		m.hears(one, "RELOADING=1", "MONOTONIC_USEC=…")
		m.hears(one, "READY=1", "STATUS=serving; reloaded")
		tell(syscall.SIGUSR1, "logs reopened")
		was := p.pid()
		tell(syscall.SIGUSR2, "this process has taken over")
		m.hears(one, "STATUS=serving; process …") // its id means nothing outside
		until(t, "the old process has ended and is no zombie", func() bool { return len(p.alive()) == 1 && stateOf(was) == "" })
		if got := p.curl("http", "a.localhost", "/"); got != "here" {
			t.Errorf("after an upgrade: %q", got)
		}
		if pid := p.pid(); pid == was || parentOf(pid) != strconv.Itoa(one) {
			t.Errorf("process %d serves, a child of %s", pid, parentOf(pid))
		}
	}
	last := p.pid()
	if err := syscall.Kill(one, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.hears(one, "STOPPING=1", "STATUS=stopping")
	if status := p.exitOf(); status != 0 || stateOf(last) != "" {
		t.Errorf("process 1 ends with %d; process %d is %q", status, last, stateOf(last))
	}
}

// However the process that serves ends, process 1 ends with its status, also while its parent, who alone learns it, still drains; and leaves nothing (R60).
func TestCaretakerStatus(t *testing.T) {
	bad := exec.Command("edge-caretaker", "-c", write(t, t.TempDir(), "no TOML at all"))
	text, _ := bad.CombinedOutput()
	if bad.ProcessState.ExitCode() != 1 || bytes.Count(text, []byte("edge.toml:1:")) != 1 {
		t.Errorf("a bad configuration: exit status %d:\n%s", bad.ProcessState.ExitCode(), text)
	}
	t.Run("killed", func(t *testing.T) {
		p := start(t, "edge-caretaker", config+hereSite)
		p.signal(syscall.SIGKILL)
		if status := p.exitOf(); status != 128+int(syscall.SIGKILL) {
			t.Errorf("exit status %d", status)
		}
	})
	t.Run("killed while its parent drains", func(t *testing.T) {
		_, addr := origin(t)
		p := start(t, "edge-caretaker", config+relayTo(addr))
		first := p.pid()
		c, err := p.dialer("http", nil)(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
		if _, err := c.Read(make([]byte, 1)); err != nil { // it is the old process's, which waits for it
			t.Fatal(err)
		}
		p.upgrade()
		if p.pid() == first || len(p.alive()) != 2 {
			t.Fatalf("alive: %v", p.alive())
		}
		p.signal(syscall.SIGKILL)
		if status := p.exitOf(); status != 128+int(syscall.SIGKILL) {
			t.Errorf("exit status %d", status)
		}
		if state := stateOf(first); state != "" {
			t.Errorf("process %d, which drained, is %q", first, state)
		}
	})
}

// The same where it is process 1.
func TestProcess1(t *testing.T) {
	args := []string{"--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if err := exec.Command("unshare", append(args, "true")...).Run(); err != nil {
		t.Skip("no process namespaces here: ", err)
	}
	dir := t.TempDir()
	p := launch(t, dir, exec.Command("unshare", append(args, "edge", "-c", write(t, dir, config+hereSite))...))
	t.Cleanup(func() { p.cmd.Process.Kill(); p.tellLog() }) // and with it all others; their ids mean nothing here
	p.waitLog(`msg="edge serves"`)
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	one, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		syscall.Kill(one, syscall.SIGUSR2)
		p.waitLogs("this process has taken over", n)
		p.waitLogs("msg=drained", n)
		if got := p.curl("http", "a.localhost", "/"); got != "here" {
			t.Errorf("after %d upgrades: %q", n, got)
		}
	}
	syscall.Kill(one, syscall.SIGTERM)
	if status := p.exitOf(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
