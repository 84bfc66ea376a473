package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHead(t *testing.T) {
	for name, c := range map[string]struct {
		method string
		status int
		length int64
		body   string
		want   int64 // Content-Length; Unknown: none
		text   string
	}{
		"length":              {"GET", 200, 2, "ok", 2, "ok"},
		"no body":             {"GET", 200, 0, "", 0, ""},
		"unknown":             {"GET", 200, Unknown, "ok", Unknown, "ok"},
		"error":               {"GET", 404, 2, "no", 2, "no"},
		"HEAD":                {"HEAD", 200, 2, "ok", 2, ""},
		"HEAD, unread":        {"HEAD", 200, 5, "", 5, ""},
		"HEAD, unknown":       {"HEAD", 200, Unknown, "ok", Unknown, ""},
		"204":                 {"GET", 204, 0, "x", Unknown, ""},
		"304":                 {"GET", 304, 0, "x", Unknown, ""},
		"304, length":         {"GET", 304, 9, "", Unknown, ""},
		"304, unknown length": {"GET", 304, Unknown, "", Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, major int) {
				sent := make(chan Exchange, 1)
				s := serveTLS(t, major, testConn(), func(x *Exchange) {
					defer func() { sent <- *x }()
					f := Fields(nil).Add("x-a", "1").Add("x-a", "2").Add("connection", "x-a").Add("content-length", "77").Add("transfer-encoding", "x")
					if err := x.Head(c.status, f, c.length); err != nil {
						t.Error(err)
					}
					if err := x.Head(500, nil, 0); err != errHeadSent {
						t.Errorf("a second head: %v", err)
					}
					if n, err := io.WriteString(x, c.body); n != len(c.body) || err != nil {
						t.Errorf("wrote %d, %v", n, err)
					}
					if c.length == Unknown {
						x.Flush() // or net/http counts the little that there is
					}
					if err := x.Finish(nil); err != nil {
						t.Error(err)
					}
				})
				resp, text, err := get(t, s, c.method, "/", nil)
				if err != nil {
					t.Fatal(err)
				}
				x := <-sent
				if resp.StatusCode != c.status || text != c.text || x.Record.Status != c.status || x.Record.BytesOut != int64(len(c.text)) {
					t.Errorf("got %d %q; the record has %+v", resp.StatusCode, text, x.Record)
				}
				length, given := resp.Header["Content-Length"]
				if given != (c.want >= 0) || given && resp.ContentLength != c.want {
					t.Errorf("the length is %v", length)
				}
				if len(resp.Header["X-A"]) != 2 || resp.Header["Content-Type"] != nil || len(resp.Header["Date"]) != 1 || resp.Close {
					t.Errorf("got %v", resp.Header)
				}
			})
		})
	}
}

// What ends without Finish never looks whole.
func TestWithoutFinish(t *testing.T) {
	errWhy := errors.New("why")
	for name, c := range map[string]struct {
		serve HandlerFunc
		want  int // 0: the client sees a failure
	}{
		"nothing":        {func(x *Exchange) {}, 500},
		"head":           {func(x *Exchange) { x.Head(200, nil, 2) }, 0},
		"head, unknown":  {func(x *Exchange) { x.Head(200, nil, Unknown) }, 0},
		"flushed":        {func(x *Exchange) { x.Head(200, nil, Unknown); x.Flush() }, 0},
		"some":           {func(x *Exchange) { x.Head(200, nil, Unknown); io.WriteString(x, "ok"); x.Flush() }, 0},
		"some of length": {func(x *Exchange) { x.Head(200, nil, 3); io.WriteString(x, "ok"); x.Flush() }, 0},
		"short": {func(x *Exchange) {
			x.Head(200, nil, 3)
			io.WriteString(x, "ok")
			x.Flush()
			if x.Finish(nil) == nil {
				t.Error("two bytes of three finish well")
			}
		}, 0},
		"abort":        {func(x *Exchange) { x.Abort(errWhy) }, 0},
		"abort, twice": {func(x *Exchange) { x.Abort(errWhy); x.Abort(errWhy) }, 0},
		"head, abort":  {func(x *Exchange) { x.Head(200, nil, Unknown); x.Flush(); x.Abort(errWhy) }, 0},
		"abort, then all": {func(x *Exchange) {
			x.Abort(errWhy)
			ok(x)
			if x.Finish(nil) == nil {
				t.Error("an aborted answer finishes well")
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, major int) {
				s := serveTLS(t, major, testConn(), c.serve)
				resp, _, err := get(t, s, "GET", "/", nil)
				switch {
				case c.want == 0 && err == nil:
					t.Errorf("it looks whole: %v", resp)
				case c.want != 0 && (err != nil || resp.StatusCode != c.want):
					t.Errorf("got %v, %v", resp, err)
				}
			})
		})
	}
}

