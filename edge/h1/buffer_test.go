package h1

import (
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge/edge/wire"
)

// counted counts the writes of a connection. It hides the kernel's, which would be written to past it.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// A head and a small body leave in one write: over TLS, in one record. Over TLS a large piece leaves with its head too.
func TestOneWrite(t *testing.T) {
	for _, c := range []struct {
		size    int
		overTLS bool
		known   bool // the length
		writes  int64
	}{
		{15 << 10, false, true, 1}, {15 << 10, false, false, 1}, {15 << 10, true, true, 1}, {15 << 10, true, false, 1},
		{64 << 10, true, true, 1}, {64 << 10, true, false, 2}, // the last chunk comes by itself
		{64 << 10, false, true, 2}, {256 << 10, true, true, 1},
	} {
		if n := writesOf(t, strings.Repeat("x", c.size), c.overTLS, c.known); n != c.writes {
			t.Errorf("%d bytes, TLS %v, length known %v: %d writes", c.size, c.overTLS, c.known, n)
		}
	}
}

// writesOf is how many writes an answer takes.
func writesOf(t *testing.T, body string, overTLS, known bool) int64 {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	length := int64(wire.Unknown)
	if known {
		length = int64(len(body))
	}
	var writes atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if nc, err := ln.Accept(); err == nil {
			info := settings{}.info()
			st, state := newStream(counted{nc, &writes}, overTLS)
			info.TLS = state
			Serve(st, Options{
				Handler: answerWith(200, length, body), Info: info, MaxHeader: 4096, Header: patience, Idle: patience,
				Last: func() bool { return false }, Waits: func(bool) {},
			})
		}
	}()
	c := (&site{t: t, tls: overTLS, addr: ln.Addr().String()}).dial(t)
	defer func() { c.Close(); <-ended }()
	before := int64(0)
	for range 2 { // the handshake's last may come with the first
		before = writes.Load()
		c.send("GET / HTTP/1.1\nHost: a.test\n\n")
		c.expect("GET", 200, body)
	}
	return writes.Load() - before
}

// An idle connection holds no buffer.
func TestIdleHoldsNoBuffer(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		var held atomic.Int64
		var served *Conn // touched by its own goroutine only
		s := newSite(t, "h1", overTLS, settings{waits: func(waits bool) {
			if c := served; waits && c != nil && (c.in.buf != nil || c.in.pinned != nil || c.x.answer.buf != nil) {
				held.Add(1)
			}
		}}, func(x *wire.Exchange) {
			served = x.Responder.(*answer).c
			io.Copy(io.Discard, x.Body)
			path(x)
		})
		c := s.dial(t)
		c.send("GET / HTTP/1.1\nHost: a.test\n\n")
		c.expect("GET", 200, "/")
		c.send("POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n")
		time.Sleep(10 * time.Millisecond) // so that a second buffer is needed
		c.send("5\nhello\n0\n\n")
		c.expect("GET", 200, "/")
		c.works()
		if held.Load() > 0 {
			t.Errorf("TLS %v: an idle connection holds a buffer", overTLS)
		}
		c.Close()
	}
}

// A connection that rests has a small stack, whatever its handshake and its requests needed: the garbage collector takes the rest away.
func TestIdleStack(t *testing.T) {
	if raced {
		t.Skip("the race detector makes frames larger")
	}
	const conns, most = 200, 8 << 10 // bytes for each
	s := newSite(t, "h1", true, settings{}, path)
	before := stacks()
	for range conns {
		c := s.dial(t)
		c.works()
		defer c.Close()
	}
	for limit := time.Now().Add(patience); ; runtime.Gosched() {
		each := (stacks() - before) / conns
		if each <= most {
			t.Logf("%d bytes of stack for each connection", each)
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%d bytes of stack for each connection", each)
		}
	}
}

// stacks are the bytes of all stacks, after a garbage collection.
func stacks() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}

// A body of which much is to come is read in huge pieces, be its length said or seen; a short one is not. All buffers come back, also of an
// answer that nobody reads to its end.
func TestHugePieces(t *testing.T) {
	size := strconv.Itoa(1 << 20)
	for what, answer := range map[string]struct {
		head string
		body int
		huge bool
	}{
		"a length":    {"Content-Length: " + size, 1 << 20, true},
		"to the end":  {"Connection: close", 4 << 20, true},
		"one of many": {"Content-Length: 100000", 100000, false},
	} {
		for _, whole := range []bool{true, false} {
			used := hugeUsed.Load()
			c, up := dialled(t, longLimits)
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(up, "HTTP/1.1 200 OK\r\n"+answer.head+"\r\n\r\n"+strings.Repeat("x", answer.body))
				up.CloseWrite()
				sent <- err
			}()
			if err := c.Send(requestBy("GET")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.ReadHead(new(noted)); err != nil {
				t.Fatal(err)
			}
			was, n := false, 0
			for n < answer.body && (whole || n < answer.body/2) {
				b, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				n, was = n+len(b), was || hugeUsed.Load() > used
			}
			if was != answer.huge {
				t.Errorf("%s: huge buffers: %v", what, was)
			}
			c.Close()
			if hugeUsed.Load() != used {
				t.Errorf("%s, read whole %v: a huge buffer is gone", what, whole)
			}
			up.Close()
			<-sent
		}
	}
}

// A buffer that grew with a head is none of a pool's, which counts its own.
func TestGrownIsNotHuge(t *testing.T) {
	before := hugeUsed.Load()
	var in input
	for in.buf == nil || len(*in.buf) < hugeSize {
		in.w += len(in.room())
	}
	in.release()
	if n := hugeUsed.Load(); n != before {
		t.Errorf("%d huge buffers in use, and were %d", n, before)
	}
}

// There are only so many huge buffers at a time.
func TestMostHuge(t *testing.T) {
	var got []*[]byte
	for range mostHuge - hugeUsed.Load() {
		b := getFor(hugeSize)
		if got = append(got, b); len(*b) != hugeSize {
			t.Fatalf("number %d has %d bytes", len(got), len(*b))
		}
	}
	for range 2 {
		b := getFor(hugeSize)
		if len(*b) != largeSize {
			t.Errorf("one more has %d bytes", len(*b))
		}
		putBack(b)
	}
	for _, b := range got {
		putBack(b)
	}
	b := getFor(hugeSize)
	if len(*b) != hugeSize {
		t.Error("none came back")
	}
	putBack(b)
}
