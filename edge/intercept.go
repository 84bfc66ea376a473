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
			x.Responder = &intercept{Responder: x.Responder, pages: x.Pages}
		}
		h.Serve(x)
	})
}

// intercept puts an error page in the place of an answer that has a status for which there is one. The rest of that answer is dropped, but for
// the fields that tell a client what to do next.
type intercept struct {
	wire.Responder
	pages wire.Pages
	over  bool // the page was given
}

// kept are those fields.
var kept = map[string]bool{"retry-after": true, "www-authenticate": true, "set-cookie": true, "allow": true}

func (i *intercept) Head(status int, f wire.Fields, length int64) error {
	page, ok := i.pages[status]
	if !ok {
		return i.Responder.Head(status, f, length)
	}
	i.over = true
	f = f.DelFunc(func(name []byte) bool { return !kept[string(name)] })
	err := i.Responder.Head(status, f.Add("content-type", "text/html; charset=utf-8").Add("x-content-type-options", "nosniff"), int64(len(page)))
	if err == nil {
		_, err = io.WriteString(i.Responder, page)
	}
	if err == nil {
		err = i.Responder.Finish(nil)
	}
	return err
}

func (i *intercept) Write(p []byte) (int, error) {
	if i.over {
		return len(p), nil
	}
	return i.Responder.Write(p)
}

func (i *intercept) ReadFrom(r io.Reader) (int64, error) {
	if i.over {
		return io.Copy(io.Discard, r)
	}
	return i.Responder.ReadFrom(r)
}

func (i *intercept) Finish(trailers wire.Fields) error {
	if i.over {
		return nil
	}
	return i.Responder.Finish(trailers)
}
