package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	framePayload   = 9 // where it begins
	frameData      = 0
	frameHeaders   = 1
	frameReset     = 3
	frameSettings  = 4
	frameGoAway    = 7
	frameWindow    = 8
	flagEndStream  = 1
	flagEndHeaders = 4

	streamsAtOnce = 16
)

// appendFrame appends one, RFC 9113 section 4.1.
func appendFrame(b []byte, kind, flags byte, stream uint32, payload string) []byte {
	b = append(b, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// cutFrames calls f with the head and the payload of each whole frame in b, and gives what is left.
func cutFrames(b []byte, f func(kind, flags byte, stream uint32, payload []byte)) []byte {
	for len(b) >= framePayload {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < framePayload+size {
			break
		}
		f(b[3], b[4], binary.BigEndian.Uint32(b[5:]), b[framePayload:framePayload+size])
		b = b[framePayload+size:]
	}
	return b
}

// frameReader has what has come of a frame that is not here in full.
type frameReader struct {
	io.Reader
	buf  []byte
	have int
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{Reader: r, buf: make([]byte, 128<<10)}
}

// each reads frames until over says so after one of its reads.
func (r *frameReader) each(f func(kind, flags byte, stream uint32, payload []byte), over func() bool) error {
	for {
		n, err := r.Read(r.buf[r.have:])
		if err != nil {
			return err
		}
		r.have = copy(r.buf, cutFrames(r.buf[:r.have+n], f))
		if over() {
			return nil
		}
	}
}

// literal is a field that both ends' tables take, RFC 7541 section 6.2.1: the last one is \xbe from then on, the one before it \xbf.
func literal(name, value string) string {
	return string(append(append([]byte{0x40, byte(len(name))}, name...), append([]byte{byte(len(value))}, value...)...))
}

// streamsAsker gives what asks so many questions at once over one connection of HTTP/2, and reads the answers, of 1 KiB each.
func streamsAsker(t testing.TB, c net.Conn) func() {
	question := "\x82\x87" + literal(":path", "/a/b?c=d") + literal(":authority", "app.localhost") + literal("user-agent", "test") + literal("accept", "*/*")
	hello := appendFrame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frameSettings, 0, 0, "")
	if _, err := c.Write(appendFrame(hello, frameWindow, 0, 0, "\x70\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	next, used := uint32(1), 0
	in, out := newFrameReader(c), []byte(nil)
	return func() {
		out = out[:0]
		if used > 1<<30 {
			out, used = appendFrame(out, frameWindow, 0, 0, "\x40\x00\x00\x00"), used-1<<30
		}
		for range streamsAtOnce {
			out = appendFrame(out, frameHeaders, flagEndHeaders|flagEndStream, next, question)
			next, question = next+2, "\x82\x87\xc1\xc0\xbf\xbe"
		}
		if _, err := c.Write(out); err != nil {
			t.Fatal(err)
		}
		ended := 0
		err := in.each(func(kind, flags byte, stream uint32, payload []byte) {
			switch kind {
			case frameData:
				used += len(payload)
			case frameReset, frameGoAway:
				t.Fatalf("a frame of kind %d on stream %d of %d: %x", kind, stream, next, payload)
			}
			if kind <= frameHeaders && flags&flagEndStream != 0 {
				ended++
			}
			if kind == frameHeaders && !bytes.Contains(payload, []byte{0x88}) { // 200
				t.Fatalf("a head: %q", payload)
			}
		}, func() bool { return ended == streamsAtOnce })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// streamsAnswerer is an upstream that speaks HTTP/2 and answers each stream as it ends, with 1 KiB.
func streamsAnswerer(t testing.TB) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	head := "\x88" + literal("content-type", "text/plain") + literal("content-length", "1024")
	const again = "\x88\xbf\xbe"
	body := strings.Repeat("x", 1024)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
					return
				}
				out, head := appendFrame(nil, frameSettings, 0, 0, ""), head
				newFrameReader(c).each(func(kind, flags byte, stream uint32, _ []byte) {
					switch {
					case kind == frameSettings && flags == 0:
						out = appendFrame(out, frameSettings, 1, 0, "")
					case kind <= frameHeaders && flags&flagEndStream != 0:
						out = appendFrame(appendFrame(out, frameHeaders, flagEndHeaders, stream, head), frameData, flagEndStream, stream, body)
						head = again
					}
				}, func() bool {
					_, err := c.Write(out)
					out = out[:0]
					return err != nil
				})
			}()
		}
	}()
	return ln.Addr().String()
}

// relayStreams gives what asks edge over HTTP/2, for an upstream's URL.
func relayStreams(t testing.TB, upstream string) func() {
	dir := t.TempDir()
	site := strings.NewReplacer("DIR", dir, "http://UP", upstream).Replace(relaySite)
	addrs := here(t, dir, site)
	c := dialWith(t, dir, addrs["https"], &tls.Config{ServerName: "app.localhost", NextProtos: []string{"h2"}})
	return streamsAsker(t, c)
}

// relayFile gives what asks edge for a small file.
func relayFile(t testing.TB) func() {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "files", "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "a", "b"), make([]byte, 1024), 0o644); err != nil {
		t.Fatal(err)
	}
	addrs := here(t, dir, strings.NewReplacer(`proxy = "http://UP"`, `files = "`+dir+`/files"`, "DIR", dir).Replace(relaySite))
	return asker(t, dialHere(t, dir, addrs["https"], "app.localhost"), relayRequest)
}

// Streams that come together are relayed without an allocation each, to either kind of upstream.
func TestAllocRelayStreams(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	const n, limit = 5000, 5000 * streamsAtOnce / 4 // what is little is pools that the garbage collector empties
	for name, upstream := range map[string]string{
		"http": "http://" + answerer(t, relayAnswer, func([]byte) {}), "h2c": "h2c://" + streamsAnswerer(t),
	} {
		got := allocations(n, relayStreams(t, upstream))
		t.Logf("%s: %d relayed requests made %d allocations", name, n*streamsAtOnce, got)
		if got >= limit {
			t.Errorf("%s: these are too many", name)
		}
	}
}

// These are for a look at what costs time. A profile of them beside that of BenchmarkRelay has the compiler put other functions into each other, by
// which a request's reader escapes: see docs/ARCHITECTURE.md.
func BenchmarkRelayStreams(b *testing.B) {
	ask := relayStreams(b, "http://"+answerer(b, relayAnswer, func([]byte) {}))
	for b.Loop() {
		ask()
	}
}

func BenchmarkRelayStreamsH2C(b *testing.B) {
	ask := relayStreams(b, "h2c://"+streamsAnswerer(b))
	for b.Loop() {
		ask()
	}
}

func BenchmarkRelayFile(b *testing.B) {
	ask := relayFile(b)
	for b.Loop() {
		ask()
	}
}
