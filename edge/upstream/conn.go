package upstream

import (
	"context"
	"net"
	"sync"
	"time"
)

// answerGrace is how long a failed write waits for the answer that explains it.
const answerGrace = time.Second

// conn is a connection to an h2c target for net/http, which drops an answer that has come for the error of a write: a target may answer early
// (413) and close while the request is still being sent. So a write that fails tells so only when there is nothing more to read.
type conn struct {
	net.Conn
	over chan struct{} // a Read failed, or Close was called
	once sync.Once

	closed sync.Once
	gone   func() // is called at the first Close
}

func newConn(c net.Conn, gone func()) *conn {
	return &conn{Conn: c, over: make(chan struct{}), gone: gone}
}

func (c *conn) end() { c.once.Do(func() { close(c.over) }) }

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.end()
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		wait := time.NewTimer(answerGrace)
		defer wait.Stop()
		select {
		case <-c.over:
		case <-wait.C:
		}
	}
	return n, err
}

func (c *conn) Close() error {
	c.end()
	c.closed.Do(c.gone)
	return c.Conn.Close()
}

// carried are the open connections of an h2c target. Its transport closes, when it is told to, those that carry nothing at that moment: once the
// target is retired something tells it so every second while there are any.
type carried struct {
	mu      sync.Mutex
	open    int
	retired bool
	watched bool
}

// dialHTTP is for the transport.
func (t *Target) dialHTTP(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	t.carry(1)
	return newConn(c, func() { t.carry(-1) }), nil
}

// carry counts connections that are opened, or closed.
func (t *Target) carry(n int) {
	t.carried.mu.Lock()
	defer t.carried.mu.Unlock()
	t.carried.open += n
	t.watchCarried()
}

// watchCarried has a retired target looked at. Its carried.mu is held.
func (t *Target) watchCarried() {
	if c := &t.carried; c.retired && c.open > 0 && !c.watched {
		c.watched = true
		time.AfterFunc(fresh, t.lookAtCarried)
	}
}

func (t *Target) lookAtCarried() {
	t.transport.CloseIdleConnections()
	t.carried.mu.Lock()
	defer t.carried.mu.Unlock()
	t.carried.watched = false
	t.watchCarried()
}

// retireCarried closes the connections that carry nothing, and each other one when it carries nothing any more.
func (t *Target) retireCarried() {
	t.transport.CloseIdleConnections()
	t.carried.mu.Lock()
	defer t.carried.mu.Unlock()
	t.carried.retired = true
	t.watchCarried()
}
