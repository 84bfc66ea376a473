package h2

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"

	"edge/edge/socket"
)

// ClientLimits bound what a server may take. None is zero.
type ClientLimits struct {
	Response time.Duration // neither taking of a request, nor beginning to answer it
	Body     time.Duration // between two pieces of an answer's body
	Idle     time.Duration // without a request
}

// ClientConn is a connection to a server, for many exchanges at a time: Begin gives one. One goroutine, Serve's, reads and decodes; it wakes those
// who wait when it has taken all that was there, so that what came together is passed on together. Whoever finds nobody writing writes for all.
//
// What it may cost at most, where a server does its worst: of bodies twice bodyWindow for each exchange, of heads twice maxAnswerHead; of what is
// sent twice mostOut, one head, and mostControl. No window of the connection as a whole holds one exchange up for another's client, who is slow.
type ClientConn struct {
	nc     net.Conn
	below  *socket.Conn
	limits ClientLimits

	// Of the reading goroutine alone.
	in      input
	dec     *hpack.Decoder
	block   reply           // the header block that is being read
	blockID uint32          // whose it is; 0: none is
	ends    bool            // nothing follows it
	size    int             // bytes of it
	woken   []chan struct{} // of exchanges that have got something
	batch   uint64          // of those in woken; guarded by mu
	reads   int             // since the first of them was put there

	ready   chan struct{} // closed when the server's SETTINGS are here
	over    chan struct{} // closed at the end
	broke   atomic.Bool   // what is here is not to be read any more
	reading limit         // of the server's SETTINGS, or a header block
	writing limit         // of one piece
	parting limit         // of what is still to be read, where nothing can be written
	rests   atomic.Int64  // since which tick nothing has come, or awake
	heard   atomic.Int64  // the tick of the last frame

	mu      sync.Mutex
	settled bool
	calls   map[uint32]*Call // which are sent, and not over
	open    int              // exchanges that have begun, and are not done
	most    int              // so many the server takes at a time
	next    uint32           // stream
	carried bool             // an answer has come over it
	away    bool             // no exchange may begin any more
	closing bool             // it ends when all has been said
	stop    error            // why the reading goroutine is to end
	again   bool             // or that it is to read once more
	err     error            // the end: nothing is read or written any more
	deaf    error            // nothing can be written any more
	out     []byte
	spare   []byte
	handed  int64 // bytes that were given to be written before those in out
	control int   // bytes of out that answer the server's control frames
	busy    bool  // somebody writes
	quiet   chan struct{}
	window  int64
	initial int64 // of new streams
	list    int64 // of a request's head, as the server limits it
	queue   []*Call
	full    []*Call
	lowered bool
	room    int // bytes of bodies that the server may still send
	credit  int // frames that ask for nothing are paid from it
	dead    int // bytes of bodies that may still be on their way on streams that we have reset
	idleAt  int64
	wrote   int64 // the tick at which something was written last
	pinged  int64 // the tick of a PING that nothing has followed; 0: none
	mayPing int64 // before this tick there is no other one
}

const (
	clientWindow = 1 << 30 // of bodies on all streams of a connection: the windows of the streams are what bounds them
	mostStreams  = 250     // on one connection, whatever the server would take
	resetCredit  = 32      // for frames that are on their way on a stream that we reset
	mostCredit   = 4 * fullCredit
	mostDead     = mostStreams * bodyWindow
	lastStreamID = 1 << 30 // then it is time for another connection
	pingAfter    = 15      // seconds of silence while an answer is waited for
	pingWithin   = 10      // seconds
	pingAgain    = 310     // seconds: gRPC's servers take more than one in five minutes for an attack
	askPing      = "edge ask"
)

var (
	errSilent     = errors.New("h2: the server answers no PING")
	errGoAway     = errors.New("h2: the server has said GOAWAY")
	errLateHello  = fmt.Errorf("h2: the server has not sent its SETTINGS in time: %w", os.ErrDeadlineExceeded)
	errLateBlock  = fmt.Errorf("h2: a header block that does not come to its end in time: %w", os.ErrDeadlineExceeded)
	errIdle       = errors.New("h2: the connection is not used")
	errConnClosed = errors.New("h2: the connection was closed")
)