// A client that reads nothing keeps a Write waiting, which Abort ends from another goroutine.
func TestAbortFromOutside(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		stuck, ended := make(chan struct{}), make(chan error, 1)
		serve := func(x *Exchange) {
			var written atomic.Int64
			joined := make(chan struct{})
			go func() {
				defer close(joined)
				for last := int64(-1); last != written.Load(); time.Sleep(50 * time.Millisecond) { // until nothing moves
					last = written.Load()
				}
				close(stuck)
				x.Abort(errors.New("why"))
			}()
			x.Head(200, nil, Unknown)
			var err error
			for buf := make([]byte, 64<<10); err == nil; {
				_, err = x.Write(buf)
				written.Add(1)
			}
			<-joined
			ended <- err
		}
		var s *httptest.Server
		if major == 1 { // without TLS, whose close waits five seconds for its last record to go
			s = serveRaw(t, testConn(), nil, serve)
		} else {
			s = serveTLS(t, major, testConn(), serve)
		}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		wait(t, "the write waits", stuck)
		if err := wait(t, "the write ends", ended); err == nil {
			t.Error("a write succeeds after Abort")
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Error("it looks whole")
		}
	})
}

func TestInform(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			early := Fields(nil).Add("link", "</a.css>").Add("content-length", "3")
			if err := errors.Join(x.Inform(103, early), x.Inform(102, nil), x.Inform(100, nil), x.Inform(101, nil)); err != nil {
				t.Error(err)
			}
			ok(x)
			if err := x.Inform(103, nil); err != errHeadSent {
				t.Errorf("after the head: %v", err)
			}
		})
		var got []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			got = append(got, http.StatusText(status)+h.Get("Link")+h.Get("Content-Length"))
			return nil
		}}
		r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", s.URL, nil)
		resp, text, err := do(s, r)
		if err != nil || text != "ok\n" || resp.Header["Link"] != nil {
			t.Errorf("got %v, %q, %v", resp, text, err)
		}
		if strings.Join(got, " ") != "Early Hints</a.css> Processing" {
			t.Errorf("before it came %q", got)
		}
	})
	s := serveRaw(t, testConn(), nil, func(x *Exchange) { x.Inform(103, nil); ok(x) })
	r := dial(t, s)
	r.send("GET / HTTP/1.0\nHost: a\n\n")
	if resp, _ := r.answer("GET"); resp.StatusCode != 200 {
		t.Errorf("HTTP/1.0 got %v", resp)
	}
}

func TestTrailers(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			if f := x.Body.Trailers(); len(f) != 0 {
				t.Errorf("trailers before the end: %s", lines(f))
			}
			b, err := io.ReadAll(x.Body)
			if err != nil || string(b) != "body" {
				t.Errorf("read %q, %v", b, err)
			}
			x.Head(200, nil, Unknown)
			io.WriteString(x, "text")
			x.Finish(x.Body.Trailers().Add("grpc-status", "0").Add("content-length", "1"))
		})
		trailer := http.Header{"X-Sum": nil, "X-None": nil}
		r, _ := http.NewRequest("POST", s.URL, readFunc(func(p []byte) (int, error) {
			trailer["X-Sum"] = []string{"42"}
			return copy(p, "body"), io.EOF
		}))
		r.Trailer = trailer
		resp, text, err := do(s, r)
		if err != nil || text != "text" || len(resp.Trailer) != 2 || resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("got %q, %v, trailers %v", text, err, resp.Trailer)
		}
	})
}

// readFunc is a reader that is a function.
type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestClientLeaves(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		reached, told := make(chan struct{}), make(chan error, 2)
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			if x.Gone() != nil {
				t.Errorf("gone at the start: %v", x.Gone())
			}
			x.OnGone(func(error) { t.Error("what was taken back runs") })
			x.OnGone(nil)
			x.OnGone(func(error) { t.Error("what was replaced runs") })
			x.OnGone(func(err error) { told <- err })
			close(reached)
			<-x.Context().Done()
			told <- x.Gone()
			x.Abort(x.Gone())
		})
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
		go func() { <-reached; cancel() }()
		if resp, _, err := do(s, r); err == nil {
			t.Errorf("the client got %v", resp)
		}
		for range 2 {
			if wait(t, "the handler is told", told) == nil {
				t.Error("there is no reason")
			}
		}
	})
}

// OnGone(nil), and the exchange's end, wait for what runs.
func TestOnGoneWaits(t *testing.T) {
	for _, takeBack := range []bool{true, false} {
		var running atomic.Bool
		served := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		h := ServeHTTP(HandlerFunc(func(x *Exchange) {
			started := make(chan struct{})
			x.OnGone(func(error) {
				running.Store(true)
				close(started)
				<-time.After(20 * time.Millisecond)
				running.Store(false)
			})
			cancel()
			<-started
			if takeBack {
				x.OnGone(nil)
				if running.Load() {
					t.Error("OnGone(nil) does not wait")
				}
			}
			ok(x)
		}), testConn(), nil)
		go func() {
			defer close(served)
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
		}()
		wait(t, "the handler ends", served)
		if running.Load() {
			t.Error("the exchange's end does not wait")
		}
	}
}

func TestLast(t *testing.T) {
	var last atomic.Bool
	s := serveRaw(t, testConn(), last.Load, func(x *Exchange) {
		if string(x.Path) == "/last" {
			last.Store(true) // while the request runs: asked as late as can be
		}
		ok(x)
	})
	r := dial(t, s)
	r.send("GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n\nGET /last HTTP/1.1\nHost: a\n\n")
	for i, want := range []bool{false, false, true} {
		if resp, _ := r.answer("GET"); resp.Close != want {
			t.Errorf("answer %d: Connection: close is %v", i, resp.Close)
		}
	}
	r.ends()
}
