package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edge/edge/serve"
	"edge/statefile"
)

// The test binary is the program too, under these names: the tests run real processes, and the controls run one that is broken on purpose.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){
		"edge":           main,
		"edge-clocked":   func() { now = movedTime; main() },
		"edge-shutdown":  func() { fault = serve.FaultShutdown; main() },
		"edge-caretaker": func() { isProcess1 = isFirst; main() },
		"edge-panics":    func() { fault = serve.FaultPanics; main() },
		"edge-measured":  func() { go tellMemory(); main() },
		"edge-versioned": versioned,
		"edge-onegoaway": func() { fault = serve.FaultOneGoaway; main() },
	})
}

// suite is every test, and the end of what they share.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer func() { endShared() }()
	return s.M.Run()
}

// clockFile names, in the environment of edge-clocked, a file that says how far its clock is ahead; without it, it goes as it does.
const clockFile = "EDGE_TEST_CLOCK"

// movedTime is the clock of every generation of edge-clocked.
func movedTime() time.Time {
	text, err := os.ReadFile(os.Getenv(clockFile))
	if errors.Is(err, os.ErrNotExist) {
		return time.Now()
	}
	ahead, err2 := time.ParseDuration(string(text))
	if err := cmp.Or(err, err2); err != nil {
		panic(err)
	}
	return time.Now().Add(ahead)
}

// startClocked starts an edge whose logins go by a clock that the test moves, to be that far ahead.
func startClocked(t *testing.T, start func(t *testing.T, program string) *proc) (p *proc, ahead func(time.Duration)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clock")
	t.Setenv(clockFile, file)
	return start(t, "edge-clocked"), func(d time.Duration) {
		t.Helper()
		err := os.WriteFile(file+".new", []byte(d.String()), 0o600)
		if err := cmp.Or(err, os.Rename(file+".new", file)); err != nil {
			t.Fatal(err)
		}
	}
}

// soon is how long a test waits for what takes moments.
const soon = 30 * time.Second

// proc is a running edge, of which the test is told by its log only.
type proc struct {
	t       *testing.T
	dir     string
	program string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the first process has ended
	ended   chan struct{} // closed when all have, and the log is read

	mu    sync.Mutex
	log   []string
	wake  chan struct{}
	addrs map[string]string // by listener: the first address that it listens on
}

