package h2

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"edge/edge/wire"
)

var (
	errHeadSent  = errors.New("h2: the head of the answer was sent already")
	errNoHead    = errors.New("h2: a body before its head")
	errFinished  = errors.New("h2: the answer is finished")
	errAborted   = errors.New("h2: the answer was aborted")
	errLong      = errors.New("h2: the answer is longer than it was said to be")
	errShort     = errors.New("h2: the answer is shorter than it was said to be")
	errStatus    = errors.New("h2: no status that an answer can have")
	errInform    = errors.New("h2: no interim status")
	errNoUpgrade = errors.New("h2: the client asked for no upgrade")
)

// smalls are for the last piece of an answer, which is held back so that its frame can say that it is the last.
var smalls = sync.Pool{New: func() any { b := make([]byte, 0, maxFrame); return &b }}

// larges are for copying.
var larges = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

func putSmall(b *[]byte) {
	if b != nil {
		*b = (*b)[:0]
		smalls.Put(b)
	}
}

// answer is the Responder. It is the handler's goroutine's but for aborted, and for 100 Continue, which comes from the body's reader.
type answer struct {
	s        *stream
	head     []byte  // the frames of the head, as long as they wait
	held     *[]byte // of the body, as long as it waits
	headed   bool
	finished bool
	noBody   bool // HEAD, 204, 304: what is written is counted and dropped
	length   int64
	written  int64
	tunnel   *tunnel

	begun   atomic.Bool // the head has been given
	aborted atomic.Bool
}

// continues sends 100 Continue. c.mu is held.
func (a *answer) continues() {
	c := a.s.c
	if a.begun.Load() || a.s.stopped() != nil {
		return
	}
	c.appendBlock(append(appendHead(nil, 5, frameHeaders, flagEndHeaders, a.s.id), 0x08, 3, '1', '0', '0'))
	c.flush()
}

// Inform sends an interim answer.
func (a *answer) Inform(status int, f wire.Fields) error {
	switch {
	case status <= http.StatusSwitchingProtocols || status > 199:
		return errInform
	case a.headed:
		return errHeadSent
	case a.aborted.Load():
		return errAborted
	}
	b := appendFields(appendStatus(make([]byte, headLen, 256), status), f)
	c := a.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	defer a.s.sending.clear()
	if err := a.s.roomFor(); err != nil {
		return err
	}
	c.appendBlock(framed(b, a.s.id))
	c.flush()
	return c.err
}

// Head begins the answer.
func (a *answer) Head(status int, f wire.Fields, length int64) error {
	switch {
	case a.headed:
		return errHeadSent
	case a.aborted.Load():
		return errAborted
	case status < 200 || status > 999:
		return errStatus
	}
	noTunnel := a.s.x.Upgrade != nil && status < 300
	if noTunnel { // a success would tell the client that its tunnel stands: RFC 8441 section 5
		status, f = http.StatusNotImplemented, nil
	}
	a.begun.Store(true)
	a.headed, a.length, a.s.rec.Status = true, length, status
	a.noBody = noTunnel || string(a.s.x.Method) == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	a.encode(status, f)
	return nil
}

// encode makes the frames of the head.
func (a *answer) encode(status int, f wire.Fields) {
	b := append(a.head[:0], make([]byte, headLen)...)
	b = appendFields(appendStatus(b, status), f)
	if a.length >= 0 && status != http.StatusNoContent && status != http.StatusNotModified && (!a.noBody || a.s.x.Upgrade == nil) {
		var digits [20]byte
		b = appendValue(append(b, 0x0f, 28-15), strconv.AppendInt(digits[:0], a.length, 10))
	}
	a.head = framed(appendDate(b), a.s.id)
}

// framed makes frames of a header block that has room in front: HEADERS, and CONTINUATION where it does not fit.
func framed(b []byte, id uint32) []byte {
	const first = maxFrame - 1 // appendBlock may have to add a byte
	n := len(b) - headLen
	if n <= first {
		appendHead(b[:0], n, frameHeaders, flagEndHeaders, id)
		return b
	}
	out := appendHead(nil, first, frameHeaders, 0, id)
	out = append(out, b[headLen:headLen+first]...)
	for b = b[headLen+first:]; len(b) > 0; b = b[min(len(b), maxFrame):] {
		flags, part := byte(0), b[:min(len(b), maxFrame)]
		if len(part) == len(b) {
			flags = flagEndHeaders
		}
		out = append(appendHead(out, len(part), frameContinuation, flags, id), part...)
	}
	return out
}

// writable says why the body cannot be written to; nil: it can.
func (a *answer) writable() error {
	switch {
	case a.aborted.Load():
		return errAborted
	case !a.headed || a.tunnel != nil:
		return errNoHead
	case a.finished:
		return errFinished
	}
	return nil
}

// Write sends of the body. The last piece is held back until there is more, Flush or Finish.
func (a *answer) Write(p []byte) (int, error) {
	err := a.writable()
	switch {
	case err != nil:
		return 0, err
	case len(p) == 0 || a.noBody:
		return len(p), nil
	case a.length >= 0 && a.written+int64(len(p)) > a.length:
		return 0, errLong
	}
	if err := a.put(p); err != nil {
		return 0, err
	}
	a.written += int64(len(p))
	a.s.rec.BytesOut = a.written
	return len(p), nil
}

