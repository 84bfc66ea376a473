package h1

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/edge/wire"
)

// Requests that arrive together are answered one after the other, each with its own body.
func TestPipelining(t *testing.T) {
	everywhere(t, settings{}, echo, func(t *testing.T, s *site) {
		c := s.dial(t)
		c.send("POST /1 HTTP/1.1\nHost: a.test\nContent-Length: 3\n\n" + "one" +
			"POST /2 HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n3\ntwo\n0\n\n" +
			"GET /3 HTTP/1.1\nHost: a.test\n\nHEAD /4 HTTP/1.1\nHost: a.test\n\n" +
			"POST /5 HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n4\nfive\n0\nX: y\n\nGET /6 HTTP/1.1\nHost: a.test\nConnection: close\n\nGET /7 HTTP/1.1\nHost: a.test\n\n")
		c.expect("POST", 200, "POST a.test /1 one")
		c.expect("POST", 200, "POST a.test /2 two")
		c.expect("GET", 200, "GET a.test /3 ")
		c.expect("HEAD", 200, "")
		c.expect("POST", 200, "POST a.test /5 five")
		c.expect("GET", 200, "GET a.test /6 ")
		c.ends()
	})
}

// Two hundred requests at once, of all kinds: more than any buffer holds.
func TestPipeliningMany(t *testing.T) {
	everywhere(t, settings{}, echo, func(t *testing.T, s *site) {
		c := s.dial(t)
		var all strings.Builder
		body := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), i*i%9000) }
		for i := range 200 {
			if b := body(i); i%2 == 0 {
				fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", i, len(b), b)
			} else {
				fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", i)
				if len(b) > 0 {
					fmt.Fprintf(&all, "%x\r\n%s\r\n%x\r\n%s\r\n", len(b)/2+1, b[:len(b)/2+1], len(b), b)
				}
				all.WriteString("0\r\n\r\n")
			}
		}
		sent := make(chan struct{})
		go c.pieces(all.String(), 30000, sent)
		for i := range 200 {
			b := body(i)
			if i%2 == 1 && len(b) > 0 {
				b = b[:len(b)/2+1] + b
			}
			c.expect("POST", 200, fmt.Sprintf("POST a.test /%d %s", i, b))
		}
		<-sent
		c.works()
	})
}

