package upstream

import (
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
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, over: make(chan struct{})} }

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
	return c.Conn.Close()
}
