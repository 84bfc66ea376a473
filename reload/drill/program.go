package drill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// program is a running edge: all its generations, which write one log. What is known of them is what the log says.
type program struct {
	dir  string
	link string // what is started: a link to the operator's program, or to a bad one
	good string

	mu    sync.Mutex
	log   []string
	more  chan struct{} // closed at the next line
	ended chan struct{} // closed when no generation is left
}

// startProgram starts good, by a link of the same name in dir, with dir/edge.toml.
func startProgram(dir, good string) (*program, error) {
	p := &program{
		dir: dir, good: good, link: filepath.Join(dir, "bin", filepath.Base(good)),
		more: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := os.Mkdir(filepath.Dir(p.link), 0o700); err != nil {
		return nil, err
	}
	if err := p.becomes(good); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p.link, "-c", p.file())
	cmd.Dir, cmd.Stderr = dir, w
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(p.link)+":"+os.Getenv("PATH")) // for a program that knows itself by its name alone
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	go cmd.Wait() // so that it is no zombie; that it has ended is seen by the pipe
	go p.read(r)
	return p, nil
}

func (p *program) file() string { return filepath.Join(p.dir, "edge.toml") }

// becomes makes the link lead to another program.
func (p *program) becomes(target string) error {
	next := p.link + ".next"
	if err := os.Symlink(target, next); err != nil {
		return err
	}
	return os.Rename(next, p.link)
}

// read collects the log.
func (p *program) read(r io.ReadCloser) {
	defer close(p.ended)
	defer r.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// said is how many lines the log has.
func (p *program) said() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log)
}

// tail is the end of the log.
func (p *program) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log[max(0, len(p.log)-20):], "\n")
}

// await waits for the first line, after so many, that holds one of the texts.
func (p *program) await(ctx context.Context, after int, texts ...string) (line string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		p.mu.Lock()
		fresh, more := p.log[min(after, len(p.log)):], p.more
		p.mu.Unlock()
		for _, line := range fresh {
			for _, text := range texts {
				if strings.Contains(line, text) {
					return line, nil
				}
			}
		}
		after += len(fresh)
		select {
		case <-more:
		case <-p.ended:
			return "", fmt.Errorf("every process has ended, and none has said %q", texts)
		case <-ctx.Done():
			return "", fmt.Errorf("no process has said %q: %w", texts, ctx.Err())
		}
	}
}

// signal signals the process that serves, and waits for one of the texts.
func (p *program) signal(ctx context.Context, sig syscall.Signal, texts ...string) (line string, err error) {
	after := p.said()
	pid, err := p.pid()
	if err != nil {
		return "", err
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return "", err
	}
	return p.await(ctx, after, texts...)
}

// pid is the process that serves.
func (p *program) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, "state", "edge.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

var (
	saysListening = regexp.MustCompile(`msg=listening listener=(\S+) address=(\S+)`)
	saysPID       = regexp.MustCompile(` pid=(\d+)`)
)

// address is where a listener listened last.
func (p *program) address(listener string) (address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if m := saysListening.FindStringSubmatch(line); m != nil && m[1] == listener {
			address = m[2]
		}
	}
	return address
}

// pidIn is the process that a line is about.
func pidIn(line string) int {
	m := saysPID.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	pid, _ := strconv.Atoi(m[1])
	return pid
}

// alive are the generations that live, of all that the log ever told of.
func (p *program) alive() (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[int]bool{}
	for _, line := range p.log {
		pid := pidIn(line)
		if pid == 0 || seen[pid] {
			continue
		}
		seen[pid] = true
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(text), p.file()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// oneLeft waits until one generation is left.
func (p *program) oneLeft(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for len(p.alive()) != 1 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("generations that have not ended: %v", p.alive())
		case <-time.After(20 * time.Millisecond): // nobody tells of the end of a process that is not our child
		}
	}
	return nil
}

// stop ends every generation that is left: in good order first.
func (p *program) stop() error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		for _, pid := range p.alive() {
			syscall.Kill(pid, sig)
		}
		select {
		case <-p.ended:
			return nil
		case <-time.After(7 * time.Second):
		}
	}
	return errors.New("a process cannot be ended")
}
