package serve

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"edge/edge/h1"
	"edge/edge/wire"
)

// serveHTTP1 has HTTP/1.1 served.
func (c *Conn) serveHTTP1() {
	if c.server.Fault == FaultShutdown {
		c.serveNetHTTP1()
		return
	}
	o := h1.Options{
		Handler: c, Info: c.info, MaxHeader: c.settings.MaxHeader, Header: c.settings.Timeouts.Header, Idle: c.settings.Timeouts.Idle,
		Last: c.last, Waits: c.waits, Slim: c.slim,
	}
	if c.info.TLS == nil { // with TLS it is ALPN that says so
		o.Prior = c.servePrior
	}
	c.engine = h1.New(c, o)
}

// servePrior has HTTP/2 served to a client that began with it (h2c).
func (c *Conn) servePrior(read []byte) {
	c.Conn = &rewound{Conn: c.under, again: read}
	c.serveHTTP2()
}

// serveNetHTTP1 serves HTTP/1.1 by net/http, and shuts it down when told: FaultShutdown.
func (c *Conn) serveNetHTTP1() {
	srv := c.httpServer(c.last)
	srv.Protocols.SetHTTP1(true)
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		c.waits(state == http.StateIdle || state == http.StateNew)
	}
	c.waits(true)
	ended := c.handTo(srv, c)
	go c.shutdownWhenTold(srv, ended)
	<-ended
}

// shutdownWhenTold is FaultShutdown.
func (c *Conn) shutdownWhenTold(srv *http.Server, ended chan struct{}) {
	select {
	case <-c.told:
		srv.Shutdown(c.ctx)
	case <-ended:
	}
}

// httpServer gives a net/http server for this connection alone, so that its bounds and its drain are its own. last is wire.ServeHTTP's.
func (c *Conn) httpServer(last func() bool) *http.Server {
	t := c.settings.Timeouts
	return &http.Server{
		Handler: wire.ServeHTTP(c, c.info, last), Protocols: new(http.Protocols),
		ReadHeaderTimeout: t.Header, IdleTimeout: t.Idle,
		WriteTimeout:   t.Write, // for what net/http itself writes; an Exchange gives each of its writes a new time
		MaxHeaderBytes: c.settings.MaxHeader,

		DisableGeneralOptionsHandler: true, // it would answer "OPTIONS *" past virtual host and policy
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: t.Write},
		BaseContext:                  func(net.Listener) context.Context { return c.ctx },
		ErrorLog:                     slog.NewLogLogger(c.server.Log.Handler(), slog.LevelDebug),
	}
}

// handTo gives nc to srv. The channel closes when it, or who hijacked nc from it, has closed nc.
func (c *Conn) handTo(srv *http.Server, nc wire.Stream) (ended chan struct{}) {
	ended = make(chan struct{})
	srv.Serve(&oneShot{&closeNotifier{Stream: nc, closed: ended}})
	return ended
}

// oneShot is a listener of one connection.
type oneShot struct{ c net.Conn }

func (l *oneShot) Accept() (net.Conn, error) {
	if l.c == nil {
		return nil, io.EOF
	}
	c := l.c
	l.c = nil
	return c, nil
}

func (l *oneShot) Close() error   { return nil }
func (l *oneShot) Addr() net.Addr { return &net.TCPAddr{} }

// closeNotifier says when it is closed.
type closeNotifier struct {
	wire.Stream
	once   sync.Once
	closed chan struct{}
}

func (n *closeNotifier) Close() error {
	n.Stream.Close()
	n.once.Do(func() { close(n.closed) })
	return nil
}
