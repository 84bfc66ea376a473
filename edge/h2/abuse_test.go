package h2

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/edge/wire"
)

// raw is a client that sends what it likes.
type raw struct {
	t   testing.TB
	nc  net.Conn
	fr  *http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
}

// raw connects and greets.
func (f *front) raw(settings ...http2.Setting) *raw {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.ln.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	if f.tls {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	f.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(long))
	c := &raw{t: f.t, nc: nc, fr: http2.NewFramer(nc, nc)}
	c.enc = hpack.NewEncoder(&c.buf)
	io.WriteString(nc, preface)
	c.fr.WriteSettings(settings...)
	return c
}

// block encodes fields, given as name, value, name, value.
func (c *raw) block(fields ...string) []byte {
	c.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(c.buf.Bytes())
}

var get = []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a.test"}

func (c *raw) get(id uint32, more ...string) error {
	return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(append(get[:8:8], more...)...), EndStream: true, EndHeaders: true})
}

// next gives the next frame that is neither SETTINGS nor WINDOW_UPDATE.
func (c *raw) next() (http2.Frame, error) {
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame:
			continue
		}
		return f, nil
	}
}

// goAway reads up to a GOAWAY and gives its reason.
func (c *raw) goAway() (code http2.ErrCode, ok bool) {
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return 0, false
		}
		if g, is := f.(*http2.GoAwayFrame); is {
			return g.ErrCode, true
		}
	}
}

func ok(x *wire.Exchange) { wire.Reply(x, 200, "text/plain", "ok") }

// Floods of frames that ask for nothing end the connection, with the word for it, and cost no more memory than the connection has.
func TestFloods(t *testing.T) {
	floods := map[string]func(c *raw, i int) error{
		"PING":                func(c *raw, i int) error { return c.fr.WritePing(false, [8]byte{}) },
		"SETTINGS":            func(c *raw, i int) error { return c.fr.WriteSettings() },
		"PRIORITY":            func(c *raw, i int) error { return c.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
		"unknown frames":      func(c *raw, i int) error { return c.fr.WriteRawFrame(99, 0, 0, nil) },
		"WINDOW_UPDATE":       func(c *raw, i int) error { return c.fr.WriteWindowUpdate(0, 1) },
		"empty DATA":          func(c *raw, i int) error { return c.empty(i) },
		"empty CONTINUATION":  func(c *raw, i int) error { return c.continued(i, nil) },
		"CONTINUATION":        func(c *raw, i int) error { return c.continued(i, make([]byte, 16<<10)) },
		"rapid reset":         func(c *raw, i int) error { return c.openAndReset(uint32(2*i + 1)) },
		"malformed requests":  func(c *raw, i int) error { return c.get(uint32(2*i+1), "Upper", "x") },
		"DATA of the dead":    func(c *raw, i int) error { return c.dead(i) },
		"pings never fetched": func(c *raw, i int) error { return c.fr.WritePing(false, [8]byte{1}) },
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			f := newFront(t, false, func(x *wire.Exchange) {
				if string(x.Method) == "POST" {
					io.Copy(io.Discard, x.Body)
				}
				ok(x)
			}, nil)
			c := f.raw()
			ended := make(chan http2.ErrCode, 1)
			go func() {
				code, _ := c.goAway() // it may be lost where the reset overtakes it
				ended <- code
			}()
			for i := 0; ; i++ {
				select {
				case code := <-ended:
					if code != 0 && code != http2.ErrCodeEnhanceYourCalm {
						t.Errorf("ended with %v", code)
					}
					return
				default:
				}
				send(c, i) // an error is the end, which the reader sees too
				if time.Now().After(began.Add(long)) {
					t.Fatal("the flood is not ended")
				}
			}
		})
	}
}

