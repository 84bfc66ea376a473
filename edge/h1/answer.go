package h1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"edge/edge/record"
	"edge/edge/wire"
)

var (
	errHeadSent  = errors.New("h1: the head of the answer was sent already")
	errNoHead    = errors.New("h1: a body before its head")
	errAborted   = errors.New("h1: the answer was aborted")
	errLong      = errors.New("h1: the answer is longer than it was said to be")
	errShort     = errors.New("h1: the answer is shorter than it was said to be")
	errNoUpgrade = errors.New("h1: the client asked for no upgrade")
	errInform    = errors.New("h1: no interim status")
)

// exchange is a request and the answer to it; a connection has one, and uses it again.
type exchange struct {
	wire.Exchange
	rec    record.Record
	body   body
	answer answer
}

// run lets the handler answer, and says whether another request may follow.
func (x *exchange) run(c *conn) bool {
	x.body.begin(c)
	x.answer.begin(c, x)
	c.fillIn(x)
	c.o.Handler.Serve(&x.Exchange)
	return x.answer.end()
}

// answer is the Responder.
type answer struct {
	c *conn
	x *exchange

	mu       sync.Mutex // out, and what was written; 100 Continue comes from the body's reader
	out      []byte     // what waits to be written
	headSent bool
	status   int
	length   int64 // as was said; wire.Unknown
	written  int64
	chunked  bool
	noBody   bool // HEAD, 204, 304: what is written is counted and dropped
	close    bool // the connection ends with this answer
	finished bool
	err      error // of a write: nothing works any more
	tunnel   *tunnel

	aborted atomic.Bool
	gone    watch
}

func (a *answer) begin(c *conn, x *exchange) {
	a.c, a.x, a.out = c, x, a.out[:0]
	a.headSent, a.status, a.length, a.written, a.chunked, a.noBody, a.finished, a.err, a.tunnel = false, 0, 0, 0, false, false, false, nil, nil
	a.close = !c.req.keeps()
	a.aborted.Store(false)
}

// end ends the exchange when its handler has returned.
func (a *answer) end() bool {
	a.gone.end()
	if a.tunnel != nil {
		a.tunnel.Close()
		return false
	}
	if !a.headSent && !a.aborted.Load() {
		wire.ReplyText(&a.x.Exchange, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
	}
	if !a.finished || a.err != nil {
		a.x.body.stop()
		a.cut()
		return false
	}
	return a.x.body.end() && !a.close
}

// cut ends the connection so that the answer does not look whole: where only its end would end it, by a reset.
func (a *answer) cut() {
	if a.headSent && !a.chunked && a.length == wire.Unknown {
		if t, ok := a.c.nc.(interface{ Reset() }); ok {
			t.Reset()
		}
	}
}

// continues sends 100 Continue, unless the answer has begun.
func (a *answer) continues() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.headSent {
		return nil
	}
	a.out = append(a.out, "HTTP/1.1 100 Continue\r\n\r\n"...)
	return a.flush()
}

// Inform sends an interim answer.
func (a *answer) Inform(status int, f wire.Fields) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case status <= 101 || status > 199:
		return errInform
	case a.headSent:
		return errHeadSent
	case a.c.req.minor == 0:
		return nil
	}
	a.out = appendFields(appendStatus(a.out, status), f)
	a.out = append(a.out, "\r\n"...)
	return a.flush()
}

// Head begins the answer.
func (a *answer) Head(status int, f wire.Fields, length int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.headSent {
		return errHeadSent
	}
	if a.aborted.Load() {
		return errAborted
	}
	a.headSent, a.status, a.length = true, status, length
	a.x.rec.Status = status
	a.noBody = string(a.c.req.method) == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	a.out = appendFields(appendStatus(a.out, status), f)
	a.frame()
	a.out = append(appendDate(a.out), "\r\n"...)
	return nil
}

// frame writes the fields of framing, RFC 9112 section 6.
func (a *answer) frame() {
	switch {
	case a.status == http.StatusNoContent:
	case a.length >= 0:
		a.out = append(a.out, "Content-Length: "...)
		a.out = append(strconv.AppendInt(a.out, a.length, 10), "\r\n"...)
	case a.noBody:
	case a.c.req.minor == 0:
		a.close = true
	default:
		a.chunked = true
		a.out = append(a.out, "Transfer-Encoding: chunked\r\n"...)
	}
	if a.c.o.Last() || !a.x.body.whole() { // what of the request has not come would be taken for the next one
		a.close = true
	}
	switch {
	case a.close:
		a.out = append(a.out, "Connection: close\r\n"...)
	case a.c.req.minor == 0:
		a.out = append(a.out, "Connection: keep-alive\r\n"...)
	}
}

// joined is how much is collected before it is written: a head and a small body leave in one write, and so in one TLS record.
const joined = 16 << 10

// Write sends of the body.
func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.aborted.Load():
		return 0, errAborted
	case a.err != nil:
		return 0, a.err
	case !a.headSent:
		return 0, errNoHead
	case a.length >= 0 && a.written+int64(len(p)) > a.length:
		return 0, errLong
	case len(p) == 0:
		return 0, nil
	}
	a.written += int64(len(p))
	if a.noBody {
		return len(p), nil
	}
	a.x.rec.BytesOut += int64(len(p))
	if a.chunked {
		a.out = append(strconv.AppendInt(a.out, int64(len(p)), 16), "\r\n"...)
	}
	if err := a.put(p); err != nil {
		return 0, err
	}
	if a.chunked {
		a.out = append(a.out, "\r\n"...)
	}
	return len(p), nil
}

