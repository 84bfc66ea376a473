package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"edge/edge/wire"
)

// whims is a handler that ends a request in any way there is.
func whims(x *wire.Exchange) {
	gone := make(chan struct{}, 1)
	x.OnGone(func(error) { gone <- struct{}{} })
	defer x.OnGone(nil)
	switch string(x.Path) {
	case "/early":
		wire.Reply(x, 413, "text/plain", "no")
	case "/abort":
		x.Head(200, nil, wire.Unknown)
		x.Write(make([]byte, 40<<10))
		x.Abort(io.ErrUnexpectedEOF)
	case "/panic":
		panic(http.ErrAbortHandler)
	case "/large":
		x.Head(200, nil, wire.Unknown)
		x.Write(make([]byte, 700<<10))
		x.Finish(wire.Fields{{Name: []byte("x-end"), Value: []byte("yes")}})
	case "/outlive":
		select {
		case <-gone:
		case <-time.After(20 * time.Millisecond):
		}
		wire.Reply(x, 200, "text/plain", "late")
	case "/half":
		io.CopyN(io.Discard, x.Body, 5000)
		wire.Reply(x, 200, "text/plain", "half")
	case "/both": // one goroutine reads while the other one writes
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, x.Body) })
		x.Head(200, nil, wire.Unknown)
		for range 5 {
			x.Write(make([]byte, 30<<10))
			x.Flush()
		}
		x.Finish(nil)
		wg.Wait()
	default:
		echo(x)
	}
}

// Many clients, whose requests end in all ways there are while connections are told to go away, get right answers or errors, and nothing is
// left over: no handler, no stream, and not a byte of a window.
func TestStress(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		f := newFront(t, overTLS, whims, nil)
		var wg sync.WaitGroup
		for range 3 {
			c := f.client()
			for range 8 {
				wg.Go(func() {
					for range 12 {
						f.whim(c)
					}
				})
			}
		}
		wg.Go(func() {
			for range 5 {
				time.Sleep(5 * time.Millisecond) // somewhere in the middle
				f.mu.Lock()
				for _, c := range f.conns {
					if rand.N(3) == 0 {
						c.GoAway()
					}
				}
				f.mu.Unlock()
			}
		})
		wg.Wait()
		f.nothingLeft()
	})
}

// whim makes a request of any kind.
func (f *front) whim(c *http.Client) {
	path := []string{"/early", "/abort", "/panic", "/large", "/outlive", "/half", "/both", "/echo", "/echo"}[rand.N(9)]
	sent := bytes.Repeat([]byte{byte(rand.Uint32())}, rand.N(400<<10))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rand.N(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.N(int64(20*time.Millisecond))))
		defer cancel()
	}
	req, _ := http.NewRequestWithContext(ctx, "POST", f.url(path), bytes.NewReader(sent))
	res, err := c.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if path == "/abort" && err == nil {
		f.t.Error("an answer that was aborted looks whole")
	}
	if path == "/echo" && err == nil && !bytes.Equal(got, sent) {
		f.t.Errorf("%d bytes in place of %d", len(got), len(sent))
	}
	if path == "/large" && err == nil && (len(got) != 700<<10 || res.Trailer.Get("X-End") != "yes") {
		f.t.Errorf("%d bytes, %v", len(got), res.Trailer)
	}
}

// nothingLeft waits until all connections are at rest, and looks at what they keep.
func (f *front) nothingLeft() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		until(f.t, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.working == 0 && len(c.streams) == 0 && !c.busy
		})
		c.mu.Lock()
		if c.room+c.taken != recvWindow || c.heads != 0 || len(c.queue) > 0 || len(c.full) > 0 {
			f.t.Errorf("left: %d of the window, %d of heads, %d wait for a turn, %d for room", recvWindow-c.room-c.taken, c.heads, len(c.queue), len(c.full))
		}
		c.mu.Unlock()
	}
}

func until(t testing.TB, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(long); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it does not come")
		}
	}
}

