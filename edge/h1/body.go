package h1

import (
	"errors"
	"io"
	"os"
	"sync"

	"edge/edge/wire"
)

var errAnswered = errors.New("h1: the request was answered before its body was read")

// drained bounds what is read of a body that nobody wants, so that the next request can follow.
const drained = 256 << 10

// body is a request's body, as it comes.
type body struct {
	c        *Conn
	mu       sync.Mutex // all that follows and the connection's input; not held while the network is read
	left     int64      // with a length
	read     int64
	chunked  bool
	chunks   chunks
	expects  bool  // 100 Continue is to be sent before the first read
	waiting  bool  // a Read is at the network
	cut      bool  // its deadline was set to end it
	err      error // for every Read from now on
	trailers wire.Fields
}

func (b *body) begin(c *Conn) {
	r := &c.req
	b.c, b.left, b.chunked, b.chunks = c, r.length, r.chunked, chunks{}
	b.read, b.waiting, b.cut, b.err, b.trailers = 0, false, false, nil, nil
	if !b.chunked && b.left == 0 {
		b.err = io.EOF
	}
	b.expects = r.expect && b.err == nil && c.in.len() == 0 // else it is coming already, RFC 9110 section 10.1.1
}

// Read gives the next bytes of the body.
func (b *body) Read(p []byte) (int, error) {
	if b.isAwaited() {
		if err := b.c.x.answer.continues(); err != nil {
			return 0, b.fail(err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && len(p) > 0 {
		n, err := b.next(p)
		if b.err == nil || err == io.EOF {
			b.err = err
		}
		if n > 0 {
			b.read += int64(n)
			b.c.x.rec.BytesIn = b.read
			return n, nil
		}
	}
	return 0, b.err
}

// isAwaited says, once, that the client waits to be asked for the body.
func (b *body) isAwaited() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.expects && b.err == nil
	b.expects = b.expects && !was
	return was
}

func (b *body) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	return b.err
}

// next gives what is here, or reads once.
func (b *body) next(p []byte) (int, error) {
	if b.chunked {
		return b.nextChunked(p)
	}
	p = p[:min(int64(len(p)), b.left)]
	n, in := 0, &b.c.in
	if in.len() > 0 {
		n = copy(p, in.unread())
		in.r += n
	} else {
		var err error
		if n, err = b.receive(p); err != nil {
			return 0, err
		}
	}
	if b.left -= int64(n); b.left == 0 {
		return n, io.EOF
	}
	return n, nil
}

func (b *body) nextChunked(p []byte) (n int, err error) {
	in := &b.c.in
	here := in.unread()
	if b.chunks.state == chunkData {
		here = here[:min(len(here), len(p))]
	}
	taken, data, trailers, err := b.chunks.next(here)
	if err != nil {
		return 0, err
	}
	in.r += taken
	switch {
	case b.chunks.done:
		b.trailers, err = parseTrailers(trailers)
		if b.trailers = b.trailers.Clone(); err == nil {
			err = io.EOF
		}
		return 0, err
	case taken == 0:
		n, err := b.receive(in.bodyRoom())
		in.w += n
		return 0, err
	}
	return copy(p, data), nil
}

// receive reads from the connection, within the time for progress. b.mu is held, but not while it reads.
func (b *body) receive(p []byte) (n int, err error) {
	b.waiting = true
	b.mu.Unlock()
	b.c.reading.set(b.c.o.Info.Body)
	n, err = b.c.nc.Read(p)
	kept := b.c.reading.clear()
	b.mu.Lock()
	b.waiting = false
	switch {
	case !kept:
		return 0, os.ErrDeadlineExceeded
	case n > 0:
		return n, nil
	case err == io.EOF || err == nil:
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// stop ends a Read that waits, and all later ones: the answer is complete.
func (b *body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errAnswered
	}
	if b.waiting {
		b.cut = true
		b.c.nc.SetReadDeadline(past)
	}
}

// here says how many of the bytes that were read already end the body; false: they do not.
func (b *body) here() (int, bool) {
	switch in := &b.c.in; {
	case b.err == io.EOF:
		return 0, true
	case b.waiting || b.broken():
		return 0, false
	case b.chunked:
		n, done := b.chunks.skip(in.unread())
		return n, done
	default:
		return int(b.left), b.left <= int64(in.len())
	}
}

// broken says whether reading failed.
func (b *body) broken() bool { return b.err != nil && b.err != io.EOF && b.err != errAnswered }

// ends says whether the next request will be found behind this body: it is here, or little of it is still to come. The next request would
// else be taken out of the middle of the body.
func (b *body) ends() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.here(); ok {
		return true
	}
	return !b.chunked && !b.expects && !b.broken() && b.left <= drained
}

// followed says whether something of the next request is here already.
func (b *body) followed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.here()
	return ok && b.c.in.len() > n
}

// end goes to the end of the body after its answer, if ends said that there is one, and says whether it was reached.
func (b *body) end() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n, ok := b.here(); ok {
		b.c.in.r += n
		return !b.cut || b.c.nc.SetReadDeadline(noDeadline) == nil
	}
	if b.chunked || b.expects || b.broken() || b.left > drained {
		return false
	}
	if b.cut && b.c.nc.SetReadDeadline(noDeadline) != nil {
		return false
	}
	return b.drain()
}

// drain reads the rest of a body with a length and drops it, all of it within the time for progress. The request's head is not needed any
// more, so its buffer is.
func (b *body) drain() bool {
	c := b.c
	b.left -= int64(c.in.len())
	c.in.release()
	buf := getSmall()
	defer putBack(buf)
	c.reading.set(c.o.Info.Body)
	for b.left > 0 {
		n, err := c.nc.Read((*buf)[:min(b.left, smallSize)])
		if b.left -= int64(n); err != nil && b.left > 0 {
			break
		}
	}
	return c.reading.clear() && b.left == 0
}

// Buffered gives the whole body, if all of it came with the head.
func (b *body) Buffered() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.chunked || b.read > 0 || b.left > 0 && b.err != nil || b.left > int64(b.c.in.len()) {
		return nil, false
	}
	b.c.x.rec.BytesIn = b.left
	if b.left == 0 {
		return nil, true
	}
	return b.c.in.unread()[:b.left], true
}

// Trailers are the trailer fields, once Read has said io.EOF.
func (b *body) Trailers() wire.Fields { return b.trailers }
