package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// echoBody answers with the body's length as the head said it, and what was read.
func echoBody(x *Exchange) {
	b, err := io.ReadAll(x.Body)
	Reply(x, http.StatusOK, "text/plain", fmt.Sprintf("%d %s %v", x.Length, b, err))
}

func TestBody(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			if b, all := x.Body.Buffered(); b != nil || all != (x.Length == 0) {
				t.Errorf("length %d: buffered is %q, %v", x.Length, b, all)
			}
			echoBody(x)
			if _, err := x.Body.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("behind the end: %v", err)
			}
		})
		for want, body := range map[string]io.Reader{"0  <nil>": nil, "4 body <nil>": strings.NewReader("body"), "-1 body <nil>": io.MultiReader(strings.NewReader("body"))} {
			if _, text, err := get(t, s, "POST", "/", body); text != want || err != nil {
				t.Errorf("got %q, %v; want %q", text, err, want)
			}
		}
	})
}

// A malformed or cut body is an error, never a shorter body.
func TestCutBody(t *testing.T) {
	got := make(chan error, 1)
	s := serveRaw(t, testConn(), nil, func(x *Exchange) {
		_, err := io.ReadAll(x.Body)
		got <- err
	})
	for _, body := range []string{
		"Content-Length: 10\n\n12345", "Transfer-Encoding: chunked\n\n5\n12345\n", "Transfer-Encoding: chunked\n\n5\n123456\n0\n\n",
		"Transfer-Encoding: chunked\n\nx\n", "Transfer-Encoding: chunked\n\n-5\n12345\n0\n\n",
	} {
		r := dial(t, s)
		r.send("POST / HTTP/1.1\nHost: a\n" + body)
		r.Conn.(interface{ CloseWrite() error }).CloseWrite()
		if err := wait(t, "the body ends", got); err == nil {
			t.Errorf("%q is read without an error", body)
		}
	}
}

func TestExpect(t *testing.T) {
	s := serveRaw(t, testConn(), nil, func(x *Exchange) {
		if string(x.Path) == "/refuse" {
			ReplyText(x, http.StatusForbidden, "no")
			return
		}
		echoBody(x)
	})
	const expect = " HTTP/1.1\nHost: a\nContent-Length: 4\nExpect: 100-continue\n\n"
	r := dial(t, s)
	for range 2 { // the connection lives on
		r.send("POST /" + expect)
		if resp, _ := r.answer("POST"); resp.StatusCode != http.StatusContinue {
			t.Fatalf("the first answer is %v", resp)
		}
		r.send("body")
		if resp, text := r.answer("POST"); resp.StatusCode != 200 || text != "4 body <nil>" || resp.Close {
			t.Fatalf("the second answer is %v, %q", resp, text)
		}
	}
	r.send("POST /refuse" + expect)
	if resp, _ := r.answer("POST"); resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("a body that nobody asked for: %v", resp)
	}
	r.ends()
}

// A client that sends nothing for Body is given up; one that sends slowly, and a handler that reads slowly, is not.
func TestBodyTimeout(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		t.Parallel()
		c := testConn()
		c.Body = 500 * time.Millisecond
		got, next := make(chan error, 1), make(chan struct{})
		s := serveTLS(t, major, c, func(x *Exchange) {
			if string(x.Path) == "/slow" {
				b := make([]byte, 1)
				x.Body.Read(b)
				time.Sleep(c.Body + c.Body/4) // the handler's time, which is not the client's
				rest, err := io.ReadAll(x.Body)
				Reply(x, 200, "text/plain", string(b)+string(rest))
				got <- err
				return
			}
			_, err := io.ReadAll(x.Body)
			got <- err
			ReplyText(x, http.StatusRequestTimeout, "late")
		})
		if _, text, err := get(t, s, "POST", "/slow", strings.NewReader("body")); text != "body" || err != nil || <-got != nil {
			t.Errorf("a slow handler: %q, %v", text, err)
		}
		body, w := io.Pipe()
		go func() {
			for range 5 { // longer than Body, with progress
				w.Write([]byte("x"))
				time.Sleep(c.Body / 4)
			}
			<-next
			w.CloseWithError(errors.New("the test is over"))
		}()
		begin := time.Now()
		resp, _, err := get(t, s, "POST", "/", body)
		if err == nil && resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("the client got %v", resp)
		}
		if err := wait(t, "the read ends", got); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) < 2*c.Body {
			t.Errorf("the read ends with %v after %v", err, time.Since(begin))
		}
		close(next)
	})
}

