package upgrade

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// firstFD is the descriptor of the first file.
const firstFD = 3

// Program is how to start this program again, as it was found when it started: a file put in its place, or a link that leads elsewhere by
// then, is what starts.
type Program struct {
	Path string
	Args []string // without the name
	Dir  string
	Env  []string

	runs   *image // what runs now
	before *image // what the process before this one ran; nil: it is not known
	starts *image // what starts, whatever the file at Path is by now; nil: that file
}

// image is a program, as a file that is open and stays what it is.
type image struct {
	FD   int    `json:"fd"`   // in the child
	Path string `json:"path"` // by which it was started
	file *os.File
}

// ThisProgram says how this process was started. Call it before the working directory or the environment change.
func ThisProgram() (Program, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil && !filepath.IsAbs(os.Args[0]) { // an image runs under the name of a file that may be gone
		return Program{}, err
	} else if err != nil {
		path = os.Args[0]
	}
	if path, err = filepath.Abs(path); err != nil { // links are left as they are
		return Program{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return Program{}, err
	}
	file, err := os.Open("/proc/self/exe") // of a file that was removed or replaced too
	return Program{Path: path, Args: os.Args[1:], Dir: dir, Env: cleanEnv(os.Environ()), runs: &image{Path: path, file: file}}, err
}

// After gives the program as it is started from a process that took over from parent.
func (p Program) After(parent *Parent) Program {
	p.before = parent.image
	return p
}

// Back gives the program of the process that this one took over from, under its own name: no change of the file on disk changes it.
func (p Program) Back() (Program, error) {
	if p.before == nil {
		return p, errors.New("no process before this one has left its program")
	}
	p.Path, p.starts = p.before.Path, p.before
	return p, nil
}

// open gives what to start, and what to close once it has been. An image is found by a descriptor, whose number must be none of those that files get in
// the child on the way to exec, nor one that is used on the way.
func (p Program) open(files []*os.File) (path string, done func(), err error) {
	if p.starts == nil {
		return p.Path, func() {}, nil
	}
	highest := firstFD
	for _, f := range files {
		highest = max(highest, descriptor(f))
	}
	fd, err := duplicate(p.starts.file, highest+2*(len(files)+firstFD)+8)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { unix.Close(fd) }, nil
}

// descriptor gives a file's descriptor; (*os.File).Fd would make a socket blocking.
func descriptor(f *os.File) (n int) {
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { n = int(fd) })
	}
	return n
}

// duplicate gives a copy of a file's descriptor that is at least from.
func duplicate(f *os.File, from int) (copied int, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	if controlErr := c.Control(func(fd uintptr) { copied, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, from) }); controlErr != nil {
		return 0, controlErr
	}
	if err != nil {
		return 0, fmt.Errorf("the image: %w", err)
	}
	return copied, nil
}

// cleanEnv leaves out what is meant for one process only.
func cleanEnv(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == Variable || name == "LISTEN_PID" || name == "LISTEN_FDS" || name == "LISTEN_FDNAMES" || name == "WATCHDOG_PID"
	})
}

// Child is a process that is to take this one's place.
type Child struct {
	cmd      *exec.Cmd
	c        conversation
	received chan event
	health   *Health // as it was told last; nil: never
	takes    bool    // state
	exited   chan struct{}
	exit     error // once exited is closed
}

// Start starts the program, with the files as descriptors 3 and up, described by facts. The caller still owns the files.
func Start(p Program, generation int, files []*os.File, facts []byte) (*Child, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	passed := append(slices.Clip(files), theirs)
	greeting := message{Kind: hello, Oldest: oldest, Generation: generation}
	if p.runs != nil {
		greeting.Image = &image{FD: firstFD + len(passed), Path: p.runs.Path}
		passed = append(passed, p.runs.file)
	}
	path, done, err := p.open(passed)
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer done()
	cmd := &exec.Cmd{Path: path, Args: append([]string{p.Path}, p.Args...)}
	cmd.Dir, cmd.Env = p.Dir, append(slices.Clip(p.Env), Variable+"="+string(facts))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = passed
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is for the process that it started
	if err := cmd.Start(); err != nil {
		ours.Close()
		if _, gone := os.Stat(cmd.Dir); cmd.Dir != "" && gone != nil { // os says that the program is missing
			err = fmt.Errorf("the working directory: %w", gone)
		}
		return nil, err
	}
	c := &Child{cmd: cmd, c: ours, received: make(chan event, 4), exited: make(chan struct{})}
	go c.reap()
	go c.listen()
	if err := ours.send(greeting); err != nil {
		err = c.ended(err)
		return nil, errors.Join(err, c.Kill(context.Background(), err, 0))
	}
	return c, nil
}

func (c *Child) reap() {
	c.exit = c.cmd.Wait()
	close(c.exited)
}

