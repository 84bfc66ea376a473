package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"edge/edge/h2"
	"edge/edge/socket"
	"edge/edge/stack"
	"edge/edge/wire"
)

// Conn is one client's connection: its bytes, above TLS if there is TLS. It is a wire.Stream.
type Conn struct {
	net.Conn              // what is read and written
	under    *socket.Conn // what lies below TLS
	engine   engine       // nil: nothing is served yet
	settings *Settings
	server   *Server
	info     *wire.Conn
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc

	state  atomic.Int32 // busy, idle or deaf
	multi  atomic.Bool  // HTTP/2
	goAway atomic.Pointer[h2.Conn]
	begun  atomic.Bool   // what stands in front is done: PROXY header, ClientHello, TLS handshake
	open   atomic.Int64  // requests that handlers are at
	none   chan struct{} // gets something when open falls to 0; nil but for faults
	tellAt atomic.Int64  // when to tell the client to end, in nanoseconds of Unix time; 0: never
	told   chan struct{} // gets something when tellAt is set; nil but for faults

	cutBy     atomic.Pointer[Cause] // why it was ended; nil: it was not
	gone      atomic.Bool           // the client has sent its FIN
	reset     atomic.Bool           // the end is to be a reset
	closeOnce sync.Once
}

// The states of a connection.
const (
	busy int32 = iota // something would be lost if it ended
	idle              // HTTP/1: no request is on its way
	deaf              // our FIN is out: what still comes is not to be executed
)

func newConn(nc net.Conn, settings *Settings, server *Server) *Conn {
	under := socket.New(nc)
	c := &Conn{Conn: under, under: under, settings: settings, server: server}
	if server.Fault != NoFault {
		c.told, c.none = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.info = &wire.Conn{
		Listener: settings.Listener, Remote: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr()),
		Body: settings.Timeouts.Body, Write: settings.Timeouts.Write, Tunnel: settings.Timeouts.Tunnel, Context: c.ctx,
		Refused: settings.Refused, Retire: func() { c.tell(0) },
	}
	return c
}

// Info says whose connection this is.
func (c *Conn) Info() *wire.Conn { return c.info }

// unsent bounds what waits in the kernel to be sent. Without it a slow reader drains megabytes before a writer sees any progress, and is
// cut though it reads all the time: a write of 64 KiB to one that takes 10 KB/s returned after 123 s, with it after 13 s.
const unsent = 128 << 10

// boundUnsent sets that bound.
func (c *Conn) boundUnsent() {
	if c.under.TCP() != nil {
		c.under.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent) })
	}
}

// engine serves the requests of a connection. Serve returns at its end, or says true: then it is to be called again, on a new goroutine.
type engine interface{ Serve() (rests bool) }

// serve is the life of the connection, or what there is of it up to a long rest: then it says so, and is to be called again.
func (c *Conn) serve() (rests bool) {
	if c.engine == nil && !c.begin() {
		return false
	}
	for {
		now := c.engine
		if now.Serve() {
			return true
		}
		if c.engine == now { // else it found out that another one is wanted
			return false
		}
	}
}

// begin does what stands in front of requests, and says whether there is an engine for them.
func (c *Conn) begin() bool {
	c.boundUnsent()
	c.keepAlive()
	if c.settings.Announcers != nil && !c.announced() || c.settings.Passthrough != nil && !c.byName() {
		return false
	}
	if c.settings.TLS != nil && !c.handshake() {
		return false
	}
	c.begun.Store(true)
	switch {
	case c.settings.Handler == nil:
		c.settings.Tunnel(c.ctx, c)
	case c.info.TLS != nil && c.info.TLS.NegotiatedProtocol == "h2":
		c.serveHTTP2()
	default:
		c.serveHTTP1()
	}
	return c.engine != nil
}

// handshake puts TLS between the socket and all that follows.
func (c *Conn) handshake() bool {
	stack.Grow16K(false)

	c.SetDeadline(time.Now().Add(c.settings.Timeouts.Header))
	t := tls.Server(c.Conn, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (conf *tls.Config, _ error) {
		conf, c.info.Policy = c.settings.TLS(hello)
		return conf, nil
	}})
	if err := t.Handshake(); err != nil { // whoever ends the connection closes what is below, so it needs no context
		c.server.handshakes.failed.Add(1)
		c.server.Log.Debug("tls handshake", "listener", c.settings.Listener, "client", c.client(), "error", err)
		c.answerPlain(err)
		return false
	}
	c.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.Conn, c.info.TLS, c.info.ClientCert = t, &state, clientCert(&state)
	c.server.handshakes.count(&state)
	return true
}

// methods are the beginnings, as long as the head of a TLS record, of a request that came without TLS.
var methods = []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"}

// answerPlain tells a client that speaks HTTP without TLS, where a handshake was due, what is wrong, in the way in which it can read it.
func (c *Conn) answerPlain(err error) {
	var record tls.RecordHeaderError
	if c.settings.Handler == nil || !errors.As(err, &record) || record.Conn == nil || !slices.Contains(methods, string(record.RecordHeader[:])) {
		return
	}
	const text = "This port speaks https: the address begins with https:// .\n"
	fmt.Fprintf(c.under, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		len(text), text)
}

