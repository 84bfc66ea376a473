package drill

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// front accepts for a server as edge does: it can be told to accept no more.
type front struct {
	ln     *net.TCPListener
	parked chan struct{} // closed when it accepts no more
}

func startFront(ln *net.TCPListener, conns chan<- net.Conn) *front {
	f := &front{ln: ln, parked: make(chan struct{})}
	go f.accept(conns)
	return f
}

func (f *front) accept(conns chan<- net.Conn) {
	defer close(f.parked)
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		conns <- c
	}
}

func (f *front) pause() {
	f.ln.SetDeadline(time.Unix(1, 0))
	<-f.parked
}

// passed is a listener of connections that others accept.
type passed struct {
	net.Listener // of the first front: for its address
	conns        chan net.Conn
	ended        chan struct{}
}

func (p *passed) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *passed) Close() error { return nil }

// The ways to hand a listening socket on. heir gives the new one's socket; it is called while the old one still accepts.
var ways = map[string]struct {
	heir  func(*testing.T, *net.TCPListener) *net.TCPListener
	loses bool
}{
	"the descriptor, duplicated": {duplicated, false}, // what edge does
	"a second socket":            {second, true},
}

// Of the ways to hand a listening socket on, the clients find out the one that loses connections (R26): SO_REUSEPORT, where what waits in a queue
// dies with its socket.
func TestWaysToHandOn(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			ln := listenShared(t, "127.0.0.1:0")
			addr := ln.Addr().String()
			p := &passed{Listener: ln, conns: make(chan net.Conn), ended: make(chan struct{})}
			srv := &http.Server{Handler: new(Origin)}
			var served sync.WaitGroup
			served.Go(func() { srv.Serve(p) })
			dial := func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
			ctx, cancel := context.WithCancel(t.Context())
			f := startFront(ln, p.conns)
			go func() {
				defer cancel()
				for range 10 {
					time.Sleep(20 * time.Millisecond) // some load
					f = handOn(t, f, p.conns, way.heir)
				}
			}()
			r := Run(ctx, 8, map[string]Client{name: EachAnew(dial, "http://a.test", 0)})[name]
			<-ctx.Done()
			f.ln.Close()
			<-f.parked
			close(p.ended)
			srv.Close()
			served.Wait()
			t.Logf("%d ok, %d failed", r.OK, r.Failed)
			if lost := r.Failed > 0; lost != way.loses || r.OK < 100 {
				t.Errorf("lost: %v, want %v", lost, way.loses)
			}
		})
	}
}

// handOn has a new front accept in the old one's place. The new one begins a moment later, as a process does.
func handOn(t *testing.T, old *front, conns chan<- net.Conn, heir func(*testing.T, *net.TCPListener) *net.TCPListener) *front {
	ln := heir(t, old.ln)
	old.pause()
	time.Sleep(10 * time.Millisecond) // until it accepts; meanwhile what comes waits in a queue
	f := startFront(ln, conns)
	old.ln.Close()
	return f
}

// listenShared opens a socket that a second one may be bound beside.
func listenShared(t *testing.T, addr string) *net.TCPListener {
	t.Helper()
	lc := net.ListenConfig{Control: reusePort}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln.(*net.TCPListener)
}

func second(t *testing.T, old *net.TCPListener) *net.TCPListener {
	return listenShared(t, old.Addr().String())
}

func duplicated(t *testing.T, old *net.TCPListener) *net.TCPListener {
	raw, err := old.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if cerr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return fromFile(t, os.NewFile(uintptr(fd), "heir"))
}

func fromFile(t *testing.T, f *os.File) *net.TCPListener {
	t.Helper()
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return ln.(*net.TCPListener)
}
