package wire

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

var errAnswered = errors.New("wire: the request was answered before its body was read")

// body is the Body of an answer's Exchange.
type body struct {
	answer  *answer
	mu      sync.Mutex
	reading bool
	last    bool  // the client is told that the connection ends with the answer
	cut     bool  // reading failed, or was ended: net/http takes the client for gone, on this connection for good
	err     error // for every Read from now on
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	n, err := b.answer.r.Body.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.answer.rec.BytesIn += int64(n)
	b.cut = b.cut || err != nil && err != io.EOF
	if err != nil && b.err == nil {
		b.err = err
	}
	// Between two reads nobody waits for the client. HTTP/2 would count the time all the same, HTTP/1 in its look at a waiting connection.
	b.answer.rc.SetReadDeadline(time.Time{})
	return n, err
}

// begin gives the next read its time.
func (b *body) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.reading = true
		b.answer.rc.SetReadDeadline(time.Now().Add(b.answer.conn.Body))
	}
	return b.err
}

// stop ends a Read that waits, and all later ones: the answer is complete.
func (b *body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errAnswered
	}
	if b.reading {
		b.cut = true
		b.answer.rc.SetReadDeadline(past)
	}
}

// end makes an HTTP/1 connection one that ends with this answer, unless the body was read or its rest is here already: what else comes
// of it would be taken for the next request (request smuggling), and to wait for it is not our turn. net/http looks only if it is not
// in full duplex.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.unread() {
		return
	}
	b.answer.rc.SetReadDeadline(past)
	if b.last {
		return
	}
	if _, err := io.CopyN(io.Discard, b.answer.r.Body, drained); err != io.EOF || b.cut {
		b.announce()
	}
}

// drained bounds what is read of a body that nobody wants.
const drained = 256 << 10

// held is how much of an answer net/http keeps back, and its head with it.
const held = 2 << 10

// leave is called before the answer's head may leave. What end finds later can't be announced any more, and a client whose connection
// ends unannounced loses its next request; so an HTTP/1 connection ends with this answer unless the body was read by now.
func (b *body) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unread() && !b.last {
		b.announce()
	}
}

// unread says whether some of the body may stand where HTTP/1 expects the next request.
func (b *body) unread() bool {
	return b.answer.r.ProtoMajor == 1 && b.answer.r.ContentLength != 0 && b.err != io.EOF
}

// announce does what a body does that is too large, the one way to tell net/http: it closes, and its client has time to read the answer.
func (b *body) announce() {
	b.last = true
	http.MaxBytesReader(b.answer.w, io.NopCloser(strings.NewReader("x")), 0).Read(make([]byte, 1))
}

func (b *body) Buffered() ([]byte, bool) { return nil, b.answer.r.ContentLength == 0 }
func (b *body) Trailers() Fields         { return FromHeader(b.answer.r.Trailer) }
