package h2

import (
	"testing"

	"golang.org/x/net/http2"

	"edge/edge/wire"
)

// A handler that finds the body of its request gone, because the client has reset the stream, hears that the client has left whenever it asks: be it
// told of it before or after its Read has ended.
func TestResetInUpload(t *testing.T) {
	for name, toldFirst := range map[string]bool{"the Read ends first": false, "OnGone runs first": true} {
		t.Run(name, func(t *testing.T) {
			reads, gone := make(chan struct{}), make(chan error, 1)
			f := newFront(t, false, func(x *wire.Exchange) {
				close(reads)
				told := make(chan struct{})
				w := &x.Responder.(*answer).s.gone
				if toldFirst {
					x.OnGone(func(error) { close(told) })
					<-told
				} else {
					w.mu.Lock() // whoever is to tell waits
					defer w.mu.Unlock()
				}
				if _, err := x.Body.Read(make([]byte, 1)); err == nil {
					t.Error("a body of which nothing was sent")
				}
				gone <- x.Gone()
			}, nil)
			c := f.raw()
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.block(":method", "POST", ":scheme", "http",
				":path", "/", ":authority", "a.test")})
			<-reads
			c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
			if <-gone == nil {
				t.Error("the client has not left")
			}
		})
	}
}
