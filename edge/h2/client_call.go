package h2

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"edge/edge/wire"
)

// Call is one exchange over a ClientConn: Send, then ReadHead, then Next up to its io.EOF, then Done, whatever came of it. One goroutine does these;
// another one may be in SendBody meanwhile, and must have left it before Done. Abort is for any goroutine before Done.
type Call struct {
	c       *ClientConn
	wake    chan struct{} // gets something when there is something of the answer
	room    chan struct{} // and when more may be sent
	onGone  func(error)
	reused  bool   // an answer has come over the connection before
	frames  []byte // the request's head
	toHEAD  bool
	taken   []byte        // what Next gave last
	within  time.Duration // in place of the limit Response
	reading limit
	sending limit

	// Guarded by the connection's mu.
	id       uint32
	at       int64 // where its head lies among all bytes of the connection
	err      error // the end, if it is not a good one
	over     bool  // the stream is reset: nothing is sent any more
	sent     bool  // all of the request is in line
	closed   bool  // all of the answer is here
	answered bool  // some of it
	headed   bool  // its head is
	ends     bool  // and nothing followed that
	bodiless bool
	late     bool // the server takes nothing of the body
	queued   bool
	bodyErr  error // what reading the request's body failed with
	interim  []interim
	head     reply
	tail     reply
	heads    int // bytes of heads
	length   int64
	came     int64
	held     []byte // what has come of the body
	window   int64
	left     int // what the server may still send
	used     int // what was used of it, and the server was not told
	lent     int // what Next gave, and may still be at use
	batch    uint64
}

// interim is an interim answer.
type interim struct {
	status int
	fields wire.Fields
}

