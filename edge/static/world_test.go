package static

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/edge/wire"
)

// modes are the ways that a request comes by.
var modes = []string{"http/1.1", "http/1.1 over TLS", "h2"}

// got is an answer, its body as it came.
type got struct {
	*http.Response
	body string
}

// field gives a field's value, all its lines in one.
func (g got) field(name string) string { return strings.Join(g.Header.Values(name), "\n") }

// client gives what asks h in a mode, over one engine. Each field is "Name: value".
func client(t testing.TB, h wire.Handler, mode string) func(method, target string, fields ...string) got {
	t.Helper()
	dial := engine(t, h, mode != "http/1.1")
	if mode != "h2" {
		return func(method, target string, fields ...string) got {
			t.Helper()
			c := dial()
			defer c.Close()
			if mode == "http/1.1 over TLS" {
				s, err := secured(c, "http/1.1")
				if err != nil {
					t.Fatal(err)
				}
				c = s
			}
			return exchange(t, c, method, target, fields...)
		}
	}
	tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		return secured(dial(), "h2")
	}}
	tr.Protocols.SetHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return func(method, target string, fields ...string) got {
		t.Helper()
		r, err := http.NewRequest(method, "https://site.example"+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			r.Header.Add(name, value)
		}
		return read(t, r, func() (*http.Response, error) { return tr.RoundTrip(r) })
	}
}

// exchange asks over a connection of HTTP/1.1, byte for byte.
func exchange(t testing.TB, c net.Conn, method, target string, fields ...string) got {
	t.Helper()
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n%s\r\n", method, target, lines(fields))
	return read(t, &http.Request{Method: method}, func() (*http.Response, error) {
		return http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	})
}

func lines(fields []string) string {
	return strings.Join(append(fields[:len(fields):len(fields)], ""), "\r\n")
}

func read(t testing.TB, r *http.Request, answer func() (*http.Response, error)) got {
	t.Helper()
	resp, err := answer()
	if err != nil {
		t.Fatalf("%s: %v", r.Method, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %d, then %v", r.Method, resp.StatusCode, err)
	}
	return got{resp, string(body)}
}

// parted gives the parts of a multipart answer, each as "Content-Range Content-Type body".
func (g got) parted(t testing.TB) (list []string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(g.field("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("%q, %v", kind, err)
	}
	r := multipart.NewReader(strings.NewReader(g.body), params["boundary"])
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %s %s", p.Header.Get("Content-Range"), p.Header.Get("Content-Type"), body))
	}
}

// clock says what time it is.
type clock struct{ atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.Store(time.Now().UnixNano())
	return c
}

func (c *clock) pass(d time.Duration) { c.Add(int64(d)) }

// at has h answer at the clock's time.
func at(c *clock, h wire.Handler) wire.Handler {
	return wire.HandlerFunc(func(x *wire.Exchange) {
		x.Record.Start = time.Unix(0, c.Load())
		h.Serve(x)
	})
}

// put writes a file that was changed at a time.
func put(t testing.TB, name string, content []byte, at time.Time) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

// prose is text that compresses well and is nowhere the same.
func prose(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "This is line %d of a text that is to be compressed.\n", i)
	}
	return b.Bytes()[:n]
}

// until waits for what is to become true.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
