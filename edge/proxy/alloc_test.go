package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/wire"
)

// sink is a Responder that takes everything, and the Body of a request that was read with its head.
type sink struct {
	wire.Responder
	status int
	got    int
	body   []byte
}

func (s *sink) Head(status int, _ wire.Fields, _ int64) error {
	s.status, s.got = status, 0
	return nil
}
func (s *sink) Write(p []byte) (int, error) { s.got += len(p); return len(p), nil }
func (s *sink) Flush() error                { return nil }
func (s *sink) Finish(wire.Fields) error    { return nil }
func (s *sink) Abort(error)                 {}
func (s *sink) OnGone(func(error))          {}
func (s *sink) Gone() error                 { return nil }
func (s *sink) Context() context.Context    { return context.Background() }
func (s *sink) Read([]byte) (int, error)    { return 0, io.EOF }
func (s *sink) Buffered() ([]byte, bool)    { return s.body, true }
func (s *sink) Trailers() wire.Fields       { return nil }

// parrot is an upstream that gives the same answer again and again, and allocates nothing for it.
func parrot(t testing.TB, answer string) (address string) {
	return rawOriginTB(t, func(up net.Conn, in *bufio.Reader) {
		all := []byte(answer)
		for {
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			up.Write(all)
		}
	})
}

func rawOriginTB(t testing.TB, f func(net.Conn, *bufio.Reader)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if c, err := l.Accept(); err == nil {
			f(c, bufio.NewReader(c))
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

func frequentRequest() (*wire.Exchange, *sink) {
	s := new(sink)
	x := &wire.Exchange{
		Method: []byte("GET"), Scheme: []byte("https"), Authority: []byte("a.test"), Host: []byte("a.test"), Path: []byte("/a/b.css"), RawQuery: []byte("v=1"), HasQuery: true,
		Conn: &wire.Conn{Remote: netip.MustParseAddrPort("192.0.2.1:5")}, Record: &record.Record{}, Body: s, Responder: s, User: "alice", Major: 1, Minor: 1,
	}
	x.Fields = x.Fields.Add("user-agent", "test").Add("accept", "*/*").Add("accept-encoding", "gzip, br").Add("cookie", "a=b; c=d")
	return x, s
}

const kilobyte = "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 08:37:46 GMT\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"

// Relaying over a connection that is used again allocates nothing, in the steady state.
func TestNoAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for name, answer := range map[string]string{
		"length": kilobyte + strings.Repeat("x", 1024),
		"chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n0\r\n\r\n",
	} {
		one := spec("http://" + parrot(t, answer))
		several := spec("http://"+parrot(t, answer), "http://"+parrot(t, answer))
		least := spec("http://"+parrot(t, answer), "http://"+parrot(t, answer))
		least.LeastConnections = true
		for _, spec := range []*conf.Upstream{one, several, least} {
			p := &Proxy{Upstream: pool(t, spec), OwnCookie: OrCookie(own, "at")}
			x, s := frequentRequest()
			x.Groups, x.Email, x.Assertion = []string{"staff", "a, b", "users"}, "alice@a.test", strings.Repeat("x", 600)
			x.Fields = x.Fields.Add("cookie", "a=b; at=1; ours=1; c=d")
			if n := testing.AllocsPerRun(5000, func() { p.Serve(x) }); n > 0 || s.status != 200 || s.got != 1024 {
				t.Errorf("%s, %d targets: %v allocations; status %d, %d bytes, %v", name, len(spec.Targets), n, s.status, s.got, x.Record.Err)
			}
		}
	}
}

// BenchmarkRelay is a request and its answer over loopback.
func BenchmarkRelay(b *testing.B) {
	p := &Proxy{Upstream: pool(b, spec("http://"+parrot(b, kilobyte+strings.Repeat("x", 1024))))}
	x, _ := frequentRequest()
	b.ReportAllocs()
	for b.Loop() {
		p.Serve(x)
	}
}