// However a body ends, the connection's window is given back, to the byte: padding, what nobody reads, what comes too late.
func TestWindowGivenBack(t *testing.T) {
	f := newFront(t, false, whims, nil)
	post := []string{":method", "POST", ":scheme", "http", ":authority", "a.test", ":path"}
	for name, send := range map[string]func(c *raw){
		"read":    func(c *raw) { c.fr.WriteData(1, true, make([]byte, 9000)) },
		"padding": func(c *raw) { c.fr.WriteDataPadded(1, true, make([]byte, 900), make([]byte, 200)) },
		"reset": func(c *raw) {
			c.fr.WriteData(1, false, make([]byte, 9000))
			c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		},
		"behind a reset": func(c *raw) {
			c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
			c.fr.WriteData(1, false, make([]byte, 9000))
		},
		"behind its end": func(c *raw) {
			c.fr.WriteData(1, true, make([]byte, 9000))
			c.fr.WriteData(1, false, make([]byte, 9000))
		},
		"beyond a window": func(c *raw) { c.beyond() },
		"malformed": func(c *raw) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: c.block("a", "b"), EndHeaders: true})
			c.fr.WriteData(3, true, make([]byte, 9000))
		},
		"malformed before": func(c *raw) {
			c.fr.WriteData(1, false, make([]byte, 9000))
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block("A", "b"), EndHeaders: true, EndStream: true})
		},
	} {
		for _, path := range []string{"/echo", "/early", "/abort", "/panic", "/half", "/both", "/outlive"} {
			t.Run(name+path, func(t *testing.T) {
				c := f.raw()
				go io.Copy(io.Discard, c.nc)
				c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(append(post, path)...), EndHeaders: true})
				send(c)
				c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
				c.get(5)
				f.t = t
				until(t, func() bool { return f.newestOf(c) == 5 })
				f.nothingLeft()
			})
		}
	}
}

// newestOf is the highest stream of the connection that a client has opened.
func (f *front) newestOf(c *raw) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, conn := range f.conns {
		if conn.nc.RemoteAddr().String() == c.nc.LocalAddr().String() {
			conn.mu.Lock()
			defer conn.mu.Unlock()
			return conn.newest
		}
	}
	return 0
}

// beyond sends more than a stream's window has, of which the handler may have read some.
func (c *raw) beyond() {
	for range 3 * bodyWindow / maxFrame {
		c.fr.WriteData(1, false, make([]byte, maxFrame))
	}
}

// The connection's window is no suggestion: who sends more than it on all streams together is cut, and no more than it is kept.
func TestConnectionWindow(t *testing.T) {
	hold := make(chan struct{})
	f := newFront(t, false, func(x *wire.Exchange) { <-hold }, nil)
	defer close(hold)
	c := f.raw()
	ended := make(chan http2.ErrCode, 1)
	go func() { code, _ := c.goAway(); ended <- code }()
	for id := uint32(1); id < 21; id += 2 {
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test"), EndHeaders: true})
		for range bodyWindow / maxFrame {
			c.fr.WriteData(id, false, make([]byte, maxFrame))
		}
	}
	if code := <-ended; code != http2.ErrCodeFlowControl {
		t.Error(code)
	}
}

// An upload whose reader is always a little behind costs no more memory than its window.
func TestSlowUpload(t *testing.T) {
	most := 0
	f := newFront(t, false, func(x *wire.Exchange) {
		b := x.Body.(*body)
		p := make([]byte, 10<<10)
		io.ReadFull(x.Body, p[:5])
		for {
			n, err := x.Body.Read(p)
			b.s.c.mu.Lock()
			most = max(most, cap(b.held))
			b.s.c.mu.Unlock()
			if err != nil || n == 0 {
				break
			}
		}
		ok(x)
	}, nil)
	res, err := f.client().Post(f.url("/"), "text/plain", bytes.NewReader(make([]byte, 8<<20)))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	res.Body.Close()
	if most > 2*bodyWindow {
		t.Errorf("%d bytes for a body", most)
	}
}

var much = make([]byte, 4<<20)

// A large answer, or two hundred of them, does not keep a short one waiting: of the frames that the client gets behind its request, few
// belong to others, by what can be on its way already.
func TestTurns(t *testing.T) {
	f := newFront(t, false, func(x *wire.Exchange) {
		if string(x.Path) == "/" {
			ok(x)
			return
		}
		x.Head(200, nil, wire.Unknown)
		for x.Gone() == nil {
			if _, err := x.Write(much); err != nil {
				return
			}
		}
	}, nil)
	c := f.raw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	c.fr.WriteWindowUpdate(0, maxWindow-firstWindow)
	const large = 200
	for i := range uint32(large) {
		block := c.block(":method", "GET", ":scheme", "http", ":path", "/large", ":authority", "a.test")
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndHeaders: true, EndStream: true})
	}
	got := map[uint32]int{}
	read := func() http2.Frame {
		fr, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		got[fr.Header().StreamID] += int(fr.Header().Length)
		return fr
	}
	for len(got) < large {
		read()
	}
	for k := range got {
		got[k] = 0
	}
	for range 4 * large * turn / maxFrame { // four rounds, about
		read()
	}
	least, most := 1<<30, 0
	for _, n := range got {
		least, most = min(least, n), max(most, n)
	}
	if least < turn || most > 8*turn {
		t.Errorf("in four rounds one stream got %d bytes and another one %d", least, most)
	}
	const short = 2*large + 1
	c.get(short)
	between := 0
	for fr := read(); fr.Header().StreamID != short; fr = read() {
		between += int(fr.Header().Length)
	}
	if limit := 16 << 20; between > limit { // the kernel's buffers between us, and twice mostOut
		t.Errorf("%d bytes before a short answer", between)
	}
	c.nc.Close()
}

