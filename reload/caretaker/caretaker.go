// Package caretaker is process 1 of a container, for a service whose process is replaced by its own child: it starts the service, passes signals on to the
// process that serves now, reaps orphans, and ends with the service.
//
// It learns which process serves as systemd does, by sd_notify(3): MAINPID= is believed of the process that was it.
package caretaker

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"edge/reload/notify"
)

// Service is what is started, and how.
type Service struct {
	Path    string
	Args    []string // with the name
	Dir     string
	Env     []string
	Signals <-chan os.Signal // what is passed on; TERM and INT also to processes that drain, which would be cut by our end
	Log     *slog.Logger
}

// Run starts the service and takes care of it until its last process has ended. The status is that of the process that served last, as a shell has it.
// Every child of this process is waited for: it must have no others.
func Run(s Service) (status int, err error) {
	manager, err := notify.Find()
	if err != nil {
		s.Log.Warn("the service manager cannot be told", "error", err)
	}
	socket, err := listen()
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	first, err := s.start(socket.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	c := &caretaker{
		Service: s, manager: manager, socket: socket, died: died, notices: make(chan notice, 64),
		primary: first, alive: map[int]bool{first: true}, ended: map[int]int{},
	}
	go c.hear()
	status = c.run()
	socket.Close()
	for range c.notices { // until hear has ended
	}
	return status, nil
}

// listen makes the socket that the service tells us by. Its name is abstract: there may be no folder to write to.
func listen() (*net.UnixConn, error) {
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: fmt.Sprintf("@edge-%d-%d", os.Getpid(), time.Now().UnixNano()), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	return c, errors.Join(controlErr, err)
}

// start starts the first process.
func (s *Service) start(socket string) (pid int, err error) {
	env := slices.DeleteFunc(slices.Clone(s.Env), func(v string) bool { return strings.HasPrefix(v, notify.SocketVariable+"=") })
	return syscall.ForkExec(s.Path, s.Args, &syscall.ProcAttr{
		Dir: s.Dir, Env: append(env, notify.SocketVariable+"="+socket), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true}, // a terminal's Ctrl-C is for us, who pass it on
	})
}

// caretaker is the state of Run, which one goroutine owns.
type caretaker struct {
	Service
	manager *notify.Manager // ours; nil: none
	socket  *net.UnixConn
	died    <-chan os.Signal
	notices chan notice
	primary int
	alive   map[int]bool // the processes that serve, or have served, as far as we know
	ended   map[int]int  // the statuses of those that have
	leaving bool         // no process serves any more
}

// notice is what a process tells.
type notice struct {
	from  int
	lines []string
}

// hear passes on what is told, until the socket is closed.
func (c *caretaker) hear() {
	defer close(c.notices)
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		n, oobn, _, _, err := c.socket.ReadMsgUnix(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			c.Log.Error("the service's socket", "error", err)
			return
		}
		c.notices <- notice{sender(oob[:oobn]), strings.Split(string(buf[:n]), "\n")}
	}
}

// sender is the process that has sent a datagram, as the kernel says; 0: none that we know.
func sender(oob []byte) int {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(list) == 0 {
		return 0
	}
	cred, err := unix.ParseUnixCredentials(&list[0])
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}

func (c *caretaker) run() (status int) {
	for {
		select {
		case sig := <-c.Signals:
			c.pass(sig.(syscall.Signal))
		case <-c.died:
			c.reap()
		case n := <-c.notices:
			if status, over := c.note(n); over {
				return status
			}
		}
	}
}

// pass passes a signal on.
func (c *caretaker) pass(sig syscall.Signal) {
	to := []int{c.primary}
	if sig == syscall.SIGTERM || sig == syscall.SIGINT {
		to = slices.Sorted(maps.Keys(c.alive))
	}
	for _, pid := range to {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			c.Log.Error("a signal cannot be passed on", "signal", sig, "pid", pid, "error", err)
		}
	}
}

// reap waits for every child that has ended: the service's, and orphans that came to us.
func (c *caretaker) reap() {
	for {
		var w syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &w, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		c.hasEnded(pid, exitStatus(w))
	}
}

// exitStatus is how a shell tells of an end.
func exitStatus(w syscall.WaitStatus) int {
	if w.Signaled() {
		return 128 + int(w.Signal())
	}
	return w.ExitStatus()
}

// hasEnded notes the end of a process of the service. What it told before may still lie in our socket, and it may be who serves in its place: a datagram of our own
// behind it says that all of it has been read.
func (c *caretaker) hasEnded(pid, status int) {
	if !c.alive[pid] {
		return
	}
	delete(c.alive, pid)
	c.ended[pid] = status
	c.socket.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.socket.WriteTo([]byte(allRead), c.socket.LocalAddr()); err != nil {
		c.Log.Error("the service's socket", "error", err)
		c.notices <- notice{os.Getpid(), []string{allRead}} // there is room: one is sent for each process
	}
}

// What is told beside sd_notify(3).
const (
	allRead     = "X_EDGE_ALL_READ=1"
	endedPrefix = "X_EDGE_ENDED="
)

// Ended is how a process of the service that drains tells of the end of its child, which has taken over: only the parent of a process learns its status.
func Ended(pid int, w syscall.WaitStatus) string {
	return fmt.Sprintf("%s%d %d", endedPrefix, pid, exitStatus(w))
}

// note takes note of what is told, and says whether the service has ended.
func (c *caretaker) note(n notice) (status int, over bool) {
	if n.from == os.Getpid() {
		return c.judge()
	}
	_, dead := c.ended[n.from]
	if !c.alive[n.from] && !dead { // a stranger
		return 0, false
	}
	var rest []string
	for _, line := range n.lines {
		var pid, status int
		if _, err := fmt.Sscanf(line, endedPrefix+"%d %d", &pid, &status); err == nil {
			c.hasEnded(pid, status)
		} else if to, ok := strings.CutPrefix(line, "MAINPID="); ok {
			c.follow(n.from, to)
		} else {
			rest = append(rest, line)
		}
	}
	if len(rest) > 0 && (n.from == c.primary || len(rest) < len(n.lines)) {
		if err := c.manager.Tell(rest...); err != nil {
			c.Log.Warn("the service manager cannot be told", "error", err)
		}
	}
	return 0, false
}

// follow takes a process for the one that serves, if the one that was says so.
func (c *caretaker) follow(from int, to string) {
	pid, err := strconv.Atoi(to)
	if err != nil || from != c.primary || pid <= 1 || pid == c.primary {
		return
	}
	c.primary, c.alive[pid] = pid, true
}

// judge says whether the service has ended. If nobody serves any more, what still drains is told to stop: whoever restarts us is waiting.
func (c *caretaker) judge() (status int, over bool) {
	status, dead := c.ended[c.primary]
	if !dead && syscall.Kill(c.primary, 0) == syscall.ESRCH { // and whoever could have told us how has ended too
		c.Log.Error("the process that served has ended, and nobody says how", "pid", c.primary)
		status, dead = 1, true
		delete(c.alive, c.primary)
		c.ended[c.primary] = status
	}
	if !dead {
		return 0, false
	}
	if len(c.alive) > 0 && !c.leaving {
		c.leaving = true
		c.pass(syscall.SIGTERM)
	}
	return status, len(c.alive) == 0
}
