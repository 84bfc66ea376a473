package h1

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/edge/wire"
)

// answers are what handlers do, and what their clients see of it. length is what Content-Length says; -1: it is not there.
var answers = []struct {
	name    string
	method  string
	version string
	h       wire.HandlerFunc
	status  int
	body    string
	length  int64
	chunked bool
	keep    bool
}{
	{"length", "GET", "1.1", answerWith(200, 5, "hello"), 200, "hello", 5, false, true},
	{"length 0", "GET", "1.1", answerWith(200, 0, ""), 200, "", 0, false, true},
	{"unknown length", "GET", "1.1", answerWith(200, wire.Unknown, "hel", "lo"), 200, "hello", -1, true, true},
	{"unknown length, empty", "GET", "1.1", answerWith(200, wire.Unknown), 200, "", -1, true, true},
	{"unknown length, HTTP/1.0", "GET", "1.0", answerWith(200, wire.Unknown, "hel", "lo"), 200, "hello", -1, false, false},
	{"length, HTTP/1.0", "GET", "1.0", answerWith(200, 5, "hello"), 200, "hello", 5, false, true},
	{"HEAD", "HEAD", "1.1", answerWith(200, 5, "hello"), 200, "", 5, false, true},
	{"HEAD, nothing written", "HEAD", "1.1", answerWith(200, 5), 200, "", 5, false, true},
	{"HEAD, unknown length", "HEAD", "1.1", answerWith(200, wire.Unknown, "hello"), 200, "", -1, false, true},
	{"204", "GET", "1.1", answerWith(204, 0), 204, "", -1, false, true},
	{"204 with a body", "GET", "1.1", answerWith(204, 5, "hello"), 204, "", -1, false, true},
	{"304", "GET", "1.1", answerWith(304, 5, "hello"), 304, "", -1, false, true},
	{"304, unknown length", "GET", "1.1", answerWith(304, wire.Unknown, "hello"), 304, "", -1, false, true},
	{"no answer", "GET", "1.1", func(*wire.Exchange) {}, 500, "Internal Server Error\n", 22, false, true},
	{"a status that is none", "GET", "1.1", answerWith(199, 0), 500, "Internal Server Error\n", 22, false, true},
	{"large", "GET", "1.1", answerWith(200, 1<<20, strings.Repeat("x", 1<<20)), 200, strings.Repeat("x", 1<<20), 1 << 20, false, true},
	{"large chunks", "GET", "1.1", answerWith(200, wire.Unknown, strings.Repeat("x", 1<<20), "y", strings.Repeat("z", 16<<10), "0"), 200,
		strings.Repeat("x", 1<<20) + "y" + strings.Repeat("z", 16<<10) + "0", -1, true, true},
}

// answerWith gives a handler that writes a body in parts.
func answerWith(status int, length int64, parts ...string) wire.HandlerFunc {
	return func(x *wire.Exchange) {
		if x.Head(status, wire.Fields{}.Add("x-y", "z").Add("content-length", "99").Add("connection", "x"), length) != nil {
			return
		}
		for _, p := range parts {
			x.Write([]byte(p))
		}
		x.Finish(nil)
	}
}

// Every framing of an answer is what RFC 9112 section 6 says, and the next answer follows where it can.
func TestFraming(t *testing.T) {
	h := func(x *wire.Exchange) {
		for _, a := range answers {
			if a.name == x.Target()[1:] {
				a.h(x)
				return
			}
		}
		path(x)
	}
	for i := range answers { // as paths
		answers[i].name = strings.ReplaceAll(answers[i].name, " ", "_")
	}
	everywhere(t, settings{}, h, func(t *testing.T, s *site) {
		for _, a := range answers {
			if s.front != "h1" && a.status == 500 { // net/http's own words
				continue
			}
			c := s.dial(t)
			c.send(a.method + " /" + a.name + " HTTP/" + a.version + "\nHost: a.test\nConnection: keep-alive\n\n")
			resp := c.expect(a.method, a.status, a.body)
			if s.front == "h1" && (resp.ContentLength != a.length && len(resp.Header["Content-Length"]) > 0 ||
				(a.length >= 0) != (resp.Header.Get("Content-Length") != "")) {
				t.Errorf("%s: Content-Length is %q", a.name, resp.Header["Content-Length"])
			}
			if chunked := len(resp.TransferEncoding) > 0; s.front == "h1" && chunked != a.chunked {
				t.Errorf("%s: chunked is %v", a.name, chunked)
			}
			if resp.Header.Get("Date") == "" || a.status != 500 && resp.Header.Get("X-Y") != "z" {
				t.Errorf("%s: the fields are %v", a.name, resp.Header)
			}
			if !resp.Close {
				c.works()
			} else {
				c.ends()
			}
			if s.front == "h1" && resp.Close == a.keep {
				t.Errorf("%s: Connection: close is %v", a.name, resp.Close)
			}
		}
	})
}

