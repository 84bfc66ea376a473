package serve

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"edge/edge/wire"
)

// serveHTTP2 serves HTTP/2 with x/net's server, one for this connection alone: its graceful end is then this connection's.
func (c *Conn) serveHTTP2() {
	c.multi.Store(true)
	ga := &goawayConn{Conn: c}
	srv := c.httpServer(wire.ServeHTTP(c, c.info, nil))
	h2 := &http2.Server{IdleTimeout: c.settings.Timeouts.Idle, WriteByteTimeout: c.settings.Timeouts.Write, MaxConcurrentStreams: 250}
	if err := http2.ConfigureServer(srv, h2); err != nil {
		c.server.Log.Error("http2", "error", err)
		return
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { c.goaway(ga, srv, ended) })
	h2.ServeConn(ga, &http2.ServeConnOpts{Context: c.ctx, BaseConfig: srv})
	close(ended)
	wg.Wait()
}

// goawayRTT is how long after the first GOAWAY a stream that the client opened before it saw it may arrive.
const goawayRTT = time.Second

// goaway ends an HTTP/2 connection without refusing a stream (RFC 9113 section 6.8): a GOAWAY that names no last stream tells the client to open no
// more; after a round trip a second one names the last.
func (c *Conn) goaway(ga *goawayConn, srv *http.Server, ended chan struct{}) {
	select {
	case <-ended:
		return
	case <-c.told:
	}
	wait := time.NewTimer(time.Until(time.Unix(0, c.tellAt.Load())))
	defer wait.Stop()
	select {
	case <-ended:
		return
	case <-wait.C:
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
	srv.Shutdown(context.Background()) // the server has this connection only, which it does not close: it sends its GOAWAY
}
