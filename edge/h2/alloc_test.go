package h2

import (
	"io"
	"testing"

	"golang.org/x/net/http2/hpack"

	"edge/edge/wire"
)

var okText = []byte("ok")

// BenchmarkRequest is a small request and its answer, without TLS. The client allocates nothing.
func BenchmarkRequest(b *testing.B) {
	one := oneRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
}

// A small request whose fields stand in the table, and its answer, allocate nothing: neither hpack nor a goroutine's start does then.
func TestAllocRequest(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	if n := testing.AllocsPerRun(2000, oneRequest(t)); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// oneRequest gives what makes a request, and waits for the end of its answer.
func oneRequest(b testing.TB) func() {
	f := newFront(b, false, func(x *wire.Exchange) {
		x.Head(200, nil, 2)
		x.Write(okText)
		x.Finish(nil)
	}, nil)
	c := f.raw()
	c.get(1)
	c.get(3)
	block := c.block(get...) // all of it stands in the table by now
	frame := append(appendHead(nil, len(block), frameHeaders, flagEndHeaders|flagEndStream, 0), block...)
	in := make([]byte, 32<<10)
	next := func() head {
		if _, err := io.ReadFull(c.nc, in[:headLen]); err != nil {
			b.Fatal(err)
		}
		h := parseHead(in)
		if _, err := io.ReadFull(c.nc, in[:h.length]); err != nil {
			b.Fatal(err)
		}
		return h
	}
	for n := 0; n < 2; {
		if h := next(); h.kind == frameData {
			n++
		}
	}
	id := uint32(5)
	return func() {
		appendHead(frame[:0], len(block), frameHeaders, flagEndHeaders|flagEndStream, id)
		if _, err := c.nc.Write(frame); err != nil {
			b.Fatal(err)
		}
		for h := next(); h.kind != frameData; h = next() {
		}
		id += 2
	}
}

// What the fields of a strange head took is not kept for ordinary ones, whoever holds it by then.
func TestStrangeHeadIsForgotten(t *testing.T) {
	var conn request
	ask := func(s *stream, n int) {
		conn.reset(64 << 10)
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a.test"}} {
			conn.field(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		for range n {
			conn.field(hpack.HeaderField{Name: "x"})
		}
		if no := s.take(&conn, true); no != nil {
			t.Fatal(no)
		}
	}
	var a, b stream
	ask(&a, 1900)
	for range 10 {
		ask(&b, 5)
		ask(&a, 5)
	}
	for name, l := range map[string]lent{"a": a.lent, "b": b.lent, "conn": conn.lent} {
		if cap(l.made) > 512 {
			t.Errorf("%s keeps room for %d fields", name, cap(l.made))
		}
	}
}
