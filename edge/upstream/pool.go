package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"edge/edge/h1"
	"edge/edge/socket"
)

// Conn is a connection to a target that speaks HTTP/1.1, for one exchange: Done is called after it.
type Conn struct {
	*h1.ClientConn
	Reused  bool // it has carried an exchange before, so the target may have closed it since
	target  *Target
	rests   time.Duration // after began: since when nobody uses it
	expires time.Duration // after began
}

// began is from when the times of all connections count: what has passed since costs half of a look at the clock.
var began = time.Now()

const (
	maxIdle = 1024        // connections of a target that nobody uses
	fresh   = time.Second // how often the connections at rest are looked at
)

// idle are the connections to a target that nobody uses: the last one that came back is the first one to be used again, so that the ones
// that are too many grow old. Something looks at them every second while there are any.
type idle struct {
	mu      sync.Mutex
	conns   []*Conn // the oldest first
	retired bool    // each is closed when it comes back
	watched bool
}

// take gives the connection that was used last; nil: there is none.
func (p *idle) take() *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.conns) - 1
	if last < 0 {
		return nil
	}
	c := p.conns[last]
	p.conns[last] = nil
	p.conns = p.conns[:last]
	return c
}

// put keeps a connection, or says that it is not to be kept.
func (p *idle) put(c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || len(p.conns) >= maxIdle {
		return false
	}
	p.conns = append(p.conns, c)
	if !p.watched {
		p.watched = true
		time.AfterFunc(fresh, p.look)
	}
	return true
}

// retire closes all connections, and each other one when it comes back.
func (p *idle) retire() {
	p.mu.Lock()
	gone := p.conns
	p.conns, p.retired = nil, true
	p.mu.Unlock()
	closeAll(gone)
}

// look closes the connections whose time is over, and those that the target has closed, or sends over what nobody asked for.
func (p *idle) look() {
	p.mu.Lock()
	now := time.Since(began)
	kept, gone := p.conns[:0], []*Conn(nil)
	for _, c := range p.conns {
		if now < c.expires && (now-c.rests < fresh || c.Quiet()) {
			kept = append(kept, c)
		} else {
			gone = append(gone, c)
		}
	}
	clear(p.conns[len(kept):])
	p.conns = kept
	if p.watched = len(kept) > 0; p.watched {
		time.AfterFunc(fresh, p.look)
	}
	p.mu.Unlock()
	closeAll(gone)
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		c.Close()
	}
}

// Conn gives a connection for one exchange: the one that was used last, else a new one, within the context of whom it is for. One that was used
// may turn out to be stale, at its Send; then the next one may not. Whatever the error, the target has not got a byte of the exchange.
func (t *Target) Conn(whom interface{ Context() context.Context }) (*Conn, error) {
	for {
		c := t.idle.take()
		if c == nil {
			return t.NewConn(whom.Context())
		}
		if time.Since(began) < c.expires {
			c.Reused = true
			return c, nil
		}
		c.Close()
	}
}

// NewConn is Conn, with a connection that was never used.
func (t *Target) NewConn(ctx context.Context) (*Conn, error) {
	nc, below, err := t.reach(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{ClientConn: h1.NewClientConn(nc, below, t.limits), target: t}, nil
}

// reach dials the target, and lays TLS over the socket, below, where it speaks that.
func (t *Target) reach(ctx context.Context) (nc net.Conn, below *socket.Conn, err error) {
	dialled, err := t.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	below = socket.New(dialled)
	if t.tls == nil {
		return below, below, nil
	}
	nc, err = t.handshake(ctx, below)
	return nc, below, err
}

// handshake lays TLS over nc, which it closes if that fails.
func (t *Target) handshake(ctx context.Context, nc net.Conn) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.connect)
	defer cancel()
	c := tls.Client(nc, t.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// Done gives the connection back after its exchange: to the next one, or to be closed.
func (c *Conn) Done() {
	if !c.Reusable() {
		c.Close()
		return
	}
	lasts := c.target.lasts
	if seconds := c.Rest(); seconds > 0 { // the target means it: we stop a second earlier
		lasts = min(lasts, time.Duration(seconds)*time.Second-time.Second)
	}
	c.rests = time.Since(began)
	c.expires = c.rests + lasts
	if lasts <= 0 || !c.target.idle.put(c) {
		c.Close()
	}
}
