package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// seen answers with what the Exchange says of its request.
func seen(x *Exchange) {
	Reply(x, http.StatusOK, "text/plain", fmt.Sprintf("%s %s://%s (%s) %s", x.Method, x.Scheme, x.Authority, x.Host, x.Target()))
}

// TestTargets1 writes requests of HTTP/1 itself.
func TestTargets1(t *testing.T) {
	var ran atomic.Int32
	s := serveRaw(t, testConn(), nil, func(x *Exchange) { ran.Add(1); seen(x) })
	const host = "Host: a.test\n"
	for _, c := range []struct {
		head string // after the method up to the empty line
		want string // "": 400
	}{
		{"GET / HTTP/1.1\n" + host, "GET http://a.test (a.test) /"},
		{"GET /a%2Fb//;x=%41?%7e&? HTTP/1.1\nHost: A.Test.:80\n", "GET http://a.test.:80 (a.test) /a%2Fb//;x=%41?%7e&?"},
		{"GET /x? HTTP/1.1\n" + host, "GET http://a.test (a.test) /x?"},
		{"GET //x HTTP/1.1\n" + host, "GET http://a.test (a.test) //x"},
		{"GET /é\"<> HTTP/1.1\n" + host, "GET http://a.test (a.test) /é\"<>"},
		{"OPTIONS * HTTP/1.1\n" + host, "OPTIONS http://a.test (a.test) *"},
		{"GET / HTTP/1.0\n" + host, "GET http://a.test (a.test) /"},
		// absolute-form: its host counts (RFC 9112 section 3.2.2)
		{"GET http://b.test/x?y HTTP/1.1\n" + host, "GET http://b.test (b.test) /x?y"},
		{"GET HTTPS://B.test:1 HTTP/1.1\n" + host, "GET http://b.test:1 (b.test) /"},
		{"GET http://b.test?y=/../ HTTP/1.1\n" + host, "GET http://b.test (b.test) /?y=/../"},
		{"GET http://b.test//x HTTP/1.1\n" + host, "GET http://b.test (b.test) //x"},
		{"GET http://b.test/../x HTTP/1.1\n" + host, ""},
		{"GET http://b.test/a#b HTTP/1.1\n" + host, ""},
		{"GET http://u:p@b.test/ HTTP/1.1\n" + host, ""},
		{"GET http://b..test/ HTTP/1.1\n" + host, ""},
		{"GET http:/admin HTTP/1.1\n" + host, ""},
		{"GET http:///admin HTTP/1.1\n" + host, ""},
		{"GET http:admin HTTP/1.1\n" + host, ""},
		{"GET ftp://b.test/ HTTP/1.1\n" + host, ""},
		{"GET x HTTP/1.1\n" + host, ""},
		{"GET * HTTP/1.1\n" + host, ""},
		{"CONNECT a.test:80 HTTP/1.1\n" + host, ""},
		{"CONNECT / HTTP/1.1\n" + host, ""},
		{"GET /a/../b HTTP/1.1\n" + host, ""},
		{"GET /%2e%2e%2fb HTTP/1.1\n" + host, ""},
		{"GET /admin#/public HTTP/1.1\n" + host, ""},
		{"GET /\\evil HTTP/1.1\n" + host, ""},
		{"GET /%5cevil HTTP/1.1\n" + host, ""},
		{"GET /%00 HTTP/1.1\n" + host, ""},
		{"GET /%zz HTTP/1.1\n" + host, ""},
		{"GET /?%zz HTTP/1.1\n" + host, ""},
		{"GET /\x01 HTTP/1.1\n" + host, ""},
		{"GET / HTTP/1.1\n", ""},
		{"GET / HTTP/1.0\n", ""},
		{"GET / HTTP/1.1\n" + host + "Host: b.test\n", ""},
		{"GET / HTTP/1.1\nHost: u@a.test\n", ""},
		{"GET / HTTP/1.1\nHost: a.test:x\n", ""},
		{"GET / HTTP/1.1\nHost: a.test, b.test\n", ""},
		{"POST / HTTP/1.1\n" + host + "Content-Length: 1\nContent-Length: 2\n", ""},
		{"POST / HTTP/1.1\n" + host + "Transfer-Encoding: gzip, chunked\n", ""},
	} {
		ran.Store(0)
		r := dial(t, s)
		r.send(c.head + "Connection: close\n\n")
		resp, text := r.answer("GET")
		switch {
		case c.want == "" && (resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotImplemented || ran.Load() != 0):
			t.Errorf("%q: %d %q, the handler ran %d times; want 400", c.head, resp.StatusCode, text, ran.Load())
		case c.want != "" && text != c.want:
			t.Errorf("%q: %d %q, want %q", c.head, resp.StatusCode, text, c.want)
		}
	}
}

