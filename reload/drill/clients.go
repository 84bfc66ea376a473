package drill

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// Dial opens a connection, above TLS where there is TLS.
type Dial func(ctx context.Context) (net.Conn, error)

// patience is how long a client waits for anything.
const patience = 30 * time.Second

// KeepAlive is an HTTP/1.1 client with one connection, that thinks for about this long between two requests.
func KeepAlive(dial Dial, base string, think time.Duration) Client {
	return func(ctx context.Context, r *Report) {
		var c *h1
		for ctx.Err() == nil {
			if c != nil && !c.think(r, think) {
				c = nil
			}
			if c == nil {
				if c = openH1(dial, r); c == nil {
					continue
				}
			}
			if !c.ask(r, base, false) {
				c = nil
			}
		}
		c.close()
	}
}

// EachAnew is an HTTP/1.1 client that opens a connection for each request.
func EachAnew(dial Dial, base string) Client {
	return func(ctx context.Context, r *Report) {
		for ctx.Err() == nil {
			if c := openH1(dial, r); c != nil {
				c.ask(r, base, true)
				c.close()
			}
		}
	}
}

// h1 is a connection of HTTP/1.1.
type h1 struct {
	c  net.Conn
	in *bufio.Reader
}

func openH1(dial Dial, r *Report) *h1 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		r.fail("connecting", err)
		return nil
	}
	r.count(&r.Opened)
	return &h1{c, bufio.NewReader(c)}
}

func (c *h1) close() {
	if c != nil {
		c.c.Close()
	}
}

// think waits, and says whether the connection is still there.
func (c *h1) think(r *Report, d time.Duration) bool {
	wait := min(time.Duration(rand.ExpFloat64()*float64(d)), 6*d)
	c.c.SetReadDeadline(time.Now().Add(wait + time.Microsecond))
	_, err := c.in.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	if err == nil {
		r.fail("idle", errors.New("bytes that nobody asked for"))
	} else {
		r.count(&r.ClosedUnder)
	}
	c.close()
	return false
}

// ask sends a request, checks its answer, and says whether the connection may be used again.
func (c *h1) ask(r *Report, base string, last bool) bool {
	req, id, err := request(base)
	if err != nil {
		r.fail("request", err)
		return false
	}
	req.Close = last
	c.c.SetDeadline(time.Now().Add(patience))
	if err := req.Write(c.c); err != nil {
		r.fail("writing", err)
		c.close()
		return false
	}
	resp, err := http.ReadResponse(c.in, req)
	if err == nil {
		err = verify(resp, id)
	}
	if err != nil {
		r.fail("reading", err)
		c.close()
		return false
	}
	r.count(&r.OK)
	if resp.Close && !last {
		r.count(&r.ToldToClose)
		io.Copy(io.Discard, c.in)
		c.close()
		return false
	}
	return true
}

// Streams is an HTTP/2 client: one connection at a time, on which this many streams ask, each one request after the other.
func Streams(dial Dial, base string, streams int) Client {
	return func(ctx context.Context, r *Report) {
		t := &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			Protocols:      new(http.Protocols),
		}
		t.Protocols.SetHTTP2(true)
		for ctx.Err() == nil {
			c := openH2(t, r)
			if c == nil {
				continue
			}
			var wg sync.WaitGroup
			for range streams {
				wg.Go(func() {
					for ctx.Err() == nil && c.Reserve() == nil {
						askH2(c, r, base)
					}
				})
			}
			wg.Wait()
			if ctx.Err() == nil {
				r.count(&r.ToldToClose)
			}
			c.Close()
		}
	}
}

func openH2(t *http.Transport, r *Report) *http.ClientConn {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := t.NewClientConn(ctx, "https", "drill:443")
	if err != nil {
		r.fail("connecting", err)
		return nil
	}
	r.count(&r.Opened)
	return c
}

// askH2 sends a request and checks its answer. A connection that said its GOAWAY between the look and the request takes none: nothing was
// written, nothing is lost.
func askH2(c *http.ClientConn, r *Report, base string) {
	req, id, err := request(base)
	if err != nil {
		r.fail("request", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := c.RoundTrip(req.WithContext(ctx))
	if err != nil && strings.Contains(err.Error(), "client conn not usable") {
		return
	}
	if err == nil {
		err = verify(resp, id)
	}
	if err != nil {
		r.fail("stream", err)
		return
	}
	r.count(&r.OK)
}
