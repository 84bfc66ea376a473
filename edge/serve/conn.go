package serve

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edge/edge/wire"
)

// Conn is one client's connection: its bytes, above TLS if there is TLS. It is a wire.Stream.
type Conn struct {
	net.Conn          // what is read and written
	under    net.Conn // the socket
	settings *Settings
	server   *Server
	info     *wire.Conn
	ctx      context.Context // ends with the connection
	cancel   context.CancelFunc

	idle   atomic.Bool  // HTTP/1: no request is on its way
	multi  atomic.Bool  // HTTP/2
	open   atomic.Int64 // requests that handlers are at
	tellAt atomic.Int64 // when to tell the client to end, in nanoseconds of Unix time; 0: never
	told   chan struct{}
	once   sync.Once // told

	gone      atomic.Bool // the client has sent its FIN
	deaf      atomic.Bool // our FIN is out: what still comes is not to be executed
	closeOnce sync.Once
}

func newConn(nc net.Conn, settings *Settings, server *Server) *Conn {
	c := &Conn{Conn: nc, under: nc, settings: settings, server: server, told: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.info = &wire.Conn{
		Listener: settings.Listener, Remote: addrPort(nc.RemoteAddr()), Local: addrPort(nc.LocalAddr()),
		Body: settings.Timeouts.Body, Write: settings.Timeouts.Write,
	}
	return c
}

// Info says whose connection this is.
func (c *Conn) Info() *wire.Conn { return c.info }

// serve is the life of the connection.
func (c *Conn) serve() {
	defer c.cancel()
	if c.settings.TLS != nil && !c.handshake() {
		return
	}
	switch {
	case c.settings.Handler == nil:
		c.settings.Tunnel(c.ctx, c)
	case c.info.TLS != nil && c.info.TLS.NegotiatedProtocol == "h2":
		c.serveHTTP2()
	default:
		c.serveHTTP1()
	}
}

// handshake puts TLS between the socket and all that follows.
func (c *Conn) handshake() bool {
	c.SetDeadline(time.Now().Add(c.settings.Timeouts.Header))
	t := tls.Server(c.under, &tls.Config{GetConfigForClient: c.settings.TLS})
	if err := t.HandshakeContext(c.ctx); err != nil {
		c.server.Log.Debug("tls handshake", "listener", c.settings.Listener, "client", c.RemoteAddr(), "error", err)
		return false
	}
	c.SetDeadline(time.Time{})
	state := t.ConnectionState()
	c.Conn, c.info.TLS = t, &state
	return true
}

// tell makes the connection one that is to end, after a wait. The first call counts.
func (c *Conn) tell(wait time.Duration) {
	c.tellAt.CompareAndSwap(0, time.Now().Add(wait).UnixNano())
	c.once.Do(func() { close(c.told) })
}

// last says whether the answer that is about to leave is to be the connection's last.
func (c *Conn) last() bool {
	at := c.tellAt.Load()
	return at != 0 && time.Now().UnixNano() >= at
}

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		c.gone.Store(true)
	}
	if c.deaf.Load() {
		return 0, io.EOF // executed, it could not be answered, and the client would send it again elsewhere (RFC 9112 section 9.6)
	}
	return n, err
}

// CloseWrite ends our side: close_notify where there is TLS, then FIN.
func (c *Conn) CloseWrite() error {
	if t, ok := c.Conn.(*tls.Conn); ok {
		c.under.SetWriteDeadline(time.Now().Add(time.Second))
		if err := t.CloseWrite(); err != nil {
			return err
		}
	}
	if h, ok := c.under.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// TCP gives the socket, if nothing lies above it.
func (c *Conn) TCP() *net.TCPConn {
	if c.Conn != c.under {
		return nil
	}
	t, _ := c.under.(*net.TCPConn)
	return t
}

// Socket is what lies below everything, to ask the kernel about.
func (c *Conn) Socket() syscall.Conn {
	s, _ := c.under.(syscall.Conn)
	return s
}

// Reset makes the connection end by a reset, where an end by FIN would look as if all had been said.
func (c *Conn) Reset() {
	if t, ok := c.under.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.abort()
}

// How long, and for how many bytes, a closed connection is still read from.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 256 << 10
)

// Close ends the connection without destroying what was sent: a socket that is closed with unread bytes answers with a reset, which may
// overtake the last response. So FIN first, then the client's bytes to its FIN, within bounds (RFC 9112 section 9.6).
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		waited := c.deaf.Swap(true)
		if err := c.CloseWrite(); err == nil && !waited && !c.gone.Load() {
			c.under.SetReadDeadline(time.Now().Add(lingerTime))
			io.CopyN(io.Discard, c.under, lingerBytes)
		}
		c.under.Close()
	})
	return nil
}

// closeIdle closes a connection on which no request is on its way: FIN now, and the rest when its client answers that, or a second later, by
// the goroutine that reads it.
func (c *Conn) closeIdle() {
	if c.idle.Load() {
		c.deaf.Store(true)
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(time.Second))
	}
}

// busy says whether something would be lost if the connection ended now.
func (c *Conn) busy() bool {
	switch {
	case c.deaf.Load(): // all has been said
		return false
	case c.multi.Load():
		return c.open.Load() > 0
	}
	return !c.idle.Load()
}

// Serve answers a request by the listener's handler, and counts it while it lasts.
func (c *Conn) Serve(x *wire.Exchange) {
	c.open.Add(1)
	defer c.open.Add(-1)
	c.settings.Handler.Serve(x)
}

// abort ends everything on the connection now.
func (c *Conn) abort() {
	c.deaf.Store(true)
	c.gone.Store(true) // no linger
	c.cancel()
	c.under.Close()
}