// A refused request leaves nothing behind that could be read as another one, and does not wait for what its body lacks.
func TestRefusedBody(t *testing.T) {
	s := serveRaw(t, testConn(), nil, seen)
	r := dial(t, s)
	r.send("POST /.. HTTP/1.1\nHost: a.test\nContent-Length: 60\n\n")
	if resp, _ := r.answer("POST"); resp.StatusCode != http.StatusBadRequest || !resp.Close {
		t.Errorf("got %v", resp)
	}
	r.send("GET /smuggled HTTP/1.1\nHost: a.test\n\n")
	r.ends()
}

// raw2 sends the head of one HTTP/2 request and gives the status of its answer and the start of its body; 0: the stream was reset.
func raw2(t *testing.T, s *httptest.Server, fields ...string) (status, body string) {
	t.Helper()
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := errors.Join(f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			status = frame.PseudoValue("status")
		case *http2.DataFrame:
			return status, string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "0", ""
		}
	}
}

// TestTargets2 writes requests of HTTP/2 that no client of net/http would send.
func TestTargets2(t *testing.T) {
	var ran atomic.Int32
	s := serveTLS(t, 2, testConn(), func(x *Exchange) { ran.Add(1); seen(x) })
	for _, c := range []struct {
		path, authority string
		more            []string
		want            string // "": 400, or the stream is reset
	}{
		{"/a%2Fb?", "A.test:1", nil, "GET https://a.test:1 (a.test) /a%2Fb?"},
		{"//x", "a.test", nil, "GET https://a.test (a.test) //x"},
		{"/", "", []string{"host", "a.test"}, "GET https://a.test (a.test) /"},
		{"/", "a.test", []string{"host", "A.test"}, "GET https://a.test (a.test) /"},
		{"/", "bücher.test:1", nil, "GET https://xn--bcher-kva.test:1 (xn--bcher-kva.test) /"},
		{"/", "a.test", []string{"host", "b.test"}, ""},
		{"/", "a.test", []string{"host", "a.test", "host", "a.test"}, ""},
		{"/", "", nil, ""},
		{"/", "u@a.test", nil, ""},
		{"/admin#/public", "a.test", nil, ""},
		{"https://evil/admin", "a.test", nil, ""},
		{"https://a.test/admin", "a.test", nil, ""},
		{"/a/../b", "a.test", nil, ""},
		{"/%2e%2e%2fb", "a.test", nil, ""},
		{"/\\", "a.test", nil, ""},
		{"/ ", "a.test", nil, ""},
		{"/%zz", "a.test", nil, ""},
		{"*", "a.test", nil, ""},
		{"", "a.test", nil, ""},
		{"x", "a.test", nil, ""},
	} {
		ran.Store(0)
		fields := append([]string{":method", "GET", ":scheme", "https", ":path", c.path}, c.more...)
		if c.authority != "" {
			fields = append([]string{":authority", c.authority}, fields...)
		}
		status, body := raw2(t, s, fields...)
		switch {
		case c.want == "" && (status != "400" && status != "0" || ran.Load() != 0):
			t.Errorf("%q %q %q: %s %q, the handler ran %d times; want 400", c.path, c.authority, c.more, status, body, ran.Load())
		case c.want != "" && body != c.want:
			t.Errorf("%q %q %q: %s %q, want %q", c.path, c.authority, c.more, status, body, c.want)
		}
	}
	for _, connect := range [][]string{
		{":method", "CONNECT", ":authority", "a.test:80"},
		{":method", "CONNECT", ":authority", "a.test", ":scheme", "https", ":path", "/", ":protocol", "websocket"},
	} {
		ran.Store(0)
		if status, _ := raw2(t, s, connect...); status != "400" && status != "0" || ran.Load() != 0 {
			t.Errorf("%q: %s", connect, status)
		}
	}
}

func TestExchange(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		c := testConn()
		got := make(chan string, 1)
		s := serveTLS(t, major, c, func(x *Exchange) {
			r := x.Record
			got <- fmt.Sprintf("%s %s %s %s %d %v %d.%d %q %v\n%s %s %s %s %s %d %v\n%s", x.Method, x.Scheme, x.Host, x.Target(), x.Length, x.HasQuery,
				x.Major, x.Minor, x.Upgrade, x.Conn == c, r.Listener, r.Method, r.Host, r.Path, r.Client, r.TLS, r.Start.IsZero(), lines(x.Fields))
			ok(x)
		})
		r, _ := http.NewRequest("PUT", s.URL+"/a?b", strings.NewReader("12345"))
		r.Host = "A.test"
		r.Header = http.Header{"X-A": {"1"}, "Cookie": {"a=1; b=2"}, "User-Agent": nil, "Accept-Encoding": {"br"}, "Te": {"trailers"}}
		if _, _, err := do(s, r); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("PUT https a.test /a?b 5 true %d.%d \"\" true\ntest PUT a.test /a 192.0.2.1:5 %d false\naccept-encoding: br\ncookie: a=1; b=2\nx-a: 1",
			major, 2-major, tls.VersionTLS13)
		if g := <-got; g != want {
			t.Errorf("got\n%s\nwant\n%s", g, want)
		}
	})
}