// NewClientConn makes a connection out of nc, over which nothing was sent yet; below is the socket that it goes over, or nc itself. Serve is to be
// called at once.
func NewClientConn(nc net.Conn, below *socket.Conn, l ClientLimits) *ClientConn {
	c := &ClientConn{
		nc: nc, below: below, limits: l, ready: make(chan struct{}), over: make(chan struct{}), calls: map[uint32]*Call{}, most: mostStreams, next: 1,
		quiet: make(chan struct{}, 1), window: firstWindow, initial: firstWindow, list: 1<<32 - 1, room: clientWindow, credit: fullCredit, batch: 1,
	}
	c.dec = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { c.block.field(f) })
	c.dec.SetMaxStringLength(maxAnswerHead + maxFrame)
	b := append(c.out, preface...)
	b = appendHead(b, 3*6, frameSettings, 0, 0)
	b = appendSetting(b, settingPush, 0)
	b = appendSetting(b, settingInitialWindow, bodyWindow)
	b = appendSetting(b, settingHeaderListSize, maxAnswerHead)
	c.out = appendWindow(b, 0, clientWindow-firstWindow)
	return c
}

// Ready is closed when the server's SETTINGS have come: it speaks HTTP/2, and Begin knows how many exchanges it takes.
func (c *ClientConn) Ready() <-chan struct{} { return c.ready }

// Over is closed when the connection has ended.
func (c *ClientConn) Over() <-chan struct{} { return c.over }

// Err is why it has ended; nil: it has not.
func (c *ClientConn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Most is how many exchanges the server takes at a time.
func (c *ClientConn) Most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most
}

// Begin gives an exchange, which Done ends; nil where there is no room for one, or no end to come.
func (c *ClientConn) Begin() *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away || c.open >= c.most || !c.settled {
		return nil
	}
	if c.open++; c.open == 1 {
		c.heard.Store(sweep.now())
		c.pinged = 0
	}
	return newCall(c)
}

// CloseIdle ends the connection if nobody uses it.
func (c *ClientConn) CloseIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == 0 {
		c.finish()
	}
}

// Close ends the connection, whatever it carries.
func (c *ClientConn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endBy(errConnClosed)
}

// Serve reads until the connection ends, and closes it.
func (c *ClientConn) Serve() {
	c.reading.set(c.limits.Response)
	c.mu.Lock()
	c.idleAt = sweep.now()
	sweep.add(c)
	c.flush()
	c.mu.Unlock()
	err := c.read()
	sweep.remove(c)
	c.fail(err)
	c.wakeWoken()
	c.in.release()
	if errors.Is(err, errIdle) {
		c.nc.Close()
	} else {
		c.below.Close() // TLS would wait to say goodbye
	}
	close(c.over)
}

// read reads frames until the end, and says why it is one.
func (c *ClientConn) read() error {
	var err error
	for {
		waited := c.below.Wait(func() bool {
			err = c.whileHere()
			return err != nil
		})
		if err == nil && (waited == nil || c.looksAgain()) {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return cmp.Or(c.stop, err, waited)
	}
}

// looksAgain says whether a wait was ended only to read once more.
func (c *ClientConn) looksAgain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.again || c.stop != nil {
		return false
	}
	c.again = false
	c.nc.SetReadDeadline(time.Time{})
	return true
}

// whileHere takes the frames that are here; none of its reads waits. An error is the end, also a good one.
func (c *ClientConn) whileHere() error {
	c.rests.Store(awake)
	for {
		n, err := c.nc.Read(c.in.room())
		if c.in.w += n; n > 0 {
			if err := c.take(); err != nil {
				return err
			}
			if c.broke.Load() { // a deadline alone is not heeded while there is something to read
				return errEnded
			}
			if c.reads++; c.reads >= mostReads {
				c.wakeWoken()
			}
		}
		switch {
		case err == socket.ErrDry:
			c.wakeWoken()
			if len(c.in.unread()) == 0 {
				c.in.release()
			}
			c.rests.Store(sweep.now())
			return nil
		case err != nil:
			return err
		}
	}
}

// wakes notes an exchange that has got something, to be woken when all that is here was taken. c.mu is held.
func (c *ClientConn) wakes(s *Call) {
	if s.batch != c.batch {
		s.batch = c.batch
		c.woken = append(c.woken, s.wake)
	}
}

// wakeWoken wakes them. One of them may be another exchange by now, or none: who is woken looks what there is.
func (c *ClientConn) wakeWoken() {
	if c.reads = 0; len(c.woken) == 0 {
		return
	}
	c.mu.Lock()
	c.batch++
	c.mu.Unlock()
	for _, wake := range c.woken {
		signal(wake)
	}
	c.woken = c.woken[:0]
}

// endBy has the reading goroutine end. c.mu is held.
func (c *ClientConn) endBy(why error) {
	if c.away = true; c.stop == nil && c.err == nil {
		c.stop = why
		c.broke.Store(true)
		c.nc.SetReadDeadline(past)
	}
}

