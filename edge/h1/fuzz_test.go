package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"

	"edge/edge/wire"
)

// headOf gives a head as readHead would, and what is behind it.
func headOf(raw []byte) (text, rest []byte, ok bool) {
	raw = bytes.TrimPrefix(raw, []byte("\r\n"))
	var l lines
	end, err := l.end(raw)
	if err != nil || end == 0 {
		return nil, nil, false
	}
	return bytes.Clone(raw[:end-2]), raw[end:], true
}

// said is what a request says, to compare.
func said(r *request) string {
	return fmt.Sprintf("%q %q %q %q %q %v %d %v %q %v %v %q", r.method, r.authority, r.host, r.path, r.query, r.hasQuery, r.length, r.chunked,
		r.upgrade, r.keeps(), r.minor, r.fields)
}

// serialised is a request as it would be sent on.
func serialised(r *request) []byte {
	var b bytes.Buffer
	target := string(r.path)
	if r.hasQuery {
		target += "?" + string(r.query)
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\nHost: %s\r\n", r.method, target, r.minor, r.authority)
	switch {
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case r.length > 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.length)
	}
	switch {
	case r.upgrade != nil:
		fmt.Fprintf(&b, "Connection: upgrade\r\nUpgrade: %s\r\n", r.upgrade)
	case r.minor == 0 && r.keeps():
		b.WriteString("Connection: keep-alive\r\n")
	}
	if !r.keeps() && r.minor == 1 {
		b.WriteString("Connection: close\r\n")
	}
	return append(appendFields(b.Bytes(), r.fields), "\r\n"...)
}

// What is accepted and sent on means the same to whoever reads it: to this parser and to net/http's.
func FuzzHead(f *testing.F) {
	for _, s := range samples(f) {
		if len(s.Raw) < 4000 {
			f.Add([]byte(s.Raw))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, _, ok := headOf(raw)
		if !ok {
			return
		}
		var first, again request
		if first.parse(text) != nil {
			return
		}
		sent := serialised(&first)
		text, rest, ok := headOf(sent)
		if !ok || len(rest) > 0 {
			t.Fatalf("what is sent on is no head: %q", sent)
		}
		if err := again.parse(text); err != nil {
			t.Fatalf("what is sent on is refused: %v, %q", err, sent)
		}
		if said(&first) != said(&again) {
			t.Fatalf("what came and what is sent on differ:\n%s\n%s", said(&first), said(&again))
		}
		if err := wire.Check(string(first.path), string(first.query)); err != nil && string(first.path) != "*" {
			t.Fatalf("%q is not canonical: %v", sent, err)
		}
		if a, h, err := wire.CanonicalHost(string(first.authority)); err != nil || a != string(first.authority) || h != string(first.host) {
			t.Fatalf("%q: %q %q, %v", sent, a, h, err)
		}
		compare(t, &first, sent)
	})
}

// compare reads with net/http what is sent on.
func compare(t *testing.T, r *request, sent []byte) {
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(sent, "0\r\n\r\n"...))))
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", sent, err)
	}
	length := r.length
	if r.chunked {
		length = -1
	}
	target := string(r.path)
	if r.hasQuery {
		target += "?" + string(r.query)
	}
	if std.Method != string(r.method) || std.RequestURI != target || std.Host != string(r.authority) || std.ContentLength != length {
		t.Fatalf("net/http reads %s %s %s %d out of %q", std.Method, std.RequestURI, std.Host, std.ContentLength, sent)
	}
	n := 0
	for name, values := range std.Header {
		if lower := strings.ToLower(name); !wire.Framing(lower) {
			n += len(values)
			if v, _ := r.fields.Get(lower); string(v) != values[0] {
				t.Fatalf("net/http reads %s: %q out of %q", name, values[0], sent)
			}
		}
	}
	if n != len(r.fields) {
		t.Fatalf("net/http reads %d fields in place of %d out of %q", n, len(r.fields), sent)
	}
}

// dechunked reads a chunked body in steps of a size.
func dechunked(in []byte, step int) (data []byte, rest int, ok bool) {
	var c chunks
	have, used := 0, 0
	for !c.done {
		taken, part, trailers, err := c.next(in[used:have])
		if err == nil && c.done {
			_, err = parseTrailers(trailers)
		}
		if err != nil {
			return nil, 0, false
		}
		if taken == 0 {
			if have == len(in) {
				return nil, 0, false
			}
			have = min(have+step, len(in))
			continue
		}
		data, used = append(data, part...), used+taken
	}
	return data, used, true
}

// What is accepted as chunks is, to net/http, the same bytes; however the bytes come it is the same to us; and the look ahead agrees.
func FuzzChunks(f *testing.F) {
	for _, s := range samples(f) {
		if _, body, ok := headOf([]byte(s.Raw)); ok && len(body) > 0 && len(body) < 4000 {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		data, used, ok := dechunked(in, 1)
		whole, usedWhole, okWhole := dechunked(in, len(in)+1)
		if ok != okWhole || used != usedWhole || !bytes.Equal(data, whole) {
			t.Fatalf("byte by byte: %q %d %v; whole: %q %d %v", data, used, ok, whole, usedWhole, okWhole)
		}
		if n, done := (chunks{}).skip(in); ok && (!done || n != used) {
			t.Fatalf("skip says %d %v in place of %d %v", n, done, used, ok)
		}
		if !ok {
			return
		}
		std, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(in[:used])))
		if err != nil || !bytes.Equal(std, data) {
			t.Fatalf("net/http reads %q, %v out of %q in place of %q", std, err, in, data)
		}
	})
}
