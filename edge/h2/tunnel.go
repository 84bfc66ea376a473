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
	writes *time.Timer // of the write deadline
	until  time.Time   // that one
	shut   bool        // we have said our end
	closed bool
}

func (t *tunnel) Read(p []byte) (int, error) { return t.s.body.Read(p) }

// Write says net.ErrClosed after CloseWrite, also where it waited for the client meanwhile.
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
	if t.closed {
		return nil
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	if t.writes != nil {
		t.writes.Stop()
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

// SetReadDeadline is of Reads that wait, and of later ones. Whoever cuts tunnels may come after the end, when the stream is another request's.
func (t *tunnel) SetReadDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	c, b := t.s.c, &t.s.body
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.until = at; !at.IsZero() {
		wake := waker(&b.wake) // not b, which may be another request's by then
		t.timer = time.AfterFunc(time.Until(at), func() { signal(wake) })
	}
	return nil
}

// SetWriteDeadline is of Writes that wait, and of later ones. Without one, progress is not watched: a tunnel has a time of its own.
func (t *tunnel) SetWriteDeadline(at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.writes != nil {
		t.writes.Stop()
		t.writes = nil
	}
	if t.until = at; t.closed {
		return nil
	}
	late := !at.IsZero() && !time.Now().Before(at)
	if t.setLate(late); !late && !at.IsZero() {
		t.writes = time.AfterFunc(time.Until(at), t.endWrites)
	}
	return nil
}

// endWrites is at a deadline, unless another one was set meanwhile.
func (t *tunnel) endWrites() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed && !t.until.IsZero() && !time.Now().Before(t.until) {
		t.setLate(true)
	}
}

// setLate says whether the time for writing is over. t.mu is held, and t is not closed: its stream may be another's then.
func (t *tunnel) setLate(late bool) {
	c := t.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.s.late = late; late {
		t.s.wakeUp()
	}
}

func (t *tunnel) LocalAddr() net.Addr  { return t.s.c.nc.LocalAddr() }
func (t *tunnel) RemoteAddr() net.Addr { return t.s.c.nc.RemoteAddr() }
func (t *tunnel) TCP() *net.TCPConn    { return nil }
