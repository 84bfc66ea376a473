package h2

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// answerGrace is how long a connection that takes nothing more is read from: an answer that is on its way may explain it.
const answerGrace = time.Second

// flush writes what waits, unless somebody else is at it, who then writes this too. It says whether it wrote. c.mu is held, but not while it
// writes.
func (c *ClientConn) flush() bool {
	if c.busy || len(c.out) == 0 || c.dumb() {
		return false
	}
	c.busy = true
	c.mu.Unlock()
	runtime.Gosched() // other exchanges that are about to ask add theirs: one record, one system call
	c.mu.Lock()
	for range patience {
		if !c.writeOnce() {
			return true
		}
	}
	go c.writeOn()
	return true
}

// dumb says whether nothing can be written any more.
func (c *ClientConn) dumb() bool { return c.err != nil || c.deaf != nil }

// flushAside is flush for who must not wait. c.mu is held.
func (c *ClientConn) flushAside() {
	if !c.busy && len(c.out) > 0 && !c.dumb() {
		c.busy = true
		go c.writeOn()
	}
}

// writeOn writes until nothing waits any more.
func (c *ClientConn) writeOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writeOnce() {
	}
}

// writeOnce writes what waits now; false: there was nothing, or nothing can be written any more, and who was busy is not. c.mu is held, but not
// while it writes.
func (c *ClientConn) writeOnce() bool {
	if len(c.out) == 0 || c.dumb() {
		c.busy = false
		signal(c.quiet)
		c.endIfDone()
		return false
	}
	b, before := c.out, c.handed
	c.handed += int64(len(b))
	c.out, c.spare, c.control = c.spare[:0], nil, 0
	c.mu.Unlock()
	n, err := c.write(b)
	c.mu.Lock()
	if n > 0 {
		c.wrote = sweep.now()
	}
	if cap(b) <= keptOut {
		c.spare = b[:0]
	}
	if err != nil && c.deaf == nil {
		c.handed = before + int64(n) // what follows was never sent
		c.becomeDeaf(err)
	}
	c.wakeFull()
	c.wakeNext()
	return true
}

// becomeDeaf is the end of what can be written. What is here of answers, or comes soon, is read still. c.mu is held.
func (c *ClientConn) becomeDeaf(err error) {
	c.away = true
	c.deaf = fmt.Errorf("h2: the server takes nothing more: %w", err)
	c.parting.set(answerGrace)
	for _, s := range c.calls {
		if s.at >= c.handed {
			c.lose(s, c.deaf)
		}
	}
	c.wakeAll()
}

// write writes in pieces that each have their time. n of the bytes may have been sent, no more.
func (c *ClientConn) write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		p := b[:min(len(b), piece)]
		c.writing.set(c.limits.Response)
		var m int
		m, err = c.writePiece(p)
		c.writing.clear()
		n, b = n+m, b[len(p):]
	}
	return n, err
}

// writePiece writes what takes more than one of TLS's records in one system call all the same.
func (c *ClientConn) writePiece(p []byte) (int, error) {
	if len(p) <= maxFrame || c.nc == c.below {
		return c.nc.Write(p)
	}
	c.below.Join(len(p))
	_, err := c.nc.Write(p)
	return len(p), cmp.Or(err, c.below.Flush())
}

// sendBody puts p in line, as fast as windows, room and turns allow. c.mu is held, but not while it waits.
func (s *Call) sendBody(p []byte, ends bool) error {
	c, left := s.c, 0 // of the turn
	for len(p) > 0 {
		if err := s.stopped(); err != nil {
			return err
		}
		n := s.allowed(len(p))
		if n > 0 && (left > 0 || len(c.queue) == 0) {
			s.sendData(p[:n], ends && n == len(p))
			p, left = p[n:], left-n
			continue
		}
		if left = 0; !c.flush() && s.await(&c.queue, s.window > 0) {
			left = turn
		}
	}
	return s.stopped()
}

// roomFor waits until out has room for something that no window holds back. c.mu is held, but not while it waits.
func (s *Call) roomFor() error {
	c := s.c
	for {
		if err := s.stopped(); err != nil || len(c.out) < mostOut {
			return err
		}
		if !c.flush() {
			s.await(&c.full, true)
		}
	}
}

// appendBlock puts the frames of a header block in line. c.mu is held.
func (c *ClientConn) appendBlock(frames []byte) { c.out = appendBlock(c.out, frames, &c.lowered) }

// sendData puts a frame in line. c.mu is held.
func (s *Call) sendData(p []byte, ends bool) {
	c, flags := s.c, byte(0)
	if ends {
		flags, s.sent = flagEndStream, true
	}
	c.out = append(appendHead(c.out, len(p), frameData, flags, s.id), p...)
	s.sending.clear()
	c.window -= int64(len(p))
	s.window -= int64(len(p))
	c.earn(3) // the windows that the server gives back, and the PING by which it measures
}

// allowed says how much of n bytes may be put in line now. c.mu is held.
func (s *Call) allowed(n int) int {
	if len(s.c.out) >= mostOut {
		return 0
	}
	return int(max(0, min(int64(n), s.window, s.c.window, maxFrame)))
}

// stopped says why nothing can be sent of the exchange; nil: it can. c.mu is held.
func (s *Call) stopped() error {
	switch {
	case s.err != nil:
		return s.err
	case s.over:
		return errAnswered
	case s.late:
		return os.ErrDeadlineExceeded
	}
	return cmp.Or(s.c.err, s.c.deaf)
}

// await waits until something may have changed: in a line, or for the stream's own window alone. It says whether it is the stream's turn. c.mu is
// held, but not while it waits.
func (s *Call) await(line *[]*Call, inLine bool) (turn bool) {
	c := s.c
	if s.queued = inLine; inLine {
		*line = append(*line, s)
	}
	c.wakeNext()
	if !s.sending.runs() { // being woken is no progress
		s.sending.set(s.patience())
	}
	c.mu.Unlock()
	<-s.room
	c.mu.Lock()
	if !s.queued {
		return inLine
	}
	s.queued = false // woken for another reason: who has gone must not be woken in place of who waits
	*line = slices.Delete(*line, slices.Index(*line, s), slices.Index(*line, s)+1)
	return false
}

// wakeNext wakes the exchange whose turn it is, if there is something to take a turn at. Who was woken wakes the next one. c.mu is held.
func (c *ClientConn) wakeNext() {
	if len(c.queue) == 0 || !c.dumb() && (c.window <= 0 || len(c.out) >= mostOut) {
		return
	}
	s := c.queue[0]
	c.queue = slices.Delete(c.queue, 0, 1)
	s.queued = false
	signal(s.room)
}

// wakeFull wakes those who wait for room. c.mu is held.
func (c *ClientConn) wakeFull() { wakeLine(&c.full) }

// wakeLine wakes all who stand in a line.
func wakeLine(line *[]*Call) {
	for _, s := range *line {
		s.queued = false
		signal(s.room)
	}
	clear(*line)
	*line = (*line)[:0]
}

// wakeAll wakes everybody who waits to send. c.mu is held.
func (c *ClientConn) wakeAll() {
	wakeLine(&c.queue)
	c.wakeFull()
	for _, s := range c.calls {
		signal(s.room)
	}
}
