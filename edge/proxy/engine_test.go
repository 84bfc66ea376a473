package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/edge/h1"
	"edge/edge/record"
	"edge/edge/socket"
	"edge/edge/tunnel"
	"edge/edge/wire"
)

// stream is a client's connection as the engine has need of it.
type stream struct{ *socket.Conn }

func (s stream) Socket() *socket.Conn { return s.Conn }

// secured is a client's connection above TLS.
type secured struct {
	*tls.Conn
	under *socket.Conn
}

func (s secured) TCP() *net.TCPConn    { return nil }
func (s secured) Socket() *socket.Conn { return s.under }
func (s secured) Reset()               { s.under.Reset() }

// dialer opens a connection, and writes to it: the "\n" leave as "\r\n".
type dialer func(request string) (tunnel.Conn, *bufio.Reader)

// engine serves p by our own HTTP/1.1, and gives a connection to it. Each request's record comes at its end.
func engine(t *testing.T, p *Proxy) (func(request string) (*net.TCPConn, *bufio.Reader), <-chan record.Record) {
	t.Helper()
	dial, records := engineOver(t, p, nil)
	return func(request string) (*net.TCPConn, *bufio.Reader) {
		c, in := dial(request)
		return c.(*net.TCPConn), in
	}, records
}

// engineOver is engine, over TLS if there is a configuration.
func engineOver(t *testing.T, p *Proxy, over *tls.Config) (dialer, <-chan record.Record) {
	t.Helper()
	records := make(chan record.Record, 100)
	info := &wire.Conn{Remote: netip.MustParseAddrPort("192.0.2.1:5"), Body: patience, Write: patience, Tunnel: patience}
	if over != nil {
		info.TLS = &tls.ConnectionState{}
	}
	l := listen(t, func(c net.Conn) {
		c.SetDeadline(time.Time{})
		under := socket.New(c)
		var client h1.Stream = stream{under}
		if over != nil {
			server := tls.Server(under, over)
			if server.Handshake() != nil {
				return
			}
			client = secured{server, under}
		}
		h1.Serve(client, h1.Options{
			Handler: wire.HandlerFunc(func(x *wire.Exchange) {
				defer func() { records <- *x.Record }()
				p.Serve(x)
			}),
			Info: info, MaxHeader: 64 << 10, Header: patience, Idle: patience, Last: func() bool { return false }, Waits: func(bool) {},
		})
	})
	return func(request string) (tunnel.Conn, *bufio.Reader) {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(patience))
		c := nc.(tunnel.Conn)
		if over != nil {
			c = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		}
		io.WriteString(c, strings.ReplaceAll(request, "\n", "\r\n"))
		return c, bufio.NewReader(c)
	}, records
}

// A client that leaves frees the upstream within two seconds: while that thinks, and while it answers.
func TestEngineClientLeaves(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"} {
		reached, freed := make(chan struct{}, 1), make(chan struct{}, 1)
		p := rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
			io.WriteString(up, answer)
			reached <- struct{}{}
			in.Peek(1)
			freed <- struct{}{}
		})
		dial, records := engine(t, p)
		c, in := dial("GET / HTTP/1.1\nHost: a\n\n")
		wait(t, "the request", reached)
		if answer != "" {
			expect(t, in, "HTTP/1.1 200 OK")
		}
		begin := time.Now()
		c.Close()
		wait(t, "the upstream is freed", freed)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("it is freed after %v", d)
		}
		if r := wait(t, "the record", records); r.Err == nil || answer == "" && r.Status != StatusClientClosed {
			t.Errorf("the record has %+v", r)
		}
	}
}

// One connection of the client's, one of the upstream's, and requests of all kinds after each other: with a body that came with the head,
// one that is streamed, in chunks, with trailers both ways, and an interim answer.
func TestEngineExchanges(t *testing.T) {
	var mu sync.Mutex
	conns := 0
	l := listen(t, func(up net.Conn) {
		mu.Lock()
		conns++
		mu.Unlock()
		for in := bufio.NewReader(up); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			var body bytes.Buffer
			body.ReadFrom(r.Body)
			io.WriteString(up, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
			io.WriteString(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			w := bufio.NewWriter(up)
			if body.Len() > 0 {
				w.WriteString(hex(body.Len()) + "\r\n" + body.String() + "\r\n")
			}
			w.WriteString("0\r\nX-Sum: " + r.Trailer.Get("X-Sum") + ";\r\n\r\n")
			w.Flush()
		}
	})
	dial, records := engine(t, &Proxy{Upstream: pool(t, spec("http://"+l.Addr().String()))})
	c, in := dial("")
	large := strings.Repeat("0123456789", 30000)
	for _, r := range []struct{ head, body, want, trailer string }{
		{"GET / HTTP/1.1\nHost: a\n\n", "", "", ";"},
		{"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\n", "body", "body", ";"},
		{"PUT / HTTP/1.1\nHost: a\nContent-Length: 300000\n\n", large, large, ";"},
		{"PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n", "4\r\nbody\r\n0\r\nX-Sum: 42\r\nRemote-User: evil\r\n\r\n", "body", "42;"},
	} {
		go io.WriteString(c, strings.ReplaceAll(r.head, "\n", "\r\n")+r.body)
		expect(t, in, "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil || string(b) != r.want || resp.Trailer.Get("X-Sum") != r.trailer {
			t.Errorf("%q: got %.100q, %v, %v", r.head, b, resp.Trailer, err)
		}
		if r := wait(t, "the record", records); r.Err != nil || r.Status != 200 {
			t.Errorf("the record has %+v", r)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if conns != 1 {
		t.Errorf("%d connections to the upstream", conns)
	}
}

// An early answer reaches a client that still sends, and both directions go at once.
func TestEngineDuplex(t *testing.T) {
	dial, _ := engine(t, rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		io.WriteString(up, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			b, err := in.ReadByte()
			if err != nil {
				return
			}
			io.WriteString(up, "1\r\n"+string(b)+"\r\n")
			if b == '9' {
				io.WriteString(up, "0\r\n\r\n")
				return
			}
		}
	}))
	c, in := dial("POST / HTTP/1.1\nHost: a\nContent-Length: 1000\n\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	for b := byte('0'); b <= '9'; b++ {
		c.Write([]byte{b})
		expect(t, resp.Body, string(b))
	}
	expectEnd(t, resp.Body)

	dial, _ = engine(t, rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		io.WriteString(up, "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
		up.(*net.TCPConn).CloseWrite()
		in.Peek(4096)
	}))
	c, in = dial("POST / HTTP/1.1\nHost: a\nContent-Length: 1000000000\n\n")
	go io.Copy(c, endless{})
	if resp, err = http.ReadResponse(in, nil); err != nil || resp.StatusCode != 413 {
		t.Fatalf("got %v, %v", resp, err)
	}
	expect(t, resp.Body, "large")
	c.Close()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func hex(n int) string {
	const digits = "0123456789abcdef"
	if n < 16 {
		return digits[n : n+1]
	}
	return hex(n/16) + digits[n%16:n%16+1]
}
