package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"edge/conf"
	"edge/edge/wire"
)

// An answer reaches a client that still sends, and the upload is joined.
func TestEarlyAnswer(t *testing.T) {
	for name, p := range map[string]*Proxy{
		"and waits": rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
			io.WriteString(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
			io.Copy(io.Discard, in)
		}),
		"and reads nothing": rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
			io.WriteString(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
			up.(*net.TCPConn).CloseWrite()
			in.Peek(1 << 12)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, major int) {
				f := relay(t, major, p)
				for _, stalls := range []bool{false, true} {
					body, w := io.Pipe()
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						var err error
						for first := true; err == nil && (first || !stalls); first = false {
							_, err = w.Write(make([]byte, 4<<10))
						}
					}()
					resp, text, err := f.ask(t, "POST", "/", nil, body)
					if err != nil || resp.StatusCode != 413 || text != "large" {
						t.Errorf("got %v, %q, %v", resp, text, err)
					}
					if r := wait(t, "the handler returns", f.records); r.Status != 413 {
						t.Errorf("the record has %+v", r)
					}
					body.Close()
					wait(t, "the client's sender ends", ended)
				}
			})
		})
	}
}

func TestFullDuplex(t *testing.T) {
	_, p := origin(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			w.Write(b[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		body, w := io.Pipe()
		go io.WriteString(w, "0")
		resp, err := f.Client().Do(f.request(t, "POST", "/", nil, body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i := range 5 {
			expect(t, resp.Body, fmt.Sprint(i))
			fmt.Fprint(w, i+1)
		}
		w.Close()
		expect(t, resp.Body, "5")
		expectEnd(t, resp.Body)
		if r := wait(t, "the record", f.records); r.BytesIn != 6 || r.BytesOut != 6 || r.Err != nil {
			t.Errorf("the record has %+v", r)
		}
	})
}

// A body that its client does not send to the end never looks whole to the upstream.
func TestClientLeavesUpload(t *testing.T) {
	got, reached := make(chan error, 1), make(chan struct{}, 1)
	_, p := origin(t, func(_ http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1))
		reached <- struct{}{}
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		for _, length := range []int64{100, -1} {
			ctx, cancel := context.WithCancel(t.Context())
			body, w := io.Pipe()
			r := f.request(t, "POST", "/", nil, body).WithContext(ctx)
			r.ContentLength = length
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if resp, err := f.Client().Do(r); err == nil {
					resp.Body.Close()
				}
			}()
			io.WriteString(w, "some")
			wait(t, "upstream reads", reached)
			cancel()
			if err := wait(t, "upstream's read ends", got); err == nil {
				t.Error("half a body looks whole")
			}
			w.CloseWithError(context.Canceled) // net/http's client waits for its body
			<-ended
			if r := wait(t, "the record", f.records); r.Status != StatusClientClosed || r.Err == nil {
				t.Errorf("the record has %+v", r)
			}
		}
	})
}

// What is wrong with the client's body is the client's fault.
func TestBadBody(t *testing.T) {
	_, p := origin(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	f := relay(t, 1, p)
	_, in := f.dial(t, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\n12345\nzz\n")
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusBadRequest || !resp.Close {
		t.Errorf("malformed: %v, %v", resp, err)
	}
	<-f.records

	bothModes(t, func(t *testing.T, major int) {
		f := serve(t, major, func(x *wire.Exchange) {
			x.Body = wire.Limit(x.Body, 5)
			p.Serve(x)
		})
		for _, size := range []int{6, 1 << 20} {
			resp, _, err := f.ask(t, "POST", "/", nil, io.MultiReader(strings.NewReader(strings.Repeat("x", size))))
			if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("too large: %v, %v", resp, err)
			}
			if r := <-f.records; !errors.Is(r.Err, wire.ErrTooLarge) {
				t.Errorf("the record has %+v", r)
			}
		}
		late := serve(t, major, func(x *wire.Exchange) {
			x.Body = lateBody{x.Body}
			p.Serve(x)
		})
		resp, _, err := late.ask(t, "POST", "/", nil, io.MultiReader(strings.NewReader("x")))
		if err != nil || resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("late: %v, %v", resp, err)
		}
	})
}

