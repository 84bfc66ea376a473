package edge

import (
	"io"

	"edge/edge/wire"
)

// intercepting gives a handler whose answers give way to the vhost's error pages, if on is set.
func intercepting(h wire.Handler, on bool) wire.Handler {
	if !on {
		return h
	}
	return wire.HandlerFunc(func(x *wire.Exchange) {
		if x.Pages != nil {
			x.Responder = intercept{x.Responder, x.Pages}
		}
		h.Serve(x)
	})
}

// intercept puts an error page in the place of an answer that has a status for which there is one. The rest of that answer is not waited for: it may
// be long, or never end. It is dropped, but for the fields that tell a client what to do next.
type intercept struct {
	wire.Responder
	pages wire.Pages
}

// kept are those fields.
var kept = map[string]bool{"retry-after": true, "www-authenticate": true, "set-cookie": true, "allow": true}

func (i intercept) Head(status int, f wire.Fields, length int64) error {
	page, ok := i.pages[status]
	if !ok {
		return i.Responder.Head(status, f, length)
	}
	f = f.DelFunc(func(name []byte) bool { return !kept[string(name)] })
	err := i.Responder.Head(status, f.Add("content-type", "text/html; charset=utf-8").Add("x-content-type-options", "nosniff"), int64(len(page)))
	if err == nil {
		_, err = io.WriteString(i.Responder, page)
	}
	if err == nil {
		err = i.Responder.Finish(nil)
	}
	if err == nil {
		err = wire.ErrReplaced
	}
	return err
}