func (c *raw) empty(i int) error {
	if i == 0 {
		block := c.block(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test")
		return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
	}
	return c.fr.WriteData(1, false, nil)
}

func (c *raw) continued(i int, p []byte) error {
	if i == 0 {
		return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)})
	}
	if p != nil { // literals without end
		p = append(p[:0], strings.Repeat("\x00\x01a\x01b", len(p)/5)...)
	}
	return c.fr.WriteContinuation(1, false, p)
}

func (c *raw) openAndReset(id uint32) error {
	if err := c.get(id); err != nil {
		return err
	}
	return c.fr.WriteRSTStream(id, http2.ErrCodeCancel)
}

func (c *raw) dead(i int) error {
	if i == 0 {
		return c.get(1)
	}
	return c.fr.WriteData(1, false, []byte("x"))
}

// However many requests are opened and reset, no more handlers are at work than twice what may be open.
func TestResetHandlers(t *testing.T) {
	var working, most atomic.Int64
	release := make(chan struct{})
	f := newFront(t, false, func(x *wire.Exchange) {
		n := working.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		working.Add(-1)
	}, func(f *front) { f.o.Streams = 10 })
	c := f.raw()
	for i := range uint32(100) {
		c.get(2*i + 1)
		c.round(byte(i)) // or the handler would not even begin
		c.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	c.round(100)
	close(release)
	if n := most.Load(); n > 20 || n < 10 {
		t.Errorf("%d handlers at a time", n)
	}
}

// round waits until what was sent so far has been read.
func (c *raw) round(n byte) {
	c.t.Helper()
	c.fr.WritePing(false, [8]byte{n})
	for {
		fr, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if p, is := fr.(*http2.PingFrame); is && p.IsAck() && p.Data[0] == n {
			return
		}
	}
}

// A request that is taken back with the bytes that brought it never reaches a handler.
func TestTakenBack(t *testing.T) {
	var served atomic.Int64
	f := newFront(t, false, func(x *wire.Exchange) { served.Add(1) }, nil)
	c := f.raw()
	var all bytes.Buffer
	sent := c.fr
	c.fr = http2.NewFramer(&all, c.nc)
	for i := range uint32(20) {
		c.openAndReset(2*i + 1)
	}
	c.fr = sent
	c.nc.Write(all.Bytes())
	c.round(1)
	if n := served.Load(); n > 0 {
		t.Errorf("%d handlers", n)
	}
}

// A header block that decodes to far more than it is, costs what a request may be, and is answered 431; the connection goes on.
func TestHeaderBomb(t *testing.T) {
	f := newFront(t, false, ok, func(f *front) { f.o.MaxHeader = 16 << 10 })
	c := f.raw()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for id := uint32(1); id < 41; id += 2 {
		block := c.block(append(get[:8:8], "x-bomb", strings.Repeat("b", 3000))...)
		block = append(block, bytes.Repeat([]byte{0x80 | 62}, 8000)...) // 24 MB of it
		if err := c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		for {
			fr, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if h, is := fr.(*http2.HeadersFrame); is {
				if got, _ := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment()); len(got) == 0 || got[0].Value != "431" {
					t.Fatalf("answered %v", got)
				}
			}
			if d, is := fr.(*http2.DataFrame); is && d.StreamEnded() {
				break
			}
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d bytes allocated for 20 bombs", grown)
	}
	if err := c.get(41); err != nil {
		t.Fatal(err)
	}
	if fr, err := c.next(); err != nil || fr.Header().Type != http2.FrameHeaders || fr.Header().StreamID != 41 {
		t.Errorf("%v %v", fr, err)
	}
}

// A client that takes nothing of an answer, by a window of zero, loses it after the time for progress, and keeps no handler.
func TestZeroWindow(t *testing.T) {
	done := make(chan error, 1)
	f := newFront(t, false, func(x *wire.Exchange) {
		x.Head(200, nil, wire.Unknown)
		_, err := x.Write(make([]byte, 1<<20))
		done <- err
	}, func(f *front) { f.write = time.Second })
	c := f.raw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	c.get(1)
	for {
		fr, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if d, is := fr.(*http2.DataFrame); is && len(d.Data()) > 0 {
			t.Fatal("DATA beyond the window")
		}
		if r, is := fr.(*http2.RSTStreamFrame); is {
			if r.ErrCode != http2.ErrCodeCancel {
				t.Error(r.ErrCode)
			}
			break
		}
	}
	if err := <-done; err == nil {
		t.Error("the handler wrote a megabyte")
	}
}

// Windows are kept to the byte, also small ones, and also where they grow and shrink meanwhile.
func TestWindows(t *testing.T) {
	f := newFront(t, false, func(x *wire.Exchange) {
		x.Head(200, nil, 1000)
		x.Write(make([]byte, 1000))
		x.Finish(nil)
	}, nil)
	c := f.raw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	c.get(1)
	window, got := 10, 0
	for got < 1000 {
		fr, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		d, is := fr.(*http2.DataFrame)
		if !is {
			continue
		}
		got += len(d.Data())
		if window -= len(d.Data()); window < 0 {
			t.Fatalf("%d bytes beyond the window", -window)
		}
		if got == 1000 {
			if !d.StreamEnded() {
				t.Error("the last frame does not say so")
			}
			break
		}
		if window == 0 {
			c.fr.WriteWindowUpdate(1, 7)
			window = 7
		}
	}
}

// Two GOAWAYs end a connection: what the client opens before it has read the first one is served, and then the connection is closed.
func TestGoAway(t *testing.T) {
	f := newFront(t, false, ok, nil)
	c := f.raw()
	c.get(1)
	if fr, err := c.next(); err != nil || fr.Header().Type != http2.FrameHeaders {
		t.Fatal(fr, err)
	}
	f.mu.Lock()
	f.conns[0].GoAway()
	f.mu.Unlock()
	c.get(3) // was on its way
	var last []uint32
	answered := map[uint32]bool{}
	for {
		fr, err := c.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch fr := fr.(type) {
		case *http2.GoAwayFrame:
			last = append(last, fr.LastStreamID)
		case *http2.PingFrame:
			if !fr.IsAck() {
				c.get(5) // before the answer to the ping: still before the first GOAWAY was known to be read
				c.fr.WritePing(true, fr.Data)
			}
		case *http2.DataFrame:
			answered[fr.StreamID] = fr.StreamEnded()
		}
	}
	if len(last) != 2 || last[0] != 1<<31-1 || last[1] != 5 || !answered[3] || !answered[5] {
		t.Errorf("GOAWAY %v, answered %v", last, answered)
	}
}

// An answer before the end of the body resets the stream without blame, and what still comes of the body counts for the connection's window.
func TestEarlyAnswer(t *testing.T) {
	f := newFront(t, false, func(x *wire.Exchange) { wire.Reply(x, 413, "text/plain", "no") }, nil)
	c := f.raw()
	for id := uint32(1); id < 41; id += 2 {
		block := c.block(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test")
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
		for range 6 { // in all 1.9 MB: more than the connection's window, were it not given back
			if err := c.fr.WriteData(id, false, make([]byte, 16<<10)); err != nil {
				t.Fatal(err)
			}
		}
		for ended := false; !ended; {
			fr, err := c.fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if r, is := fr.(*http2.RSTStreamFrame); is && r.StreamID == id {
				if ended = true; r.ErrCode != http2.ErrCodeNo {
					t.Fatal(r.ErrCode)
				}
			}
		}
	}
}

// A request that is refused by its head is answered, and told of, though its body comes in the same flight.
func TestRefusedWithBody(t *testing.T) {
	f := newFront(t, false, ok, nil)
	c := f.raw()
	c.refusedWithBody(1, []string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test", "host", "b.test"})
	c.refusedWithBody(3, []string{":method", "POST", ":scheme", "http", ":path", "/a/../b", ":authority", "a.test"})
	until(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.told) == 2
	})
}

// refusedWithBody sends a head and its body in one write, and wants the answer 400.
func (c *raw) refusedWithBody(id uint32, fields []string) {
	c.t.Helper()
	var flight bytes.Buffer
	fr := http2.NewFramer(&flight, nil)
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(fields...), EndHeaders: true})
	fr.WriteData(id, true, []byte("a body"))
	c.nc.Write(flight.Bytes())
	frame, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	head, is := frame.(*http2.HeadersFrame)
	if !is || head.StreamID != id {
		c.t.Fatalf("answered with %v", frame)
	}
	if got, err := hpack.NewDecoder(4096, nil).DecodeFull(head.HeaderBlockFragment()); err != nil || got[0].Value != "400" {
		c.t.Fatalf("answered %v, %v", got, err)
	}
	if d, err := c.next(); err != nil || d.Header().Type != http2.FrameData {
		c.t.Fatal(d, err)
	}
}

