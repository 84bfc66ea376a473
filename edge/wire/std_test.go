package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestHTTP runs handlers of net/http below an Exchange, and what net/http itself would answer is the measure.
func TestHTTP(t *testing.T) {
	content := strings.Repeat("0123456789", 2000)
	modified := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		fields http.Header // of the request
	}{
		"nothing":      {h: func(http.ResponseWriter, *http.Request) {}},
		"implicit 200": {h: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }},
		"html":         {h: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!DOCTYPE html>") }},
		"in two writes": {h: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<!DOC")
			io.WriteString(w, "TYPE html>")
		}},
		"error":        {h: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }},
		"redirect":     {h: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }},
		"status alone": {h: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }},
		"204":          {h: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }},
		"two statuses": {h: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(500) }},
		"late fields": {h: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			w.Header().Set("X-Late", "1")
		}},
		"100":         {h: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(100); io.WriteString(w, "x") }},
		"two cookies": {h: func(w http.ResponseWriter, _ *http.Request) { w.Header()["Set-Cookie"] = []string{"a=1", "b=2"} }},
		"no sniffing": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>")
		}},
		"encoded": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		}},
		"own length": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			io.WriteString(w, "ok")
		}},
		"large": {h: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, content) }},
		"large, in pieces": {h: func(w http.ResponseWriter, _ *http.Request) {
			for i := range 20 {
				io.WriteString(w, content[i*1000:(i+1)*1000])
			}
		}},
		"copied":          {h: func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, readFunc(strings.NewReader(content).Read)) }},
		"copied, short":   {h: func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, readFunc(strings.NewReader("<html>").Read)) }},
		"copied, nothing": {h: func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, readFunc(strings.NewReader("").Read)) }},
		"copied, typed": {h: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			io.Copy(w, readFunc(strings.NewReader(content).Read))
		}},
		"written, copied": {h: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<!DOCTYPE html>")
			io.Copy(w, readFunc(strings.NewReader(content).Read))
		}},
		"trailers": {h: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "x")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
		}},
		"content": {h: func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", modified, strings.NewReader(content))
		}},
		"range": {h: func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", modified, strings.NewReader(content))
		}, fields: http.Header{"Range": {"bytes=5-9"}}},
		"last bytes": {h: func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", modified, strings.NewReader(content))
		}, fields: http.Header{"Range": {"bytes=-5"}}},
		"bad range": {h: func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", modified, strings.NewReader(content))
		}, fields: http.Header{"Range": {"bytes=99999-"}}},
		"not modified": {h: func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "a.txt", modified, strings.NewReader(content))
		}, fields: http.Header{"If-Modified-Since": {modified.Format(http.TimeFormat)}}},
		"what was asked": {h: func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, r.Method, r.RequestURI, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.URL.ForceQuery, r.Host, r.Proto, r.ContentLength, r.Header.Get("Cookie"), r.TLS != nil)
		}, fields: http.Header{"Cookie": {"a=1; b=2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, major int) {
				ours := serveTLS(t, major, testConn(), HTTP(c.h).Serve)
				theirs := httptest.NewUnstartedServer(c.h)
				theirs.EnableHTTP2 = major == 2
				theirs.StartTLS()
				t.Cleanup(theirs.Close)
				theirs.Client().CheckRedirect = ours.Client().CheckRedirect
				for _, method := range []string{"GET", "HEAD"} {
					want, got := asked(t, theirs, method, c.fields), asked(t, ours, method, c.fields)
					if got != want {
						t.Errorf("%s: got\n%s\nwant\n%s", method, got, want)
					}
				}
			})
		})
	}
}

// asked gives the answer of a server as text.
func asked(t *testing.T, s *httptest.Server, method string, fields http.Header) string {
	t.Helper()
	r, _ := http.NewRequest(method, s.URL+"/a%2Fb?", nil)
	r.Host = "a.test"
	r.Header = fields.Clone()
	resp, text, err := do(s, r)
	if err != nil {
		return err.Error()
	}
	resp.Header.Del("Date")
	var b bytes.Buffer
	resp.Header.Write(&b)
	if resp.ContentLength < 0 && (len(text) > 2048 || method == "HEAD") { // when a length is given is each engine's own affair
		b.Reset()
	}
	return fmt.Sprintf("%d\n%s%v\n%d %.100q", resp.StatusCode, b.String(), resp.Trailer, len(text), text)
}

// A status without a body leaves without a length that nobody gave: RFC 9110 section 8.6.
func TestHTTPBodiless(t *testing.T) {
	for status, want := range map[int]int64{200: 0, 204: Unknown, 304: Unknown} {
		var head headOnly
		r := httptest.NewRequest("GET", "/", nil)
		ServeHTTP(HandlerFunc(func(x *Exchange) {
			head.Responder = x.Responder
			x.Responder = &head
			HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })).Serve(x)
		}), testConn(), nil).ServeHTTP(httptest.NewRecorder(), r)
		if head.length != want {
			t.Errorf("%d has the length %d, want %d", status, head.length, want)
		}
	}
}

