package serve

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"edge/edge/wire"
)

// serveHTTP1 serves HTTP/1.1 with a net/http server for this connection alone, so that its settings and its drain are its own. Shutdown is never
// called: it drops requests that it has read already (golang/go#75591).
func (c *Conn) serveHTTP1() {
	ended := make(chan struct{})
	srv := c.httpServer(wire.ServeHTTP(c, c.info, c.last))
	srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	c.idle.Store(true)
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		c.idle.Store(state == http.StateIdle || state == http.StateNew)
	}
	srv.Serve(&oneShot{c: &closeNotifier{Conn: c, closed: ended}})
	if c.server.Fault == FaultShutdown {
		go c.shutdownWhenTold(srv, ended)
	}
	<-ended
}

// httpServer gives a net/http server with the connection's bounds.
func (c *Conn) httpServer(h http.Handler) *http.Server {
	t := c.settings.Timeouts
	return &http.Server{
		Handler: h, ReadHeaderTimeout: t.Header, IdleTimeout: t.Idle,
		WriteTimeout:   t.Write, // for what net/http itself writes; an Exchange gives each of its writes a new time
		MaxHeaderBytes: c.settings.MaxHeader,
		BaseContext:    func(net.Listener) context.Context { return c.ctx },
		ErrorLog:       slog.NewLogLogger(c.server.Log.Handler(), slog.LevelDebug),
	}
}

// shutdownWhenTold is FaultShutdown.
func (c *Conn) shutdownWhenTold(srv *http.Server, ended chan struct{}) {
	select {
	case <-c.told:
		srv.Shutdown(c.ctx)
	case <-ended:
	}
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

// closeNotifier says when net/http, or who hijacked the connection from it, has closed it.
type closeNotifier struct {
	*Conn
	once   sync.Once
	closed chan struct{}
}

func (n *closeNotifier) Close() error {
	n.Conn.Close()
	n.once.Do(func() { close(n.closed) })
	return nil
}
