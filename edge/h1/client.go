package h1

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"edge/edge/socket"
	"edge/edge/wire"
)

// ClientLimits bound what a server may take. None is zero.
type ClientLimits struct {
	Response time.Duration // neither taking of the request, nor beginning to answer it
	Body     time.Duration // between two pieces of an answer's body
}

// Request is a request as it is sent. All of it is the caller's, and is not used any more when Send returns.
type Request struct {
	Method, Path, Query, Host []byte
	HasQuery                  bool
	Fields                    wire.Fields   // those of framing are left out
	Length                    int64         // of the body: 0 none, wire.Unknown: it is sent in chunks
	Body                      []byte        // all of it, if Length > 0 and it is here; else SendBody sends it
	Upgrade                   []byte        // nil none
	Within                    time.Duration // in place of the limit Response; 0: that one
}

// ClientConn is a connection to a server, for one exchange after the other: Send, then ReadHead, then Next up to its io.EOF. One goroutine
// does these; another one may be in SendBody meanwhile. Abort is for any goroutine. No goroutine belongs to the connection.
//
// After an error the connection is of no more use but to be closed. Durations are counted by the sweeper.
type ClientConn struct {
	nc     net.Conn
	below  *socket.Conn
	limits ClientLimits

	used bool // an exchange was completed: nothing may come before the next one
	big  bool // its answer was larger than a small buffer: so may the next one be
	in   input
	head head
	up   []byte // what the request asked for, of Upgrade
	got  bool   // a byte of the answer

	response         time.Duration // of this exchange
	reading, writing limit
	mu               sync.Mutex // the limits' change of hands between the two goroutines
	headDone, sent   bool       // the answer's head has come; all of the request is on its way
	bodyErr          error      // what reading the request's body failed with
	late             bool       // the server took none of the body in time
	aborted          atomic.Bool

	answerBody
	onGone func(error)
	quiet  quiet
	ask    ask
}

// NewClientConn makes a connection out of nc, over which nothing was sent yet; below is the socket that it goes over, or nc itself.
func NewClientConn(nc net.Conn, below *socket.Conn, l ClientLimits) *ClientConn {
	c := &ClientConn{nc: nc, below: below, limits: l}
	c.onGone = func(error) { c.Abort() }
	c.quiet.step, c.ask.step = c.listen, c.exchange
	sweep.addClient(c)
	return c
}

// Close closes the connection, at once and without a word if it was not left at rest.
func (c *ClientConn) Close() {
	sweep.removeClient(c)
	c.in.release()
	if !c.Reusable() {
		c.below.Close() // TLS would wait to say goodbye
		return
	}
	c.nc.Close()
}

// Abort ends whatever waits for the connection, now and later.
func (c *ClientConn) Abort() {
	if !c.aborted.Swap(true) {
		c.nc.SetDeadline(past)
	}
}

// OnGone is Abort, in a form that costs nothing to pass on.
func (c *ClientConn) OnGone() func(error) { return c.onGone }

// quiet is what Quiet has need of.
type quiet struct {
	step func() bool
	one  [1]byte
	is   bool
}

// Quiet says whether nothing has come over an idle connection, not even its end, nor is held by what lies above the socket. What comes there
// would be taken for an answer.
func (c *ClientConn) Quiet() bool {
	c.quiet.is = false
	return c.below.Wait(c.quiet.step) == nil && c.quiet.is
}

func (c *ClientConn) listen() bool {
	c.quiet.is = c.silent()
	return true
}

// silent is Quiet, within a Wait. Where there is no kernel to ask, nothing has come.
func (c *ClientConn) silent() bool {
	if !c.below.Polled() {
		return true
	}
	n, err := c.nc.Read(c.quiet.one[:])
	return n == 0 && err == socket.ErrDry
}

// ErrStale is a connection that was used before, and over which something has come since, be it the end.
var ErrStale = errors.New("h1: the server has closed the connection, or sent what nobody asked for")

// errClientAborted is an exchange that Abort ended.
var errClientAborted = errors.New("h1: the exchange was aborted")

// NotSentError is a request of which the server has not got a byte.
type NotSentError struct{ Err error }

func (e *NotSentError) Error() string { return "h1: nothing was sent: " + e.Err.Error() }
func (e *NotSentError) Unwrap() error { return e.Err }

