package h2

import (
	"net"
	"sync"
	"time"
)

// tunnel is a stream after an extended CONNECT.
type tunnel struct {
	s      *stream
	mu     sync.Mutex
	timer  *time.Timer // of the read deadline
	shut   bool        // we have said our end
	closed bool
}

func (t *tunnel) Read(p []byte) (int, error) { return t.s.body.Read(p) }

func (t *tunnel) Write(p []byte) (int, error) {
	if err := t.s.send(p, false, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite says our end.
func (t *tunnel) CloseWrite() error {
	if t.over() {
		return nil
	}
	return t.s.send(nil, true, nil)
}

// over says whether our end has been said, and that it is from now on.
func (t *tunnel) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.shut
	t.shut = true
	return was
}

// Close ends the tunnel; one of which not both sides have said their end is reset.
func (t *tunnel) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
	t.closed = true
	c := t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	t.s.body.finish(net.ErrClosed)
	if t.s.ended == nil {
		t.s.ended = net.ErrClosed
	}
	t.s.wakeUp()
	return nil
}

func (t *tunnel) SetDeadline(at time.Time) error {
	t.SetReadDeadline(at)
	return t.SetWriteDeadline(at)
}

// SetReadDeadline is of Reads that wait, and of later ones.
func (t *tunnel) SetReadDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	c, b := t.s.c, &t.s.body
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.until = at; !at.IsZero() && !t.closed {
		wake := b.wake // not b, which may be another request's by then
		t.timer = time.AfterFunc(time.Until(at), func() { signal(wake) })
	}
	return nil
}

// SetWriteDeadline heeds a deadline that has passed: progress is watched by the connection.
func (t *tunnel) SetWriteDeadline(at time.Time) error {
	if at.IsZero() || time.Now().Before(at) {
		return nil
	}
	c := t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	t.s.late = true
	t.s.wakeUp()
	return nil
}

func (t *tunnel) LocalAddr() net.Addr  { return t.s.c.nc.LocalAddr() }
func (t *tunnel) RemoteAddr() net.Addr { return t.s.c.nc.RemoteAddr() }
func (t *tunnel) TCP() *net.TCPConn    { return nil }
