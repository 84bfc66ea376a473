package h1

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"edge/edge/wire"
)

var (
	errHeadSent  = errors.New("h1: the head of the answer was sent already")
	errNoHead    = errors.New("h1: a body before its head")
	errFinished  = errors.New("h1: the answer is finished")
	errAborted   = errors.New("h1: the answer was aborted")
	errLong      = errors.New("h1: the answer is longer than it was said to be")
	errShort     = errors.New("h1: the answer is shorter than it was said to be")
	errStatus    = errors.New("h1: no status that an answer can have")
	errInform    = errors.New("h1: no interim status")
	errNoUpgrade = errors.New("h1: the client asked for no upgrade")
)

// answer is the Responder.
type answer struct {
	c        *Conn
	mu       sync.Mutex // all that follows, and writing; taken before the body's. 100 Continue comes from the body's reader
	buf      *[]byte    // what out lies in, to give it back
	out      []byte     // what waits to be written
	headSent bool
	begun    bool // some of the answer has left
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

func (a *answer) begin(c *Conn) {
	a.c, a.close = c, !c.req.keeps()
	a.headSent, a.begun, a.status, a.length, a.written = false, false, 0, 0, 0
	a.chunked, a.noBody, a.finished, a.err, a.tunnel = false, false, false, nil, nil
	a.aborted.Store(false)
}

// continues sends 100 Continue, unless some of the answer has left.
func (a *answer) continues() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun || a.finished {
		return nil
	}
	return a.write(continueLine, nil) // in front of a head that waits
}

var continueLine = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// Inform sends an interim answer.
func (a *answer) Inform(status int, f wire.Fields) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case status <= http.StatusSwitchingProtocols || status > 199:
		return errInform
	case a.headSent:
		return errHeadSent
	case a.aborted.Load():
		return errAborted
	case a.c.req.minor == 0:
		return nil
	}
	a.open()
	a.out = append(appendFields(appendStatus(a.out, status), f), "\r\n"...)
	return a.flush()
}

// open sees to it that there is a buffer.
func (a *answer) open() {
	if a.buf == nil {
		a.buf = getSmall()
		a.out = (*a.buf)[:0]
	}
}

func (a *answer) giveBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	putBack(a.buf)
	a.buf, a.out = nil, nil
}

// Head begins the answer.
func (a *answer) Head(status int, f wire.Fields, length int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.headSent:
		return errHeadSent
	case a.aborted.Load():
		return errAborted
	case status < 200 || status > 999:
		return errStatus
	}
	a.open()
	a.headSent, a.status, a.length = true, status, length
	a.c.x.rec.Status = status
	a.noBody = string(a.c.req.method) == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	a.out = appendFields(appendStatus(a.out, status), f)
	a.frame()
	a.out = append(appendDate(a.out), "\r\n"...)
	return nil
}

// frame writes the fields of framing, RFC 9112 section 6.
func (a *answer) frame() {
	switch {
	case a.status == http.StatusNoContent || a.status == http.StatusNotModified: // of a 304 nobody knows it
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
	body := &a.c.x.body
	a.close = a.close || a.c.o.Last() && !body.followed() || !body.ends() // who has asked again already is answered that too
	switch {
	case a.close:
		a.out = append(a.out, "Connection: close\r\n"...)
	case a.c.req.minor == 0:
		a.out = append(a.out, "Connection: keep-alive\r\n"...)
	}
}

// writable says why the body cannot be written to now; nil: it can. a.mu is held.
func (a *answer) writable() error {
	switch {
	case a.aborted.Load():
		return errAborted
	case a.err != nil:
		return a.err
	case !a.headSent || a.tunnel != nil:
		return errNoHead
	case a.finished:
		return errFinished
	}
	return nil
}

// Write sends of the body.
func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.writable()
	switch {
	case err != nil:
		return 0, err
	case len(p) == 0 || a.noBody:
		return len(p), nil
	case a.length >= 0 && a.written+int64(len(p)) > a.length:
		return 0, errLong
	}
	if a.chunked {
		a.out = append(strconv.AppendInt(a.out, int64(len(p)), 16), "\r\n"...)
	}
	if err := a.put(p); err != nil {
		return 0, err
	}
	if a.chunked {
		a.out = append(a.out, "\r\n"...)
	}
	a.count(int64(len(p)))
	return len(p), nil
}

func (a *answer) count(n int64) {
	a.written += n
	a.c.x.rec.BytesOut = a.written
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
		a.c.x.body.stop()
	}
	return err
}

func (a *answer) finish(trailers wire.Fields) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.writable(); err != nil {
		return err
	}
	if a.length >= 0 && !a.noBody && a.written != a.length {
		return errShort
	}
	if a.chunked {
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
		a.c.x.body.stop()
	}
}

// Tunnel accepts the upgrade.
func (a *answer) Tunnel(f wire.Fields) (wire.Stream, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.headSent:
		return nil, errHeadSent
	case a.aborted.Load():
		return nil, errAborted
	case a.c.req.upgrade == nil:
		return nil, errNoUpgrade
	}
	a.gone.pause()
	a.headSent, a.status = true, http.StatusSwitchingProtocols
	a.c.x.rec.Status, a.c.x.rec.Tunnel = a.status, true
	a.open()
	a.out = append(appendStatus(a.out, a.status), "Connection: Upgrade\r\nUpgrade: "...)
	a.out = append(append(a.out, a.c.req.upgrade...), "\r\n"...)
	a.out = append(appendFields(a.out, f), "\r\n"...)
	a.tunnel = newTunnel(a.c.nc, a.c.in.unread())
	a.c.in.r = a.c.in.w
	if err := a.flush(); err != nil {
		return nil, err
	}
	putBack(a.buf)
	a.buf, a.out = nil, nil
	return a.tunnel, nil
}

// OnGone runs f when the client has left.
func (a *answer) OnGone(f func(error)) { a.gone.onGone(f) }

// Gone asks now.
func (a *answer) Gone() error { return a.c.gone() }

// Context ends when the client has left, or with the exchange.
func (a *answer) Context() context.Context { return a.gone.context() }