// put sends p behind what waits: collected if both are small, else at once.
func (a *answer) put(p []byte) error {
	if len(a.out)+len(p) <= joined {
		a.out = append(a.out, p...)
		return nil
	}
	if free := joined - len(a.out); free > 0 && len(a.out) > 0 {
		a.out, p = append(a.out, p[:free]...), p[free:]
	}
	if err := a.flush(); err != nil {
		return err
	}
	return a.write(p)
}

// flush writes what waits. a.mu is held.
func (a *answer) flush() error {
	if len(a.out) == 0 {
		return a.err
	}
	err := a.write(a.out)
	a.out = a.out[:0]
	return err
}

func (a *answer) write(p []byte) error {
	if a.err != nil || len(p) == 0 {
		return a.err
	}
	for len(p) > 0 && a.err == nil { // in pieces, so that each has its time
		n := min(len(p), 1<<20)
		if !a.aborted.Load() {
			a.c.nc.SetWriteDeadline(time.Now().Add(a.c.o.Info.Write))
		}
		_, a.err = a.c.nc.Write(p[:n])
		p = p[n:]
	}
	return a.err
}

// ReadFrom sends r to its end.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	buf := large.Get().(*[]byte)
	defer large.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{a}, struct{ io.Reader }{r}, *buf)
}

// Flush sends what waits.
func (a *answer) Flush() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.aborted.Load() {
		return errAborted
	}
	return a.flush()
}

// Finish ends the answer well.
func (a *answer) Finish(trailers wire.Fields) error {
	err := a.finish(trailers)
	if err == nil {
		a.x.body.stop()
	}
	return err
}

func (a *answer) finish(trailers wire.Fields) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.aborted.Load():
		return errAborted
	case !a.headSent:
		return errNoHead
	case a.length >= 0 && !a.noBody && a.written != a.length:
		return errShort
	case a.chunked:
		a.out = append(a.out, "0\r\n"...)
		a.out = append(appendFields(a.out, trailers), "\r\n"...)
	}
	if err := a.flush(); err != nil {
		return err
	}
	a.finished = true
	return nil
}

// Abort makes the answer a failure that the client sees.
func (a *answer) Abort(error) {
	if !a.aborted.Swap(true) {
		a.c.nc.SetWriteDeadline(past) // whoever writes now stops
		a.x.body.stop()
	}
}

// Tunnel accepts the upgrade.
func (a *answer) Tunnel(f wire.Fields) (wire.Stream, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.headSent:
		return nil, errHeadSent
	case a.c.req.upgrade == nil || !a.x.body.whole():
		return nil, errNoUpgrade
	}
	a.headSent, a.status = true, http.StatusSwitchingProtocols
	a.x.rec.Status, a.x.rec.Tunnel = a.status, true
	a.out = append(appendStatus(a.out, a.status), "Connection: Upgrade\r\nUpgrade: "...)
	a.out = append(append(a.out, a.c.req.upgrade...), "\r\n"...)
	a.out = append(appendFields(a.out, f), "\r\n"...)
	a.tunnel = &tunnel{Stream: a.c.nc, in: bytes.Clone(a.c.buf[a.c.r:a.c.w])}
	a.c.r = a.c.w
	if err := a.flush(); err != nil {
		return nil, err
	}
	return a.tunnel, a.c.nc.SetDeadline(time.Time{})
}

// tunnel is the connection after an upgrade: what was read of it too far comes first.
type tunnel struct {
	wire.Stream
	in []byte
}

func (t *tunnel) Read(p []byte) (int, error) {
	if len(t.in) > 0 {
		n := copy(p, t.in)
		t.in = t.in[n:]
		return n, nil
	}
	return t.Stream.Read(p)
}

func (t *tunnel) TCP() *net.TCPConn {
	if len(t.in) > 0 {
		return nil
	}
	return t.Stream.TCP()
}

// OnGone runs f when the client has left.
func (a *answer) OnGone(f func(error)) { a.gone.onGone(a, f) }

// Context ends when the client has left, or with the exchange.
func (a *answer) Context() context.Context { return a.gone.context(a) }

// appendStatus appends a status line. The reason is a courtesy to people who look at it.
func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}

// appendFields appends field lines, but none of framing.
func appendFields(b []byte, f wire.Fields) []byte {
	for _, x := range f {
		if wire.Framing(x.Name) || !sendable(x) {
			continue
		}
		b = append(append(b, x.Name...), ": "...)
		b = append(append(b, x.Value...), "\r\n"...)
	}
	return b
}

// sendable keeps a handler's mistake from becoming a second response.
func sendable(x wire.Field) bool {
	return isToken(x.Name) && bytes.IndexAny(x.Value, "\r\n\x00") < 0
}

// date is the Date line of this second.
var date atomic.Pointer[dateLine]

type dateLine struct {
	second int64
	line   []byte
}

func appendDate(b []byte) []byte {
	now := time.Now()
	d := date.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateLine{now.Unix(), now.UTC().AppendFormat(nil, "Date: "+http.TimeFormat+"\r\n")}
		date.Store(d)
	}
	return append(b, d.line...)
}
