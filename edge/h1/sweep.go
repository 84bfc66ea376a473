package h1

import (
	"sync"
	"sync/atomic"
	"time"
)

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// noDeadline takes one back.
var noDeadline time.Time

// sweep is the process's sweeper. Its connections come and go from all listeners; one look a second is cheap for all of them together,
// and a timer set for each read is not.
var sweep = sweeper{period: time.Second, conns: map[*Conn]struct{}{}, clients: map[*ClientConn]struct{}{}}

// sweeper ends what takes too long: once in a period it looks at the limits of all its connections, and sets past deadlines. It asks also
// for the clients that somebody waits to see leave, and wakes who rests for long. It runs only while there are connections.
type sweeper struct {
	period time.Duration
	ticks  atomic.Int64 // periods that have passed

	mu      sync.Mutex
	conns   map[*Conn]struct{}
	clients map[*ClientConn]struct{}
	running bool
}

func (s *sweeper) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	s.run()
}

// run has the sweeper run, now that there is somebody to look at. s.mu is held.
func (s *sweeper) run() {
	if !s.running {
		s.running = true
		time.AfterFunc(s.period, s.tick)
	}
}

// after is the tick at which d is over: d from now, and up to two periods more.
func (s *sweeper) after(d time.Duration) int64 {
	return s.ticks.Load() + int64((d+s.period-1)/s.period) + 1
}

func (s *sweeper) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// tick is one look at all connections.
func (s *sweeper) tick() {
	now := s.ticks.Add(1)
	for _, w := range s.enforce(now) {
		w.look(w.c) // runs what others wrote, so without the lock
	}
}

// watched is a connection whose client is watched, for an exchange.
type watched struct {
	*watch
	c *Conn
}

// enforce ends what is over its limit, and gives the connections whose clients are watched.
func (s *sweeper) enforce(now int64) (list []watched) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.reading.over(now) {
			c.nc.SetReadDeadline(past)
		}
		if c.writing.over(now) {
			c.nc.SetWriteDeadline(past)
		}
		if c.work != nil && c.x.answer.gone.on.Load() {
			list = append(list, watched{&c.x.answer.gone, c})
		}
		c.lookAtRest(now)
	}
	s.enforceClients(now)
	if s.running = len(s.conns)+len(s.clients) > 0; s.running {
		time.AfterFunc(s.period, s.tick)
	}
	return list
}

// longRest is the tick of a rest at which it is a long one. A connection that is asked something more often keeps what it works with.
const longRest = 2

// lookAtRest wakes, once in a rest, a connection that has rested for long, so that it gives back what it has no need of. It reads once more then,
// which tells it whether the client has said its end: that may have come together with its last request, in which case nobody is told. s.mu is
// held.
func (c *Conn) lookAtRest(now int64) {
	since, at := c.rests.Load(), c.reading.at.Load()
	if c.lean || since == awake || now < since+longRest || at <= 0 || !c.rests.CompareAndSwap(since, awake) {
		return
	}
	if c.reading.at.CompareAndSwap(at, spent) { // it still rests
		c.nudged = true
		c.nc.SetReadDeadline(past)
	}
}

// wasNudged says whether a limit was spent by lookAtRest. If so, c may read on.
func (s *sweeper) wasNudged(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	nudged := c.nudged
	c.nudged = false
	return nudged && c.nc.SetReadDeadline(noDeadline) == nil
}

// setWork gives c what it works with, or takes it.
func (s *sweeper) setWork(c *Conn, w *work, lean bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.work, c.lean = w, lean
}

// limit is until when a read or a write may take. One goroutine sets and clears it.
type limit struct{ at atomic.Int64 } // a tick; 0: none; spent

// spent is a limit that was reached.
const spent = -1

// set allows d from now, and up to two periods more.
func (l *limit) set(d time.Duration) {
	l.at.Store(sweep.after(d))
}

// clear takes the limit back, and says whether it was kept. If not, the deadline stands or is about to, whatever was read meanwhile.
func (l *limit) clear() bool { return l.at.Swap(0) != spent }

// over says, once, that the limit is reached.
func (l *limit) over(now int64) bool {
	at := l.at.Load()
	return at > 0 && now >= at && l.at.CompareAndSwap(at, spent)
}
