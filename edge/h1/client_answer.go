package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"

	"edge/edge/wire"
)

// What makes an answer none. None of these has a status for the client: it is always 502.
var (
	errStatusLine   = errors.New("h1: a malformed status line")
	errAnswerSize   = errors.New("h1: the head of the answer is too large")
	errSwitch       = errors.New("h1: the server switched protocols unasked, or to another one")
	errFramedSwitch = errors.New("h1: a body, where there can be none")
)

// maxAnswerHead bounds the bytes of an answer's head, with all interim ones before it.
const maxAnswerHead = 64 << 10

// Answer is the head of an answer.
type Answer struct {
	Status int
	Fields wire.Fields // in the connection's buffer: until the next call of Next
	Length int64       // as Content-Length says, also where there is no body, but never with 204; wire.Unknown: it does not
}

// Informer is told the interim answers but 100; its error ends the exchange.
type Informer interface {
	Inform(status int, f wire.Fields) error
}

// ReadHead reads the answer's head. A status of 101 was asked for: Stream is next.
func (c *ClientConn) ReadHead(in Informer) (Answer, error) {
	for left := maxAnswerHead; ; {
		text, err := c.readHead(left)
		if err != nil {
			return Answer{}, err
		}
		left -= len(text)
		a, err := c.parseAnswer(text)
		if err != nil {
			return Answer{}, err
		}
		switch {
		case a.Status >= 200, a.Status == http.StatusSwitchingProtocols:
			c.headOver()
			return a, nil
		case a.Status != http.StatusContinue:
			if err := in.Inform(a.Status, a.Fields); err != nil {
				return Answer{}, fmt.Errorf("informing the client: %w", err)
			}
		}
	}
}

// headOver takes the limits of the time before an answer back.
func (c *ClientConn) headOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headDone = true
	c.keep = c.reading.clear() && c.keep // else a deadline is set, or about to be
	c.writing.extend(c.limits.Body)
}

// readHead reads up to the empty line. The bytes do not move until the next read.
func (c *ClientConn) readHead(most int) ([]byte, error) {
	c.limitAnswer()
	var l lines
	for {
		if c.in.len() > 0 {
			in := c.in.unread()
			end, err := l.end(in)
			switch {
			case err != nil:
				return nil, err
			case end > most, end == 0 && len(in) >= most:
				return nil, errAnswerSize
			case end > 0:
				c.in.r += end
				return in[:end-2], nil
			}
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
		c.got = true
	}
}

// limitAnswer limits the time that an answer takes to a request that was sent; what is here of it took none.
func (c *ClientConn) limitAnswer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent && c.in.len() == 0 && c.ask.err == nil {
		c.reading.set(c.response)
	}
}

