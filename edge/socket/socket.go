// Package socket is a TCP or unix connection that can be waited for without a read that finds nothing.
//
// The runtime's poller is told of each change once. An ordinary Read forgets what the poller was told, then asks the kernel in vain, then
// sleeps: one system call a request that says only EAGAIN. Wait forgets once, at its beginning; whatever comes while a request is being
// answered is remembered, so that sleeping is safe as soon as a read has emptied the socket. No other package knows of this.
//
// Nor does any other one know that the scheduler is not told of these system calls. It takes each for one that may last: as long as there are such
// calls its monitor looks every 20 µs, and gives the processor of a thread that the kernel has put aside to another one. None of ours blocks.
// Telling it was a sixth of what edge took for a request.
package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrDry is a Read in Wait that has nothing to give before Wait says so. It is temporary, in the words of net.Error: crypto/tls goes on after
// such an error, and after no other one.
var ErrDry net.Error = dry{}

type dry struct{}

func (dry) Error() string   { return "socket: nothing has come yet" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Conn is a connection. One goroutine at a time may be in Wait or Read; it alone may Close.
type Conn struct {
	net.Conn // a *net.TCPConn or a *net.UnixConn
	raw      syscall.RawConn
	turn     func(fd uintptr) bool // c.inTurn, made once
	step     func() (over bool)
	fd       int
	inside   bool // of step
	dry      bool // of bytes, until the poller says more

	arrive func(fd uintptr) (over bool) // c.arriving, made once
	in     []byte                       // for what is read outside of Wait
	came   int
	cut    syscall.Errno // of that; 0: nothing

	mu     sync.Mutex                   // of writing, and of what follows
	leaves func(fd uintptr) (over bool) // c.leaving, made once
	out    []byte                       // what is still to be written
	failed syscall.Errno                // of that; 0: nothing
	joined *[]byte                      // what was written since Join; nil: it goes out at once
	broken error                        // of a write of what was joined: whoever wrote it took it for sent, so nothing may follow
}

// New makes a Conn of nc. Where that is not the kernel's, as in tests, the Reads in Wait do wait.
func New(nc net.Conn) *Conn {
	c := &Conn{Conn: nc}
	if s, ok := nc.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	c.turn, c.arrive, c.leaves = c.inTurn, c.arriving, c.leaving
	return c
}

// Polled says whether nc is a socket of the kernel, so that its Reads in Wait do not wait.
func (c *Conn) Polled() bool { return c.raw != nil }

// Wait calls step now, and whenever something comes, be it the end, until step says that it is over. The error is that of a read deadline,
// or of a connection that is closed. In step Read does not wait, and whoever closes the connection waits for step to return: step must not close it.
//
// What comes together with the end of the connection may hide that: who finds the socket dry is not told then.
func (c *Conn) Wait(step func() (over bool)) error {
	if c.raw == nil {
		for !step() {
		}
		return nil
	}
	c.step = step
	defer c.leave()
	return c.raw.Read(c.turn)
}

// Await waits until a Wait would have something to do: until something has come, or the connection or a deadline has ended. It takes little of the
// stack, for who waits for long.
func (c *Conn) Await() {
	if c.raw != nil {
		c.raw.Read(hasCome)
	}
}

// hasCome says whether there is anything but nothing to read.
func hasCome(fd uintptr) bool {
	var b byte
	_, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return err != unix.EAGAIN
}

func (c *Conn) inTurn(fd uintptr) bool {
	c.fd, c.inside, c.dry = int(fd), true, false
	over := c.step()
	c.inside = false
	return over
}

func (c *Conn) leave() { c.step, c.inside = nil, false }

// Read reads. In Wait it says ErrDry where it would have to wait, and heeds no deadline.
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case c.raw == nil:
		return c.Conn.Read(p)
	case !c.inside:
		return c.await(p)
	case c.dry:
		return 0, ErrDry
	}
	n, err := read(c.fd, p)
	if err == unix.EAGAIN {
		c.dry = true
		return 0, ErrDry
	}
	c.dry = n < len(p)
	return c.got(p, n, err)
}

// await is Read outside of Wait.
func (c *Conn) await(p []byte) (int, error) {
	c.in = p
	err := c.raw.Read(c.arrive)
	c.in = nil
	if err != nil {
		return 0, err
	}
	return c.got(p, c.came, c.cut)
}

func (c *Conn) arriving(fd uintptr) bool {
	c.came, c.cut = read(int(fd), c.in)
	return c.cut != unix.EAGAIN
}

// got says in Go's words what the kernel said.
func (c *Conn) got(p []byte, n int, err syscall.Errno) (int, error) {
	switch {
	case err != 0:
		return 0, c.opError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

func (c *Conn) opError(op string, err syscall.Errno) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}

// Room for what is joined: four or sixteen of TLS's records, and what they add.
const (
	jointSize     = 66 << 10
	longJointSize = 264 << 10
)

var (
	joints     = sync.Pool{New: func() any { b := make([]byte, 0, jointSize); return &b }}
	longJoints = sync.Pool{New: func() any { b := make([]byte, 0, longJointSize); return &b }}
)

// Join has what is written wait for Flush, to leave in one system call: TLS writes each of its records on its own. n is about how many bytes it
// will be; for what there is no room for, there is a call more.
func (c *Conn) Join(n int) {
	pool := &joints
	if n >= jointSize {
		pool = &longJoints
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined = pool.Get().(*[]byte)
}

// Flush ends Join, and writes what waits.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.flush()
	switch cap(*c.joined) {
	case jointSize:
		joints.Put(c.joined)
	case longJointSize:
		longJoints.Put(c.joined)
	}
	c.joined = nil
	return err
}

func (c *Conn) flush() error {
	if c.broken == nil {
		_, c.broken = c.write(*c.joined)
	}
	*c.joined = (*c.joined)[:0]
	return c.broken
}

// Write writes; between Join and Flush it may say so before it is true.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken != nil:
		return 0, c.broken
	case c.joined == nil:
		return c.write(p)
	case len(*c.joined)+len(p) > cap(*c.joined):
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	*c.joined = append(*c.joined, p...)
	return len(p), nil
}

// write writes p at once, and waits where the kernel takes no more. c.mu is held.
func (c *Conn) write(p []byte) (int, error) {
	if c.raw == nil {
		return c.Conn.Write(p)
	}
	c.out, c.failed = p, 0
	err := c.raw.Write(c.leaves)
	n := len(p) - len(c.out)
	c.out = nil
	if err == nil && c.failed != 0 {
		err = c.opError("write", c.failed)
	}
	return n, err
}

func (c *Conn) leaving(fd uintptr) bool {
	for len(c.out) > 0 {
		n, err := write(int(fd), c.out)
		switch err {
		case 0:
			c.out = c.out[n:]
		case unix.EAGAIN:
			return false
		default:
			c.failed = err
			return true
		}
	}
	return true
}

// Control gives the descriptor to f, for a question to the kernel; any goroutine may ask.
func (c *Conn) Control(f func(fd uintptr)) error {
	if c.raw == nil {
		return errors.ErrUnsupported
	}
	return c.raw.Control(f)
}

// TCP gives the TCP connection; nil where it is none.
func (c *Conn) TCP() *net.TCPConn {
	t, _ := c.Conn.(*net.TCPConn)
	return t
}

// CloseWrite says FIN.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Reset makes the connection end by a reset when it is closed, where an end by FIN would look as if all had been said. A unix socket ends as
// ever.
func (c *Conn) Reset() {
	if t := c.TCP(); t != nil {
		t.SetLinger(0)
	}
}
