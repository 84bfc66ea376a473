package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
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
		relayed(t, &first)
	})
}

// relayed looks at a request as the client's side sends it on: the same, but for what ends with the client's connection.
func relayed(t *testing.T, r *request) {
	sent := &Request{Method: r.method, Path: r.path, Query: r.query, Host: r.authority, HasQuery: r.hasQuery, Fields: r.fields, Length: r.length, Upgrade: r.upgrade}
	if r.chunked {
		sent.Length = wire.Unknown
	}
	if len(sent.Host) == 0 { // HTTP/1.0 without one: the target's name stands there
		sent.Host = []byte("target.test")
	}
	if !sent.sendable() {
		t.Fatalf("what was taken cannot be sent: %+v", sent)
	}
	raw := appendRequest(nil, sent)
	text, rest, ok := headOf(raw)
	var again request
	if !ok || len(rest) > 0 || again.parse(text) != nil {
		t.Fatalf("what is sent on is no request: %q", raw)
	}
	same := *r // as it must come
	same.minor, same.close, same.authority, same.host = 1, false, again.authority, again.host
	if len(r.authority) > 0 {
		same.authority, same.host = r.authority, r.host
	}
	if said(&same) != said(&again) {
		t.Fatalf("what came and what is sent on differ:\n%s\n%s", said(&same), said(&again))
	}
	compare(t, &same, raw)
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
	if std.Close == r.keeps() || std.Header.Get("Upgrade") != string(r.upgrade) {
		t.Fatalf("net/http: close %v, upgrade %q out of %q", std.Close, std.Header.Get("Upgrade"), sent)
	}
	if theirs, ours := sorted(fieldsOf(std.Header)), sorted(r.fields); theirs != ours {
		t.Fatalf("net/http reads %s in place of %s out of %q", theirs, ours, sent)
	}
}

// fieldsOf gives a net/http header as ours are: names in lower case, none of framing. net/http keeps only the order of those of one name.
func fieldsOf(h http.Header) (f wire.Fields) {
	for name, values := range h {
		if lower := strings.ToLower(name); !wire.Framing(lower) {
			for _, v := range values {
				f = f.Add(lower, v)
			}
		}
	}
	return f
}

// sorted gives fields by name, to compare.
func sorted(f wire.Fields) string {
	f = slices.Clone(f)
	slices.SortStableFunc(f, func(a, b wire.Field) int { return bytes.Compare(a.Name, b.Name) })
	return fmt.Sprintf("%q", f)
}

// dechunked reads a chunked body in steps of a size.
func dechunked(in []byte, step int) (data []byte, trailers wire.Fields, rest int, ok bool) {
	var c chunks
	have, used := 0, 0
	for !c.done {
		taken, part, section, err := c.next(in[used:have])
		if err == nil && c.done {
			trailers, err = parseTrailers(bytes.Clone(section))
		}
		if err != nil {
			return nil, nil, 0, false
		}
		if taken == 0 {
			if have == len(in) {
				return nil, nil, 0, false
			}
			have = min(have+step, len(in))
			continue
		}
		data, used = append(data, part...), used+taken
	}
	return data, trailers, used, true
}

// What is accepted as chunks is the same bytes and trailers to net/http, and to both once more as we send it on; however the bytes come it
// is the same to us; and the look ahead agrees.
func FuzzChunks(f *testing.F) {
	for _, s := range samples(f) {
		if _, body, ok := headOf([]byte(s.Raw)); ok && len(body) > 0 && len(body) < 4000 {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		data, trailers, used, ok := dechunked(bytes.Clone(in), 1)
		whole, _, usedWhole, okWhole := dechunked(bytes.Clone(in), len(in)+1)
		if ok != okWhole || used != usedWhole || !bytes.Equal(data, whole) {
			t.Fatalf("byte by byte: %q %d %v; whole: %q %d %v", data, used, ok, whole, usedWhole, okWhole)
		}
		if n, done := (chunks{}).skip(bytes.Clone(in)); done != ok || ok && n != used {
			t.Fatalf("skip says %d %v in place of %d %v", n, done, used, ok)
		}
		if !ok {
			return
		}
		compareChunks(t, in[:used], data, trailers)
		sent := appendFields(append(rechunked(data), "0\r\n"...), trailers)
		sent = append(sent, "\r\n"...)
		again, trailersAgain, usedAgain, ok := dechunked(bytes.Clone(sent), len(sent))
		if !ok || usedAgain != len(sent) || !bytes.Equal(again, data) || sorted(trailersAgain) != sorted(trailers) {
			t.Fatalf("%q and %q, sent on as %q, become %q, %q, %v", data, trailers, sent, again, trailersAgain, ok)
		}
		compareChunks(t, sent, data, trailers)
	})
}

// rechunked is data as SendBody sends it.
func rechunked(data []byte) (out []byte) {
	buf := make([]byte, beforeChunk+len(data)+afterChunk)
	if n := copy(buf[beforeChunk:], data); n > 0 {
		out = chunk(buf, n)
	}
	return out
}

// compareChunks has net/http read a body.
func compareChunks(t *testing.T, in, data []byte, trailers wire.Fields) {
	head := "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	behind := bufio.NewReader(strings.NewReader(head + string(in)))
	r, err := http.ReadRequest(behind)
	if err != nil {
		t.Fatal(err)
	}
	std, err := io.ReadAll(r.Body)
	if err != nil || !bytes.Equal(std, data) || behind.Buffered() > 0 || sorted(fieldsOf(r.Trailer)) != sorted(trailers) {
		t.Fatalf("net/http reads %q, %q, %v, and leaves %d, out of %q in place of %q, %q", std, r.Trailer, err, behind.Buffered(), in, data, trailers)
	}
}