// The first head of an answer behind a SETTINGS that makes the client's table smaller says that ours is none: RFC 7541 section 4.2.
func TestSmallerTable(t *testing.T) {
	f := newFront(t, false, ok, nil)
	c := f.raw(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	c.get(1)
	c.get(3)
	first := true
	for n := 0; n < 2; {
		fr, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if h, is := fr.(*http2.HeadersFrame); is {
			n++
			if b := h.HeaderBlockFragment()[0]; (b == 0x20) != first {
				t.Errorf("a head begins with %x", b)
			}
			first = false
		}
	}
}

// Trailers that were on their way when their stream was reset are decoded and dropped: the table stays right, and the connection lives.
func TestLateTrailers(t *testing.T) {
	f := newFront(t, false, func(x *wire.Exchange) {
		v, _ := x.Fields.Get("x-a")
		wire.Reply(x, 413, "text/plain", string(v))
	}, nil)
	c := f.raw()
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test"), EndHeaders: true})
	for {
		fr, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if fr.Header().Type == http2.FrameRSTStream {
			break
		}
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block("x-a", "new in the table"), EndHeaders: true, EndStream: true})
	c.get(3, "x-a", "new in the table")
	for {
		fr, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if d, is := fr.(*http2.DataFrame); is {
			if string(d.Data()) != "new in the table" {
				t.Errorf("%q", d.Data())
			}
			return
		}
	}
}

// A GOAWAY that is due before the connection is served comes behind SETTINGS, and what the client had sent is served.
func TestGoAwayFirst(t *testing.T) {
	f := newFront(t, false, ok, func(f *front) { f.early = func(c *Conn) { c.GoAway() } })
	c := f.raw()
	c.get(1)
	fr, err := c.fr.ReadFrame()
	if _, is := fr.(*http2.SettingsFrame); !is {
		t.Fatal(fr, err)
	}
	answered := false
	for {
		fr, err := c.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if d, is := fr.(*http2.DataFrame); is && d.StreamEnded() {
			answered = true
		}
	}
	if !answered {
		t.Error("closed without an answer")
	}
}

// A client whose end comes together with its last bytes has left all the same, and who waits for that is told.
func TestHiddenEnd(t *testing.T) {
	begun, told := make(chan struct{}), make(chan error, 1)
	f := newFront(t, false, func(x *wire.Exchange) {
		gone := make(chan error, 1)
		x.OnGone(func(err error) { gone <- err })
		close(begun)
		select {
		case err := <-gone:
			told <- err
		case <-time.After(long / 2):
			told <- nil
		}
	}, nil)
	c := f.raw()
	c.get(1)
	<-begun
	c.fr.WritePing(true, [8]byte{}) // most often both are there before the first is read
	c.nc.(*net.TCPConn).CloseWrite()
	if <-told == nil {
		t.Error("nobody is told")
	}
}

// A client that has its answers in full is not refused another because their handlers have more to do, one after the other, as to write a log: who
// reads waits for them.
func TestHandlersThatFinishLate(t *testing.T) {
	var line sync.Mutex
	const atOnce = 8
	f := newFront(t, false, func(x *wire.Exchange) {
		wire.ReplyText(x, 200, "ok")
		line.Lock()
		defer line.Unlock()
		for range 100 {
			runtime.Gosched()
		}
	}, func(f *front) { f.o.Streams = atOnce })
	c := f.raw()
	for id := uint32(1); id < 2000; {
		for range atOnce {
			c.get(id)
			id += 2
		}
		for ended := 0; ended < atOnce; {
			switch got, err := c.next(); got := got.(type) {
			case *http2.DataFrame:
				if got.StreamEnded() {
					ended++
				}
			case *http2.RSTStreamFrame:
				t.Fatalf("stream %d is reset: %v", got.StreamID, got.ErrCode)
			case nil:
				t.Fatal(err)
			}
		}
	}
}