var calls = sync.Pool{New: func() any {
	s := &Call{wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	s.onGone = func(error) { s.Abort() }
	return s
}}

// ErrListSize is a request whose head is larger than the server has said that it takes.
var ErrListSize = errListSize

var errClientAborted = errors.New("h2: the exchange was aborted")

// NotSentError is a request of which the server has not got a byte.
type NotSentError struct{ Err error }

func (e *NotSentError) Error() string { return "h2: nothing was sent: " + e.Err.Error() }
func (e *NotSentError) Unwrap() error { return e.Err }

// newCall gives an exchange. c.mu is held.
func newCall(c *ClientConn) *Call {
	s := calls.Get().(*Call)
	s.c, s.reused = c, c.carried
	return s
}

// Done ends the exchange: what is not complete is reset. It must not be used afterwards.
func (s *Call) Done() {
	c := s.c
	c.mu.Lock()
	s.reset(codeCancel)
	c.forget(s)
	if c.open--; c.open == 0 {
		if c.idleAt = sweep.now(); c.away {
			c.finish()
		}
	}
	c.flush()
	c.mu.Unlock()
	s.free()
}

// free lets the next exchange have what this one has used.
func (s *Call) free() {
	drain(s.wake)
	drain(s.room)
	s.head.reset()
	s.tail.reset()
	*s = Call{
		wake: s.wake, room: s.room, onGone: s.onGone, frames: s.frames[:0], taken: s.taken[:0], held: s.held[:0], head: s.head, tail: s.tail,
	}
	if cap(s.frames) > maxFrame {
		s.frames = nil
	}
	if cap(s.held) > 4*maxFrame || cap(s.taken) > 4*maxFrame {
		s.held, s.taken = nil, nil
	}
	calls.Put(s)
}

// Conn is the connection that carries the exchange.
func (s *Call) Conn() *ClientConn { return s.c }

// Reused says whether an answer had come over the connection before the exchange began.
func (s *Call) Reused() bool { return s.reused }

// OnGone is Abort, in a form that costs nothing to pass on.
func (s *Call) OnGone() func(error) { return s.onGone }

// Abort ends the exchange, and whatever waits for it. It does not wait.
func (s *Call) Abort() { s.fail(errClientAborted) }

func (s *Call) fail(err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.reset(codeCancel)
	s.end(err)
	c.flushAside()
}

// reset ends the stream, unless it has ended. c.mu is held.
func (s *Call) reset(why code) {
	c := s.c
	if s.id == 0 || s.over || s.sent && s.closed {
		return
	}
	s.over = true
	c.forget(s)
	if !c.dumb() {
		c.out = appendReset(c.out, s.id, why)
	}
	c.credit = min(c.credit+resetCredit, mostCredit) // else nobody but us would pay for what is on its way
	c.dead = min(c.dead+s.left, mostDead)
}

// end makes everybody who waits for the exchange fail. c.mu is held.
func (s *Call) end(err error) {
	if s.err == nil {
		s.err = err
	}
	signal(s.wake)
	signal(s.room)
}

// look ends what takes too long. c.mu is held.
func (s *Call) look(now int64) {
	sending := s.sending.over(now)
	if !sending && !s.reading.over(now) {
		return
	}
	s.late = s.late || sending
	s.reset(codeCancel)
	s.end(os.ErrDeadlineExceeded)
	s.c.flushAside()
}

// patience is how long the server may take none of the request. c.mu is held.
func (s *Call) patience() time.Duration {
	if s.headed {
		return s.c.limits.Body
	}
	return s.within
}

// Send sends the request's head, and of the body that is here as much as the server takes now; rest is what it does not, for SendBody. If it
// fails, the server may have got some of the request all the same, unless the error is a NotSentError.
func (s *Call) Send(r *Request) (rest []byte, err error) {
	c := s.c
	if !r.sendable() {
		return nil, &NotSentError{ErrUnsendable}
	}
	s.toHEAD = string(r.Method) == http.MethodHead
	s.within = cmp.Or(r.Within, c.limits.Response)
	s.frames = framed(appendRequest(append(s.frames[:0], make([]byte, headLen)...), r), 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.roomFor(); err != nil {
		return nil, &NotSentError{err}
	}
	switch {
	case c.away:
		return nil, &NotSentError{errGoAway}
	case int64(r.listSize()) > c.list:
		return nil, &NotSentError{errListSize}
	}
	s.open(r.Length == 0 && !hasContent(r.Method))
	if r.Length == 0 && !s.sent { // gRPC's server in Go waits for ever for the body of a request that ends with its HEADERS
		s.sendData(nil, true)
	}
	rest = r.Body
	if r.Length > 0 && len(rest) > 0 {
		rest = s.sendNow(rest)
	}
	if s.sending.clear(); s.sent {
		s.reading.set(s.within)
	}
	c.flush()
	return rest, nil
}

// open opens the stream. c.mu is held.
func (s *Call) open(ends bool) {
	c := s.c
	s.id, s.window, s.left, s.length, s.sent = c.next, c.initial, bodyWindow, wire.Unknown, ends
	if c.next += 2; c.next > lastStreamID {
		c.away = true
	}
	setStream(s.frames, s.id)
	if ends {
		s.frames[4] |= flagEndStream
	}
	c.calls[s.id] = s
	s.at = c.handed + int64(len(c.out))
	c.appendBlock(s.frames)
}

// sendNow puts in line what nothing holds back of a body, and gives the rest. What is short goes first. c.mu is held.
func (s *Call) sendNow(p []byte) []byte {
	for done := 0; len(p) > 0; {
		n := s.allowed(len(p))
		if n == 0 || len(s.c.queue) > 0 && done+n > maxFrame {
			break
		}
		s.sendData(p[:n], n == len(p))
		p, done = p[n:], done+n
	}
	return p
}

// setStream sets the stream of all frames of a header block.
func setStream(frames []byte, id uint32) {
	for len(frames) > 0 {
		h := parseHead(frames)
		appendHead(frames[:0], h.length, h.kind, h.flags, id)
		frames = frames[headLen+h.length:]
	}
}

// SendBody sends a request's body, which has the length that Send was told, or of the rest of it, and then the trailers; nil: there are none. Where
// reading the body fails, or the server takes none of it in time, the exchange is aborted: what is cut short never looks whole. If it ends for another reason, there
// may be an answer that explains it.
func (s *Call) SendBody(b io.Reader, length int64, trailers func() wire.Fields) {
	buf := larges.Get().(*[]byte)
	defer larges.Put(buf)
	for {
		n, err := b.Read(*buf)
		if length != wire.Unknown {
			if length -= int64(n); err == nil && length == 0 && n > 0 {
				_, err = b.Read((*buf)[n:]) // its end, so that its reader knows
			}
			if length < 0 || err == io.EOF && length != 0 {
				err = io.ErrUnexpectedEOF
			}
		}
		if err != nil && err != io.EOF {
			s.bodyFailed(err)
			return
		}
		var last []byte
		if err == io.EOF && trailers != nil {
			last = s.trailing(trailers())
		}
		if s.send((*buf)[:n], err == io.EOF, last) != nil || err == io.EOF {
			return
		}
	}
}

// trailing makes the frames of trailers; nil: there are none.
func (s *Call) trailing(f wire.Fields) []byte {
	if len(f) == 0 {
		return nil
	}
	b := framed(appendAsked(make([]byte, headLen, 256), f), s.id)
	b[4] |= flagEndStream
	return b
}

// send sends of the body, its end, or both.
func (s *Call) send(p []byte, ends bool, trailers []byte) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wakeNext()
	defer s.sending.clear()
	if err := s.sendBody(p, ends && len(trailers) == 0); err != nil {
		return err
	}
	if ends && !s.sent {
		if err := s.roomFor(); err != nil {
			return err
		}
		if len(trailers) > 0 {
			c.appendBlock(trailers)
			s.sent = true
		} else {
			s.sendData(nil, true)
		}
	}
	if s.sent && !s.headed {
		s.reading.set(s.within)
	}
	c.flush()
	return nil
}

// bodyFailed ends the exchange, having said why.
func (s *Call) bodyFailed(err error) {
	s.c.mu.Lock()
	s.bodyErr = err
	s.c.mu.Unlock()
	s.Abort()
}

// BodyFailure says why the sending of the body ended the exchange, if it did: what reading the body failed with, or that the server took none of
// it in time.
func (s *Call) BodyFailure() (read error, late bool) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.bodyErr, s.late
}

