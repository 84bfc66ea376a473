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
var sweep = sweeper{period: time.Second, conns: map[*conn]struct{}{}, clients: map[*ClientConn]struct{}{}}

// sweeper ends what takes too long: once in a period it looks at the limits of all its connections, and sets past deadlines. It asks also
// for the clients that somebody waits to see leave. It runs only while there are connections.
type sweeper struct {
	period time.Duration
	ticks  atomic.Int64 // periods that have passed

	mu      sync.Mutex
	conns   map[*conn]struct{}
	clients map[*ClientConn]struct{}
	running bool
}

func (s *sweeper) add(c *conn) {
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

func (s *sweeper) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// tick is one look at all connections.
func (s *sweeper) tick() {
	now := s.ticks.Add(1)
	for _, c := range s.enforce(now) {
		c.x.answer.gone.look(c) // runs what others wrote, so without the lock
	}
}

// enforce ends what is over its limit, and gives the connections whose clients are watched.
func (s *sweeper) enforce(now int64) (watched []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.reading.over(now) {
			c.nc.SetReadDeadline(past)
		}
		if c.writing.over(now) {
			c.nc.SetWriteDeadline(past)
		}
		if c.x.answer.gone.on.Load() {
			watched = append(watched, c)
		}
		c.lookAtRest(now)
	}
	s.enforceClients(now)
	if s.running = len(s.conns)+len(s.clients) > 0; s.running {
		time.AfterFunc(s.period, s.tick)
	}
	return watched
}

// lookAtRest asks, once in a rest, whether the client has said its end: that may have come together with its last request, in which case
// nobody is told. s.mu is held.
func (c *conn) lookAtRest(now int64) {
	since, at := c.rests.Load(), c.reading.at.Load()
	if since == awake || now <= since || at <= 0 || !c.rests.CompareAndSwap(since, awake) || c.gone() == nil {
		return
	}
	if c.reading.at.CompareAndSwap(at, spent) { // it still rests
		c.left = true
		c.nc.SetReadDeadline(past)
	}
}

// hasLeft says whether a limit was spent by lookAtRest. If so, c may read on: there may be a last request, and there is the end.
func (s *sweeper) hasLeft(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := c.left
	c.left = false
	return left && c.nc.SetReadDeadline(noDeadline) == nil
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