func (a *answer) put(p []byte) error {
	if a.held == nil {
		a.held = smalls.Get().(*[]byte)
	}
	if free := maxFrame - len(*a.held); len(p) > free {
		if len(*a.held) > 0 {
			*a.held = append(*a.held, p[:free]...)
			p = p[free:]
			if err := a.s.send(*a.held, false, nil); err != nil {
				return err
			}
			*a.held = (*a.held)[:0]
		}
		if whole := (len(p) - 1) / maxFrame * maxFrame; whole > 0 {
			if err := a.s.send(p[:whole], false, nil); err != nil {
				return err
			}
			p = p[whole:]
		}
	}
	*a.held = append(*a.held, p...)
	return nil
}

// ReadFrom sends r to its end.
func (a *answer) ReadFrom(r io.Reader) (n int64, err error) {
	buf := larges.Get().(*[]byte)
	defer larges.Put(buf)
	for {
		m, err := r.Read(*buf)
		if m > 0 {
			w, err := a.Write((*buf)[:m])
			if n += int64(w); err != nil {
				return n, err
			}
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
}

// waiting gives what is held back of the body.
func (a *answer) waiting() []byte {
	if a.held == nil {
		return nil
	}
	return *a.held
}

// Flush sends what waits.
func (a *answer) Flush() error {
	if a.aborted.Load() {
		return errAborted
	}
	if !a.headed || a.finished {
		return nil
	}
	err := a.s.send(a.waiting(), false, nil)
	if a.held != nil {
		*a.held = (*a.held)[:0]
	}
	return err
}

// Finish ends the answer well.
func (a *answer) Finish(trailers wire.Fields) error {
	if err := a.writable(); err != nil {
		return err
	}
	if a.length >= 0 && !a.noBody && a.written != a.length {
		return errShort
	}
	var last []byte
	if len(trailers) > 0 && !a.noBody {
		last = framed(appendFields(make([]byte, headLen, 256), trailers), a.s.id)
		last[4] |= flagEndStream
	}
	if err := a.s.send(a.waiting(), true, last); err != nil {
		return err
	}
	a.finished = true
	a.s.body.stop()
	return nil
}

// Abort makes the answer a failure that the client sees.
func (a *answer) Abort(err error) {
	if a.aborted.Swap(true) {
		return
	}
	c := a.s.c
	var reset *ResetError
	c.mu.Lock()
	defer c.mu.Unlock()
	a.s.cancelled = errors.As(err, &reset) && reset.Code == Cancel
	if s := a.s; s.ended == nil {
		s.ended = errAborted
		s.body.finish(errAnswered)
		s.wakeUp()
	}
}

// Tunnel accepts the upgrade.
func (a *answer) Tunnel(f wire.Fields) (wire.Stream, error) {
	switch {
	case a.headed:
		return nil, errHeadSent
	case a.aborted.Load():
		return nil, errAborted
	case a.s.x.Upgrade == nil:
		return nil, errNoUpgrade
	}
	a.begun.Store(true)
	a.headed, a.length, a.s.rec.Status, a.s.rec.Tunnel = true, wire.Unknown, http.StatusOK, true
	a.tunnel = &tunnel{s: a.s}
	a.encode(http.StatusOK, f)
	return a.tunnel, a.s.send(nil, false, nil)
}

// OnGone runs f when the client has left.
func (a *answer) OnGone(f func(error)) { a.s.gone.onGone(f) }

// Gone asks now. Whoever has found the stream ended by the client is told so, be OnGone's turn still to come.
func (a *answer) Gone() error {
	c := a.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	return a.s.lost
}

// appendStatus appends :status.
func appendStatus(b []byte, status int) []byte {
	switch status {
	case 200:
		return append(b, 0x88)
	case 204:
		return append(b, 0x89)
	case 206:
		return append(b, 0x8a)
	case 304:
		return append(b, 0x8b)
	case 400:
		return append(b, 0x8c)
	case 404:
		return append(b, 0x8d)
	case 500:
		return append(b, 0x8e)
	}
	return strconv.AppendInt(append(b, 0x08, 3), int64(status), 10)
}

// known are the names that RFC 7541's static table has, of those that answers often carry.
var known = map[string]byte{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24, "content-disposition": 25, "content-encoding": 26,
	"content-language": 27, "content-location": 29, "content-range": 30, "content-type": 31, "etag": 34, "expires": 36, "last-modified": 44, "link": 45,
	"location": 46, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55, "strict-transport-security": 56, "vary": 59, "via": 60, "www-authenticate": 61,
}

// appendFields appends fields as literals that no table keeps, so that encoding needs no state, and no order between streams. None of framing,
// and none that a handler's mistake made.
func appendFields(b []byte, f wire.Fields) []byte {
	for _, x := range f {
		if wire.Framing(x.Name) || !validName(x.Name) || !wire.Clean(x.Value) {
			continue
		}
		if i, ok := known[string(x.Name)]; ok {
			b = appendInt(b, 0, 4, int(i))
		} else {
			b = appendValue(append(b, 0), x.Name)
		}
		b = appendValue(b, bytes.Trim(x.Value, " \t")) // RFC 9113 section 8.2.1 has no room for it
	}
	return b
}

// appendValue appends a string, not Huffman-coded.
func appendValue(b, v []byte) []byte { return append(appendInt(b, 0, 7, len(v)), v...) }

// appendInt appends an integer of RFC 7541 section 5.1.
func appendInt(b []byte, first byte, bits uint, v int) []byte {
	most := 1<<bits - 1
	if v < most {
		return append(b, first|byte(v))
	}
	b = append(b, first|byte(most))
	for v -= most; v >= 128; v >>= 7 {
		b = append(b, byte(v)|128)
	}
	return append(b, byte(v))
}

func appendDate(b []byte) []byte { return appendValue(append(b, 0x0f, 33-15), wire.Date()) }
