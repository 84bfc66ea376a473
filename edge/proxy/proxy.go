// Package proxy relays: an Exchange to an upstream and its answer back, a connection to a target.
package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"

	"edge/edge/tunnel"
	"edge/edge/upstream"
	"edge/edge/wire"
)

// StatusClientClosed is logged for a request whose client left before it had an answer; nobody receives it. The number is nginx's.
const StatusClientClosed = 499

// Proxy relays to one upstream.
type Proxy struct {
	Upstream     *upstream.Upstream
	StripCookies func([]byte) []byte // takes our own cookies out of a Cookie field; nil: we have none
	Tunnels      *tunnel.Registry    // has the tunnels while they are open; nil: nothing has
}

// Serve relays x to one target after the other until one takes the connection: nothing was sent before. An answer whose head was passed on
// and that then fails is aborted: what is cut short never looks whole.
func (p *Proxy) Serve(x *wire.Exchange) {
	var unreachable error
	for _, t := range p.Upstream.Pick() {
		x.Record.Upstream = t.Name
		if t.H2C {
			unreachable = p.serveH2C(x, t)
		} else {
			unreachable = p.serveH1(x, t)
		}
		if unreachable == nil {
			return
		}
	}
	fail(x, nil, unreachable)
}

// fail answers for an upstream that gave no answer. read is what reading the request's body failed with.
func fail(x *wire.Exchange, read, err error) {
	x.Record.Err = err
	status, why := status(x, read, err)
	if status == StatusClientClosed {
		x.Record.Status = status
		x.Abort(err)
		return
	}
	wire.ReplyText(x, status, why)
}

// status is the one place where an upstream's error becomes a status.
func status(x *wire.Exchange, read, err error) (int, string) {
	var timeout net.Error
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
