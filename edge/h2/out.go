package h2

import (
	"cmp"
	"net"
	"os"
	"runtime"
	"slices"
)

const (
	mostOut  = 128 << 10 // bytes that wait to be written: who wants to send more of a body waits
	turn     = 64 << 10  // of a body, after which it is another stream's turn
	piece    = 64 << 10  // is written within one time for progress
	patience = 8         // writes for others, before a goroutine of its own goes on with them
	keptOut  = 64 << 10  // of a buffer that is kept for the next write
)

// flush writes what waits, unless somebody else is at it, who then writes this too. It says whether it wrote. c.mu is held, but not while it
// writes.
func (c *Conn) flush() bool {
	if c.busy || len(c.out) == 0 || c.err != nil {
		return false
	}
	c.busy = true
	c.mu.Unlock()
	runtime.Gosched() // other handlers that are about to answer add theirs: one record, one system call
	c.mu.Lock()
	for range patience {
		if !c.writeOnce() {
			return true
		}
	}
	go c.writeOn()
	return true
}

// flushAside is flush for who must not wait. c.mu is held.
func (c *Conn) flushAside() {
	if !c.busy && len(c.out) > 0 && c.err == nil {
		c.busy = true
		go c.writeOn()
	}
}

// writeOn writes until nothing waits any more.
func (c *Conn) writeOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writeOnce() {
	}
}

// writeOnce writes what waits now; false: there was nothing, or nothing can be written any more, and who was busy is not. c.mu is held, but not
// while it writes.
func (c *Conn) writeOnce() bool {
	if len(c.out) == 0 || c.err != nil {
		c.busy = false
		signal(c.quiet)
		c.endIfDone()
		return false
	}
	b := c.out
	c.out, c.spare, c.control = c.spare[:0], nil, 0
	c.mu.Unlock()
	err := c.write(b)
	c.mu.Lock()
	if cap(b) <= keptOut {
		c.spare = b[:0]
	}
	if err != nil && c.err == nil {
		c.err = err
		c.stopReading()
		c.wakeAll()
	}
	c.wakeFull()
	c.wakeNext()
	return true
}

// write writes in pieces that each have their time, so that a client that is slow but reads is not cut off.
func (c *Conn) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), piece)
		c.writing.set(c.o.Info.Write)
		err := c.writePiece(b[:n])
		c.writing.clear()
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// writePiece writes what takes more than one of TLS's records in one system call all the same.
func (c *Conn) writePiece(b []byte) error {
	if len(b) <= maxFrame || c.o.Info.TLS == nil {
		_, err := c.nc.Write(b)
		return err
	}
	s := c.nc.Socket()
	s.Join(len(b))
	_, err := c.nc.Write(b)
	return cmp.Or(err, s.Flush())
}

// send sends of a stream's body, or its end, or both; behind its head, if that waits. It waits for the client's windows, in turn with other streams.
// trailers are a frame that ends the stream.
func (s *stream) send(p []byte, ends bool, trailers []byte) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wakeNext()
	defer s.sending.clear()
	if err := s.roomFor(); err != nil {
		return err
	}
	s.sendHead(ends && len(p) == 0 && len(trailers) == 0)
	if err := s.sendBody(p, ends && len(trailers) == 0); err != nil {
		return err
	}
	if len(trailers) > 0 {
		if err := s.roomFor(); err != nil {
			return err
		}
		c.appendBlock(trailers)
		s.sent = true
	} else if ends && !s.sent {
		s.sendData(nil, true)
	}
	if s.sent && s.closed && c.streams[s.id] == s {
		c.complete(s)
	}
	c.flush()
	return c.err
}

// sendBody puts p in line, as fast as windows, room and turns allow. c.mu is held, but not while it waits.
func (s *stream) sendBody(p []byte, ends bool) error {
	c, left := s.c, 0 // of the turn
	defer s.wane()
	for len(p) > 0 {
		n := s.allowed(len(p))
		if n > 0 && (left > 0 || s.alone() || s.begun+n <= maxFrame && !s.outranked()) { // what is short goes first
			s.sendData(p[:n], ends && n == len(p))
			p, left, s.begun = p[n:], left-n, min(s.begun+n, 2*maxFrame)
			continue
		}
		left = 0
		if !c.flushFor(s) && s.await(&c.queue, s.window > 0) {
			left = turn
		}
		if err := s.stopped(); err != nil {
			return err
		}
	}
	return nil
}

