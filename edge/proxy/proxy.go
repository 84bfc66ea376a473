// Package proxy relays: an Exchange to an upstream and its answer back, a connection to a target.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"edge/edge/h2"
	"edge/edge/tunnel"
	"edge/edge/upstream"
	"edge/edge/wire"
)

// StatusClientClosed is logged for a request whose client left before it had an answer; nobody receives it. The number is nginx's.
const StatusClientClosed = 499

// Proxy relays to one upstream.
type Proxy struct {
	Upstream  *upstream.Upstream
	OwnCookie func(pair []byte) bool // says whether a pair of a Cookie field is for us and no target, which may not set it either; nil: we have none
	Tunnels   *tunnel.Registry       // has the tunnels while they are open; nil: nothing has
	Rules     Rules                  // what is set and removed among the request's fields
	Identity  *Identity              // by which fields the upstream is told who asks; nil: the default ones
	Forwarded bool                   // the upstream gets Forwarded (RFC 7239) too
	Strip     int                    // so many bytes of the path are the route's, and do not go upstream; a slash must follow them
}

// Serve relays x to one target after the other until one takes the connection: nothing was sent before. Where the configuration has retries,
// one that has failed a request that may be repeated is followed by another too. An answer whose head was passed on and that then fails is
// aborted: what is cut short never looks whole.
func (p *Proxy) Serve(x *wire.Exchange) {
	c := p.course(x)
	defer c.end()
	var tried []*upstream.Target
	var failed error
	t, err := p.Upstream.Take(x, nil, c.target())
	for err == nil && t.Target != nil {
		if failed = p.try(x, t, c); failed == nil {
			return
		}
		if tried = append(tried, t.Target); failed != errElsewhere && !c.goesOn() {
			break
		}
		if t = c.nextTurn(); t.Target == nil {
			t, err = p.Upstream.Take(x, tried, nil)
		}
	}
	if err == nil {
		err = failed
	}
	fail(x, nil, err)
}

// try relays x to one target. An error means that the target was not reached, or that another one is to be asked.
func (p *Proxy) try(x *wire.Exchange, t upstream.Turn, c *course) (elsewhere error) {
	defer t.Done()
	x.Record.Ask(t.Name)
	c.to(t.Target)
	if t.H2 && x.Upgrade != nil {
		fail(x, nil, errH2Upgrade)
		return nil
	}
	return p.relay(x, t.Target, c)
}

// caller is whom a tunnel is for.
type caller struct{ ctx context.Context }

func (c caller) Context() context.Context { return c.ctx }

// reach dials one target after the other until one takes the connection: its turn then goes on, and the caller ends it. On an error t is
// the last one that was tried.
func reach(ctx context.Context, u *upstream.Upstream) (t upstream.Turn, up net.Conn, err error) {
	var tried []*upstream.Target
	for {
		next, full := u.Take(caller{ctx}, tried, nil)
		switch {
		case full != nil:
			return t, nil, full
		case next.Target == nil:
			return t, nil, err
		}
		t = next
		if up, err = t.Dial(ctx); err == nil {
			t.Answered()
			return t, up, nil
		}
		if ctx.Err() == nil {
			t.Failed(err)
		}
		t.Done()
		tried = append(tried, t.Target)
	}
}

// blamed says whether what an exchange failed with may be the target's fault: it is not where the client has left, or takes nothing.
func blamed(x *wire.Exchange, err error) bool {
	var deaf *deafError
	return x.Gone() == nil && !errors.As(err, &deaf)
}

// deafError is a client that does not take an interim answer.
type deafError struct{ err error }

func (e *deafError) Error() string { return "the client takes no interim answer: " + e.err.Error() }
func (e *deafError) Unwrap() error { return e.err }

// inform passes an interim answer on.
func (p *Proxy) inform(x *wire.Exchange, status int, f wire.Fields) error {
	if err := x.Inform(status, p.theirs(f)); err != nil {
		return &deafError{err}
	}
	return nil
}

// fail answers for an upstream that gave no answer. read is what reading the request's body failed with.
func fail(x *wire.Exchange, read, err error) {
	x.Record.Err = err
	if s, ours := x.Responder.(sticking); ours { // no target answers
		x.Responder = s.Responder
	}
	status, why := status(x, read, err)
	if status == StatusClientClosed || cancelled(x, err) {
		x.Record.Status = status
		x.Abort(err)
		return
	}
	if status == http.StatusServiceUnavailable {
		wire.ReplyText(x, status, why, wire.Field{Name: []byte("retry-after"), Value: []byte("1")})
		return
	}
	wire.ReplyText(x, status, why)
}

// errLate is a target that takes too long.
var errLate = fmt.Errorf("the upstream neither takes the request's body nor answers: %w", context.DeadlineExceeded)

// cancelled says whether a target has taken the request back, by the word for it that HTTP/2 has, which a client of HTTP/2 is to get as it is: for
// gRPC's it is another thing than a proxy that has no answer, as where a deadline is over at the target a moment before it is at the client.
func cancelled(x *wire.Exchange, err error) bool {
	var reset *h2.ResetError
	return x.Major == 2 && errors.As(err, &reset) && reset.Code == h2.Cancel
}

// status is the one place where an upstream's error becomes a status.
func status(x *wire.Exchange, read, err error) (int, string) {
	var timeout net.Error
	var unresolved *net.DNSError
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "The request's body is larger than this site takes."
	case x.Gone() != nil:
		return StatusClientClosed, ""
	case errors.Is(err, h2.ErrListSize):
		return http.StatusRequestHeaderFieldsTooLarge, "The request's header is larger than the server behind this site takes."
	case errors.Is(err, upstream.ErrFull):
		return http.StatusServiceUnavailable, "The servers behind this site have as much to do as they can."
	case errors.Is(read, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, "The request's body did not come in time."
	case read != nil:
		return http.StatusBadRequest, "The request's body is malformed."
	case errors.As(err, &unresolved): // also where the resolver gave no answer in time
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout, "The server behind this site did not answer in time."
	}
	return http.StatusBadGateway, "The server behind this site cannot be reached or gave no valid answer."
}
