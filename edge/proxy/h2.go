package proxy

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"edge/edge/h1"
	"edge/edge/h2"
	"edge/edge/upstream"
	"edge/edge/wire"
)

var errH2Upgrade = errors.New("an upgrade was asked for, and the upstream speaks HTTP/2, which has none")

// mostUnserved is how often a target may say that it has not executed a request, before that is taken for its last word.
const mostUnserved = 5

// askH2 sends the request over HTTP/2 and reads the answer's head; again on another connection where the target says that it has not executed it, or
// has got nothing of it; and once where the connection, which had carried answers before, has ended before it said a word about a request that it may
// get twice.
func (r *relaying) askH2(t *upstream.Target) (h1.Answer, error) {
	var not *h2.ClientConn
	repeated := false
	for n := 1; ; n++ {
		call, err := t.Call(r.whom, not)
		if err != nil && !repeated && !r.upload.started() { // whatever it was sent before, it has not executed
			return h1.Answer{}, unreached{err}
		}
		if err != nil {
			return h1.Answer{}, err
		}
		r.useCall(call)
		head, err := r.exchangeH2(t)
		if err == nil {
			return head, nil
		}
		switch unserved := r.unserved(err); {
		case unserved && r.unread() && r.mayAgain(n):
		case unserved && !repeated && r.upload.given == nil:
			return h1.Answer{}, unreached{err}
		case !unserved && !repeated && r.repeats && !r.answered && call.Reused() && dead(err) && r.unread():
			repeated = true
		default:
			return head, err
		}
		not = call.Conn()
		r.dropCall()
	}
}

// mayAgain says whether a request that was not executed n times may go out once more. The first time is no matter of the budget for retries: it is that
// of a connection that ends, as all do.
func (r *relaying) mayAgain(n int) bool {
	return n < mostUnserved && (n == 1 || r.proxy.Upstream.Again())
}

// unserved says whether the target has certainly not executed the request, and may execute it yet.
func (r *relaying) unserved(err error) bool {
	var no *h2.UnservedError
	return !r.answered && (errors.As(err, &no) || unsent(err) && !unsendable(err) && r.x.Gone() == nil)
}

// unsendable says whether it is the request that cannot be sent, over whatever connection.
func unsendable(err error) bool {
	return errors.Is(err, h2.ErrUnsendable) || errors.Is(err, h2.ErrListSize)
}

// unread says whether the request can be sent again, none of its body having been read, or all of it being here.
func (r *relaying) unread() bool {
	if !r.upload.started() || r.upload.given == nil || !r.upload.lent {
		return true
	}
	select {
	case <-r.upload.given:
		r.upload.lent = false
		return true
	default:
		return false
	}
}

func (r *relaying) useCall(c upstream.Call) {
	r.call, r.up = c, c.Call
	if !c.Reused() {
		r.x.Record.Connected = r.x.Record.Now()
	}
	r.x.OnGone(c.OnGone())
}

// dropCall gives the exchange up. A sender that waits for the first of a body goes on with the next one.
func (r *relaying) dropCall() {
	r.x.OnGone(nil)
	if r.upload.started() && r.upload.given == nil {
		r.call.Abort()
		r.upload.join()
		r.upload.done = nil
	}
	r.call.Done()
	r.call, r.up = upstream.Call{}, nil
}

var schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")

func (r *relaying) exchangeH2(t *upstream.Target) (h1.Answer, error) {
	q := &r.req
	r.reqH2 = h2.Request{
		Method: q.Method, Scheme: schemeHTTP, Path: q.Path, Query: q.Query, HasQuery: q.HasQuery, Host: q.Host, Fields: q.Fields, Length: q.Length,
		Body: q.Body, Within: r.course.left(),
	}
	if t.Scheme == "https" {
		r.reqH2.Scheme = schemeHTTPS
	}
	rest, err := r.call.Send(&r.reqH2)
	if err != nil {
		return h1.Answer{}, err
	}
	switch {
	case len(rest) > 0:
		r.upload.startRest(r.call.Call, rest)
	case r.streams && r.upload.started():
		r.upload.give(r.call.Call)
	case r.streams:
		r.upload.startCall(r.call.Call, r.x, r.proxy)
	}
	head, err := r.call.ReadHead(r)
	r.answered = err == nil || r.call.Answered()
	return h1.Answer(head), err
}

// endCall waits for the sender, which the end of the exchange stops, and gives the exchange back.
func (r *relaying) endCall() {
	if r.call.Call != nil && r.upload.started() {
		r.call.Abort()
	}
	if r.upload.given != nil {
		r.unread() // nobody has it any more
		close(r.upload.given)
		r.upload.join()
	}
	if r.call.Call != nil {
		r.upload.join()
		r.call.Done()
	}
}

// startRest sends the rest of a body that is here.
func (s *sender) startRest(call *h2.Call, rest []byte) {
	s.done = make(chan struct{})
	s.whole.Store(true)
	go s.sendRest(call, rest)
}

func (s *sender) sendRest(call *h2.Call, rest []byte) {
	defer close(s.done)
	call.SendBody(bytes.NewReader(rest), int64(len(rest)), nil)
}

// startCall sends a body as it comes. Which exchange it goes to is decided when the first of it is here.
func (s *sender) startCall(call *h2.Call, x *wire.Exchange, p *Proxy) {
	s.body, s.done, s.given = x.Body, make(chan struct{}), make(chan *h2.Call, 1)
	s.give(call)
	go s.sendCall(x, p)
}

func (s *sender) give(call *h2.Call) {
	s.lent = true
	s.given <- call
}

// firsts are for the first of a body.
var firsts = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

func (s *sender) sendCall(x *wire.Exchange, p *Proxy) {
	defer close(s.done)
	buf := firsts.Get().(*[]byte)
	defer firsts.Put(buf)
	n, err := s.Read(*buf)
	call := <-s.given
	if call == nil { // there is none any more
		return
	}
	b := &begun{rest: s, first: (*buf)[:n], err: err}
	call.SendBody(b, x.Length, func() wire.Fields { return x.Body.Trailers().Clone().DelFunc(p.dropsTrailer) })
}

// begun is a body of which the first was read already.
type begun struct {
	rest  io.Reader
	first []byte
	err   error // that came with it
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.first) == 0 && b.err == nil {
		return b.rest.Read(p)
	}
	n := copy(p, b.first)
	if b.first = b.first[n:]; len(b.first) > 0 {
		return n, nil
	}
	return n, b.err
}
