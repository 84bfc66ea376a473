package proxy

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"edge/edge/wire"
)

func TestAnswer(t *testing.T) {
	_, p := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch h := w.Header(); r.URL.Path {
		case "/gzip":
			h.Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, "text")
			z.Close()
		case "/304":
			h.Set("Etag", `"x"`)
			w.WriteHeader(304)
		case "/204":
			w.WriteHeader(204)
		case "/redirect":
			h.Set("Location", "http://internal.test/x")
			w.WriteHeader(302)
		case "/error":
			http.Error(w, "mine", 500)
		case "/fields":
			h["X-A"] = []string{"1", "2"}
			h["Set-Cookie"] = []string{"a=1", "b=2"}
			h["Connection"] = []string{"x-secret"}
			h["X-Secret"], h["Keep-Alive"], h["Proxy-Connection"] = []string{"1"}, []string{"1"}, []string{"1"}
			h["Date"] = []string{"long ago"}
			h["Content-Type"] = nil
			io.WriteString(w, "<html>")
		case "/chunked":
			up, _, _ := http.NewResponseController(w).Hijack()
			io.WriteString(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("5\r\nchunk\r\n", 3)+"0\r\n\r\n")
			up.Close()
		case "/large":
			io.WriteString(w, strings.Repeat("x", 1<<20))
		default:
			h.Set("Content-Length", "4")
			io.WriteString(w, "text")
		}
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		for path, want := range map[string]string{
			"/":         "200 4 [4] text",
			"HEAD /":    "200 4 [4] ",
			"/304":      "304 0 [] ",
			"/204":      "204 0 [] ",
			"/redirect": "302 0 [0] ",
			"/error":    "500 5 [5] mine\n",
			"/chunked":  "200 15 [15] chunkchunkchunk", // all of it is here at once; a pause would show (TestEvents)
			"/large":    "200 -1 [] " + strings.Repeat("x", 1<<20),
			"/fields":   "200 6 [6] <html>",
		} {
			method, path := "GET", path
			if rest, ok := strings.CutPrefix(path, "HEAD "); ok {
				method, path = "HEAD", rest
			}
			resp, text, err := f.ask(t, method, path, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(resp.StatusCode, " ", resp.ContentLength, " ", resp.Header["Content-Length"], " ", text); got != want {
				t.Errorf("%s: got %.100q, want %.100q", path, got, want)
			}
			h := resp.Header
			switch path {
			case "/304":
				if h.Get("Etag") != `"x"` {
					t.Errorf("304: %v", h)
				}
			case "/redirect":
				if h.Get("Location") != "http://internal.test/x" {
					t.Errorf("redirect: %v", h)
				}
			case "/fields":
				if len(h["X-A"]) != 2 || len(h["Set-Cookie"]) != 2 || h["X-Secret"] != nil || h["Keep-Alive"] != nil || h["Proxy-Connection"] != nil || h["Content-Type"] != nil ||
					len(h["Date"]) != 1 || h.Get("Date") == "long ago" || resp.Close {
					t.Errorf("fields: %v", h)
				}
			}
			if r := <-f.records; r.Status != resp.StatusCode || r.BytesOut != int64(len(text)) || r.Err != nil || r.Upstream == "" {
				t.Errorf("%s: the record has %+v", path, r)
			}
		}
		// what client and upstream agree on is theirs
		resp, text, err := f.ask(t, "GET", "/gzip", http.Header{"Accept-Encoding": {"gzip"}}, nil)
		if err != nil || resp.Header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(text, "\x1f\x8b") {
			t.Errorf("gzip: %v, %q, %v", resp, text, err)
		}
	})
}