// Send begins an exchange: it sends the request's head, and the body if that is here; then it waits for the answer's first bytes too, unless
// the request is a large one. If it fails, there may be an answer all the same.
func (c *ClientConn) Send(r *Request) error {
	c.up, c.got, c.headDone, c.bodyErr, c.late, c.ask.err = r.Upgrade, false, false, nil, false, nil
	c.response = cmp.Or(r.Within, c.limits.Response)
	c.answerBody = answerBody{toHEAD: string(r.Method) == http.MethodHead}
	streams := r.Length != 0 && r.Body == nil
	c.sent = !streams
	if !r.sendable() {
		return &NotSentError{errUnsendable}
	}
	buf := getSmall()
	defer putBack(buf)
	out := appendRequest((*buf)[:0], r)
	rest := r.Body
	if len(out)+len(rest) <= smallSize {
		out, rest = append(out, rest...), nil
	}
	n, err := c.begin(out, c.sent && rest == nil)
	if err != nil && n == 0 {
		return &NotSentError{err}
	}
	if err == nil && len(rest) > 0 {
		_, err = c.write(rest)
	}
	if err != nil {
		c.bodyOver(err)
	}
	return err
}

// ask is a request that is sent as a whole, so that the same goroutine can wait for its answer.
type ask struct {
	step    func() bool
	request []byte // nil: it was sent
	n       int    // of it
	sendErr error
	err     error // of the first read
}

// begin sends the beginning of a request; if that is all of it, it waits for the first of the answer: for ReadHead, as its error is.
func (c *ClientConn) begin(request []byte, all bool) (n int, err error) {
	if !all {
		if c.used && !c.Quiet() {
			return 0, ErrStale
		}
		return c.write(request)
	}
	c.ask.request, c.ask.n, c.ask.sendErr = request, 0, nil
	err = c.below.Wait(c.ask.step)
	if c.ask.request != nil { // not even the first step was taken
		c.ask.request = nil
		return 0, err
	}
	if err != nil {
		c.ask.err = err
	}
	return c.ask.n, c.ask.sendErr
}

// exchange is what begin does step by step. What comes after the look at what has come already wakes the next step.
func (c *ClientConn) exchange() bool {
	if c.ask.request != nil {
		if c.ask.sendErr = c.sendAll(); c.ask.sendErr != nil {
			return true
		}
		if c.used {
			return false
		}
	}
	err := c.fill()
	if err == socket.ErrDry {
		return false
	}
	c.got, c.ask.err = err == nil, err
	return true
}

func (c *ClientConn) sendAll() (err error) {
	if c.used && !c.silent() {
		err = ErrStale
	} else {
		c.ask.n, err = c.write(c.ask.request)
	}
	c.ask.request = nil
	c.reading.set(c.response)
	return err
}

// errUnsendable is a request that would be another one on the wire. Those who make Exchanges let none through; this is the last door.
var errUnsendable = errors.New("h1: a byte in the request's head that must not stand there")

// sendable says whether the request line and the host are read as they are meant.
func (r *Request) sendable() bool {
	return isToken(r.Method) && plainBytes(r.Path) && plainBytes(r.Query) && plainBytes(r.Host) && plainBytes(r.Upgrade)
}

