package h1

import (
	"net/http"

	"edge/edge/record"
	"edge/edge/wire"
)

// exchange is a request and the answer to it; a connection has one, and uses it again.
type exchange struct {
	wire.Exchange
	rec    record.Record
	body   body
	answer answer
}

// run lets the handler answer, and says whether another request may follow.
func (x *exchange) run(c *Conn) bool {
	x.body.begin(c)
	x.answer.begin(c)
	c.fillIn(x)
	c.handling = true
	c.o.Handler.Serve(&x.Exchange)
	c.handling = false
	again := x.answer.end()
	c.in.unpin()
	return again
}

// end ends the exchange when its handler has returned, and says whether another may follow.
func (a *answer) end() bool {
	a.gone.end()
	if a.tunnel != nil {
		a.tunnel.Close()
		return false
	}
	if !a.headSent && !a.aborted.Load() {
		wire.ReplyText(&a.c.x.Exchange, http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError))
	}
	a.giveBack()
	if !a.finished || a.aborted.Load() {
		a.c.x.body.stop()
		a.cut()
		return false
	}
	return !a.close && a.c.x.body.end()
}

// panicked ends the exchange of a handler that did not return.
func (a *answer) panicked(e any) {
	a.buf = nil // somebody may still be at it
	if e == http.ErrAbortHandler {
		a.Abort(http.ErrAbortHandler)
	}
	a.close = true
	a.c.x.Responder = a // whatever lay above it
	a.end()
}

// cut sees to it that an answer that is not complete does not look whole: where only its end would end it, by a reset.
func (a *answer) cut() {
	if a.headSent && !a.finished && !a.chunked && a.length == wire.Unknown {
		a.c.nc.Reset()
	}
}
