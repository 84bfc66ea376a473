package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"edge/edge/h1"
	"edge/edge/h2"
	"edge/edge/upstream"
	"edge/edge/wire"
)

// relay relays x to a target. An error means that the target was not reached, or that another one is to be asked.
func (p *Proxy) relay(x *wire.Exchange, t *upstream.Target, c *course) (elsewhere error) {
	r := relays.Get().(*relaying)
	defer r.end()
	r.begin(p, x, t, c)
	head, err := r.ask(t)
	if no, ok := err.(unreached); ok {
		if blamed(x, no.error) && !c.late() {
			t.Failed(no.error)
		}
		return no.error
	}
	switch {
	case err == nil:
		t.Answered()
		if c.afterStatus(head.Status, r.repeats) {
			return errElsewhere
		}
		x.Record.Answered = x.Record.Now()
		err = r.answer(head)
	case r.blames(err) && !c.late():
		t.Failed(err)
	}
	switch {
	case err == nil:
	case !r.headed && !r.answered && c.afterEnd(err, r.repeats):
		return errElsewhere
	default:
		r.fail(err)
	}
	return nil
}

// unreached is why a target could not be asked at all.
type unreached struct{ error }

// relays holds what relaying has need of, for the next request.
var relays = sync.Pool{New: func() any { return new(relaying) }}

// relaying is an Exchange on its way to one target.
type relaying struct {
	x       *wire.Exchange
	course  *course
	whom    interface{ Context() context.Context } // for whom targets are dialled
	up      asked                                  // the exchange with the target: conn's, or call; nil: there is none
	conn    *upstream.Conn                         // where the target speaks HTTP/1.1
	call    upstream.Call                          // where it speaks HTTP/2
	proxy   *Proxy
	req     h1.Request
	reqH2   h2.Request // req, for HTTP/2
	scratch fieldScratch
	proof   ask

	streams bool // the body is sent by a goroutine of its own
	repeats bool // it does no harm if the target gets the request twice, and all of it is here
	headed  bool // the answer's head was passed on, or could not be

	answered bool // the target has said a word
	upload   sender
}

// asked is an exchange with a target, behind its request's head.
type asked interface {
	BodyFailure() (read error, late bool)
	Answered() bool
	Ready() bool
	Next() ([]byte, error)
	Trailers() wire.Fields
}

// begin makes the request as the target gets it: the very bytes of x's target, without what only we may say.
func (r *relaying) begin(p *Proxy, x *wire.Exchange, t *upstream.Target, c *course) {
	r.x, r.whom, r.course, r.proxy = x, x, c, p
	if c != nil {
		r.whom = c
	}
	r.scratch.reset()
	body, here := heldBody(x)
	r.streams, r.repeats = !here, here && idempotent(x.Method)
	if r.streams {
		body = nil
	}
	host := x.Authority
	if p.Upstream.HostTarget || len(host) == 0 {
		host = r.scratch.add(t.Host)
	}
	r.req = h1.Request{
		Method: x.Method, Path: x.Path[p.Strip:], Query: x.RawQuery, HasQuery: x.HasQuery, Host: host,
		Fields: r.proof.add(x, p.fields(x, &r.scratch)), Length: x.Length, Body: body, Upgrade: x.Upgrade,
	}
}

