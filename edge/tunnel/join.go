package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is one end of a tunnel. One that has a method TCP() *net.TCPConn, as wire.Stream has, gives by it the socket where nothing lies
// above it.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Reason is why a tunnel ended.
type Reason string

// The reasons. Of two sides that close, the first is the reason.
const (
	ClientClosed   Reason = "client closed"
	UpstreamClosed Reason = "upstream closed"
	Idle           Reason = "idle"
	Cut            Reason = "cut"     // by this process, which stops or has drained for as long as it may
	Revoked        Reason = "revoked" // who opened it may not have it any more
	Error          Reason = "error"
)

// End is how a tunnel ended.
type End struct {
	In, Out int64 // bytes from the client, and to it
	Reason  Reason
	Err     error // of Error
}

// joint is two connections that are joined.
type joint struct {
	ctx        context.Context
	holds      func() bool // nil: always
	facts      Facts
	since      time.Time
	client, up Conn
	idle, tick time.Duration

	in, out atomic.Int64
	active  atomic.Int64 // when the last byte was seen, in nanoseconds from since on
	carried uint64       // what the kernel said at the last look; look's own
	over    atomic.Bool  // both directions are to end

	mu       sync.Mutex
	end      End         // why, so far
	watch    *time.Timer // runs look; nil: no more
	panicked any
}

// The bounds of how often a tunnel is looked at: its traffic may be slow, but not idle.
const (
	leastTick = time.Second
	mostTick  = time.Minute
)

func newJoint(ctx context.Context, f Facts, idle time.Duration, client, up Conn) *joint {
	return &joint{ctx: ctx, facts: f, since: time.Now(), client: client, up: up, idle: idle, tick: min(max(idle/4, leastTick), mostTick)}
}

// run joins them.
func (j *joint) run() End {
	in := &way{name: "client to upstream", src: j.client, dst: j.up, n: &j.in, srcClosed: ClientClosed, dstClosed: UpstreamClosed}
	out := &way{name: "upstream to client", src: j.up, dst: j.client, n: &j.out, srcClosed: UpstreamClosed, dstClosed: ClientClosed}
	defer context.AfterFunc(j.ctx, func() { j.stop(Cut, nil) })()
	j.startWatch()
	defer j.endWatch()
	var wg sync.WaitGroup
	wg.Go(func() { j.carry(out) })
	j.carry(in)
	wg.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.panicked != nil {
		panic(j.panicked)
	}
	j.end.In, j.end.Out = j.in.Load(), j.out.Load()
	return j.end
}

// way is one direction.
type way struct {
	name                 string
	src, dst             Conn
	n                    *atomic.Int64
	srcClosed, dstClosed Reason
}

// carry is pump, whose panic becomes that of run: on a goroutine of its own it would be the process's end.
func (j *joint) carry(w *way) {
	defer func() {
		if p := recover(); p != nil {
			j.mu.Lock()
			j.panicked = fmt.Sprintf("%v, in:\n%s", p, debug.Stack())
			j.mu.Unlock()
			j.stop(Error, nil)
		}
	}()
	j.pump(w)
}

// pump copies one way, up to its end. Every tick it comes up to count.
func (j *joint) pump(w *way) {
	for {
		w.src.SetReadDeadline(time.Now().Add(j.tick))
		if j.over.Load() { // asked after the deadline is set: stop sets its own after it has said so
			return
		}
		n, err := j.piece(w)
		switch {
		case j.over.Load():
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			j.fail(w, err)
			return
		case n == 0:
			j.half(w)
			return
		}
	}
}

// most is how much is copied before it is counted, where the kernel splices.
const most = 1 << 20

// piece copies what comes, in the kernel where it can. Without an error, 0 is the end.
func (j *joint) piece(w *way) (n int64, err error) {
	src, dst := w.sockets()
	if src == nil || dst == nil {
		return io.Copy(w.dst, &io.LimitedReader{R: &noted{way: w, j: j}, N: most})
	}
	n, err = dst.ReadFrom(&io.LimitedReader{R: src, N: most})
	j.note(w.n, n)
	return n, err
}

