package h2

import (
	"io"
	"net"
	"testing"
)

// A small exchange allocates nothing: its answer's fields stand in the table.
func TestAllocExchange(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	if n := testing.AllocsPerRun(2000, oneExchange(t)); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkExchange is a small exchange without TLS. The server allocates nothing.
func BenchmarkExchange(b *testing.B) {
	one := oneExchange(b)
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
}

// oneExchange gives what makes an exchange with a server that answers all alike.
func oneExchange(t testing.TB) func() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := listening(t, l, parrot).connect()
	r := requestBy("POST", "/a.Service/Method")
	r.Length, r.Body = 2, okText
	return func() {
		s := c.Begin()
		defer s.Done()
		if _, err := s.Send(r); err != nil {
			t.Fatal(err)
		}
		a, err := s.ReadHead(nil)
		if err != nil || a.Status != 200 {
			t.Fatal(a, err)
		}
		for err == nil {
			_, err = s.Next()
		}
		if err != io.EOF || len(s.Trailers()) != 1 {
			t.Fatal(err)
		}
	}
}

// parrot answers each request that ends with a DATA frame.
func parrot(nc net.Conn) {
	in, out := make([]byte, 64<<10), make([]byte, 0, 64<<10)
	if _, err := io.ReadFull(nc, in[:len(preface)]); err != nil {
		return
	}
	nc.Write(appendHead(nil, 0, frameSettings, 0, 0))
	block := append([]byte{0x88}, "\x40\x05x-abc\x03def"...)
	tail := []byte("\x40\x0bgrpc-status\x010")
	nextBlock, nextTail := []byte{0x88, 0x80 | 63}, []byte{0x80 | 62} // of the table
	for n := 0; ; {
		m, err := nc.Read(in[n:])
		if err != nil {
			return
		}
		n += m
		rest := in[:n]
		out = out[:0]
		for len(rest) >= headLen {
			h := parseHead(rest)
			if len(rest) < headLen+h.length {
				break
			}
			if h.kind == frameData && h.has(flagEndStream) {
				out = append(appendHead(out, len(block), frameHeaders, flagEndHeaders, h.stream), block...)
				out = append(appendHead(out, 2, frameData, 0, h.stream), "ok"...)
				out = append(appendHead(out, len(tail), frameHeaders, flagEndHeaders|flagEndStream, h.stream), tail...)
				block, tail = nextBlock, nextTail
			}
			rest = rest[headLen+h.length:]
		}
		n = copy(in, rest)
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}