// idempotent says whether a method may be repeated, RFC 9110 section 9.2.2.
func idempotent(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// ask asks the target.
func (r *relaying) ask(t *upstream.Target) (h1.Answer, error) {
	if t.H2 {
		return r.askH2(t)
	}
	return r.askH1(t)
}

// Inform passes an interim answer on.
func (r *relaying) Inform(status int, f wire.Fields) error { return r.proxy.inform(r.x, status, f) }

// blames says whether an exchange without an answer's head tells something of the target. One whose client still sends does not, unless the
// target takes none of it: a target may lose patience with a client that is slow.
func (r *relaying) blames(err error) bool {
	if r.up == nil { // it was to go out a second time
		return blamed(r.x, err)
	}
	_, late := r.up.BodyFailure()
	switch {
	case r.upload.started() && !r.upload.whole.Load():
		return late && blamed(r.x, err)
	case unsent(err) && !dead(err) && !errors.Is(err, os.ErrDeadlineExceeded): // it is not to be sent at all
		return false
	}
	return blamed(r.x, err)
}

// answer passes the target's answer on.
func (r *relaying) answer(head h1.Answer) error {
	if head.Status == http.StatusSwitchingProtocols {
		return r.tunnel(head)
	}
	r.headed = true
	switch err := r.x.Head(head.Status, r.proxy.theirs(head.Fields), head.Length); {
	case err == wire.ErrReplaced:
		r.skip()
		return nil
	case err != nil:
		return err
	}
	live := head.Length == wire.Unknown // a stream of events: its head and each piece when it comes
	for {
		if live && !r.up.Ready() {
			if err := r.x.Flush(); err != nil {
				return err
			}
		}
		data, err := r.up.Next()
		if err == io.EOF {
			return r.x.Finish(r.up.Trailers())
		}
		if err != nil {
			return fmt.Errorf("reading the upstream's answer: %w", err)
		}
		if _, err := r.x.Write(data); err != nil {
			return err
		}
	}
}

// skip drops what is here of an answer that is not wanted: if that is all of it, the connection can be used again.
func (r *relaying) skip() {
	for err := error(nil); err == nil && r.up.Ready(); {
		_, err = r.up.Next()
	}
}

// fail answers for a target that gave no answer, or cuts short what it did not give in full.
func (r *relaying) fail(err error) {
	read, late := error(nil), false
	if r.up != nil {
		read, late = r.up.BodyFailure()
	}
	switch {
	case read != nil:
		err = read
	case late:
		err = errLate
	}
	if r.headed {
		r.x.Record.Err = err
		r.x.Abort(err)
		return
	}
	fail(r.x, read, err)
}

var errPanic = errors.New("the handler panics")

// end waits for the sender, which the end of the exchange stops, and gives everything back.
func (r *relaying) end() {
	if e := recover(); e != nil {
		r.x.Abort(errPanic)
		defer panic(e)
	}
	r.x.OnGone(nil)
	r.endCall()
	if c := r.conn; c != nil {
		if c.Kept() {
			r.upload.joinSoon()
		}
		if !c.Reusable() {
			c.Abort()
		}
		r.upload.join()
		c.Done()
	}
	r.scratch.reset()
	*r = relaying{scratch: r.scratch}
	relays.Put(r)
}

// sender sends a request's body, in a goroutine of its own.
type sender struct {
	body  wire.Body
	done  chan struct{} // nil: it was not started
	whole atomic.Bool   // all of the body has come from the client
	given chan *h2.Call // has the exchange over HTTP/2 that it goes to, until some of the body has been read; nil: it is not for one
	lent  bool          // given has it, or had it, and nobody has taken it back
}

func (s *sender) started() bool { return s.done != nil }

func (s *sender) start(c *h1.ClientConn, x *wire.Exchange, p *Proxy) {
	s.body, s.done = x.Body, make(chan struct{})
	go s.send(c, x, p)
}

func (s *sender) send(c *h1.ClientConn, x *wire.Exchange, p *Proxy) {
	defer close(s.done)
	c.SendBody(s, x.Length, func() wire.Fields { return x.Body.Trailers().Clone().DelFunc(p.dropsTrailer) })
}

func (s *sender) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err == io.EOF {
		s.whole.Store(true)
	}
	return n, err
}

// endGrace is how long a sender may need to see that it has sent all, when the answer shows it already.
const endGrace = 50 * time.Millisecond

// joinSoon waits, but not for a target that takes no more.
func (s *sender) joinSoon() {
	if !s.started() {
		return
	}
	late := time.NewTimer(endGrace)
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C:
	}
}

func (s *sender) join() {
	if s.started() {
		<-s.done
	}
}
