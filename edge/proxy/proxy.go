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
	body := newUpload(x.Body)
	resp, err := p.roundTrip(x, body)
	if err != nil {
		fail(x, err)
		body.join()
		return
	}
	defer body.join() // after resp.Body.Close, which stops the sender
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		tunnel(x, resp)
		return
	}
	if err := answer(x, resp); err != nil {
		x.Record.Err = err
		x.Abort(err)
		return
	}
}

// roundTrip asks one target after the other until one takes the connection: nothing was sent before.
func (p *Proxy) roundTrip(x *wire.Exchange, body *upload) (*http.Response, error) {
	r := p.request(x)
	if x.Length != 0 {
		r.Body = body
		body.used = true
	}
	var resp *http.Response
	var err error
	for _, t := range p.Upstream.Pick() {
		x.Record.Upstream = t.Name
		r.URL.Scheme, r.URL.Host = t.Scheme, t.Host
		if p.Upstream.HostTarget {
			r.Host = t.Host
		}
		resp, err = t.RoundTrip(r)
		var dial *net.OpError
		if err == nil || !errors.As(err, &dial) || dial.Op != "dial" || body.touched() {
			break
		}
	}
	return resp, err
}

// request is x as the upstream gets it: the very bytes of its path, without what only we may say.
func (p *Proxy) request(x *wire.Exchange) *http.Request {
	u := &url.URL{Path: wire.Decode(string(x.Path)), RawPath: string(x.Path), RawQuery: string(x.RawQuery), ForceQuery: x.HasQuery}
	if u.EscapedPath() != u.RawPath || len(x.Path) > 1 && x.Path[1] == '/' {
		u = &url.URL{Opaque: string(x.Path), RawQuery: u.RawQuery, ForceQuery: x.HasQuery} // net/url would write other bytes
	}
	r := &http.Request{Method: string(x.Method), URL: u, Host: string(x.Authority), Header: http.Header{}, ContentLength: x.Length}
	p.fields(x).AddTo(r.Header)
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = nil // none of our own
	}
	if x.Upgrade != nil {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", string(x.Upgrade))
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
		if status == http.StatusContinue {
			return nil
		}
		return x.Inform(status, wire.FromHeader(http.Header(h)))
	}}
	return r.WithContext(httptrace.WithClientTrace(x.Context(), trace))
}

// answer passes the upstream's answer on.
func answer(x *wire.Exchange, resp *http.Response) error {
	if err := x.Head(resp.StatusCode, wire.FromHeader(resp.Header), resp.ContentLength); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, err := x.Write(buf[:n]); err != nil {
				return err
			}
			if resp.ContentLength == wire.Unknown { // a stream of events: each piece when it comes
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

// fail answers for an upstream that gave no answer.
func fail(x *wire.Exchange, err error) {
	x.Record.Err = err
	status, why := status(x, err)
	if status == StatusClientClosed {
		x.Record.Status = status
		x.Abort(err)
		return
	}
	wire.ReplyText(x, status, why)
}

// status is the one place where an upstream's error becomes a status.
func status(x *wire.Exchange, err error) (int, string) {
	var timeout net.Error
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return http.StatusRequestEntityTooLarge, "The request's body is larger than this site takes."
	case x.Gone() != nil:
		return StatusClientClosed, ""
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout, "The server behind this site did not answer in time."
	}
	return http.StatusBadGateway, "The server behind this site cannot be reached or gave no valid answer."
}
