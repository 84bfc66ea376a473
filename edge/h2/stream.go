package h2

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"edge/edge/record"
	"edge/edge/wire"
)

const proto = "HTTP/2.0"

var (
	schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")

	errAnswered = errors.New("h2: the request was answered before its body was read")
)

// stream is a request and the answer to it.
type stream struct {
	c    *Conn
	id   uint32
	lent lent
	cost int // request's
	x    wire.Exchange
	rec  record.Record
	no   *refusal // the request is answered with this; nil: by the handler

	body   body
	answer answer
	gone   watch

	// Guarded by the connection's mu.
	users     int   // who may still look at it; at 0 another request gets it
	window    int64 // of the client
	closed    bool  // the client has said all
	sent      bool  // we have
	ended     error // neither will
	lost      error // the client has left it
	late      bool  // the client takes nothing
	cancelled bool  // by whom a proxy has asked
	priority
	awake    bool          // it is among the connection's awake
	queued   bool          // it stands in the connection's queue, or waits for room
	begun    int           // bytes of the body that have been put in line, as far as they count for nothing but who goes first
	wake     chan struct{} // gets something when more may be sent; nil: nobody has waited yet, as for most answers nobody does
	complete bool          // both sides have said all
	worker   *worker       // serves it
	sending  limit
}

var streams = sync.Pool{New: func() any { return new(stream) }}

func newStream(c *Conn, id uint32) *stream {
	s := streams.Get().(*stream)
	s.c, s.id, s.users = c, id, 1
	return s
}

// take makes the stream's request of a header block, or says what is wrong with that.
func (s *stream) take(r *request, ends bool) *refusal {
	no := r.into(&s.x, ends)
	s.cost, s.body.expects = r.cost(), r.expects
	s.lent, r.lent = r.lent, s.lent
	return no
}

// free lets the stream go. c.mu is held.
func (s *stream) free() {
	if s.users--; s.users > 0 {
		return
	}
	drain(s.wake)
	drain(s.body.wake)
	kept, wake, bodyWake, held, head := s.lent, s.wake, s.body.wake, s.body.held, s.answer.head
	*s = stream{} // where it lies: what stands in a literal would be put together elsewhere, and copied
	s.lent, s.wake, s.body.wake = kept, wake, bodyWake
	if cap(head) <= maxFrame {
		s.answer.head = head[:0]
	}
	if cap(held) <= maxFrame {
		s.body.held = held[:0]
	}
	streams.Put(s)
}

// waker is c, made if there is none: who waits makes it before anybody could have word for him.
func waker(c *chan struct{}) chan struct{} {
	if *c == nil {
		*c = make(chan struct{}, 1)
	}
	return *c
}

func drain(c chan struct{}) {
	if c == nil {
		return
	}
	select {
	case <-c:
	default:
	}
}

// serve lets the handler answer.
func (s *stream) serve() {
	defer s.done()
	defer s.survive()
	s.fillIn()
	if s.no != nil {
		s.c.tellRefused(s.no, s.x.Method)
		wire.Reply(&s.x, s.no.status, "text/plain; charset=utf-8", http.StatusText(s.no.status)+": "+s.no.why+"\n")
		return
	}
	s.c.o.Handler.Serve(&s.x)
}

// fillIn makes the Exchange whole.
func (s *stream) fillIn() {
	x, info := &s.x, s.c.o.Info
	s.answer.s = s
	r := &s.rec
	r.Start, r.Listener, r.Client, r.Proto = time.Now(), info.Listener, info.Remote, proto
	r.Method, r.Host, r.Path, r.Query = x.Method, x.Host, x.Path, x.RawQuery
	x.Scheme = schemeHTTP
	if info.TLS != nil {
		x.Scheme, r.TLS = schemeHTTPS, info.TLS.Version
	}
	x.Major, x.Minor, x.Conn, x.Record, x.Body, x.Responder = 2, 0, info, r, &s.body, &s.answer
}

// survive ends the stream of a handler that panics, and that one only.
func (s *stream) survive() {
	e := recover()
	if e == nil {
		return
	}
	s.x.Responder = &s.answer // whatever lay above it
	if e == http.ErrAbortHandler {
		s.answer.Abort(http.ErrAbortHandler)
		return
	}
	s.rec.Err = fmt.Errorf("panic: %v", e)
	slog.Error("panic", "listener", s.c.o.Info.Listener, "value", e, "stack", string(debug.Stack()))
}