// Answered says whether something of the answer has come.
func (s *Call) Answered() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.answered
}

// ReadHead waits for the answer's head.
func (s *Call) ReadHead(in Informer) (Answer, error) {
	for {
		early, err := s.awaitHead()
		if err != nil {
			return Answer{}, err
		}
		if early == nil {
			return s.head.answer(s.ends, s.toHEAD), nil
		}
		for _, a := range early {
			if a.status == http.StatusContinue {
				continue
			}
			if err := in.Inform(a.status, a.fields); err != nil {
				return Answer{}, fmt.Errorf("informing the client: %w", err)
			}
		}
	}
}

// awaitHead waits for interim answers, or the head.
func (s *Call) awaitHead() (early []interim, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case len(s.interim) > 0:
			early, s.interim = s.interim, nil
			return early, nil
		case s.headed:
			return nil, nil
		case s.err != nil:
			return nil, s.err
		}
		s.hear()
	}
}

// hear waits for something to come. c.mu is held, but not while it waits.
func (s *Call) hear() {
	s.c.mu.Unlock()
	<-s.wake
	s.c.mu.Lock()
}

// Next gives the next bytes of the body, which stand until the next call; io.EOF at its true end.
func (s *Call) Next() ([]byte, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.used, s.lent = s.used+s.lent, 0
	if s.giveBack() {
		c.flush()
	}
	for {
		switch {
		case len(s.held) > 0:
			s.taken, s.held = s.held, s.taken[:0]
			s.lent = len(s.taken)
			return s.taken, nil
		case s.closed:
			return nil, io.EOF
		case s.err != nil:
			return nil, s.err
		}
		s.reading.set(c.limits.Body)
		s.hear()
		s.reading.clear()
	}
}

// giveBack tells the server that it may send more, when it is worth it. c.mu is held.
func (s *Call) giveBack() bool {
	if s.used < bodyWindow/2 || s.closed || s.over || s.c.dumb() {
		return false
	}
	s.c.out = appendWindow(s.c.out, s.id, s.used)
	s.left, s.used = s.left+s.used, 0
	return true
}

// Ready says whether Next has something to give without waiting for it. A failure is nothing: what came before it can be passed on first.
func (s *Call) Ready() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return len(s.held) > 0 || s.closed
}

// Trailers are the trailer fields, once Next has said io.EOF. They stand until Done.
func (s *Call) Trailers() wire.Fields { return s.tail.fields() }
