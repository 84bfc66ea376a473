package h1

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"

	"edge/edge/wire"
)

// frequent is what a keep-alive connection sees most of.
var frequent = map[string]string{
	"GET": "GET /a/b.css?v=1%20 HTTP/1.1\r\nHost: Www.A.test:8443\r\nUser-Agent: test\r\nAccept: */*\r\nConnection: keep-alive\r\n" +
		"Cookie: a=b; c=d\r\nAccept-Encoding: gzip, br\r\n\r\n",
	"POST":   "POST /form HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\nhello=world",
	"chunks": "POST /form HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello=world\r\n0\r\n\r\n",
}

// A request on a kept connection allocates nothing in the engine, in the steady state.
func TestNoAllocations(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	body, fields := bytes.Repeat([]byte("x"), 1024), wire.Fields{}.Add("content-type", "text/plain")
	in := make([]byte, 64)
	h := func(x *wire.Exchange) {
		for {
			if _, err := x.Body.Read(in); err == io.EOF {
				break
			}
		}
		x.Head(200, fields, int64(len(body)))
		x.Write(body)
		x.Finish(nil)
	}
	for _, overTLS := range []bool{false, true} {
		s := newSite(t, "h1", overTLS, settings{}, h)
		for name, request := range frequent {
			const n = 10000
			got := mallocs(t, s.dial(t), []byte(request), n)
			t.Logf("%s, TLS %v: %d requests made %d allocations", name, overTLS, n, got)
			limit := uint64(n / 100)
			if overTLS {
				limit += 3 * n // crypto/tls makes one whenever it begins to read, without the program's profile (TestAllocRelay has it): the client's, ours, and ours that finds nothing more
			}
			if got >= limit {
				t.Error("these are too many")
			}
		}
	}
}

// mallocs sends a request n times on one connection, after some to warm up, and gives how many allocations the process made.
func mallocs(t *testing.T, nc net.Conn, request []byte, n int) uint64 {
	defer nc.Close()
	buf := make([]byte, 64<<10)
	size := 0
	ask := func() {
		nc.Write(request)
		got, err := nc.Read(buf)
		for err == nil && got < size {
			var m int
			m, err = nc.Read(buf)
			got += m
		}
		if size = got; err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		ask()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		ask()
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// BenchmarkGet is a request and its answer over loopback.
func BenchmarkGet(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 1024)
	wait := serveH1(ln, wire.HandlerFunc(func(x *wire.Exchange) {
		x.Head(200, nil, int64(len(body)))
		x.Write(body)
		x.Finish(nil)
	}), settings{})
	defer wait()
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	buf := make([]byte, 64<<10)
	request := []byte(frequent["GET"])
	b.ReportAllocs()
	for b.Loop() {
		nc.Write(request)
		nc.Read(buf)
	}
}
