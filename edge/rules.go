package edge

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"edge/conf"
	"edge/edge/guard"
	"edge/edge/proxy"
	"edge/edge/ratelimit"
	"edge/edge/wire"
)

// rules are a vhost's or a route's, compiled. Each of its steps says whether a request passes; else it has answered.
type rules struct {
	allow, deny conf.Prefixes
	limit       *ratelimit.Limiter // nil: none
	basic       *guard.Basic       // nil: none
	headers     []conf.Header
}

// rules compiles what a configuration says. Limits of the same spec are the same.
func (snap *Snapshot) rules(id, path string, r *conf.Rules) rules {
	c := rules{allow: r.Allow, deny: r.Deny, headers: r.Headers}
	if r.RateLimit != nil {
		c.limit = snap.rates[rateOf(id, path, r.RateLimit)]
	}
	if r.BasicAuth != nil {
		c.basic = &guard.Basic{Users: snap.passwords[r.BasicAuth.File.Path], Realm: r.BasicAuth.Realm}
	}
	return c
}

// dress sees to it that the answer, whoever gives it, has the fields that it is to have.
func (r *rules) dress(x *wire.Exchange) {
	if r.headers != nil {
		x.Responder = ruled{x.Responder, r.headers}
	}
}

var errDenied = errors.New("the client's address is not allowed")

// admit looks at the client's address. One that is not known is in no list: nobody who is let in by address comes without one.
func (r *rules) admit(x *wire.Exchange) bool {
	if r.deny == nil && r.allow == nil {
		return true
	}
	client := x.Record.Client.Addr()
	if !r.deny.Contains(client) && (r.allow == nil || r.allow.Contains(client)) {
		return true
	}
	x.Record.Err = errDenied
	wire.ReplyText(x, http.StatusForbidden, "You may not come here from your address.")
	return false
}

var errRate = errors.New("the client asks too often")

// takeTurn counts the request against its client's limit.
func (r *rules) takeTurn(x *wire.Exchange) bool {
	if r.limit == nil {
		return true
	}
	wait := r.limit.Take(x.Record.Client.Addr())
	if wait == 0 {
		return true
	}
	x.Record.Err = errRate
	wire.ReplyText(x, http.StatusTooManyRequests, "You ask too often. Please wait a moment.", retryAfter(wait))
	return false
}

// known asks for a name and a password.
func (r *rules) known(x *wire.Exchange) bool { return r.basic == nil || r.basic.Pass(x) }

// retryAfter is the field that says so, in seconds, rounded up.
func retryAfter(wait time.Duration) wire.Field {
	return wire.Field{Name: []byte("retry-after"), Value: strconv.AppendInt(nil, int64(math.Ceil(wait.Seconds())), 10)}
}

// closed is a vhost under maintenance.
type closed struct {
	page  string // "": the one for 503, or a text
	retry wire.Field
	allow conf.Prefixes
}

// pass lets in who works on the site.
func (c *closed) pass(x *wire.Exchange) bool {
	if c == nil || c.allow.Contains(x.Record.Client.Addr()) {
		return true
	}
	noStore := wire.Field{Name: []byte("cache-control"), Value: []byte("no-store")}
	if c.page != "" {
		wire.ReplyPage(x, http.StatusServiceUnavailable, c.page, c.retry, noStore)
	} else {
		wire.ReplyText(x, http.StatusServiceUnavailable, "The site is being worked on. Please come back later.", c.retry, noStore)
	}
	return false
}

// closed compiles a vhost's switch.
func (snap *Snapshot) closed(m *conf.Maintenance) *closed {
	if m == nil {
		return nil
	}
	return &closed{page: snap.texts[m.Page.Path], retry: retryAfter(m.RetryAfter), allow: m.Allow}
}

// pages gives a vhost's error pages by status.
func (snap *Snapshot) pages(list []conf.ErrorPage) wire.Pages {
	if list == nil {
		return nil
	}
	pages := wire.Pages{}
	for _, p := range list {
		for status := p.First; status <= p.Last; status++ {
			pages[status] = snap.texts[p.Page.Path]
		}
	}
	return pages
}

// ruled sets and removes the response fields that a configuration says.
type ruled struct {
	wire.Responder
	rules []conf.Header
}

func (r ruled) Head(status int, f wire.Fields, length int64) error {
	return r.Responder.Head(status, r.apply(f), length)
}

func (r ruled) Tunnel(f wire.Fields) (wire.Stream, error) { return r.Responder.Tunnel(r.apply(f)) }

func (r ruled) apply(f wire.Fields) wire.Fields {
	for _, h := range r.rules {
		f = f.Del(h.Name)
		if h.Value != "" {
			f = f.Add(h.Name, h.Value)
		}
	}
	return f
}

// requestRules are those of a relayed request. A password that was said to us goes no further.
func requestRules(r *conf.Rules) proxy.Rules {
	headers := r.RequestHeaders
	if r.BasicAuth != nil && !sets(headers, "authorization") {
		headers = append(headers[:len(headers):len(headers)], conf.Header{Name: "authorization"})
	}
	return proxy.NewRules(headers)
}

func sets(headers []conf.Header, name string) bool {
	for _, h := range headers {
		if h.Name == name {
			return true
		}
	}
	return false
}