// The time of a body is over with the body: neither a long handler nor the next request of the connection has to do with it.
func TestBodyTimeoutLeavesNothing(t *testing.T) {
	t.Parallel()
	c := testConn()
	c.Body = 50 * time.Millisecond
	s := serveRaw(t, c, nil, func(x *Exchange) {
		b, err := io.ReadAll(x.Body)
		select {
		case <-x.Context().Done():
			t.Errorf("after %q, %v the client is taken for gone: %v", b, err, x.Gone())
		case <-time.After(3 * c.Body):
		}
		ok(x)
	})
	r := dial(t, s)
	for _, request := range []string{
		"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n4\nbody\n0\n\n", "GET / HTTP/1.1\nHost: a\n\n",
		"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody",
	} {
		r.send(request)
		if resp, _ := r.answer("GET"); resp.StatusCode != 200 || resp.Close {
			t.Fatalf("got %v", resp)
		}
		time.Sleep(2 * c.Body) // an idle connection is not a body's
	}
}

// An answer reaches a client that still sends: the Read that waits ends with Finish, and the handler joins its reader.
func TestEarlyAnswer(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			reads, joined := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(joined)
				x.Body.Read(make([]byte, 5))
				close(reads)
				if _, err := x.Body.Read(make([]byte, 5)); err == nil || err == io.EOF {
					t.Errorf("the read that waited ended with %v", err)
				}
			}()
			<-reads
			ReplyText(x, http.StatusRequestEntityTooLarge, "too large")
			<-joined
			if _, err := x.Body.Read(make([]byte, 5)); err == nil || err == io.EOF {
				t.Errorf("a later read: %v", err)
			}
		})
		body, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("first"))
		resp, text, err := get(t, s, "POST", "/", body)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || text != "too large\n" {
			t.Errorf("got %v, %q, %v", resp, text, err)
		}
	})
}

// Full duplex: each side's next word comes after the other's.
func TestFullDuplex(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			x.Head(200, nil, Unknown)
			x.Flush()
			b := make([]byte, 100)
			for {
				n, err := x.Body.Read(b)
				if err != nil {
					break
				}
				x.Write(b[:n])
				x.Flush()
			}
			x.Finish(nil)
		})
		body, w := io.Pipe()
		defer w.Close()
		go w.Write([]byte("0"))
		r, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL, body)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b := make([]byte, 1)
		for i := range 5 {
			if _, err := io.ReadFull(resp.Body, b); err != nil || b[0] != byte('0'+i) {
				t.Fatalf("turn %d: %q, %v", i, b, err)
			}
			w.Write([]byte{byte('1' + i)})
		}
		w.Close()
		if rest, err := io.ReadAll(resp.Body); string(rest) != "5" || err != nil {
			t.Errorf("the end is %q, %v", rest, err)
		}
	})
}

// What a handler leaves of a body is never the next request (request smuggling): it is here and skipped, or the connection ends.
func TestUnreadBody(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\nHost: a\n\n"
	const size = len(smuggled) + 3 // the "\n" leave as "\r\n"
	chunk := fmt.Sprintf("%x\n%s\n", size, smuggled)
	s := serveRaw(t, testConn(), nil, func(x *Exchange) {
		switch string(x.Path) {
		case "/smuggled":
			t.Error("a body was read as a request")
		case "/nothing": // and so 500
			return
		case "/read": // one byte, by a reader that the answer ends
			joined := make(chan struct{})
			go func() { defer close(joined); x.Body.Read(make([]byte, 1)) }()
			defer func() { <-joined }()
		}
		ok(x)
	})
	for name, c := range map[string]struct {
		head, body string // body: sent with the head
		later      string // sent once the answer came
		alive      bool
	}{
		"length, all here":    {fmt.Sprintf("Content-Length: %d\n", size), smuggled, "", true},
		"chunked, all here":   {"Transfer-Encoding: chunked\n", chunk + "0\n\n", "", true},
		"length, late":        {fmt.Sprintf("Content-Length: %d\n", size), "", smuggled, false},
		"length, half late":   {fmt.Sprintf("Content-Length: %d\n", size+7), "1234567", smuggled, false},
		"chunked, late":       {"Transfer-Encoding: chunked\n", "", chunk + "0\n\n", false},
		"chunked, half late":  {"Transfer-Encoding: chunked\n", "2\nab\n", smuggled, false},
		"chunked, never ends": {"Transfer-Encoding: chunked\n", chunk, smuggled, false},
		"chunked, malformed":  {"Transfer-Encoding: chunked\n", "zz\n", smuggled, false},
	} {
		for _, how := range []string{"/answer", "/read", "/nothing"} {
			t.Run(name+how, func(t *testing.T) {
				r := dial(t, s)
				r.send("POST " + how + " HTTP/1.1\nHost: a\n" + c.head + "\n" + c.body)
				resp, _ := r.answer("POST")
				if c.alive && how != "/read" && resp.Close || !c.alive && !resp.Close {
					t.Errorf("Connection: close is %v", resp.Close)
				}
				if resp.Close {
					io.WriteString(r, strings.ReplaceAll(c.later, "\n", "\r\n")) // may fail
					if b, err := io.ReadAll(r.in); len(b) > 0 {
						t.Errorf("behind the answer came %q, %v", b, err)
					}
					return
				}
				r.send("GET /next HTTP/1.1\nHost: a\n\n")
				if resp, text := r.answer("GET"); text != "ok\n" {
					t.Errorf("the next request: %v, %q", resp, text)
				}
			})
		}
	}
}