// Where there is no body, the length is what the upstream says of it, and not what there is of it.
func TestLength(t *testing.T) {
	for sends, want := range map[string]int64{
		"GET 200 OK\r\nContent-Length: 0":           0,
		"GET 204 No Content":                        wire.Unknown,
		"GET 204 No Content\r\nContent-Length: 0":   wire.Unknown,
		"GET 304 Not Modified":                      wire.Unknown,
		"GET 304 Not Modified\r\nContent-Length: 5": 5,
		"HEAD 200 OK":                               wire.Unknown,
		"HEAD 200 OK\r\nContent-Length: 5":          5,
		"HEAD 304 Not Modified":                     wire.Unknown,
	} {
		method, head, _ := strings.Cut(sends, " ")
		p := rawOrigin(t, func(up net.Conn, _ *bufio.Reader, _ string) { io.WriteString(up, "HTTP/1.1 "+head+"\r\n\r\n") })
		bothModes(t, func(t *testing.T, major int) {
			got := make(chan int64, 1)
			f := serve(t, major, func(x *wire.Exchange) {
				x.Responder = lengthNoter{x.Responder, got}
				p.Serve(x)
			})
			resp, _, err := f.ask(t, method, "/", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n := <-got; n != want {
				t.Errorf("%q has the length %d, want %d", sends, n, want)
			}
			if given := resp.Header["Content-Length"]; resp.StatusCode != 200 && given != nil {
				t.Errorf("%q leaves with the length %q", sends, given)
			}
		})
	}
}

// lengthNoter tells the length that a head is given.
type lengthNoter struct {
	wire.Responder
	got chan<- int64
}

func (n lengthNoter) Head(status int, f wire.Fields, length int64) error {
	n.got <- length
	return n.Responder.Head(status, f, length)
}

func TestAnswerTrailers(t *testing.T) {
	_, p := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		if r.URL.Path == "/long" {
			io.WriteString(w, strings.Repeat("x", 1<<20))
		} else {
			io.WriteString(w, "text")
		}
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		for _, path := range []string{"/", "/long"} {
			resp, _, err := f.ask(t, "GET", path, nil, nil)
			if err != nil || resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("Grpc-Status") != "0" || len(resp.Trailer) != 2 || resp.Header["Trailer"] != nil && major == 2 {
				t.Errorf("got %v, %v; %v", resp, resp.Trailer, err)
			}
		}
	})
}

func TestInform(t *testing.T) {
	_, p := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.WriteHeader(100)
		w.Header().Del("Link")
		io.WriteString(w, "text")
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		var got []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(status, h.Get("Link")))
			return nil
		}}
		r := f.request(t, "GET", "/", nil, nil)
		resp, err := f.Client().Do(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		expect(t, resp.Body, "text")
		if resp.Header["Link"] != nil || strings.Join(got, " ") != "103</a.css>" {
			t.Errorf("before %v came %q", resp, got)
		}
	})
}

// A stream of events is passed on as it comes: its head before the first event, each event before the next.
func TestEvents(t *testing.T) {
	next := make(chan struct{})
	_, p := origin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		resp, err := f.Client().Do(f.request(t, "GET", "/", nil, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i := range 3 {
			next <- struct{}{}
			expect(t, resp.Body, fmt.Sprintf("data: %d\n\n", i))
		}
		expectEnd(t, resp.Body)
	})
}

func TestUnreachable(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, &Proxy{Upstream: pool(t, spec("http://"+refused(t)))})
		for _, body := range []io.Reader{nil, strings.NewReader("body"), io.MultiReader(strings.NewReader("body"))} {
			resp, text, err := f.ask(t, "POST", "/", nil, body)
			if err != nil || resp.StatusCode != http.StatusBadGateway || strings.Contains(text, "127.0.0.1") {
				t.Errorf("got %v, %q, %v", resp, text, err)
			}
			if r := <-f.records; r.Status != http.StatusBadGateway || r.Err == nil {
				t.Errorf("the record has %+v", r)
			}
		}
	})
}

// A name that does not resolve is a 502, even where the resolver does not answer.
func TestUnresolved(t *testing.T) {
	was := net.DefaultResolver
	defer func() { net.DefaultResolver = was }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for _, scheme := range []string{"http", "https", "h2c"} {
		s := spec(scheme + "://does-not-exist.invalid:1")
		s.Timeouts.Connect = 50 * time.Millisecond
		f := relay(t, 1, &Proxy{Upstream: pool(t, s)})
		if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: got %v, %v", scheme, resp, err)
		}
	}
}

// The next target is asked where one does not take the connection, with the whole body; not where something was sent already.
func TestNextTarget(t *testing.T) {
	up, _ := origin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	asked := make(chan struct{}, 100)
	dies := rawOrigin(t, func(net.Conn, *bufio.Reader, string) { asked <- struct{}{} }).Upstream.Targets()[0].Name
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, &Proxy{Upstream: pool(t, spec("http://"+refused(t), up.URL, "http://"+refused(t)))})
		for range 4 {
			for _, body := range []io.Reader{strings.NewReader("body"), io.MultiReader(strings.NewReader("body"))} {
				if resp, text, err := f.ask(t, "POST", "/", nil, body); err != nil || text != "body" {
					t.Errorf("got %v, %q, %v", resp, text, err)
				}
				if r := <-f.records; "http://"+r.Upstream != up.URL {
					t.Errorf("the record has %+v", r)
				}
			}
		}
		f = relay(t, major, &Proxy{Upstream: pool(t, spec("http://"+dies, "http://"+dies))})
		if resp, _, err := f.ask(t, "POST", "/", nil, strings.NewReader("body")); err != nil || resp.StatusCode != http.StatusBadGateway {
			t.Errorf("got %v, %v", resp, err)
		}
		if <-asked; len(asked) > 0 {
			t.Error("what was sent is sent again")
		}
	})
}

