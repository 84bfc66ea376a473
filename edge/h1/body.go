package h1

import (
	"errors"
	"io"
	"sync"
	"time"

	"edge/edge/wire"
)

var errAnswered = errors.New("h1: the request was answered before its body was read")

// body is a request's body, as it comes.
type body struct {
	c        *conn
	mu       sync.Mutex // what follows; Finish and Abort come from other goroutines
	left     int64      // with a length
	chunked  bool
	chunks   chunks
	expects  bool // 100 Continue is to be sent before the first read
	reading  bool
	err      error // for every Read from now on
	in       []byte
	r, w     int // in[r:w] is not used yet
	trailers wire.Fields
	timedOut bool // a deadline was set to end a read
}

func (b *body) begin(c *conn) {
	r := &c.req
	b.c, b.left, b.chunked, b.chunks, b.expects = c, r.length, r.chunked, chunks{}, r.expect
	b.reading, b.err, b.in, b.r, b.w, b.trailers, b.timedOut = false, nil, nil, 0, 0, nil, false
	if !b.chunked && b.left == 0 {
		b.err, b.expects = io.EOF, false
	}
}

// Read gives the next bytes of the body.
func (b *body) Read(p []byte) (int, error) {
	if err := b.enter(); err != nil {
		return 0, err
	}
	n, err := 0, error(nil)
	for n == 0 && err == nil && len(p) > 0 {
		if b.chunked {
			n, err = b.readChunked(p)
		} else {
			n, err = b.readLength(p)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.c.x.rec.BytesIn += int64(n)
	if err != nil && (b.err == nil || err == io.EOF) {
		b.err = err
	}
	if n > 0 {
		return n, nil
	}
	return 0, b.err
}

// enter asks for the body, if the client waits for that, and notes that a read is on its way.
func (b *body) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.reading = true
	if b.expects {
		b.expects = false
		if b.c.r == b.c.w { // else it is coming already
			return b.c.x.answer.continues()
		}
	}
	return nil
}

// stop ends a Read that waits, and all later ones: the answer is complete.
func (b *body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errAnswered
	}
	if b.reading {
		b.timedOut = true
		b.c.nc.SetReadDeadline(past)
	}
}

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// whole says whether the body has been read, or lies whole in the buffer.
func (b *body) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == io.EOF || !b.expects && !b.chunked && b.left <= int64(b.c.w-b.c.r)
}

// end finishes with a body after its answer, and says whether the next request can follow: what is left of the body is here.
func (b *body) end() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timedOut {
		return false
	}
	if b.err == io.EOF {
		b.giveBack()
		return true
	}
	if b.expects || b.chunked || b.left > int64(b.c.w-b.c.r) {
		return false
	}
	b.c.r += int(b.left)
	return true
}

// giveBack returns what was read behind the body to the connection's buffer.
func (b *body) giveBack() {
	if b.r < b.w {
		rest := b.in[b.r:b.w]
		if len(b.c.buf) < len(rest) {
			b.c.buf = make([]byte, len(rest))
		}
		b.c.r, b.c.w = 0, copy(b.c.buf, rest)
	}
	if b.in != nil {
		large.Put(&b.in)
		b.in, b.r, b.w = nil, 0, 0
	}
}

// readLength reads of a body with a length: what came with the head first, then straight from the connection.
func (b *body) readLength(p []byte) (n int, err error) {
	p = p[:min(int64(len(p)), b.left)]
	if c := b.c; c.r < c.w {
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
	} else if n, err = b.receive(p); err != nil {
		return 0, err
	}
	if b.left -= int64(n); b.left == 0 {
		err = io.EOF
	}
	return n, err
}

// receive reads from the connection, within the time for progress.
func (b *body) receive(p []byte) (int, error) {
	b.mu.Lock()
	if b.timedOut {
		b.mu.Unlock()
		return 0, errAnswered
	}
	b.c.nc.SetReadDeadline(time.Now().Add(b.c.o.Info.Body))
	b.mu.Unlock()
	n, err := b.c.nc.Read(p)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// large are the buffers of bodies whose framing lies between their bytes.
var large = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// readChunked reads of a chunked body, in a buffer of its own: the head must not move.
func (b *body) readChunked(p []byte) (n int, err error) {
	if b.in == nil {
		b.in = *large.Get().(*[]byte)
		b.w = copy(b.in, b.c.buf[b.c.r:b.c.w])
		b.c.r = b.c.w
	}
	for n == 0 && err == nil {
		if b.r == b.w {
			if err := b.more(); err != nil {
				return 0, err
			}
		}
		in := b.in[b.r:b.w]
		if b.chunks.state == chunkData {
			in = in[:min(len(in), len(p))]
		}
		taken, data, trailers, cerr := b.chunks.next(in)
		switch {
		case cerr != nil:
			return 0, cerr
		case b.chunks.done:
			b.r += taken
			if b.trailers, err = parseTrailers(trailers); err == nil {
				b.trailers = b.trailers.Clone()
				err = io.EOF
			}
		case taken == 0:
			err = b.more()
		default:
			n = copy(p, data)
			b.r += taken
		}
	}
	return n, err
}

// more reads more of a chunked body behind what is there.
func (b *body) more() error {
	if b.r > 0 {
		b.w, b.r = copy(b.in, b.in[b.r:b.w]), 0
	}
	n, err := b.receive(b.in[b.w:])
	b.w += n
	return err
}

// Buffered gives the whole body, if all of it came with the head.
func (b *body) Buffered() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chunked || b.expects || b.left > int64(b.c.w-b.c.r) {
		return nil, false
	}
	return b.c.buf[b.c.r : b.c.r+int(b.left)], true
}

// Trailers are the trailer fields, once Read has said io.EOF.
func (b *body) Trailers() wire.Fields { return b.trailers }