// finish ends the connection without loss, nobody being at it. c.mu is held.
func (c *ClientConn) finish() {
	if c.away = true; c.closing || c.err != nil {
		return
	}
	c.closing = true
	if c.idleAt = sweep.now(); !c.dumb() {
		c.out = appendGoAway(c.out, 0, codeNone)
	}
	c.flushAside()
	c.endIfDone()
}

// endIfDone ends the connection when all has been said. c.mu is held.
func (c *ClientConn) endIfDone() {
	if c.closing && (len(c.out) == 0 || c.dumb()) && !c.busy {
		c.endBy(errIdle)
	}
}

// fail ends the connection: the server is told why, if it broke the rules, and whoever waits is woken.
func (c *ClientConn) fail(err error) {
	var ours *connError
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = true
	if errors.As(err, &ours) && c.deaf == nil {
		c.out = appendGoAway(c.out, 0, ours.code)
		c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		for c.flush(); c.busy; {
			c.mu.Unlock()
			<-c.quiet
			c.mu.Lock()
		}
	}
	c.nc.SetWriteDeadline(past)
	if err == io.ErrUnexpectedEOF { // TLS without its last word
		err = io.EOF
	}
	c.err = &EndedError{Err: err}
	for _, s := range c.calls {
		c.lose(s, c.err)
	}
	c.wakeAll()
}

// EndedError is the end of a connection. All exchanges that it was the end of get the same one.
type EndedError struct {
	Err  error
	told atomic.Bool
}

func (e *EndedError) Error() string {
	return "h2: the connection to the server has ended: " + e.Err.Error()
}
func (e *EndedError) Unwrap() error { return e.Err }

// First says, once, that nobody has asked before: for who counts ends.
func (e *EndedError) First() bool { return !e.told.Swap(true) }

// lose ends an exchange whose connection has ended. c.mu is held.
func (c *ClientConn) lose(s *Call, err error) {
	if s.at >= c.handed {
		err = &NotSentError{err}
	}
	c.forget(s)
	s.end(err)
}

// forget takes an exchange off the frames that come. c.mu is held.
func (c *ClientConn) forget(s *Call) {
	if c.calls[s.id] == s {
		delete(c.calls, s.id)
	}
}

// cut ends an exchange, for what its server does: the stream is reset. c.mu is held.
func (c *ClientConn) cut(s *Call, why code, err error) error {
	s.reset(why)
	s.end(err)
	c.flushAside()
	if c.credit -= 10; c.credit < 0 {
		return errCalm
	}
	return nil
}

// look ends what takes too long.
func (c *ClientConn) look(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing.over(now) {
		c.nc.SetWriteDeadline(past)
	}
	if c.err != nil {
		return
	}
	switch {
	case c.reading.over(now) && !c.settled:
		c.endBy(errLateHello)
	case c.parting.over(now):
		c.endBy(c.deaf)
	case c.reading.over(now):
		c.endBy(errLateBlock)
	}
	c.lookAtRest(now)
	c.lookAlive(now)
	c.credit = max(c.credit, min(c.credit+tickCredit, fullCredit))
	for _, s := range c.calls {
		s.look(now)
	}
	if c.open > 0 || now <= c.idleAt+1 {
		return
	}
	if now > c.idleAt+int64(c.limits.Idle/sweep.period) && c.settled {
		c.finish()
	}
	if len(c.out) == 0 && !c.busy {
		c.out, c.spare = nil, nil
	}
}

// lookAtRest asks, once in a rest, whether the server has said its end, which may have come together with its last bytes: nobody is told then.
// c.mu is held.
func (c *ClientConn) lookAtRest(now int64) {
	if since := c.rests.Load(); since == awake || now <= since || !c.rests.CompareAndSwap(since, awake) {
		return
	}
	c.below.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 {
			c.again = true
			c.nc.SetReadDeadline(past)
		}
	})
}

// lookAlive asks a server that says nothing while an answer is waited for whether it is there at all. c.mu is held.
func (c *ClientConn) lookAlive(now int64) {
	heard := c.heard.Load()
	switch {
	case c.pinged != 0 && heard >= c.pinged:
		c.pinged = 0
	case c.pinged != 0 && now > max(c.pinged, c.wrote)+pingWithin: // it stands behind all that is written
		c.endBy(errSilent)
	case c.pinged == 0 && c.open > 0 && now > heard+pingAfter && now >= c.mayPing && c.settled:
		c.pinged, c.mayPing = now, now+pingAgain
		c.out = append(appendHead(c.out, 8, framePing, 0, 0), askPing...)
		c.flushAside()
	}
}