func TestResponseTimeout(t *testing.T) {
	stop := make(chan struct{})
	up, _ := origin(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-stop:
		}
	})
	defer close(stop)
	s := spec(up.URL)
	s.Timeouts.Response = 50 * time.Millisecond
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, &Proxy{Upstream: pool(t, s)})
		if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

// An upstream that gives no valid answer is a 502; one that dies in the middle of an answer is an abort, never a short whole.
func TestBadUpstream(t *testing.T) {
	options := ""
	for i := range 33 {
		options += fmt.Sprint("x-", i, ",")
	}
	for name, c := range map[string]struct {
		sends string
		want  int // 0: the client sees a failure
	}{
		"nothing":              {"", 502},
		"half a head":          {"HTTP/1.1 200 OK\r\nX-A", 502},
		"no HTTP":              {"220 smtp ready\r\n\r\n", 502},
		"two lengths":          {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502},
		"status 0":             {"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n", 502},
		"status 99":            {"HTTP/1.1 099 None\r\nContent-Length: 0\r\n\r\n", 502},
		"a head too long":      {"HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", 502},
		"switch":               {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", 502},
		"switch, half":         {"HTTP/1.1 101 Switching Protocols\r\n\r\n", 502},
		"options":              {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: " + options + "\r\n\r\n", 502},
		"options, early":       {"HTTP/1.1 103 Early Hints\r\nConnection: " + options + "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 502},
		"short of its length":  {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 0},
		"no byte of many":      {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 0},
		"no last chunk":        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", 0},
		"a chunk cut short":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort", 0},
		"no chunk":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
		"a malformed chunk":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nz\r\n", 0},
		"ends with its end":    {"HTTP/1.1 200 OK\r\n\r\nwhole", 200},
		"more than its length": {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwholeHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200},
	} {
		t.Run(name, func(t *testing.T) {
			p := rawOrigin(t, func(up net.Conn, _ *bufio.Reader, _ string) { io.WriteString(up, c.sends) })
			bothModes(t, func(t *testing.T, major int) {
				f := relay(t, major, p)
				resp, text, err := f.ask(t, "GET", "/", nil, nil)
				switch {
				case c.want == 0 && err == nil:
					t.Errorf("it looks whole: %v, %q", resp, text)
				case c.want != 0 && (err != nil || resp.StatusCode != c.want):
					t.Errorf("got %v, %v", resp, err)
				case c.want == 200 && text != "whole":
					t.Errorf("got %q", text)
				}
				if r := <-f.records; (r.Err != nil) != (c.want != 200) {
					t.Errorf("the record has %+v", r)
				}
			})
		})
	}
}

// A client that leaves takes its request to the upstream along.
func TestClientLeaves(t *testing.T) {
	reached, left := make(chan struct{}, 1), make(chan struct{}, 1)
	_, p := origin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/answering" {
			w.(http.Flusher).Flush()
		}
		reached <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})
	bothModes(t, func(t *testing.T, major int) {
		for _, path := range []string{"/", "/answering"} {
			f := relay(t, major, p)
			ctx, cancel := context.WithCancel(t.Context())
			r := f.request(t, "GET", path, nil, nil).WithContext(ctx)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if resp, err := f.Client().Do(r); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}()
			wait(t, "the request", reached)
			begin := time.Now()
			cancel()
			wait(t, "upstream is told", left)
			<-ended
			if d := time.Since(begin); d > 2*time.Second {
				t.Errorf("upstream is told after %v", d)
			}
			record := wait(t, "the record", f.records)
			if record.Err == nil || path == "/" && record.Status != StatusClientClosed {
				t.Errorf("the record has %+v", record)
			}
		}
	})
}

// failing is a Responder that takes no 1xx.
type failing struct {
	wire.Responder
	err error
}

func (f failing) Inform(int, wire.Fields) error { return f.err }
