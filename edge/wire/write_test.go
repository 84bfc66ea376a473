package wire

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Past the length that was announced nothing is written, whatever the way.
func TestPastLength(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			x.Head(200, nil, 2)
			if string(x.Path) == "/write" {
				io.WriteString(x, "ok")
				if _, err := io.WriteString(x, "!"); err == nil {
					t.Error("the third byte of two is written")
				}
			} else if n, _ := x.ReadFrom(strings.NewReader("ok!")); n != 2 && major == 1 {
				t.Errorf("%d bytes of two are written", n)
			}
			x.Finish(nil)
		})
		for _, path := range []string{"/write", "/readfrom"} {
			if _, text, err := get(t, s, "GET", path, nil); err == nil && text != "ok" {
				t.Errorf("%s: got %q, %v", path, text, err)
			}
		}
	})
}

func TestReadFrom(t *testing.T) {
	const n = 3*piece + 5
	for name, r := range map[string]func() io.Reader{
		"reader":  func() io.Reader { return strings.NewReader(strings.Repeat("x", n)) },
		"limited": func() io.Reader { return io.LimitReader(endless{}, n) },
		"failing": func() io.Reader {
			return io.MultiReader(io.LimitReader(endless{}, n-1), readFunc(func([]byte) (int, error) { return 0, errors.New("why") }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, major int) {
				s := serveTLS(t, major, testConn(), func(x *Exchange) {
					x.Head(200, nil, n)
					m, err := x.ReadFrom(r())
					if string(x.Method) != "HEAD" && m != x.Record.BytesOut || (err != nil) != (name == "failing") {
						t.Errorf("copied %d, the record has %d, %v", m, x.Record.BytesOut, err)
					}
					x.Finish(nil)
				})
				_, text, err := get(t, s, "GET", "/", nil)
				if (err != nil) != (name == "failing") || err == nil && text != strings.Repeat("x", n) {
					t.Errorf("got %d bytes, %v", len(text), err)
				}
				if _, text, err := get(t, s, "HEAD", "/", nil); name != "failing" && (err != nil || text != "") {
					t.Errorf("HEAD: %q, %v", text, err)
				}
			})
		})
	}
}

// endless is bytes without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Between its writes an answer has all the time: what counts is progress, of the client.
func TestWriteTimeout(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		t.Parallel()
		c := testConn()
		c.Write = 100 * time.Millisecond
		ended := make(chan error, 1)
		h := func(x *Exchange) {
			time.Sleep(2 * c.Write) // an upstream thinks
			x.Head(200, nil, Unknown)
			if string(x.Path) == "/stuck" {
				var err error
				for buf := make([]byte, 64<<10); err == nil; {
					_, err = x.Write(buf)
				}
				ended <- err
				return
			}
			for range 3 {
				io.WriteString(x, "event ")
				if err := x.Flush(); err != nil {
					t.Errorf("flush: %v", err)
				}
				time.Sleep(2 * c.Write)
			}
			x.Finish(nil)
		}
		s := httptest.NewUnstartedServer(ServeHTTP(HandlerFunc(h), c, nil))
		s.Config.WriteTimeout = c.Write
		if s.EnableHTTP2 = major == 2; s.EnableHTTP2 {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		if _, text, err := get(t, s, "GET", "/", nil); err != nil || text != "event event event " {
			t.Errorf("got %q, %v", text, err)
		}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/stuck", nil)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := wait(t, "the write ends", ended); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the write ends with %v", err)
		}
	})
}

// A client that reads slowly, but reads, gets all of an answer that takes many times the time of a write. There is no kernel between the
// two here: what waits in its buffers is out of our sight.
func TestSlowReader(t *testing.T) {
	const size = 1 << 20
	for name, h := range map[string]HandlerFunc{
		"write":    func(x *Exchange) { x.Write(make([]byte, size)) },
		"readfrom": func(x *Exchange) { x.ReadFrom(io.LimitReader(endless{}, size)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				c := testConn()
				c.Write = 20 * time.Second
				s := &http.Server{Handler: ServeHTTP(HandlerFunc(func(x *Exchange) {
					x.Head(200, nil, size)
					h(x)
					x.Finish(nil)
				}), c, nil)}
				l := &oneConn{conns: make(chan net.Conn, 1)}
				l.conns <- server
				go s.Serve(l)
				defer s.Close()
				io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				n, buf := 0, make([]byte, 1<<10)
				for {
					m, err := client.Read(buf)
					if n += m; err != nil {
						break
					}
					time.Sleep(time.Second) // at most 1 KiB in each
				}
				if n < size {
					t.Errorf("the client is cut off after %d bytes", n)
				}
			})
		})
	}
}

// oneConn is a listener that gives its connections and then waits for its end.
type oneConn struct {
	conns chan net.Conn
	once  sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error   { l.once.Do(func() { close(l.conns) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