// sockets gives both sides of the way where nothing lies above either; else one of them is nil.
func (w *way) sockets() (src, dst *net.TCPConn) { return socket(w.src), socket(w.dst) }

// noted reads for a piece, and each read is noted. Where nothing is left above the sockets the piece is at its end: what was read ahead has gone,
// and the kernel can copy the rest.
type noted struct {
	*way
	j    *joint
	read bool // there is something in the piece, so that its end is not the connection's
}

func (r *noted) Read(p []byte) (int, error) {
	if src, dst := r.sockets(); r.read && src != nil && dst != nil {
		return 0, io.EOF
	}
	n, err := r.src.Read(p)
	r.read = r.read || n > 0
	r.j.note(r.n, int64(n))
	return n, err
}

func (j *joint) note(sum *atomic.Int64, n int64) {
	if n > 0 {
		sum.Add(n)
		j.touch()
	}
}

func (j *joint) touch() { j.active.Store(int64(time.Since(j.since))) }

// half passes an end on. The other direction goes on.
func (j *joint) half(w *way) {
	j.say(w.srcClosed)
	if err := w.dst.CloseWrite(); err != nil {
		j.fail(w, err)
	}
}

// fail ends both directions for an error in one: there is no other way to tell either side.
func (j *joint) fail(w *way, err error) {
	switch {
	case j.ctx.Err() != nil:
		j.stop(Cut, nil)
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ENOTCONN): // it had sent its FIN, and takes no more
		j.stop(w.dstClosed, nil)
	default:
		j.stop(Error, fmt.Errorf("%s: %w", w.name, err))
	}
}

// say keeps who closed first.
func (j *joint) say(closed Reason) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.end.Reason == "" {
		j.end.Reason = closed
	}
}

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// stop ends both directions. The first reason to do so counts; but where it is that a side has closed, the first that did.
func (j *joint) stop(why Reason, err error) {
	j.mu.Lock()
	closed := why == ClientClosed || why == UpstreamClosed
	if !j.over.Load() && !(closed && j.end.Reason != "") {
		j.end.Reason, j.end.Err = why, err
	}
	j.over.Store(true)
	j.mu.Unlock()
	j.client.SetDeadline(past)
	j.up.SetDeadline(past)
}

// startWatch has the tunnel looked at. It is not for pump to see that nothing comes: it may wait to write.
func (j *joint) startWatch() {
	j.carried = j.kernel()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.watch = time.AfterFunc(min(j.tick, j.idle), j.look)
}

func (j *joint) endWatch() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.watch.Stop()
	j.watch = nil
}

// look ends the tunnel if no byte went through for so long.
func (j *joint) look() {
	if now := j.kernel(); now != j.carried {
		j.carried = now
		j.touch()
	}
	silent := time.Since(j.since) - time.Duration(j.active.Load())
	if silent >= j.idle {
		j.stop(Idle, nil)
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.watch != nil {
		j.watch.Reset(min(j.tick, j.idle-silent))
	}
}

// kernel is how many bytes the kernel has sent and received for both: more than is counted yet, while one side takes them slowly.
func (j *joint) kernel() (n uint64) {
	for _, c := range []Conn{j.client, j.up} {
		if tcp := socket(c); tcp != nil {
			n += transferred(tcp)
		}
	}
	return n
}

// transferred is how many bytes the peer has acknowledged and sent; 0 if the kernel does not know.
func transferred(c *net.TCPConn) (n uint64) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	rc.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Bytes_acked + info.Bytes_received
		}
	})
	return n
}

// socket gives the socket where nothing lies above it, between two of which the kernel can splice; else nil.
func socket(c Conn) *net.TCPConn {
	switch c := c.(type) {
	case *net.TCPConn:
		return c
	case interface{ TCP() *net.TCPConn }:
		return c.TCP()
	}
	return nil
}