// What is cut short never looks whole.
func TestAbort(t *testing.T) {
	cuts := map[string]wire.HandlerFunc{
		"/abort":     func(x *wire.Exchange) { x.Abort(errors.New("why")) },
		"/panic":     func(*wire.Exchange) { panic(http.ErrAbortHandler) },
		"/length":    func(x *wire.Exchange) { x.Head(200, nil, 10); x.Write([]byte("hello")); x.Flush() },
		"/short":     func(x *wire.Exchange) { x.Head(200, nil, 10); x.Write([]byte("hello")); x.Finish(nil) },
		"/chunked":   func(x *wire.Exchange) { x.Head(200, nil, wire.Unknown); x.Write([]byte("hello")); x.Flush() },
		"/close":     func(x *wire.Exchange) { x.Head(200, nil, wire.Unknown); x.Write([]byte("hello")); x.Flush() },
		"/elsewhere": func(x *wire.Exchange) { abortElsewhere(x) },
	}
	everywhere(t, settings{}, func(x *wire.Exchange) { cuts[x.Target()](x) }, func(t *testing.T, s *site) {
		for name := range cuts {
			c, version := s.dial(t), "1.1"
			if name == "/close" {
				version = "1.0"
			}
			if name == "/close" && s.front != "h1" {
				continue // net/http ends it by FIN
			}
			c.send("GET " + name + " HTTP/" + version + "\nHost: a.test\n\n")
			if resp, body, err := c.read("GET"); err == nil {
				t.Errorf("%s: the answer looks whole: %v %q", name, resp, clip(body))
			}
		}
	})
}

// abortElsewhere aborts from another goroutine while this one writes to a client that does not read.
func abortElsewhere(x *wire.Exchange) {
	x.Head(200, nil, wire.Unknown)
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(10 * time.Millisecond)
		x.Abort(errors.New("why"))
	}()
	for b := make([]byte, 1<<20); ; {
		if _, err := x.Write(b); err != nil {
			<-done
			return
		}
	}
}

// A handler that panics costs its own connection only, and its client is told if that is still possible.
func TestPanic(t *testing.T) {
	s := newSite(t, "h1", false, settings{}, func(x *wire.Exchange) {
		if string(x.Path) == "/late" {
			x.Head(200, nil, wire.Unknown)
			x.Write([]byte("hello"))
			x.Flush()
		}
		panic("a mistake")
	})
	early, late := s.dial(t), s.dial(t)
	early.send("GET /early HTTP/1.1\nHost: a.test\n\n")
	if resp := early.expect("GET", 500, "Internal Server Error\n"); !resp.Close {
		t.Error("the connection is to go on")
	}
	early.ends()
	late.send("GET /late HTTP/1.1\nHost: a.test\n\n")
	if _, _, err := late.read("GET"); err == nil {
		t.Error("the answer looks whole")
	}
}

// What a handler gets wrong is said to it, and does not reach the client.
func TestMisuse(t *testing.T) {
	s := newSite(t, "h1", false, settings{}, func(x *wire.Exchange) {
		says := func(what string, err, want error) {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v in place of %v", what, err, want)
			}
		}
		_, err := x.Write([]byte("x"))
		says("a body before the head", err, errNoHead)
		says("a finish before the head", x.Finish(nil), errNoHead)
		says("100", x.Inform(100, nil), errInform)
		says("101", x.Inform(101, nil), errInform)
		_, err = x.Tunnel(nil)
		says("an upgrade unasked", err, errNoUpgrade)
		says("a head", x.Head(200, wire.Fields{}.Add("x", "a\r\nSet-Cookie: b").Add("y z", "a").Add("ok", "1"), 3), nil)
		says("a second head", x.Head(200, nil, 3), errHeadSent)
		says("an interim answer behind the head", x.Inform(103, nil), errHeadSent)
		_, err = x.Write([]byte("four"))
		says("too much", err, errLong)
		x.Write([]byte("two"))
		says("a finish", x.Finish(nil), nil)
		says("a second finish", x.Finish(nil), errFinished)
		_, err = x.Write(nil)
		says("a write behind the finish", err, errFinished)
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\nHost: a.test\n\n")
	resp := c.expect("GET", 200, "two")
	if len(resp.Header) != 3 || resp.Header.Get("Ok") != "1" {
		t.Errorf("the fields are %v", resp.Header)
	}
}

// Interim answers come first, at once; HTTP/1.0 gets none.
func TestInform(t *testing.T) {
	everywhere(t, settings{}, func(x *wire.Exchange) {
		x.Inform(103, wire.Fields{}.Add("link", "</a>"))
		path(x)
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		c.send("GET /a HTTP/1.1\nHost: a.test\n\nGET /b HTTP/1.0\nHost: a.test\n\n")
		if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 103 || resp.Header.Get("Link") != "</a>" {
			t.Fatal(resp, err)
		}
		c.expect("GET", 200, "/a")
		if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
	})
}

// Files go to the socket as they are, small or large, and never past the length that was announced.
func TestReadFrom(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789", 100000)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var short atomic.Bool
	everywhere(t, settings{}, func(x *wire.Exchange) {
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		length := map[string]int64{"/all": 1000000, "/part": 500000, "/small": 1000, "/unknown": wire.Unknown, "/longer": 2000000}[x.Target()]
		x.Head(200, nil, length)
		n, err := x.ReadFrom(&io.LimitedReader{R: f, N: max(length, 1000000*min(1, -length))})
		if want := min(uint64(length), 1000000); string(x.Method) == "GET" && n != int64(want) || err != nil {
			t.Errorf("%s: %d bytes, %v", x.Target(), n, err)
		}
		short.Store(x.Finish(nil) != nil)
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		for _, method := range []string{"GET", "HEAD"} {
			for target, want := range map[string]string{"/all": content, "/part": content[:500000], "/small": content[:1000], "/unknown": content} {
				c.send(method + " " + target + " HTTP/1.1\nHost: a.test\n\n")
				if method == "HEAD" {
					want = ""
				}
				c.expect(method, 200, want)
			}
		}
		c.send("GET /longer HTTP/1.1\nHost: a.test\n\n")
		if _, _, err := c.read("GET"); err == nil {
			t.Error("a file that is too short looks whole")
		}
	})
}