// tell makes the connection one that is to end, after a wait. The earliest call counts.
func (c *Conn) tell(wait time.Duration) {
	at := time.Now().Add(wait).UnixNano()
	for old := c.tellAt.Load(); old == 0 || at < old; old = c.tellAt.Load() {
		if c.tellAt.CompareAndSwap(old, at) {
			signal(c.told)
			if conn := c.goAway.Load(); conn != nil && c.last() {
				conn.GoAway()
			}
			return
		}
	}
}

// signal leaves word in a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// last says whether the answer that is about to leave is to be the connection's last.
func (c *Conn) last() bool {
	at := c.tellAt.Load()
	return at != 0 && time.Now().UnixNano() >= at
}

// Read reads what the client sends. With the first bytes an idle connection is busy; once it is deaf there are none: executed, they could not
// be answered, and the client would send them again elsewhere (RFC 9112 section 9.6).
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.state.CompareAndSwap(idle, busy)
	} else if err == socket.ErrDry {
		return 0, err
	}
	if err == io.EOF {
		c.gone.Store(true)
	}
	if c.state.Load() == deaf {
		return 0, io.EOF
	}
	return n, err
}

// waits says that the connection begins, or ends, to wait for a request.
func (c *Conn) waits(begins bool) {
	if begins {
		c.state.CompareAndSwap(busy, idle)
	} else {
		c.state.CompareAndSwap(idle, busy)
	}
}

// CloseWrite ends our side: close_notify where there is TLS, then FIN.
func (c *Conn) CloseWrite() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		c.under.SetWriteDeadline(time.Now().Add(time.Second))
		if err := t.CloseWrite(); err != nil {
			return err
		}
	}
	return c.under.CloseWrite()
}

// TCP gives the socket, if nothing lies above it.
func (c *Conn) TCP() *net.TCPConn {
	switch below := c.Conn.(type) {
	case *socket.Conn:
		return below.TCP()
	case *rewound:
		return below.TCP()
	}
	return nil
}

// Socket is what lies below everything.
func (c *Conn) Socket() *socket.Conn { return c.under }

// Reset makes the connection end by a reset as soon as it is closed, where an end by FIN would look as if all had been said.
func (c *Conn) Reset() {
	c.reset.Store(true)
	c.under.Reset()
}

// How long a closed connection is still read from: without a byte of the client's, and in all. They are nginx's; a client that uploads what
// was refused may go on for a while before it looks at the answer.
const (
	lingerIdle = 5 * time.Second
	lingerTime = 30 * time.Second
)

// Close ends the connection without destroying what was sent: a socket that is closed with unread bytes answers with a reset, which may
// overtake the last response. So FIN first, then the client's bytes to its FIN, within bounds (RFC 9112 section 9.6).
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		told := c.state.Swap(deaf) == deaf
		if !c.reset.Load() && c.CloseWrite() == nil && !told && !c.gone.Load() {
			c.linger()
		}
		c.under.Close()
	})
	return nil
}

// linger reads up to the client's FIN.
func (c *Conn) linger() {
	buf := make([]byte, 16<<10)
	now := time.Now()
	end := now.Add(lingerTime)
	for err := error(nil); err == nil && now.Before(end); now = time.Now() {
		idle := now.Add(lingerIdle)
		if idle.After(end) {
			idle = end
		}
		c.under.SetReadDeadline(idle)
		_, err = c.under.Read(buf)
	}
}

// closeIdle closes a connection on which no request is on its way: FIN now, and the rest when its client answers that, or a second later, by
// the goroutine that reads it.
func (c *Conn) closeIdle() {
	if c.state.CompareAndSwap(idle, deaf) {
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(time.Second))
	}
}

// busy says whether something would be lost if the connection ended now.
func (c *Conn) busy() bool {
	if c.multi.Load() {
		return c.open.Load() > 0
	}
	return c.state.Load() == busy // when it is deaf, all has been said
}

// Serve answers a request by the listener's handler, and counts it while it lasts.
func (c *Conn) Serve(x *wire.Exchange) {
	c.open.Add(1)
	defer func() {
		if c.open.Add(-1) == 0 {
			signal(c.none)
		}
	}()
	c.settings.Handler.Serve(x)
}

// abort ends everything on the connection now. It returns when no handler is at work for it any more that was run while it was waited for.
func (c *Conn) abort() {
	c.state.Store(deaf)
	c.gone.Store(true) // no linger
	c.cancel()
	c.under.Close()
}

// SetReadDeadline sets until when a Read may wait. Who has heard our FIN has a second for its own.
func (c *Conn) SetReadDeadline(at time.Time) error {
	if at.IsZero() && c.state.Load() == deaf {
		at = time.Now().Add(time.Second)
	}
	return c.Conn.SetReadDeadline(at)
}