// done ends the stream when its handler has returned. What is not complete is reset, so that it does not look whole; a body that nobody wants
// any more is too, without blame (RFC 9113 section 8.1).
func (s *stream) done() {
	a, c, w := &s.answer, s.c, s.worker
	s.gone.end()
	switch {
	case a.tunnel != nil:
		a.tunnel.Close()
	case !a.headed && !a.aborted.Load() && s.no == nil:
		wire.ReplyText(&s.x, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
	}
	putSmall(a.held)
	a.held = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] == s {
		why := codeNone
		if !s.sent {
			why = codeInternal
			if s.late || s.cancelled || a.tunnel != nil {
				why = codeCancel
			}
		}
		if !s.closed {
			c.remember(s.id)
		}
		if !s.sent || !s.closed {
			c.out = appendReset(c.out, s.id, why)
			c.flush()
		}
		if c.streams[s.id] == s { // flush lets go of the lock
			c.forget(s)
		}
	}
	if s.sent && s.closed {
		c.credit = min(c.credit+4, fullCredit)
	}
	c.leave(s)
	c.park(w)
}

// end makes everybody who waits for the stream fail. c.mu is held.
func (s *stream) end(err error) {
	if s.ended == nil {
		s.ended = err
	}
	s.body.finish(err)
	s.wakeUp()
}

// look ends what takes too long. c.mu is held.
func (s *stream) look(now int64) {
	c := s.c
	if s.body.reading.over(now) {
		s.body.finish(os.ErrDeadlineExceeded)
	}
	if s.sending.over(now) && (!s.queued || c.moved.over(now)) { // who waits for a turn does so as long as others have theirs
		s.late = true
		s.wakeUp()
	}
}

// body is a request's body, as it comes. What is not the reader's alone is guarded by the connection's mu.
type body struct {
	s        *stream
	held     []byte // held[r:] came and was not read
	r        int
	came     int64
	read     int64
	length   int64 // as the head says, or Unknown
	tunnels  bool
	room     int // what the client may still send
	taken    int // what was used of it, and the client was not told
	err      error
	expects  bool          // 100 Continue is to be sent before the first read
	wake     chan struct{} // gets something when there is news; nil: nobody has waited yet
	reading  limit
	until    time.Time // a tunnel's deadline
	trailers wire.Fields
}

// begin is before the handler. c.mu is held.
func (b *body) begin(s *stream, ends bool) {
	b.s, b.room, b.length, b.tunnels = s, bodyWindow, s.x.Length, s.x.Upgrade != nil
	if b.tunnels || s.no != nil { // who is refused was not read to the end: nobody knows
		b.length = wire.Unknown
	}
	if ends {
		b.err = io.EOF
	}
}

// take takes what has come. c.mu is held.
func (b *body) take(p []byte) {
	if b.r > 0 && (b.r == len(b.held) || len(b.held)+len(p) > cap(b.held)) {
		b.held, b.r = b.held[:copy(b.held, b.held[b.r:])], 0
	}
	b.held = append(b.held, p...)
	b.came += int64(len(p))
	signal(b.wake)
}

// finish ends the body: for good by io.EOF, else what was not read is lost. c.mu is held.
func (b *body) finish(err error) {
	if b.err == nil {
		b.err = err
		signal(b.wake)
	}
}

// Read gives the next bytes.
func (b *body) Read(p []byte) (int, error) {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if n := copy(p, b.held[b.r:]); n > 0 && (b.err == nil || b.err == io.EOF) {
			b.r += n
			b.read += int64(n)
			if b.r == len(b.held) && cap(b.held) > 4*maxFrame { // a body that once waited keeps no room for it
				b.held, b.r = nil, 0
			}
			b.s.rec.BytesIn = b.read
			c.usedOf(b.s, n)
			return n, nil
		}
		switch {
		case b.err != nil:
			return 0, b.err
		case len(p) == 0:
			return 0, nil
		case !b.until.IsZero() && !time.Now().Before(b.until):
			return 0, os.ErrDeadlineExceeded
		}
		b.wait()
	}
}

// wait waits for more. c.mu is held, but not while it waits.
func (b *body) wait() {
	c, wake := b.s.c, waker(&b.wake)
	if b.expects {
		b.expects = false
		b.s.answer.continues()
	}
	if b.s.answer.tunnel == nil {
		b.reading.set(c.o.Info.Body)
	}
	c.mu.Unlock()
	<-wake
	c.mu.Lock()
	b.reading.clear()
}

// stop ends a Read that waits, and all later ones.
func (b *body) stop() {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b.finish(errAnswered)
}

// Buffered gives the whole body, if all of it is here.
func (b *body) Buffered() ([]byte, bool) {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.err != io.EOF || b.read > 0 || len(b.trailers) > 0 {
		return nil, false
	}
	b.s.rec.BytesIn = int64(len(b.held))
	return b.held, true
}

// Trailers are the trailer fields, once Read has said io.EOF.
func (b *body) Trailers() wire.Fields { return b.trailers }