// fill reads once more.
func (c *ClientConn) fill() error {
	n, err := 0, c.ask.err
	if err == nil {
		if c.big && c.in.buf == nil {
			c.in.buf = getLarge()
		}
		n, err = c.nc.Read(c.in.room())
	}
	c.in.w += n
	switch {
	case n > 0:
		return nil
	case c.aborted.Load():
		return errClientAborted
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// Answered says whether a byte of the answer has come.
func (c *ClientConn) Answered() bool { return c.got }

// parseAnswer reads a head, and takes note of how the body is framed.
func (c *ClientConn) parseAnswer(text []byte) (a Answer, err error) {
	line, rest, err := cutLine(text)
	if err != nil {
		return a, err
	}
	minor, status, err := splitStatusLine(line)
	if err != nil {
		return a, err
	}
	h := &c.head
	h.reset(minor)
	if err := h.parseFields(rest); err != nil {
		return a, err
	}
	a = Answer{Status: status, Fields: h.fields, Length: h.length}
	return a, c.frame(&a)
}

// splitStatusLine splits "HTTP/1.1 200 OK", RFC 9112 section 4. The space before a reason that is not there is not asked for.
func splitStatusLine(line []byte) (minor, status int, err error) {
	version, rest, ok := bytes.Cut(line, []byte(" "))
	code, _, _ := bytes.Cut(rest, []byte(" "))
	n, digits := parseUint(code)
	if !ok || !digits || len(code) != 3 || n < 100 {
		return 0, 0, errStatusLine
	}
	minor, err = parseVersion(version)
	return minor, int(n), err
}

// frame says how the body ends, RFC 9112 section 6.3.
func (c *ClientConn) frame(a *Answer) error {
	h, said := &c.head, c.head.chunked || c.head.length != wire.Unknown
	b := &c.answerBody
	c.big = h.length > smallSize
	b.keep = !h.close && (h.minor == 1 || h.keepAlive)
	switch {
	case a.Status < 200:
		return c.frameInterim(a.Status, said)
	case a.Status == http.StatusNoContent:
		if h.chunked || h.length > 0 { // some would read it as a body
			return errFramedSwitch
		}
		a.Length, b.ended = wire.Unknown, true
	case a.Status == http.StatusNotModified, b.toHEAD:
		b.ended = true
	case h.chunked:
		b.framing = inChunks
	case h.length >= 0:
		b.framing, b.left = withLength, h.length
		b.ended = h.length == 0
	default:
		b.framing, b.keep = toTheEnd, false
	}
	return nil
}

// frameInterim checks a head that another one follows, or that ends HTTP here.
func (c *ClientConn) frameInterim(status int, said bool) error {
	h := &c.head
	switch {
	case said:
		return errFramedSwitch
	case status != http.StatusSwitchingProtocols:
		return nil
	case c.up == nil || h.minor == 0 || h.upgrades != 1 || !h.wantsUp || !bytes.EqualFold(h.upgrade, c.up):
		return errSwitch
	}
	c.keep = false
	return nil
}

// framing is how an answer's body ends.
type framing byte

const (
	withLength framing = iota
	inChunks
	toTheEnd // of the connection
)

// answerBody is the body of an answer, as it comes.
type answerBody struct {
	toHEAD   bool
	keep     bool // the server keeps the connection
	framing  framing
	left     int64
	chunks   chunks
	trailers wire.Fields
	ended    bool // its true end was reached
}

// Next gives the next bytes of the body, which stand until the next call; io.EOF at its true end.
func (c *ClientConn) Next() ([]byte, error) {
	for !c.ended {
		data, err := c.next()
		if err != nil {
			return nil, err
		}
		if len(data) > 0 {
			return data, nil
		}
	}
	return nil, io.EOF
}

// next takes of what is here, or reads once.
func (c *ClientConn) next() ([]byte, error) {
	if c.in.len() == 0 {
		return nil, c.receive()
	}
	if c.framing == inChunks {
		return c.nextChunk()
	}
	data := c.in.unread()
	if c.framing == withLength {
		data = data[:min(int64(len(data)), c.left)]
		c.left -= int64(len(data))
		c.ended = c.left == 0
	}
	c.in.r += len(data)
	return data, nil
}

func (c *ClientConn) nextChunk() ([]byte, error) {
	taken, data, trailers, err := c.chunks.next(c.in.unread())
	if err != nil {
		return nil, err
	}
	c.in.r += taken
	if c.chunks.done {
		c.trailers, err = parseTrailers(trailers)
		c.ended = err == nil
		return nil, err
	}
	if taken == 0 {
		return nil, c.receive()
	}
	return data, nil
}

// receive reads from the connection, within the time for progress. An end is one only where it ends the body.
func (c *ClientConn) receive() error {
	if c.in.len() == 0 {
		c.makeRoom()
	}
	c.reading.set(c.limits.Body)
	err := c.fill()
	if !c.reading.clear() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	if err == io.EOF {
		if c.framing == toTheEnd {
			c.ended = true
			return nil
		}
		err = io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom gives the rest of the body a buffer after what is known of it.
func (c *ClientConn) makeRoom() {
	comes, have := int64(largeSize), 0
	switch {
	case c.framing == withLength:
		comes = c.left
	case c.full(): // by the last read: there is a lot of it
		comes = math.MaxInt64
	}
	c.in.r, c.in.w = 0, 0
	if c.in.buf != nil {
		have = len(*c.in.buf)
	}
	if have == 0 || comes > int64(have) && have < hugeSize {
		putBack(c.in.buf)
		c.in.buf = getFor(comes)
	}
}

// Ready says whether Next has something to give without waiting for it.
func (c *ClientConn) Ready() bool {
	if c.ended || c.in.len() == 0 || c.framing != inChunks {
		return c.ended || c.in.len() > 0
	}
	coding, in := c.chunks, c.in.unread()
	for {
		taken, data, _, err := coding.next(in)
		if len(data) > 0 || err != nil || coding.done {
			return true
		}
		if taken == 0 {
			return false
		}
		in = in[taken:]
	}
}

// Trailers are the trailer fields, once Next has said io.EOF. They stand until the next exchange.
func (c *ClientConn) Trailers() wire.Fields { return c.trailers }

// Kept says whether the answer is complete and the server keeps the connection.
func (c *ClientConn) Kept() bool { return c.ended && c.keep && c.headDone }

// Reusable says whether another exchange may follow: this one is complete in both directions, and the server keeps the connection and has
// sent nothing behind its answer. Where the last read filled the buffer there may be more, which would be taken for the next answer.
func (c *ClientConn) Reusable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended && c.keep && c.sent && c.headDone && c.in.len() == 0 && !c.full() && !c.aborted.Load()
}

func (c *ClientConn) full() bool { return c.in.buf != nil && c.in.w == len(*c.in.buf) }

// Rest gives the buffers back between two exchanges, and the seconds that the server will keep the connection for; 0: it did not say.
func (c *ClientConn) Rest() (seconds int) {
	c.in.release()
	c.used, c.trailers = true, nil
	return c.head.timeout
}