func plainBytes(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// appendRequest appends a request's head.
func appendRequest(b []byte, r *Request) []byte {
	b = append(append(b, r.Method...), ' ')
	b = append(b, r.Path...)
	if r.HasQuery {
		b = append(append(b, '?'), r.Query...)
	}
	b = append(append(b, " HTTP/1.1\r\nHost: "...), r.Host...)
	b = appendFields(append(b, "\r\n"...), r.Fields)
	switch {
	case r.Length == wire.Unknown:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case r.Length > 0 || hasContent(r.Method): // RFC 9110 section 8.6
		b = append(strconv.AppendInt(append(b, "Content-Length: "...), r.Length, 10), "\r\n"...)
	}
	if r.Upgrade != nil {
		b = append(append(append(b, "Connection: Upgrade\r\nUpgrade: "...), r.Upgrade...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// hasContent says of a method that a request without a body has to say so.
func hasContent(method []byte) bool {
	switch string(method) {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return false
}

// write sends p, in pieces that each have their time.
func (c *ClientConn) write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var m int
		c.startWriting()
		m, err = c.nc.Write(p[:min(len(p), hugeSize)])
		if !c.writing.clear() && err == nil {
			err = os.ErrDeadlineExceeded
		}
		n, p = n+m, p[m:]
	}
	if err != nil && c.aborted.Load() {
		err = errClientAborted
	}
	return n, err
}

// startWriting limits a write. A server that has begun to answer may take its time for the rest of the request.
func (c *ClientConn) startWriting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.headDone {
		c.writing.set(c.limits.Body)
	} else {
		c.writing.set(c.response)
	}
}

// Room for what the chunked coding puts around a piece of the body.
const (
	beforeChunk = 10
	afterChunk  = 2
)

// SendBody sends a request's body, which has the length that Send was told, or is sent in chunks, with the trailers behind it. Where reading
// the body fails, or the server takes none of it in time, the exchange is aborted: what is cut short never looks whole. If writing fails for
// another reason, there may be an answer that explains it.
func (c *ClientConn) SendBody(b io.Reader, length int64, trailers func() wire.Fields) {
	var readErr, err error
	if length == wire.Unknown {
		readErr, err = c.sendChunks(b, trailers)
	} else {
		readErr, err = c.sendLength(b, length)
	}
	if readErr != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.bodyFailed(readErr)
	} else {
		c.bodyOver(err)
	}
}

// bodyFailed ends the exchange, having said why.
func (c *ClientConn) bodyFailed(readErr error) {
	c.mu.Lock()
	c.bodyErr, c.late = readErr, readErr == nil
	c.mu.Unlock()
	c.Abort()
}

// BodyFailure says why SendBody aborted the exchange, if it did: what reading the body failed with, or that the server took none of it in time.
func (c *ClientConn) BodyFailure() (read error, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bodyErr, c.late
}

// answerGrace is how long a failed write waits for the answer that explains it.
const answerGrace = time.Second

// bodyOver gives the answer its time from here on.
func (c *ClientConn) bodyOver(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = err == nil
	switch {
	case c.headDone:
	case err != nil:
		c.reading.set(answerGrace)
	default:
		c.reading.set(c.response)
	}
}

func (c *ClientConn) sendLength(b io.Reader, length int64) (readErr, err error) {
	buf := getFor(length)
	defer putBack(buf)
	for ended := false; ; {
		n, err := b.Read(*buf)
		if length -= int64(n); err == nil && length == 0 && n > 0 {
			_, err = b.Read((*buf)[n:]) // its end, so that its reader knows
		}
		switch ended = err == io.EOF; {
		case err != nil && !ended:
			return err, nil
		case ended && length != 0, length < 0:
			return io.ErrUnexpectedEOF, nil
		}
		if _, err := c.write((*buf)[:n]); err != nil || ended {
			return nil, err
		}
	}
}

func (c *ClientConn) sendChunks(b io.Reader, trailers func() wire.Fields) (readErr, err error) {
	buf := getLarge()
	defer putBack(buf)
	data := (*buf)[beforeChunk : largeSize-afterChunk]
	for {
		n, err := b.Read(data)
		if n > 0 {
			if _, err := c.write(chunk(*buf, n)); err != nil {
				return nil, err
			}
		}
		if err == io.EOF {
			last := append(appendFields(append((*buf)[:0], "0\r\n"...), trailers()), "\r\n"...)
			_, err := c.write(last)
			return nil, err
		}
		if err != nil {
			return err, nil
		}
	}
}

// chunk makes a chunk of the n bytes that stand in buf behind the room for its size.
func chunk(buf []byte, n int) []byte {
	var line [beforeChunk]byte
	size := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
	start := beforeChunk - len(size)
	copy(buf[start:], size)
	return append(buf[start:beforeChunk+n], "\r\n"...)
}

// Stream gives the connection after an answer of 101, to whom asked for it. The caller closes it, in place of the ClientConn.
func (c *ClientConn) Stream() wire.Stream {
	sweep.removeClient(c)
	var ahead []byte
	if c.in.buf != nil {
		ahead = bytes.Clone(c.in.unread())
	}
	c.in.release()
	return newTunnel(clientStream{c.nc, c.below}, ahead)
}

// clientStream is a connection as a tunnel needs it.
type clientStream struct {
	net.Conn
	below *socket.Conn
}

func (s clientStream) TCP() *net.TCPConn {
	if s.Conn == s.below {
		return s.below.TCP()
	}
	return nil
}

func (s clientStream) CloseWrite() error {
	if h, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// addClient has the sweeper look at c's limits.
func (s *sweeper) addClient(c *ClientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c] = struct{}{}
	s.run()
}

func (s *sweeper) removeClient(c *ClientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// enforceClients ends what is over its limit. s.mu is held.
func (s *sweeper) enforceClients(now int64) {
	for c := range s.clients {
		if c.reading.over(now) {
			c.nc.SetReadDeadline(past)
		}
		if c.writing.over(now) {
			c.nc.SetWriteDeadline(past)
		}
	}
}

// extend gives a write that waits more time.
func (l *limit) extend(d time.Duration) {
	if at := l.at.Load(); at > 0 {
		l.at.CompareAndSwap(at, sweep.after(d))
	}
}