// A connection that ends is announced as such, whatever makes the head leave, or else takes the next request.
func TestCloseIsAnnounced(t *testing.T) {
	long := strings.Repeat("x", 8<<10)
	answers := map[string]HandlerFunc{
		"length":    func(x *Exchange) { x.Head(200, nil, int64(len(long))); io.WriteString(x, long) },
		"no length": func(x *Exchange) { x.Head(200, nil, Unknown); io.WriteString(x, long) },
		"in pieces": func(x *Exchange) { x.Head(200, nil, Unknown); io.WriteString(x, long[:held]); io.WriteString(x, "x") },
		"flushed":   func(x *Exchange) { x.Head(200, nil, 2); x.Flush(); io.WriteString(x, "ok") },
		"copied":    func(x *Exchange) { x.Head(200, nil, 2); x.ReadFrom(strings.NewReader("ok")) },
		"short":     func(x *Exchange) { x.Head(200, nil, 2); io.WriteString(x, "ok") },
		"no body":   func(x *Exchange) { x.Head(204, nil, Unknown) },
		"body before": func(x *Exchange) {
			io.Copy(io.Discard, x.Body)
			x.Head(200, nil, 2)
			x.Flush()
			io.WriteString(x, "ok")
		},
	}
	s := serveRaw(t, testConn(), nil, func(x *Exchange) {
		answers[strings.ReplaceAll(string(x.Path[1:]), "_", " ")](x)
		x.Finish(nil)
	})
	for name := range answers {
		for _, size := range []int{10, 20 << 10, 400 << 10} {
			r := dial(t, s)
			r.send(fmt.Sprintf("POST /%s HTTP/1.1\nHost: a\nContent-Length: %d\n\n", strings.ReplaceAll(name, " ", "_"), size) + strings.Repeat("x", size))
			resp, _ := r.answer("POST")
			if name == "body before" && resp.Close {
				t.Errorf("%d bytes, %s: the connection ends, without a reason", size, name)
			}
			if resp.Close {
				continue
			}
			r.send("GET /short HTTP/1.1\nHost: a\n\n")
			if resp, err := http.ReadResponse(r.in, nil); err != nil || resp.StatusCode != 200 {
				t.Errorf("%d bytes, %s: the next request got %v, %v", size, name, resp, err)
			}
		}
	}
}

// A client that keeps its body back holds nothing once it is answered.
func TestAnsweredThoughBodyMissing(t *testing.T) {
	for _, abort := range []bool{false, true} {
		s := serveRaw(t, testConn(), nil, func(x *Exchange) {
			if abort {
				x.Head(200, nil, Unknown)
				return
			}
			ok(x)
		})
		r := dial(t, s)
		r.send("POST / HTTP/1.1\nHost: a\nContent-Length: 100\n\n")
		if b, err := io.ReadAll(r.in); err != nil || abort == bytes.HasSuffix(b, []byte("ok\n")) {
			t.Errorf("abort %v: got %q, %v", abort, b, err)
		}
	}
}

func TestLimit(t *testing.T) {
	for body, want := range map[string]error{"": nil, "1234": nil, "12345": nil, "123456": ErrTooLarge, strings.Repeat("x", 100): ErrTooLarge} {
		for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body)), oneByte{strings.NewReader(body)}} {
			l := Limit(&fakeBody{r}, 5)
			b, err := io.ReadAll(l)
			if err != want || want == nil && string(b) != body || len(b) > 5 {
				t.Errorf("%q: %q, %v; want %v", body, b, err, want)
			}
			if _, err := l.Read(make([]byte, 1)); want != nil && err != want {
				t.Errorf("%q, once more: %v", body, err)
			}
		}
	}
}

type fakeBody struct{ io.Reader }

func (*fakeBody) Buffered() ([]byte, bool) { return nil, false }
func (*fakeBody) Trailers() Fields         { return nil }

type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1)]) }