// A body that nobody reads does not become a request. Where its end is near the connection goes on.
func TestUnreadBody(t *testing.T) {
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: b.test\r\n\r\n"
	everywhere(t, settings{}, path, func(t *testing.T, s *site) {
		for _, c := range []struct {
			what, fields, body string
			keep               bool
		}{
			{"a length", fmt.Sprintf("Content-Length: %d\n", len(smuggled)), smuggled, true},
			{"chunks", "Transfer-Encoding: chunked\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled), true},
			{"100 KB", "Content-Length: 100000\n", strings.Repeat("x", 100000), true},
			{"2 MB", "Content-Length: 2000000\n", strings.Repeat(smuggled, 2000000/len(smuggled)+1)[:2000000], false},
			{"malformed chunks", "Transfer-Encoding: chunked\n", "zz\r\n" + smuggled, false},
			{"a body that waits for 100", "Expect: 100-continue\nContent-Length: 5\n", "", false},
		} {
			conn := s.dial(t)
			sent := make(chan struct{})
			go conn.pieces("POST /x HTTP/1.1\r\nHost: a.test\r\n"+strings.ReplaceAll(c.fields, "\n", "\r\n")+"\r\n"+c.body, 1<<20, sent)
			resp := conn.expect("POST", 200, "/x")
			if !resp.Close {
				<-sent
				conn.works()
			} else if b, err := io.ReadAll(conn.in); len(b) > 0 {
				t.Errorf("%s: in place of the end: %q, %v", c.what, clip(string(b)), err)
			}
			if s.front == "h1" && resp.Close == c.keep {
				t.Errorf("%s: Connection: close is %v", c.what, resp.Close)
			}
			conn.Close()
			<-sent
		}
	})
}

// An answer reaches the client although it sends on: FIN comes, no reset (R53).
func TestEarlyAnswer(t *testing.T) {
	everywhere(t, settings{}, func(x *wire.Exchange) {
		wire.ReplyText(x, http.StatusRequestEntityTooLarge, "too much")
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		c.send("POST / HTTP/1.1\nHost: a.test\nContent-Length: 100000000\n\n")
		c.raw(strings.Repeat("x", 100000))
		resp := c.expect("POST", 413, "too much\n")
		if !resp.Close {
			t.Error("the connection is to go on")
		}
		c.ends()
	})
}

// 100 Continue is sent when the handler asks for the body, once, and not when it does not.
func TestContinue(t *testing.T) {
	everywhere(t, settings{}, func(x *wire.Exchange) {
		if string(x.Path) == "/no" {
			wire.ReplyText(x, 403, "no")
			return
		}
		echo(x)
	}, func(t *testing.T, s *site) {
		for _, framing := range []string{"Content-Length: 5\n", "Transfer-Encoding: chunked\n"} {
			c := s.dial(t)
			c.send("POST /yes HTTP/1.1\nHost: a.test\nExpect: 100-continue\n" + framing + "\n")
			if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 100 {
				t.Fatal(resp, err)
			}
			if strings.HasPrefix(framing, "T") {
				c.send("5\nhello\n0\n\n")
			} else {
				c.send("hello")
			}
			if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			} else if b, _ := io.ReadAll(resp.Body); string(b) != "POST a.test /yes hello" {
				t.Errorf("it says %q", b)
			}
			c.works()
			c = s.dial(t)
			c.send("POST /no HTTP/1.1\nHost: a.test\nExpect: 100-continue\n" + framing + "\n")
			if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 403 || !resp.Close {
				t.Fatal(resp, err)
			} else {
				io.Copy(io.Discard, resp.Body)
			}
			c.ends()
		}
	})
}

// 100 Continue still goes out in front of a head that waits in the buffer.
func TestContinueBeforeAHeadThatWaits(t *testing.T) {
	s := newSite(t, "h1", false, settings{}, func(x *wire.Exchange) {
		x.Head(200, nil, wire.Unknown)
		io.Copy(x, x.Body)
		x.Finish(nil)
	})
	c := s.dial(t)
	c.send("POST / HTTP/1.1\nHost: a.test\nExpect: 100-continue\nContent-Length: 5\n\n")
	if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 100 {
		t.Fatal(resp, err)
	}
	c.send("hello")
	c.expect("POST", 200, "hello")
	c.ends()
}

// Both ways at once: what the client sends comes back before it has sent all.
func TestFullDuplex(t *testing.T) {
	everywhere(t, settings{}, func(x *wire.Exchange) {
		x.Head(200, nil, wire.Unknown)
		x.Flush()
		buf := make([]byte, 100)
		for {
			n, err := x.Body.Read(buf)
			x.Write(buf[:n])
			x.Flush()
			if err == io.EOF {
				x.Finish(x.Body.Trailers())
				return
			}
			if err != nil {
				x.Abort(err)
				return
			}
		}
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		c.send("POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n")
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5)
		for i := range 50 {
			word := fmt.Sprintf("%05d", i)
			c.send("5\n" + word + "\n")
			if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != word {
				t.Fatalf("%q in place of %q, %v", buf, word, err)
			}
		}
		c.send("0\nx-sum: 1\n\n")
		if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if s.front == "h1" && resp.Trailer.Get("X-Sum") != "1" {
			t.Errorf("the trailers are %v", resp.Trailer)
		}
	})
}