// flushFor is flush by a stream that has more to send, and so waits meanwhile as others do. c.mu is held, but not while it writes.
func (c *Conn) flushFor(s *stream) bool {
	if c.busy {
		return false
	}
	s.stir()
	return c.flush()
}

// roomFor waits until out has room for something that no window holds back. c.mu is held, but not while it waits.
func (s *stream) roomFor() error {
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
func (c *Conn) appendBlock(frames []byte) { c.out = appendBlock(c.out, frames, &c.lowered) }

// sendHead puts the head of the answer in line. c.mu is held.
func (s *stream) sendHead(ends bool) {
	a := &s.answer
	if len(a.head) == 0 {
		return
	}
	if ends {
		a.head[4] |= flagEndStream
		s.sent = true
	}
	s.c.appendBlock(a.head)
	a.head = a.head[:0]
}

// sendData puts a frame in line. c.mu is held.
func (s *stream) sendData(p []byte, ends bool) {
	c, flags := s.c, byte(0)
	if ends {
		flags, s.sent = flagEndStream, true
	}
	c.out = append(appendHead(c.out, len(p), frameData, flags, s.id), p...)
	c.moved.set(c.o.Info.Write)
	s.sending.clear()
	c.window -= int64(len(p))
	s.window -= int64(len(p))
	c.credit = min(c.credit+2, fullCredit) // the windows that the client gives back
}

// allowed says how much of n bytes may be put in line now. c.mu is held.
func (s *stream) allowed(n int) int {
	if len(s.c.out) >= mostOut {
		return 0
	}
	return int(max(0, min(int64(n), s.window, s.c.window, maxFrame)))
}

// stopped says why nothing can be sent on the stream; nil: it can. c.mu is held.
func (s *stream) stopped() error {
	switch {
	case s.ended != nil:
		return s.ended
	case s.late:
		return os.ErrDeadlineExceeded
	case s.sent:
		return net.ErrClosed
	}
	return s.c.err
}

// await waits until something may have changed: in a line, or for the stream's own window alone. It says whether it is the stream's turn. c.mu is
// held, but not while it waits.
func (s *stream) await(line *[]*stream, inLine bool) (turn bool) {
	c, wake := s.c, waker(&s.wake)
	s.wane()
	if s.queued = inLine; inLine {
		*line = append(*line, s)
	}
	c.wakeNext()
	if s.answer.tunnel == nil && !s.sending.runs() { // a tunnel has its own time; being woken is no progress
		s.sending.set(c.o.Info.Write)
	}
	c.mu.Unlock()
	<-wake
	c.mu.Lock()
	if !s.queued {
		return inLine
	}
	s.queued = false // woken for another reason: who has gone must not be woken in place of who waits
	*line = slices.Delete(*line, slices.Index(*line, s), slices.Index(*line, s)+1)
	return false
}

// wakeUp wakes a stream that waits to send. c.mu is held.
func (s *stream) wakeUp() { signal(s.wake) }

// wakeNext wakes the stream whose turn it is, if there is something to take a turn at. Who was woken wakes the next one. c.mu is held.
func (c *Conn) wakeNext() {
	if len(c.queue) == 0 || c.err == nil && (c.window <= 0 || len(c.out) >= mostOut) {
		return
	}
	at := c.next()
	s := c.queue[at]
	if slices.ContainsFunc(c.awake, func(other *stream) bool { return other.before(s) }) { // it wakes s when it has had its turn
		return
	}
	c.queue = slices.Delete(c.queue, at, at+1)
	s.queued = false
	s.stir()
	s.wakeUp()
}

// wakeFull wakes those who wait for room. c.mu is held.
func (c *Conn) wakeFull() {
	for i, s := range c.full {
		c.full[i] = nil
		s.queued = false
		s.wakeUp()
	}
	c.full = c.full[:0]
}

// wakeAll wakes everybody who waits to send. c.mu is held.
func (c *Conn) wakeAll() {
	for _, s := range c.queue {
		s.queued = false
		s.wakeUp()
	}
	clear(c.queue)
	c.queue = c.queue[:0]
	c.wakeFull()
	for _, s := range c.streams {
		s.wakeUp()
	}
}

// signal leaves word in a channel that has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
