package serve

import (
	"net/http"
	"sync"
	"time"
)

// serveHTTP2 serves HTTP/2 with net/http's server for unencrypted HTTP/2: what lies below is TLS already, and the one GOAWAY that this
// server knows is not enough, so that a goawayConn must be between.
func (c *Conn) serveHTTP2() {
	c.multi.Store(true)
	ga := &goawayConn{Conn: c}
	srv := c.httpServer(nil)
	srv.Protocols.SetUnencryptedHTTP2(true)
	c.SetReadDeadline(time.Now().Add(c.settings.Timeouts.Header)) // for the preface; net/http takes it back
	ended := c.begin(srv, ga)
	var wg sync.WaitGroup
	wg.Go(func() { c.goaway(ga, srv, ended) })
	<-ended
	wg.Wait()
	c.cancel()
	for c.open.Load() > 0 { // handlers may outlive the connection, and must not outlive what they use
		<-c.none
	}
}

// goawayRTT is how long after the first GOAWAY a stream that the client opened before it saw it may arrive.
const goawayRTT = time.Second

// goaway ends an HTTP/2 connection without refusing a stream (RFC 9113 section 6.8): a GOAWAY that names no last stream tells the client to open no
// more; after a round trip a second one names the last.
func (c *Conn) goaway(ga *goawayConn, srv *http.Server, ended chan struct{}) {
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
	if c.server.Fault != FaultOneGoaway && c.server.Fault != FaultShutdown {
		ga.inject()
		wait.Reset(goawayRTT)
		select {
		case <-ended:
			return
		case <-wait.C:
		}
	}
	// The server has this connection only, and it does not close one of HTTP/2: it sends its GOAWAY, and waits for the streams.
	srv.Shutdown(c.ctx)
	<-ended
}
