// Package proxy relays: an Exchange to an upstream and its answer back, a connection to a target.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"edge/edge/upstream"
	"edge/edge/wire"
)

// StatusClientClosed is logged for a request whose client left before it had an answer; nobody receives it. The number is nginx's.
const StatusClientClosed = 499

// Proxy relays to one upstream.
type Proxy struct {
	Upstream     *upstream.Upstream
	StripCookies func([]byte) []byte // takes our own cookies out of a Cookie field; nil: we have none
}

// Serve relays x. An answer whose head was passed on and that then fails is aborted: what is cut short never looks whole.
func (p *Proxy) Serve(x *wire.Exchange) {
	resp, body, err := p.roundTrip(x)
	defer body.join() // after resp.Body.Close, which stops the sender
	if err != nil {
		fail(x, body, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		tunnel(x, resp)
		return
	}
	if err := answer(x, resp); err != nil {
		x.Record.Err = err
		x.Abort(err)
	}
}

// roundTrip asks one target after the other until one takes the connection: nothing was sent before. The body is nil if there is none.
func (p *Proxy) roundTrip(x *wire.Exchange) (resp *http.Response, body *upload, err error) {
	in := &informer{x: x}
	defer in.stop()
	r := p.request(x, in)
	for _, t := range p.Upstream.Pick() {
		x.Record.Upstream = t.Name
		r.URL.Scheme, r.URL.Host = t.Scheme, t.Host
		if p.Upstream.HostTarget {
			r.Host = t.Host
		}
		sent := r
		if x.Length != 0 { // a new one for each: the transport closes it even if it cannot connect
			body = newUpload(x.Body, p.Upstream.Response)
			sent = body.carriedBy(r)
		}
		resp, err = t.RoundTrip(sent)
		if body.late() {
			if err == nil {
				resp.Body.Close()
			}
			return nil, body, errLate
		}
		var dial *net.OpError
		if err == nil || !errors.As(err, &dial) || dial.Op != "dial" || body != nil && body.touched.Load() {
			break
		}
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
	if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the upstream answered with the status %d", resp.StatusCode)
	}
	return wire.CheckConnection(resp.Header)
}

// request is x as the upstream gets it: the very bytes of its path, without what only we may say.
func (p *Proxy) request(x *wire.Exchange, in *informer) *http.Request {
	r := &http.Request{Method: string(x.Method), URL: target(x), Host: string(x.Authority), Header: http.Header{}, ContentLength: x.Length}
	p.fields(x).AddTo(r.Header)
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // none of our own
	}
	if x.Upgrade != nil {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", string(x.Upgrade))
	}
	return r.WithContext(httptrace.WithClientTrace(x.Context(), &httptrace.ClientTrace{Got1xxResponse: in.inform}))
}

// target gives net/url the very bytes of x's path and query.
func target(x *wire.Exchange) *url.URL {
	path := string(x.Path)
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
	mu sync.Mutex
	x  *wire.Exchange
}

func (in *informer) inform(status int, h textproto.MIMEHeader) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.x == nil || status == http.StatusContinue {
		return nil
	}
	if err := wire.CheckConnection(http.Header(h)); err != nil {
		return err
	}
	return in.x.Inform(status, wire.FromHeader(http.Header(h)))
}

func (in *informer) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.x = nil
}

// answer passes the upstream's answer on.
func answer(x *wire.Exchange, resp *http.Response) error {
	if err := x.Head(resp.StatusCode, wire.FromHeader(resp.Header), length(resp)); err != nil {
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

// fail answers for an upstream that gave no answer.
func fail(x *wire.Exchange, body *upload, err error) {
	x.Record.Err = err
	status, why := status(x, body, err)
	if status == StatusClientClosed {
		x.Record.Status = status
		x.Abort(err)
		return
	}
	wire.ReplyText(x, status, why)
}

// status is the one place where an upstream's error becomes a status.
func status(x *wire.Exchange, body *upload, err error) (int, string) {
	var timeout net.Error
	read := body.failure()
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "The request's body is larger than this site takes."
	case x.Gone() != nil:
		return StatusClientClosed, ""
	case errors.Is(read, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, "The request's body did not come in time."
	case read != nil:
		return http.StatusBadRequest, "The request's body is malformed."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout, "The server behind this site did not answer in time."
	}
	return http.StatusBadGateway, "The server behind this site cannot be reached or gave no valid answer."
}
