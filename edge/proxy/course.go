package proxy

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"edge/edge/h2"
	"edge/edge/upstream"
	"edge/edge/wire"
)

// errElsewhere is an exchange that another target has now.
var errElsewhere = errors.New("another target is asked")

// course is the way of an exchange whose upstream has more to say than whose turn it is. A nil one is that of all others: the next target is
// asked where one does not take the connection.
type course struct {
	p     *Proxy
	x     *wire.Exchange
	base  wire.Responder   // without our cookie
	stick *upstream.Target // that the client's cookie names; nil: none
	tried []*upstream.Target
	asked int           // of tried: have got the request
	next  upstream.Turn // that Retry gave

	deadline time.Time // for all targets together to begin to answer
	ctx      context.Context
	cancel   context.CancelFunc
}

// course gives an exchange's.
func (p *Proxy) course(x *wire.Exchange) *course {
	if p.Upstream.Retries == nil && p.Upstream.Cookie == "" {
		return nil
	}
	c := &course{p: p, x: x, base: x.Responder, deadline: time.Now().Add(p.Upstream.Response)}
	if p.Upstream.Cookie != "" {
		c.stick = named(p.Upstream, x.Fields)
	}
	return c
}

// target is whom the client was led to before; nil: nobody knows.
func (c *course) target() *upstream.Target {
	if c == nil {
		return nil
	}
	return c.stick
}

// to notes that a target is tried.
func (c *course) to(t *upstream.Target) {
	if c == nil {
		return
	}
	c.tried = append(c.tried, t)
	if c.x.Responder = c.base; c.p.Upstream.Cookie != "" && t != c.stick {
		c.x.Responder = sticking{c.base, cookieOf(c.p.Upstream.Cookie, t, c.x.Scheme)}
	}
}

// goesOn says whether another target is tried where one could not be reached.
func (c *course) goesOn() bool {
	return c == nil || c.p.Upstream.Retries == nil || c.p.Upstream.Retries.Connect
}

// Context is the exchange's for the first target. All others have what is left of the time.
func (c *course) Context() context.Context {
	if c.asked == 0 {
		return c.x.Context()
	}
	if c.ctx == nil {
		c.ctx, c.cancel = context.WithDeadline(c.x.Context(), c.deadline)
	}
	return c.ctx
}

// late says whether the time is over, which is no fault of a target that is asked after another.
func (c *course) late() bool { return c != nil && c.asked > 0 && !time.Now().Before(c.deadline) }

// left is how long a target may take to answer; 0: as long as any. It is more than nothing for one that is asked after another.
func (c *course) left() time.Duration {
	if c == nil || c.asked == 0 {
		return 0
	}
	return max(1, time.Until(c.deadline))
}

func (c *course) end() {
	if c != nil && c.cancel != nil {
		c.cancel()
	}
}

// nextTurn gives the turn that was found for an exchange that a target has failed.
func (c *course) nextTurn() (t upstream.Turn) {
	if c != nil {
		t, c.next = c.next, upstream.Turn{}
	}
	return t
}

// afterStatus finds another target where one has answered with a status that the configuration names. It does not for a request that must not be
// executed twice, or of which not all is here any more.
func (c *course) afterStatus(status int, repeats bool) bool {
	return c != nil && c.p.Upstream.Retries != nil && slices.Contains(c.p.Upstream.Retries.Statuses, status) && repeats && c.again()
}

// afterEnd is afterStatus, where a target has ended the connection before it said a word.
func (c *course) afterEnd(err error, repeats bool) bool {
	return c != nil && c.p.Upstream.Retries != nil && c.p.Upstream.Retries.Reset && cutShort(err) && repeats && c.again()
}

func (c *course) again() bool {
	if c.asked++; c.asked >= c.p.Upstream.Retries.Attempts || c.late() || c.x.Gone() != nil {
		return false
	}
	c.next = c.p.Upstream.Retry(c.tried)
	return c.next.Target != nil
}

// cutShort says whether an error means that the target has ended the connection, or the stream.
func cutShort(err error) bool {
	var stream *h2.ResetError
	return dead(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &stream)
}

// heldBody gives a request's body, if all of it is here.
func heldBody(x *wire.Exchange) (body []byte, here bool) {
	if x.Length == 0 {
		return nil, true
	}
	body, here = x.Body.Buffered()
	return body, here && x.Length > 0
}
