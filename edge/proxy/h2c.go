package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"edge/edge/upstream"
	"edge/edge/wire"
)

var errH2CUpgrade = errors.New("an upgrade was asked for, and the upstream speaks HTTP/2, which has none")

// serveH2C relays x to a target that speaks HTTP/2, by net/http's Transport. An error means that the target was not reached, or that another one
// is to be asked.
func (p *Proxy) serveH2C(x *wire.Exchange, t *upstream.Target, c *course) (elsewhere error) {
	if x.Upgrade != nil {
		fail(x, nil, errH2CUpgrade)
		return nil
	}
	in := &informer{p: p, x: x}
	resp, body, err := p.roundTrip(x, t, in, c)
	var dial *net.OpError
	reached := !errors.As(err, &dial) || dial.Op != "dial"
	if err != nil && blamed(x, err) && !c.late() && (!reached || body.blames(err)) {
		t.Failed(err)
	}
	if !reached && (body == nil || !body.touched.Load()) {
		body.join()
		return err
	}
	defer body.join() // after resp.Body.Close, which stops the sender
	if err != nil {
		if body.failure() == nil && !in.told && c.afterEnd(err, repeatable(x)) {
			return errElsewhere
		}
		fail(x, body.failure(), err)
		return nil
	}
	defer resp.Body.Close()
	t.Answered()
	if c.afterStatus(resp.StatusCode, repeatable(x)) {
		return errElsewhere
	}
	x.Record.Answered = time.Now()
	if err := p.answer(x, resp); err != nil && err != wire.ErrReplaced {
		x.Record.Err = err
		x.Abort(err)
	}
	return nil
}

// roundTrip asks the target. The body is nil if there is none.
func (p *Proxy) roundTrip(x *wire.Exchange, t *upstream.Target, in *informer, c *course) (resp *http.Response, body *upload, err error) {
	defer in.stop()
	r := p.request(x, in)
	r.URL.Scheme, r.URL.Host = t.Scheme, t.Host
	if p.Upstream.HostTarget {
		r.Host = t.Host
	}
	if x.Length != 0 { // a new one for each: the transport closes it even if it cannot connect
		body = newUpload(c.body(x), p.Upstream.Response, p.dropsTrailer)
		r = body.carriedBy(r)
	}
	r, inTime := c.within(r)
	defer inTime()
	resp, err = t.RoundTrip(r)
	if err != nil && c.late() {
		err = errLate
	}
	if body.late() {
		if err == nil {
			resp.Body.Close()
		}
		return nil, body, errLate
	}
	if err != nil {
		return nil, body, err
	}
	if err := valid(resp); err != nil {
		resp.Body.Close()
		return nil, body, err
	}
	return resp, body, nil
}

// valid says what is wrong with an answer that net/http takes.
func valid(resp *http.Response) error {
	if resp.StatusCode < 200 {
		return fmt.Errorf("the upstream answered with the status %d", resp.StatusCode)
	}
	return wire.CheckConnection(resp.Header)
}

// request is x as the upstream gets it: the very bytes of its path, without what only we may say.
func (p *Proxy) request(x *wire.Exchange, in *informer) *http.Request {
	r := &http.Request{Method: string(x.Method), URL: target(x, p.Strip), Host: string(x.Authority), Header: http.Header{}, ContentLength: x.Length}
	p.fields(x, &fieldScratch{}).AddTo(r.Header)
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // none of our own
	}
	return r.WithContext(httptrace.WithClientTrace(x.Context(), &httptrace.ClientTrace{Got1xxResponse: in.inform}))
}

// target gives net/url the very bytes of x's path, without the first few, and query.
func target(x *wire.Exchange, strip int) *url.URL {
	path := string(x.Path[strip:])
	u := &url.URL{Path: wire.Decode(path), RawPath: path, RawQuery: string(x.RawQuery), ForceQuery: x.HasQuery}
	switch {
	case u.EscapedPath() == path:
	case !strings.HasPrefix(path, "//"):
		u.Opaque = path // holds bytes that net/url would escape
	default: // the same, but an Opaque of two slashes would leave as "http://" and a host of the client's choice
		u.RawPath = escape(path)
	}
	return u
}

// escape encodes the bytes that no URL should hold, and leaves all others.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c >= 0x80 || strings.IndexByte("\"<>^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// informer passes the upstream's 1xx on until there is an answer. The transport calls from a goroutine of its own, even after a
// RoundTrip that was cancelled.
type informer struct {
	p    *Proxy
	mu   sync.Mutex
	x    *wire.Exchange
	told bool // there was one
}

func (in *informer) inform(status int, h textproto.MIMEHeader) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.x == nil || status == http.StatusContinue {
		return nil
	}
	in.told = true
	if err := wire.CheckConnection(http.Header(h)); err != nil {
		return err
	}
	return in.p.inform(in.x, status, wire.FromHeader(http.Header(h)))
}

func (in *informer) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.x = nil
}

// answer passes the upstream's answer on.
func (p *Proxy) answer(x *wire.Exchange, resp *http.Response) error {
	if err := x.Head(resp.StatusCode, p.theirs(wire.FromHeader(resp.Header)), length(resp)); err != nil {
		return err
	}
	live := resp.ContentLength == wire.Unknown // a stream of events: its head and each piece when it comes
	if live {
		if err := x.Flush(); err != nil {
			return err
		}
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, err := x.Write(buf[:n]); err != nil {
				return err
			}
			if live {
				if err := x.Flush(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return x.Finish(wire.FromHeader(resp.Trailer))
		}
		if err != nil {
			return fmt.Errorf("reading the upstream's answer: %w", err)
		}
	}
}

// length gives the Content-Length of an answer. net/http has 0 for all without a body; but of a 304 that says none the length is not
// known, and a 204 has none (RFC 9110 section 8.6).
func length(resp *http.Response) int64 {
	switch resp.StatusCode {
	case http.StatusNoContent:
		return wire.Unknown
	case http.StatusNotModified:
		if n, err := strconv.ParseUint(resp.Header.Get("Content-Length"), 10, 63); err == nil {
			return int64(n)
		}
		return wire.Unknown
	}
	return resp.ContentLength
}