// headOnly notes the length that a head is given.
type headOnly struct {
	Responder
	length int64
}

func (h *headOnly) Head(status int, f Fields, length int64) error {
	h.length = length
	return h.Responder.Head(status, f, length)
}

func TestHTTPAborts(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		s := serveTLS(t, major, testConn(), HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/late":
				io.WriteString(w, "some")
				w.(http.Flusher).Flush()
			case "/short":
				w.Header().Set("Content-Length", "5")
				io.WriteString(w, "ok")
				return
			case "/long":
				w.Header().Set("Content-Length", "1")
				io.WriteString(w, "ok")
				return
			}
			panic(http.ErrAbortHandler)
		})).Serve)
		for _, path := range []string{"/", "/late", "/short", "/long"} {
			if resp, text, err := get(t, s, "GET", path, nil); err == nil {
				t.Errorf("%s looks whole: %v %q", path, resp, text)
			}
		}
	})
}

func TestHTTPPanics(t *testing.T) {
	defer func() {
		if e := recover(); e != "why" {
			t.Errorf("recovered %v", e)
		}
	}()
	r := httptest.NewRequest("GET", "/", nil)
	ServeHTTP(HTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("why") })), testConn(), nil).ServeHTTP(httptest.NewRecorder(), r)
}

// A handler may keep its request: nothing in it is the engine's, its context ends, and its body is over.
func TestHTTPKept(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		kept := make(chan *http.Request, 1)
		s := serveTLS(t, major, testConn(), func(x *Exchange) {
			HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kept <- r
				if err := r.Context().Err(); err != nil {
					t.Error(err)
				}
			})).Serve(x)
			for _, b := range [][]byte{x.Method, x.Authority, x.Path, x.RawQuery, x.Fields[0].Name, x.Fields[0].Value} {
				for i := range b {
					b[i] = '!'
				}
			}
		})
		q, _ := http.NewRequest("POST", s.URL+"/p?q", strings.NewReader("body"))
		q.Host, q.Header = "a.test", http.Header{"X-A": {"1"}, "User-Agent": {""}, "Accept-Encoding": {"x"}}
		if _, _, err := do(s, q); err != nil {
			t.Fatal(err)
		}
		r := <-kept
		if r.Method != "POST" || r.Host != "a.test" || r.RequestURI != "/p?q" || r.URL.String() != "/p?q" || r.Header.Get("X-A") != "1" ||
			r.RemoteAddr != "192.0.2.1:5" || !errors.Is(r.Context().Err(), context.Canceled) {
			t.Errorf("kept is %+v, %v", r, r.Context().Err())
		}
		if n, err := r.Body.Read(make([]byte, 9)); n > 0 || err == nil {
			t.Errorf("its body reads %d, %v", n, err)
		}
	})
}

// A handler of net/http sees the client that the record knows, which may not be the peer.
func TestHTTPClient(t *testing.T) {
	got := make(chan string, 1)
	s := serveTLS(t, 1, testConn(), func(x *Exchange) {
		x.Record.Client = netip.MustParseAddrPort("[2001:db8::1]:0")
		HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.RemoteAddr })).Serve(x)
	})
	if _, _, err := get(t, s, "GET", "/", nil); err != nil {
		t.Fatal(err)
	}
	if addr := <-got; addr != "[2001:db8::1]:0" {
		t.Errorf("the client is %s", addr)
	}
}

func TestHTTPHijack(t *testing.T) {
	s := serveRaw(t, testConn(), nil, HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sec-WebSocket-Accept", "x")
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
			t.Error("it is hijacked twice")
		}
		line, _ := rw.ReadString('\n')
		rw.WriteString(line)
		rw.Flush()
		c.Close()
	})).Serve)
	r := dial(t, s)
	r.send(upgradeHead + "\nline\n")
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "x" {
		t.Fatalf("%v, %v", resp, err)
	}
	if b, err := io.ReadAll(r.in); string(b) != "line\r\n" || err != nil {
		t.Errorf("came back %q, %v", b, err)
	}
	if resp, _, err := get(t, s, "GET", "/", nil); err != nil || resp.StatusCode != 400 {
		t.Errorf("without an upgrade: %v, %v", resp, err)
	}
}

// Flush sends what there is, at once.
func TestHTTPFlush(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		next := make(chan struct{})
		s := serveTLS(t, major, testConn(), HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			rc := http.NewResponseController(w)
			if err := errors.Join(rc.SetWriteDeadline(time.Time{}), rc.SetReadDeadline(time.Time{})); err != nil {
				t.Error(err)
			}
			for range 3 {
				io.WriteString(w, "x")
				if err := rc.Flush(); err != nil {
					t.Error(err)
				}
				<-next
			}
		})).Serve)
		r, _ := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for range 3 {
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			next <- struct{}{}
		}
	})
}
