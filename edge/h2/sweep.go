package h2

import (
	"sync"
	"sync/atomic"
	"time"
)

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// noDeadline takes one back.
var noDeadline time.Time

// sweep is the process's sweeper, as edge/h1 has one: no timer is set for a request.
var sweep = sweeper{period: time.Second, conns: map[swept]struct{}{}}

// swept is a connection, to a client or to a server.
type swept interface{ look(now int64) }

// sweeper looks once in a period at the limits of all connections.
type sweeper struct {
	period time.Duration
	ticks  atomic.Int64

	mu      sync.Mutex
	conns   map[swept]struct{}
	running bool
}

func (s *sweeper) now() int64 { return s.ticks.Load() }

// after is the tick at which d is over: d from now, and up to two periods more.
func (s *sweeper) after(d time.Duration) int64 {
	return s.now() + int64((d+s.period-1)/s.period) + 1
}

func (s *sweeper) add(c swept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	if !s.running {
		s.running = true
		time.AfterFunc(s.period, s.tick)
	}
}

func (s *sweeper) remove(c swept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *sweeper) tick() {
	now := s.ticks.Add(1)
	s.mu.Lock()
	all := make([]swept, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	if s.running = len(all) > 0; s.running {
		time.AfterFunc(s.period, s.tick)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.look(now)
	}
}

// look ends what takes too long on the connection.
func (c *Conn) look(now int64) {
	if c.o.Last() {
		c.GoAway()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing.over(now) {
		c.nc.SetWriteDeadline(past)
	}
	if c.err != nil { // who closes it has deadlines of its own
		return
	}
	if c.reading.over(now) {
		c.stopReading()
	}
	c.lookAtRest(now)
	c.credit = min(c.credit+tickCredit, fullCredit)
	for _, s := range c.streams {
		s.look(now)
	}
	idle := len(c.streams) == 0 && now > c.idleAt+1
	switch {
	case c.ending == announced && now >= c.endAt:
		c.nameLast()
	case idle && c.begun() && now > c.idleAt+int64(c.o.Idle/sweep.period):
		c.goAway()
	}
	if idle && len(c.out) == 0 && !c.busy {
		c.out, c.spare = nil, nil
	}
	c.endIfDone()
}

// awake is a connection that reads.
const awake = -1

// longRest is the tick of a rest at which it is a long one. A connection that is asked something more often keeps what it works with.
const longRest = 2

// lookAtRest wakes, once in a rest, a connection that has rested for long, so that it gives back what it has no need of. It reads once more then,
// which tells it whether the client has said its end: that may have come together with its last bytes, in which case nobody is told. c.mu is held.
func (c *Conn) lookAtRest(now int64) {
	if since := c.rests.Load(); since == awake || c.lean.Load() || now < since+longRest || !c.rests.CompareAndSwap(since, awake) {
		return
	}
	c.nudged = true
	c.nc.SetReadDeadline(past)
}

// begun says whether no time for something that has begun counts.
func (c *Conn) begun() bool { return !c.reading.runs() }

// limit is until when something may take. One goroutine sets and clears it.
type limit struct{ at atomic.Int64 } // a tick; 0: none

func (l *limit) set(d time.Duration) { l.at.Store(sweep.after(d)) }
func (l *limit) clear()              { l.at.Store(0) }
func (l *limit) runs() bool          { return l.at.Load() != 0 }

func (l *limit) over(now int64) bool {
	at := l.at.Load()
	return at > 0 && now >= at
}