// lateBody is a body that does not come in time.
type lateBody struct{ wire.Body }

func (lateBody) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// A client that stalls in its upload, while the upstream answers in full, holds nothing.
func TestStalledUpload(t *testing.T) {
	p := rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		io.WriteString(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
		io.Copy(io.Discard, in)
	})
	f := relay(t, 1, p)
	begin := time.Now()
	_, in := f.dial(t, "POST / HTTP/1.1\nHost: a\nContent-Length: 100\n\nsome")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, resp.Body, "ok")
	expectEnd(t, resp.Body)
	wait(t, "the handler returns", f.records)
	expectEnd(t, in)
	if d := time.Since(begin); d > patience/2 {
		t.Errorf("it took %v", d)
	}
}

// An upstream that takes nothing of an upload holds neither the request, nor the connections, for longer than it may think; also if the
// client has left. One that takes slowly has all the time.
func TestUpstreamTakesNothing(t *testing.T) {
	const most = 200 * time.Millisecond
	release := make(chan struct{})
	deaf := rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		<-release
		if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection to the upstream stays")
		}
	})
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
			t.Error("the request to the upstream stays")
		}
	}))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	specs := map[string]*conf.Upstream{"http": spec("http://" + deaf.Upstream.Targets()[0].Name), "h2c": spec("h2c" + strings.TrimPrefix(h2c.URL, "http"))}
	for name, s := range specs {
		s.Timeouts.Response = most
		p := &Proxy{Upstream: pool(t, s)}
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, major int) {
				f := relay(t, major, p)
				begin := time.Now()
				if resp, _, err := f.ask(t, "POST", "/", nil, io.MultiReader(bytes.NewReader(make([]byte, 32<<20)))); err != nil || resp.StatusCode != http.StatusGatewayTimeout {
					t.Errorf("got %v, %v", resp, err)
				}
				if r := wait(t, "the handler returns", f.records); !errors.Is(r.Err, errLate) || time.Since(begin) > most+5*time.Second {
					t.Errorf("after %v the record has %+v", time.Since(begin), r)
				}
			})
			f := relay(t, 1, p)
			c, _ := f.dial(t, "POST / HTTP/1.1\nHost: a\nContent-Length: 1000000000\n\n")
			c.SetWriteDeadline(time.Now().Add(most / 2))
			for err := error(nil); err == nil; {
				_, err = c.Write(make([]byte, 1<<20))
			}
			begin := time.Now()
			c.Close()
			if r := wait(t, "the handler returns", f.records); r.Err == nil || time.Since(begin) > most+5*time.Second {
				t.Errorf("after %v the record has %+v", time.Since(begin), r)
			}
			if name == "http" {
				close(release)
			}
		})
	}
}

// The clock runs while the upstream is at it, not while the client is, and not past an answer.
func TestUploadClock(t *testing.T) {
	const most = 200 * time.Millisecond
	up := rawOrigin(t, func(c net.Conn, in *bufio.Reader, _ string) {
		io.ReadFull(in, make([]byte, 5)) // as the client gives it
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
		time.Sleep(2 * most)
		io.WriteString(c, "ok")
	})
	s := spec("http://" + up.Upstream.Targets()[0].Name)
	s.Timeouts.Response = most
	f := relay(t, 1, &Proxy{Upstream: pool(t, s)})
	body, w := io.Pipe()
	go func() {
		w.Write(make([]byte, 2))
		time.Sleep(2 * most)
		w.Write(make([]byte, 3))
		w.Close()
	}()
	r := f.request(t, "POST", "/", nil, body)
	r.ContentLength = 5
	resp, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	expect(t, resp.Body, "ok")
	expectEnd(t, resp.Body)
}
