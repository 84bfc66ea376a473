package h2

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"edge/edge/wire"
)

// both runs a test over TLS and without.
func both(t *testing.T, do func(t *testing.T, overTLS bool)) {
	for name, overTLS := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) { do(t, overTLS) })
	}
}

// What is sent comes back, of all sizes, many at a time.
func TestEcho(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		f := newFront(t, overTLS, echo, nil)
		c := f.client()
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				sent := make([]byte, []int{0, 1, 1 << 10, 16 << 10, 16<<10 + 1, 300 << 10, 1 << 20}[i%7])
				for j := range sent {
					sent[j] = byte(rand.Uint32())
				}
				var body io.Reader = bytes.NewReader(sent)
				if i%3 == 0 {
					body = struct{ io.Reader }{body} // of a length that is not said
				}
				res, err := c.Post(f.url(fmt.Sprintf("/%d?q=%d", i, i)), "text/plain", body)
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%d: %d of %d bytes, %v", i, len(got), len(sent), err)
				}
			})
		}
		wg.Wait()
	})
}

// A request reaches its handler as it was sent, and the answer its client.
func TestExchange(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		f := newFront(t, overTLS, func(x *wire.Exchange) {
			cookie, n := x.Fields.Get("cookie")
			x.Inform(103, wire.Fields{{Name: []byte("link"), Value: []byte("</a>")}})
			text := fmt.Sprintf("%s %s %s %s %q %d %d", x.Method, x.Authority, x.Target(), x.Scheme, cookie, n, x.Length)
			x.Head(201, wire.Fields{{Name: []byte("x-a"), Value: []byte("b")}, {Name: []byte("connection"), Value: []byte("close")}}, int64(len(text)))
			io.WriteString(x, text)
			x.Finish(nil)
		}, nil)
		req, _ := http.NewRequest("GET", f.url("/a%2fb?c=d"), nil)
		req.Header.Set("Cookie", "a=b; c=d")
		res, err := f.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		want := `GET a.test /a%2fb?c=d http "a=b; c=d" 1 0`
		if overTLS {
			want = `GET a.test /a%2fb?c=d https "a=b; c=d" 1 0`
		}
		if string(got) != want || err != nil || res.StatusCode != 201 || res.Header.Get("X-A") != "b" || res.Header.Get("Date") == "" || res.ContentLength != int64(len(want)) {
			t.Errorf("%q %v %v", got, res, err)
		}
	})
}

// Trailers pass both ways.
func TestTrailers(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		f := newFront(t, overTLS, echo, nil)
		req, _ := http.NewRequest("POST", f.url("/"), struct{ io.Reader }{bytes.NewReader([]byte("body"))})
		req.Trailer = http.Header{"X-Sum": {"42"}}
		res, err := f.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, err := io.ReadAll(res.Body)
		if string(got) != "body" || err != nil || res.Trailer.Get("X-Sum") != "42" {
			t.Errorf("%q %v %v", got, err, res.Trailer)
		}
	})
}
