package drill

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Dial opens a connection, above TLS where there is TLS.
type Dial func(ctx context.Context) (net.Conn, error)

// patience is how long a client waits for anything.
const patience = 30 * time.Second

// KeepAlive is an HTTP/1.1 client with one connection, that thinks for about this long between two requests.
func KeepAlive(dial Dial, base string, think time.Duration) Client {
	return kept(dial, think, func(c *h1, r *Report) bool {
		req, id, err := r.request(base)
		return c.ask(r, req, id, err)
	})
}

// Posts is a KeepAlive that only does what must not be done twice.
func Posts(dial Dial, base string, think time.Duration) Client {
	return kept(dial, think, func(c *h1, r *Report) bool {
		req, id, err := r.post(base)
		return c.ask(r, req, id, err)
	})
}

// kept keeps one connection of HTTP/1.1, on which it does something again and again; do says whether the connection may be used on.
func kept(dial Dial, think time.Duration, do func(*h1, *Report) bool) Client {
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
			if !do(c, r) {
				c = nil
			}
		}
		c.hangUp()
	}
}

// EachAnew is an HTTP/1.1 client that opens a connection for each request, with this pause between two.
func EachAnew(dial Dial, base string, pause time.Duration) Client {
	return func(ctx context.Context, r *Report) {
		for ctx.Err() == nil {
			anew(dial, base, r)
			time.Sleep(pause)
		}
	}
}

// anew asks once, by a connection of its own.
func anew(dial Dial, base string, r *Report) {
	c := openH1(dial, r)
	if c == nil {
		return
	}
	req, id, err := r.request(base)
	if err == nil {
		req.Close = true
	}
	c.ask(r, req, id, err)
}

// h1 is a connection of HTTP/1.1.
type h1 struct {
	c  net.Conn
	in *bufio.Reader
}

func openH1(dial Dial, r *Report) *h1 {
	c := open(dial, r)
	if c == nil {
		return nil
	}
	return &h1{c, bufio.NewReader(c)}
}

// open dials and counts.
func open(dial Dial, r *Report) net.Conn {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before := r.excuse() // it may be over when the error is looked at
	c, err := dial(ctx)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			r.count(&r.Refused)
		}
		r.failWith(max(before, r.excuse()), "connecting", err)
		time.Sleep(time.Millisecond) // a server that is gone is not to be asked as fast as the machine can
		return nil
	}
	r.count(&r.Opened)
	if t, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok && t.ConnectionState().DidResume {
		r.count(&r.Resumed)
	}
	return c
}

// hangUp ends a connection in good order: whoever closes a socket on which something still comes answers it with a reset.
func (c *h1) hangUp() {
	if c != nil {
		hangUp(c.c)
	}
}

// goodbye is how long a client waits for the server to close as well.
const goodbye = 5 * time.Second

func hangUp(c net.Conn) {
	defer c.Close()
	if w, ok := c.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		c.SetReadDeadline(time.Now().Add(goodbye))
		io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	}
}

// polite is a connection that ends in good order whoever closes it: net/http's HTTP/2 closes one while the server's last words are on their way,
// and the kernel answers these with a reset.
type polite struct {
	net.Conn
	once sync.Once
}

// Close waits for the server to close as well. Who still reads gets what comes until then, or its end.
func (c *polite) Close() error {
	c.once.Do(func() { hangUp(c.Conn) })
	return nil
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
		r.fail("idle", wrongly("bytes that nobody asked for"))
	} else {
		r.closedUnder()
	}
	c.c.Close()
	return false
}

// ask sends a request, checks its answer, and says whether the connection may be used again; else it is closed.
func (c *h1) ask(r *Report, req *http.Request, id int64, err error) bool {
	return c.askSince(time.Now(), r, req, id, err)
}

// askSince is ask for a request whose time counts from began.
func (c *h1) askSince(began time.Time, r *Report, req *http.Request, id int64, err error) bool {
	c.c.SetDeadline(time.Now().Add(patience))
	if err == nil {
		err = req.Write(c.c)
	}
	if err != nil {
		r.fail("writing", err)
		c.c.Close()
		return false
	}
	return c.answer(r, req, began, func(resp *http.Response) error { return verify(resp, id) })
}

// answer reads an answer and checks it, and says whether the connection may be used again; else it is closed.
func (c *h1) answer(r *Report, req *http.Request, began time.Time, check func(*http.Response) error) bool {
	resp, err := http.ReadResponse(c.in, req)
	if err == nil {
		err = check(resp)
		resp.Body.Close()
	}
	if err != nil {
		r.fail("reading", err)
		c.c.Close()
		return false
	}
	r.ok(began)
	if resp.Close || req.Close {
		if !req.Close {
			r.count(&r.ToldToClose)
		}
		c.hangUp()
		return false
	}
	return true
}

// Streams is an HTTP/2 client: one connection at a time, on which this many streams ask, each one request after the other, with
// this pause between two.
func Streams(dial Dial, base string, streams int, pause time.Duration) Client {
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
						time.Sleep(pause)
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

// askH2 sends a request and checks its answer. ClientConn, unlike Transport, never sends anything twice (clientconn.go, h2_bundle.go). A connection
// that said its GOAWAY between the look and the request takes none: nothing was written, nothing is lost.
func askH2(c *http.ClientConn, r *Report, base string) {
	req, id, err := r.request(base)
	if err != nil {
		r.fail("request", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
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
	r.ok(began)
}