// A body larger than all buffers arrives whole, whatever its framing, and the next request after it.
func TestLargeBody(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	everywhere(t, settings{}, func(x *wire.Exchange) {
		if string(x.Path) != "/big" {
			path(x)
			return
		}
		b, err := io.ReadAll(x.Body)
		wire.ReplyText(x, 200, fmt.Sprint(bytes.Equal(b, big), err))
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		for _, chunk := range []int{0, 1000, 65536, 100001} {
			var raw strings.Builder
			if chunk == 0 {
				fmt.Fprintf(&raw, "POST /big HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n%s", len(big), big)
			} else {
				raw.WriteString("POST /big HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
				for rest := big; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
					fmt.Fprintf(&raw, "%x\r\n%s\r\n", min(chunk, len(rest)), rest[:min(chunk, len(rest))])
				}
				raw.WriteString("0\r\n\r\n")
			}
			c.raw(raw.String() + "GET /works HTTP/1.1\r\nHost: a.test\r\n\r\n")
			c.expect("POST", 200, "true <nil>\n")
			c.expect("GET", 200, "/works")
		}
	})
}

// A client that takes too long: for its head, with 408; between two requests, without a word.
func TestTimeouts(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		s := newSite(t, "h1", overTLS, settings{header: time.Millisecond, idle: time.Millisecond, body: time.Millisecond}, echo)
		head, idle, body, silent := s.dial(t), s.dial(t), s.dial(t), s.dial(t)
		head.send("GET / HTTP/1.1\n")
		idle.send("GET / HTTP/1.1\nHost: a.test\n\n")
		body.send("POST / HTTP/1.1\nHost: a.test\nContent-Length: 10\n\nhello")
		if resp := idle.expect("GET", 200, "GET a.test / "); resp.Close {
			t.Error("the connection is not kept")
		}
		if resp, _ := head.answer("GET"); resp.StatusCode != 408 {
			t.Errorf("a head that takes too long is answered with %d", resp.StatusCode)
		}
		if resp, text := body.answer("POST"); resp.StatusCode != 400 || !strings.Contains(text, "timeout") || !resp.Close {
			t.Errorf("a body that takes too long is answered with %d %q", resp.StatusCode, text)
		}
		for _, c := range []*client{head, idle, body, silent} {
			c.ends()
		}
	}
}

// A client that reads nothing is cut off.
func TestWriteTimeout(t *testing.T) {
	ended := make(chan error, 1)
	s := newSite(t, "h1", false, settings{}, func(x *wire.Exchange) {
		x.Conn.Write = time.Millisecond
		x.Head(200, nil, wire.Unknown)
		for b := make([]byte, 1<<20); ; {
			if _, err := x.Write(b); err != nil {
				ended <- err
				return
			}
		}
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\nHost: a.test\n\n")
	wait(t, "the write's end", ended)
}

// The engine says when it waits, and a drain is asked about late: the answer to the last request that is here says close, so that none of those
// that were sent together goes without.
func TestDrain(t *testing.T) {
	var waits, last atomic.Bool
	var served atomic.Int64
	s := settings{last: last.Load, waits: waits.Store}
	site := newSite(t, "h1", false, s, count(&served, func(x *wire.Exchange) {
		last.Store(true)
		path(x)
	}))
	c := site.dial(t)
	for limit := time.Now().Add(patience); !waits.Load(); {
		if time.Now().After(limit) {
			t.Fatal("a connection that waits does not say so")
		}
	}
	c.send("GET /1 HTTP/1.1\nHost: a.test\n\nGET /2 HTTP/1.1\nHost: a.test\n\n")
	if resp := c.expect("GET", 200, "/1"); resp.Close {
		t.Error("the answer says close, though another request is here")
	}
	if resp := c.expect("GET", 200, "/2"); !resp.Close {
		t.Error("the last answer does not say close")
	}
	c.ends()
	if served.Load() != 2 || waits.Load() {
		t.Errorf("%d requests were executed; waits is %v", served.Load(), waits.Load())
	}
}
