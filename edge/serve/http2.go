package serve

import (
	"net/http"
	"sync"
	"time"

	"edge/edge/h2"
)

// maxStreams is how many requests of an HTTP/2 connection run at a time.
const maxStreams = 250

// serveHTTP2 has HTTP/2 served.
func (c *Conn) serveHTTP2() {
	c.multi.Store(true)
	if c.server.Fault == FaultOneGoaway || c.server.Fault == FaultShutdown {
		c.serveNetHTTP2()
		return
	}
	t := c.settings.Timeouts
	conn := h2.New(c, h2.Options{
		Handler: c, Info: c.info, MaxHeader: c.settings.MaxHeader, Streams: maxStreams, Header: t.Header, Idle: t.Idle, Last: c.last, Slim: c.slim,
	})
	c.goAway.Store(conn)
	if c.last() {
		conn.GoAway()
	}
	c.engine = conn
}

// serveNetHTTP2 serves HTTP/2 by net/http, and shuts it down when told: FaultOneGoaway, FaultShutdown.
func (c *Conn) serveNetHTTP2() {
	srv := c.httpServer(nil)
	srv.Protocols.SetUnencryptedHTTP2(true)
	c.SetReadDeadline(time.Now().Add(c.settings.Timeouts.Header)) // for the preface; net/http takes it back
	ended := c.handTo(srv, c)
	var wg sync.WaitGroup
	wg.Go(func() { c.shutdownWhenLast(srv, ended) })
	<-ended
	wg.Wait()
	c.cancel()
	for c.open.Load() > 0 { // handlers may outlive the connection, and must not outlive what they use
		<-c.none
	}
}

// shutdownWhenLast sends the one GOAWAY that net/http knows when the connection is to end.
func (c *Conn) shutdownWhenLast(srv *http.Server, ended chan struct{}) {
	wait := time.NewTimer(time.Hour)
	defer wait.Stop()
	for !c.last() {
		if at := c.tellAt.Load(); at != 0 {
			wait.Reset(time.Until(time.Unix(0, at)))
		}
		select {
		case <-ended:
			return
		case <-c.told:
		case <-wait.C:
		}
	}
	// The server has this connection only, and it does not close one of HTTP/2: it sends its GOAWAY, and waits for the streams.
	srv.Shutdown(c.ctx)
	<-ended
}