// listen passes on what the child says, until there is more of it than a child may ever say.
func (c *Child) listen() {
	defer close(c.received)
	for {
		m, err := c.c.receive()
		select {
		case c.received <- event{m, err}:
		default:
			return
		}
		if broken(err) {
			c.c.Close()
		}
		if err != nil { // the child is told of the ABORT that follows: the mere end it would take for a COMMIT
			return
		}
	}
}

// PID is the child's process id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Ended is closed when the child has ended.
func (c *Child) Ended() <-chan struct{} { return c.exited }

// Status is how the child has ended, once Ended is closed.
func (c *Child) Status() syscall.WaitStatus { return c.cmd.ProcessState.Sys().(syscall.WaitStatus) }

// Ready waits until the child is ready.
func (c *Child) Ready(ctx context.Context) error { return c.wait(ctx, ready) }

// HandOver gives a child that is ready what this process remembers, unless it is an older program that takes nothing. It is no more than MaxState.
func (c *Child) HandOver(text []byte) error {
	if !c.takes {
		return nil
	}
	for part := range slices.Chunk(text, statePart) {
		if err := c.c.send(message{Kind: state, State: base64.StdEncoding.EncodeToString(part)}); err != nil {
			return c.ended(err)
		}
	}
	return nil
}

// Go tells the child to accept, and waits until it does. Accept no more before it.
func (c *Child) Go(ctx context.Context) error {
	if err := c.c.send(message{Kind: goOn}); err != nil && !broken(err) {
		return c.ended(err)
	}
	return c.wait(ctx, serving) // which knows how a broken conversation ended
}

// Probation waits for d, during which the child must live, and answer each second and at the end. What it tells of its health is judged each time, if it
// tells anything: an error ends the probation.
func (c *Child) Probation(ctx context.Context, d time.Duration, judge func(Health) error) error {
	for end := time.Now().Add(d); ; {
		if err := c.live(ctx, min(time.Until(end), time.Second)); err != nil {
			return err
		}
		if err := c.probe(ctx); err != nil {
			return err
		}
		if c.health != nil {
			if err := judge(*c.health); err != nil {
				return err
			}
		}
		if !time.Now().Before(end) {
			return nil
		}
	}
}

// live waits for d, in which nothing may happen.
func (c *Child) live(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, errPassed)
	defer cancel()
	if err := c.wait(ctx, ""); !errors.Is(err, errPassed) {
		return err
	}
	return nil
}

// probeTime is how long a child may take to say that it is there.
const probeTime = 3 * time.Second

// probe asks the child whether it is there.
func (c *Child) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, fmt.Errorf("the new process does not answer any more (asked for %v)", probeTime))
	defer cancel()
	if err := c.c.send(message{Kind: probe}); err != nil && !broken(err) {
		return c.ended(err)
	}
	return c.wait(ctx, serving)
}

var errPassed = errors.New("probation passed")

// Commit makes the child the one that serves: there is no way back.
func (c *Child) Commit() error {
	if err := c.c.send(message{Kind: commit}); err != nil {
		return c.ended(err)
	}
	return nil
}

// Settled waits, after Commit, until the child has taken the place of this process in all, or has ended; but not for longer than limit.
func (c *Child) Settled(limit time.Duration) {
	defer c.c.Close()
	for timer := time.NewTimer(limit); ; {
		select {
		case e, ok := <-c.received:
			if !ok || e.err != nil {
				return
			}
		case <-timer.C:
			return
		}
	}
}

// wait waits for one kind of message, and takes anything else for a failure.
func (c *Child) wait(ctx context.Context, want kind) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case e, ok := <-c.received:
		switch {
		case !ok:
			return c.ended(io.EOF)
		case e.err != nil:
			return c.ended(e.err)
		case e.Kind == fail:
			return fmt.Errorf("the new process refuses: %s", e.Reason)
		case e.Kind != want:
			return fmt.Errorf("the new process says %q out of turn", e.Kind)
		}
		c.health, c.takes = e.Health, c.takes || e.TakesState
		return nil
	}
}

// ended says how a child ended whose conversation broke off.
func (c *Child) ended(err error) error {
	if !broken(err) {
		return fmt.Errorf("the conversation with the new process: %w", err)
	}
	select {
	case <-c.exited:
		return fmt.Errorf("the new process has ended: %w", exitError(c.exit))
	case <-time.After(time.Second):
		return errors.New("the new process has closed the conversation")
	}
}

func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Kill takes everything back: the child is told why, may end what it serves within grace or until ctx ends, and is killed if it has not.
func (c *Child) Kill(ctx context.Context, reason error, grace time.Duration) error {
	c.c.send(message{Kind: abort, Reason: reason.Error()})
	defer c.c.Close()
	wait := time.NewTimer(grace)
	defer wait.Stop()
	select {
	case <-c.exited:
		return nil
	case <-wait.C:
	case <-ctx.Done():
	}
	err := c.cmd.Process.Kill()
	<-c.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