// White space around a value of an answer, which HTTP/1 upstreams may send, does not reach a client that would take the whole answer for malformed.
func TestTrimmedValues(t *testing.T) {
	f := newFront(t, false, func(x *wire.Exchange) {
		x.Head(200, wire.Fields{{Name: []byte("x-a"), Value: []byte(" \tb c\t")}}, 0)
		x.Finish(nil)
	}, nil)
	c := f.raw()
	c.get(1)
	frame, err := c.next()
	if err != nil {
		t.Fatal(err)
	}
	fields, err := hpack.NewDecoder(4096, nil).DecodeFull(frame.(*http2.HeadersFrame).HeaderBlockFragment())
	if err != nil || len(fields) < 2 || fields[1].Value != "b c" {
		t.Errorf("%v, %v", fields, err)
	}
}

// What comes of a stream later than the last that was named is no mistake of the client's, which has not read that yet: earlier streams go on.
func TestLateStream(t *testing.T) {
	release := make(chan struct{})
	f := newFront(t, false, func(x *wire.Exchange) { <-release; ok(x) }, nil)
	c := f.raw()
	c.get(1)
	c.fr.WritePing(false, [8]byte{1}) // comes back when the request is known
	c.wants(http2.FramePing)
	f.mu.Lock()
	f.conns[0].GoAway()
	f.mu.Unlock()
	c.wants(http2.FrameGoAway)
	ping := c.wants(http2.FramePing).(*http2.PingFrame)
	c.fr.WritePing(true, ping.Data)
	if last := c.wants(http2.FrameGoAway).(*http2.GoAwayFrame); last.LastStreamID != 1 {
		t.Fatalf("the last stream is %d", last.LastStreamID)
	}
	block := c.block(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test")
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block, EndHeaders: true})
	c.fr.WriteData(3, false, []byte("a body"))
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: c.block("x-sum", "1"), EndHeaders: true, EndStream: true})
	c.fr.WritePing(false, [8]byte{2})
	c.wants(http2.FramePing)
	close(release)
	if h := c.wants(http2.FrameHeaders); h.Header().StreamID != 1 {
		t.Errorf("answered %v", h)
	}
}

// wants gives the next frame, which must be of this type.
func (c *raw) wants(kind http2.FrameType) http2.Frame {
	c.t.Helper()
	f, err := c.next()
	if err != nil || f.Header().Type != kind {
		c.t.Fatalf("%v %v, want %v", f, err, kind)
	}
	return f
}

// A client that reads little at a time, and says so each time, is none that attacks.
func TestSmallReads(t *testing.T) {
	const size = 30 << 20
	f := newFront(t, false, func(x *wire.Exchange) {
		if x.Head(200, nil, size) == nil {
			io.Copy(struct{ io.Writer }{x}, io.LimitReader(zero{}, size))
		}
		x.Finish(nil)
	}, nil)
	resp, err := f.client().Get(f.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, make([]byte, 4<<10))
	if n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