// write writes a configuration into dir, in which DIR stands for that folder.
func write(t *testing.T, dir, text string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// start starts a program of TestMain's, or a path, with this configuration, and waits until it serves.
func start(t *testing.T, program, config string) *proc {
	t.Helper()
	dir := t.TempDir()
	return startIn(t, dir, program, config)
}

func startIn(t *testing.T, dir, program, config string) *proc {
	t.Helper()
	return startWith(t, dir, program, config)
}

// startWith is startIn with files that the program gets as descriptors 3 and up.
func startWith(t *testing.T, dir, program, config string, files ...*os.File) *proc {
	t.Helper()
	cmd := exec.Command(program, "-c", write(t, dir, config))
	cmd.ExtraFiles = files
	p := launch(t, dir, cmd)
	t.Cleanup(func() { p.end(); p.tellLog() })
	p.waitLog(`msg="edge serves"`)
	return p
}

// launch starts a process, and reads its log.
func launch(t *testing.T, dir string, cmd *exec.Cmd) *proc {
	t.Helper()
	p := &proc{t: t, dir: dir, program: cmd.Path, cmd: cmd, exited: make(chan struct{}), ended: make(chan struct{}), wake: make(chan struct{}, 1), addrs: map[string]string{}}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = w
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() { p.read(r); close(p.ended) }()
	go func() { p.cmd.Wait(); close(p.exited) }()
	return p
}

// tellLog waits until all processes have ended, and tells of a failed test what they have said.
func (p *proc) tellLog() {
	<-p.ended // every generation holds the pipe
	if p.t.Failed() {
		p.t.Logf("the log of %s:\n%s", p.program, strings.Join(p.log, "\n"))
	}
}

var listening = regexp.MustCompile(`msg=listening listener=(\S+) address=(\S+)`)

// read collects the log of all generations.
func (p *proc) read(r io.ReadCloser) {
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil && p.addrs[m[1]] == "" {
			p.addrs[m[1]] = m[2]
		}
		p.mu.Unlock()
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// count says how many lines of the log hold the text.
func (p *proc) count(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// waitLog waits for a line that holds the text.
func (p *proc) waitLog(text string) { p.t.Helper(); p.waitLogs(text, 1) }

// waitLogs waits for n of them.
func (p *proc) waitLogs(text string, n int) {
	p.t.Helper()
	limit := time.After(soon)
	for p.count(text) < n {
		select {
		case <-p.wake:
		case <-p.ended:
			if p.count(text) < n {
				p.t.Fatalf("every process has ended, and the log does not say %d times: %s", n, text)
			}
		case <-limit:
			p.t.Fatalf("the log does not say %d times: %s", n, text)
		}
	}
}

// addr is the first address of a listener.
func (p *proc) addr(listener string) string {
	p.t.Helper()
	p.waitLog("msg=listening listener=" + listener + " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addrs[listener]
}

// pid is the process that serves, by the pid file.
func (p *proc) pid() int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "state", "edge.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// signal signals the process that serves.
func (p *proc) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(p.pid(), sig); err != nil {
		p.t.Fatal(err)
	}
}

// alive are the generations that live.
func (p *proc) alive() []int {
	p.t.Helper()
	pids, err := statefile.Holders(filepath.Join(p.dir, "state", "generations"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	return pids
}

// upgrade replaces the process, and waits until the new one has taken over.
func (p *proc) upgrade() {
	p.t.Helper()
	n := p.count(`msg="this process has taken over"`)
	p.signal(syscall.SIGUSR2)
	p.waitLogs(`msg="this process has taken over"`, n+1)
}

// reload reloads, and waits for the verdict.
func (p *proc) reload() {
	p.t.Helper()
	n := p.count("msg=reloaded")
	p.signal(syscall.SIGHUP)
	p.waitLogs("msg=reloaded", n+1)
}

// until waits for a condition that nobody tells of.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(soon); !holds(); {
		if time.Now().After(limit) {
			t.Fatalf("not in %v: %s", soon, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end ends every generation that is left.
func (p *proc) end() {
	for _, pid := range p.alive() {
		syscall.Kill(pid, syscall.SIGTERM)
		syscall.Kill(pid, syscall.SIGTERM) // at once
	}
	until(p.t, "every generation has ended", func() bool { return len(p.alive()) == 0 })
	<-p.exited
}

// clientTLS trusts the development CA that edge made in dir/certs.
func (p *proc) clientTLS(name string, alpn ...string) *tls.Config {
	p.t.Helper()
	pem, err := os.ReadFile(filepath.Join(p.dir, "certs", "ca.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: name, NextProtos: alpn}
}

// dialer dials a listener; with a configuration, above TLS.
func (p *proc) dialer(listener string, conf *tls.Config) func(context.Context) (net.Conn, error) {
	p.t.Helper()
	addr := p.addr(listener)
	return func(ctx context.Context) (net.Conn, error) {
		if conf == nil {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
		return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", addr)
	}
}

// config begins every configuration of the tests.
const config = `
state_dir = "DIR/state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[listener]]
name = "http"
address = "[::1]:0"
protocol = "http"
[[certificate]]
hosts = ["localhost", "*.localhost"]
issuer = "dev"
dir = "DIR/certs"
[upgrade]
probation = "200ms"
[drain]
spread = "500ms"
stop = "5s"
`

// relayTo is a vhost on both listeners that relays to an address.
func relayTo(addr string) string {
	return fmt.Sprintf("[[vhost]]\nhosts = [\"app.localhost\"]\nlisteners = [\"https\", \"http\"]\nproxy = \"http://%s\"\n", addr)
}
