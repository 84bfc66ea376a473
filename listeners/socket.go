package listeners

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is one listening socket. Serve, Pause, Resume and Close are for one goroutine at a time.
type Socket struct {
	spec     Spec
	ln       net.Listener
	file     os.FileInfo   // of a unix socket with a path
	parked   chan struct{} // the loop says: I accept no more
	resume   chan bool     // and is told: go on, or end
	stopping chan struct{} // closed while the loop is wanted parked
	handle   func(c net.Conn, done func())
	limit    atomic.Pointer[Limit]
	limited  chan struct{} // the limit was changed

	want     want
	onWant   func(Want)
	patience time.Duration // see the constant
}

func newSocket(spec Spec, ln net.Listener) *Socket {
	s := &Socket{spec: spec, ln: ln, limited: make(chan struct{}, 1), patience: patience}
	if path := unixPath(&spec); path != "" {
		ln.(*net.UnixListener).SetUnlinkOnClose(false) // whoever is handed the socket goes on under its path
		s.file, _ = os.Lstat(path)
	}
	return s
}

// Name is the listener's name that the socket goes by.
func (s *Socket) Name() string { return s.spec.Name }

// Addr is where the socket is found: what it is bound to, a port 0 resolved. But a unix socket was bound before it got its path.
func (s *Socket) Addr() net.Addr {
	if path := unixPath(&s.spec); path != "" {
		return &net.UnixAddr{Name: path, Net: "unix"}
	}
	return s.ln.Addr()
}

// SetLimit bounds the connections that are open at once; nil: no bound. It is safe at any time.
func (s *Socket) SetLimit(l *Limit) {
	s.limit.Store(l)
	select {
	case s.limited <- struct{}{}:
	default:
	}
}

// place waits until the limit allows one more connection, unless the loop is wanted parked.
func (s *Socket) place() (release func()) {
	for release == nil {
		release = s.limit.Load().acquire(s.stopping, s.limited)
	}
	return release
}

// OnWant has f told, at most once a second, when connections cannot be accepted. It is for before Serve; f must not block for long.
func (s *Socket) OnWant(f func(Want)) { s.onWant = f }

// Serve accepts connections, each given to handle, which must not block for long, until Close. When the connection has ended, done is to
// be called.
func (s *Socket) Serve(handle func(c net.Conn, done func())) {
	s.handle, s.want = handle, newWant()
	s.parked, s.resume, s.stopping = make(chan struct{}), make(chan bool), make(chan struct{})
	go s.accept()
}

// accept is the accept loop. Nothing but Close ends it.
func (s *Socket) accept() {
	for {
		c, err := s.ln.Accept()
		switch {
		case err == nil:
			s.want.over()
			s.handle(c, s.place()) // a place kept for a connection to come would be one that the limit's other sockets lack
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.parked <- struct{}{}
			if !<-s.resume {
				return
			}
		case errors.Is(err, unix.ECONNABORTED):
		default: // out of files or memory: what is open must end first
			s.starve(err)
		}
	}
}

// deadline sets when Accept gives up.
func (s *Socket) deadline(t time.Time) {
	s.ln.(interface{ SetDeadline(time.Time) error }).SetDeadline(t)
}

// Pause stops accepting. When it returns, no connection is on its way from this socket to handle; new ones wait in the kernel.
func (s *Socket) Pause() {
	s.deadline(time.Unix(1, 0)) // first: of those above the limit only the one in hand is let in
	close(s.stopping)
	<-s.parked
}

// Resume goes on after Pause.
func (s *Socket) Resume() {
	s.stopping = make(chan struct{})
	s.deadline(time.Time{})
	s.resume <- true
}

// Close takes what waits in the kernel and closes the socket; its file, if it has one, stays. A socket that was never served from
// is just closed.
func (s *Socket) Close() {
	if s.handle == nil {
		s.ln.Close()
		return
	}
	s.Pause()
	s.CloseParked()
}

// CloseParked is Close after Pause.
func (s *Socket) CloseParked() {
	s.want.release() // the loop is parked, and has no more use for it
	for _, c := range s.queued() {
		s.handle(c, func() {})
	}
	s.ln.Close()
	s.resume <- false
}

// mostQueued is how many connections are taken from the queue in a row: a flood must not keep anybody there.
const mostQueued = 1 << 16

// queued takes the connections that the kernel completed already: closing the last descriptor would reset them. One that completes
// between the last look and the close is still reset; a socket that another process holds as well loses none.
func (s *Socket) queued() (conns []net.Conn) {
	s.control(func(fd int) {
		for range mostQueued {
			nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil {
				return
			}
			f := os.NewFile(uintptr(nfd), "")
			if c, err := net.FileConn(f); err == nil {
				conns = append(conns, c)
			}
			f.Close()
		}
	})
	return conns
}

// control runs f with the socket's descriptor, which stays non-blocking: that of File() would not (golang/go#29277).
func (s *Socket) control(f func(fd int)) error {
	rc, err := s.ln.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	return rc.Control(func(fd uintptr) { f(int(fd)) })
}

// Dup gives a second descriptor of the socket, close-on-exec, for a child process. The caller closes it.
func (s *Socket) Dup() (f *os.File, err error) {
	var fd int
	if cerr := s.control(func(own int) { fd, err = unix.FcntlInt(uintptr(own), unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("duplicating the socket of listener %q: %w", s.spec.Name, err)
	}
	return os.NewFile(uintptr(fd), s.spec.Name), nil
}

// Unlink removes the file of a unix socket, if it is still this socket's.
func (s *Socket) Unlink() {
	path := unixPath(&s.spec)
	if path == "" || s.file == nil {
		return
	}
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, s.file) {
		os.Remove(path)
	}
}

// setMode changes the mode of a unix socket's file, if it is still this socket's. Who must not come in is told so by the next connect.
func (s *Socket) setMode(mode os.FileMode) {
	old := s.spec.mode()
	s.spec.Mode = mode
	if path := unixPath(&s.spec); path != "" && s.file != nil && s.spec.mode() != old {
		chmod(path, s.file, s.spec.mode())
	}
}
