package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/conf"
	"edge/edge/h2"
	"edge/edge/upstream"
)

// frameOrigin is an h2c target whose connections are served frame by frame, behind the preface and its SETTINGS.
func frameOrigin(t testing.TB, f func(fr *framer)) (target string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(2 * patience))
				if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				fr := &framer{Framer: http2.NewFramer(c, c), c: c}
				fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				fr.WriteSettings()
				f(fr)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "h2c://" + l.Addr().String()
}

// framer is a target's side of a connection.
type framer struct {
	*http2.Framer
	c net.Conn
}

// answers sends a whole answer.
func (f *framer) answers(stream uint32) {
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
}

// requests has f take each request's path when it has come to its end, and its head before.
func (f *framer) requests(head, whole func(stream uint32, path string) (over bool)) {
	paths := map[uint32]string{}
	for {
		got, err := f.ReadFrame()
		if err != nil {
			return
		}
		id, ends := got.Header().StreamID, got.Header().Flags.Has(http2.FlagDataEndStream)
		switch got := got.(type) {
		case *http2.MetaHeadersFrame:
			if paths[id] = got.PseudoValue("path"); head != nil && head(id, paths[id]) {
				return
			}
		case *http2.DataFrame:
			if n := uint32(len(got.Data())); n > 0 {
				f.WriteWindowUpdate(0, n)
			}
		default:
			continue
		}
		if ends && whole != nil && whole(id, paths[id]) {
			return
		}
	}
}

// Under load, from a target that refuses streams, says GOAWAY in the midst of them, and closes, every request is answered once, whatever its method:
// what was not executed is sent again, and nothing is executed twice.
func TestGoAwayUnderLoad(t *testing.T) {
	const clients, each = 20, 40
	var mu sync.Mutex
	executed := map[string]int{}
	var conns, refused, left atomic.Int32
	target := frameOrigin(t, func(fr *framer) {
		conns.Add(1)
		n, last, pending := 0, uint32(0), []uint32(nil)
		fr.requests(nil, func(id uint32, path string) bool {
			if n++; n%17 == 0 {
				refused.Add(1)
				fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
				return false
			}
			if n > 50 { // behind the last: not executed
				left.Add(1)
				fr.WriteGoAway(last, http2.ErrCodeNo, nil)
				for _, id := range pending {
					fr.answers(id)
				}
				return true
			}
			mu.Lock()
			executed[path]++
			mu.Unlock()
			if last = id; n > 40 { // answered late
				pending = append(pending, id)
				return false
			}
			fr.answers(id)
			return false
		})
		time.Sleep(10 * time.Millisecond) // so that no reset overtakes the last answer
	})
	s := spec(target)
	s.Timeouts.Response = patience
	p := &Proxy{Upstream: pool(t, s)}
	dial, records := engine(t, p)
	drained := make(chan struct{})
	defer close(drained)
	go func() {
		for {
			select {
			case <-records:
			case <-drained:
				return
			}
		}
	}()
	var all sync.WaitGroup
	var good atomic.Int32
	stop := make(chan struct{})
	pusher := make(chan struct{}) // keeps requests coming, so that no one is answered late for ever
	go func() {
		defer close(pusher)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			c, in := dial(fmt.Sprintf("GET /push/%d HTTP/1.1\nHost: a\n\n", i))
			c.SetDeadline(time.Now().Add(200 * time.Millisecond))
			http.ReadResponse(in, nil)
			c.Close()
		}
	}()
	for i := range clients {
		all.Go(func() {
			c, in := dial("")
			for j := range each {
				fmt.Fprintf(c, "POST /%d/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", i, j)
				resp, err := http.ReadResponse(in, nil)
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("%d/%d: %v, %v", i, j, resp, err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				good.Add(1)
			}
		})
	}
	all.Wait()
	close(stop)
	<-pusher
	mu.Lock()
	defer mu.Unlock()
	for i := range clients {
		for j := range each {
			if n := executed[fmt.Sprintf("/%d/%d", i, j)]; n != 1 {
				t.Errorf("%d/%d is executed %d times", i, j, n)
			}
		}
	}
	if conns.Load() < 10 || refused.Load() < 10 || left.Load() < 10 {
		t.Errorf("only %d connections, %d requests refused, %d times GOAWAY", conns.Load(), refused.Load(), left.Load())
	}
	t.Logf("%d of %d answered; %d connections, %d refused, %d times GOAWAY", good.Load(), clients*each, conns.Load(), refused.Load(), left.Load())
}

// A request that a target refuses goes out again, whatever its method, unless some of its body was read; and to another target where this one does
// not take it at all.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		often   int32 // the first target refuses so many
		late    bool  // when some of the body has come
		others  bool  // there is another target
		status  int
		asked   int32 // so often
	}{
		"no body":               {"POST / HTTP/1.1\nHost: a\n\n", 1, false, false, 200, 2},
		"twice":                 {"POST / HTTP/1.1\nHost: a\n\n", 2, false, false, 200, 3},
		"a body here":           {"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody", 1, false, false, 200, 2},
		"a body not read":       {"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\n", 1, false, false, 200, 2},
		"a body that was begun": {"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbo", 1, true, false, 502, 1},
		"always":                {"POST / HTTP/1.1\nHost: a\n\n", 100, false, false, 502, 5},
		"always, and another":   {"POST / HTTP/1.1\nHost: a\n\n", 100, false, true, 200, 5},
		"always, a body here":   {"POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody", 100, false, true, 200, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			refusedOnce := make(chan struct{}, 100)
			head := func(fr *framer) func(uint32, string) bool {
				return func(id uint32, _ string) bool {
					if n := asked.Add(1); n <= c.often && !c.late {
						fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
						refusedOnce <- struct{}{}
					} else if n > 1 {
						refusedOnce <- struct{}{}
					}
					return false
				}
			}
			target := frameOrigin(t, func(fr *framer) {
				if c.late {
					refuseLate(fr, &asked)
					return
				}
				if name == "always, a body here" { // a goroutine has the end of it
					fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
				}
				fr.requests(head(fr), func(id uint32, _ string) bool {
					if asked.Load() > c.often {
						fr.answers(id)
					}
					return false
				})
			})
			targets := []string{target}
			if c.others {
				targets = append(targets, frameOrigin(t, func(fr *framer) {
					fr.requests(nil, func(id uint32, _ string) bool { fr.answers(id); return false })
				}))
			}
			dial, records := engine(t, &Proxy{Upstream: pool(t, spec(targets...))})
			conn, in := dial(c.request)
			if name == "a body not read" {
				wait(t, "the target refuses", refusedOnce)
				wait(t, "and is asked again", refusedOnce)
				io.WriteString(conn, "body")
			}
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != c.status {
				t.Errorf("got %v, %v", resp, err)
			}
			if n := asked.Load(); n != c.asked {
				t.Errorf("it is asked %d times, want %d", n, c.asked)
			}
			conn.Close()
			wait(t, "the record", records)
		})
	}
}

// A target that refuses all has each request twice, and more often as far as the budget for retries goes: three a second, where it has no share.
func TestRefusedWithinBudget(t *testing.T) {
	const often = 20
	var asked atomic.Int32
	s := spec(frameOrigin(t, func(fr *framer) {
		fr.requests(func(id uint32, _ string) bool {
			asked.Add(1)
			fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			return false
		}, nil)
	}))
	s.Retries = &conf.Retries{Attempts: 2, Connect: true}
	dial, records := engine(t, &Proxy{Upstream: pool(t, s)})
	begun := time.Now()
	for range often {
		if resp, _ := asks(t, dial, sent("POST", "")); resp.StatusCode != 502 {
			t.Errorf("got %v", resp)
		}
		wait(t, "the record", records)
	}
	seconds := int32(time.Since(begun)/time.Second) + 2
	if n := asked.Load(); n < 2*often+3 || n > 2*often+3*seconds {
		t.Errorf("it is asked %d times in less than %d seconds", n, seconds)
	}
}

// A body stays unread where the exchange that was to have it could not be sent, however often; once it was read it is not.
func TestUnread(t *testing.T) {
	r := &relaying{upload: sender{done: make(chan struct{}), given: make(chan *h2.Call, 1)}}
	call := new(h2.Call)
	r.upload.give(call)
	for n := range 3 {
		if !r.unread() {
			t.Fatalf("after %d exchanges that could not be sent it is taken for read", n)
		}
	}
	if r.upload.give(call); <-r.upload.given != call || r.unread() {
		t.Error("the sender has the exchange, and nothing is taken for read")
	}
}

// refuseLate refuses a request of which some of the body has come.
func refuseLate(fr *framer, asked *atomic.Int32) {
	for {
		got, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch got := got.(type) {
		case *http2.MetaHeadersFrame:
			asked.Add(1)
		case *http2.DataFrame:
			fr.WriteRSTStream(got.StreamID, http2.ErrCodeRefusedStream)
		}
	}
}

// A request whose head is larger than its target takes is the client's fault, and sets no target aside.
func TestListSize(t *testing.T) {
	var heads atomic.Int32
	small := func() string {
		return frameOrigin(t, func(fr *framer) {
			fr.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 2000})
			fr.requests(nil, func(id uint32, _ string) bool { heads.Add(1); fr.answers(id); return false })
		})
	}
	s := spec(small(), small())
	s.MaxFails, s.FailTimeout = 1, time.Minute
	log := new(bytes.Buffer)
	p := &Proxy{Upstream: poolThatLogs(t, s, slog.New(slog.NewTextHandler(log, nil)))}
	dial, records := engine(t, p)
	for _, c := range []struct{ long, status int }{{1, 200}, {1, 200}, {4000, 431}, {4000, 431}, {4000, 431}, {1, 200}} {
		resp, _ := asks(t, dial, "GET / HTTP/1.1\nHost: a\nX-Long: "+strings.Repeat("x", c.long)+"\n\n")
		if resp.StatusCode != c.status {
			t.Errorf("%d bytes: got %v", c.long, resp)
		}
		wait(t, "the record", records)
	}
	if heads.Load() != 3 || log.Len() > 0 {
		t.Errorf("the targets get %d requests; the log says %s", heads.Load(), log)
	}
}

// A request that its target has not executed, and of which nothing was read, goes to another one where this one takes no connection any more.
func TestDrained(t *testing.T) {
	for name, request := range map[string]string{
		"no body":     sent("POST", ""),
		"a body here": sent("POST", "body"), // a goroutine has the end of it
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			over := make(chan struct{})
			go func() {
				defer close(over)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				fr := &framer{Framer: http2.NewFramer(c, c), c: c}
				fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2})
				fr.requests(func(uint32, string) bool {
					l.Close()
					fr.WriteGoAway(0, http2.ErrCodeNo, nil)
					return false
				}, nil)
			}()
			var executed atomic.Int32
			good := frameOrigin(t, func(fr *framer) {
				fr.requests(nil, func(id uint32, _ string) bool { executed.Add(1); fr.answers(id); return false })
			})
			dial, records := engine(t, &Proxy{Upstream: pool(t, spec("h2c://"+l.Addr().String(), good))})
			if resp, _ := asks(t, dial, request); resp.StatusCode != 200 || executed.Load() != 1 {
				t.Errorf("got %v; executed %d times", resp, executed.Load())
			}
			wait(t, "the record", records)
			wait(t, "its end", over)
		})
	}
}

// A target that says GOAWAY together with its first word is dialled once more, and one that always does is not there.
func TestGoAwayAtOnce(t *testing.T) {
	for often, want := range map[int32]int{1: 200, 100: 502} {
		var conns atomic.Int32
		l := listen(t, func(c net.Conn) {
			if conns.Add(1) <= often {
				c.Write(frameOf(frameOf(nil, 4, 0, 0, ""), 7, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00"))
				io.Copy(io.Discard, c)
				return
			}
			io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
			fr := &framer{Framer: http2.NewFramer(c, c), c: c}
			fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			fr.WriteSettings()
			fr.requests(nil, func(id uint32, _ string) bool { fr.answers(id); return false })
		})
		dial, records := engine(t, &Proxy{Upstream: pool(t, spec("h2c://"+l.Addr().String()))})
		if resp, _ := asks(t, dial, sent("POST", "")); resp.StatusCode != want {
			t.Errorf("GOAWAY %d times: got %v, %d connections", often, resp, conns.Load())
		}
		wait(t, "the record", records)
	}
}

// Nobody waits for a connection that goes on to its last answer: where its target takes no other one, another target is asked at once.
func TestDraining(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	over, draining := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		fr := &framer{Framer: http2.NewFramer(c, c), c: c}
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		fr.WriteSettings()
		fr.requests(nil, func(id uint32, _ string) bool {
			l.Close()
			fr.WriteGoAway(id, http2.ErrCodeNo, nil)
			close(draining)
			return false // until the proxy closes
		})
	}()
	good := frameOrigin(t, func(fr *framer) {
		fr.requests(nil, func(id uint32, _ string) bool { fr.answers(id); return false })
	})
	dial, records := engine(t, &Proxy{Upstream: pool(t, spec("h2c://"+l.Addr().String(), good))})
	conn, _ := dial(sent("GET", ""))
	wait(t, "GOAWAY", draining)
	for range 4 {
		begun := time.Now()
		if resp, _ := asks(t, dial, sent("POST", "")); resp.StatusCode != 200 || time.Since(begun) > patience/2 {
			t.Errorf("after %v: got %v", time.Since(begun), resp)
		}
		wait(t, "the record", records)
	}
	conn.Close()
	wait(t, "the end of the target", over)
	wait(t, "the record", records)
}

// A connection that has carried answers and ends under a request is the end of that one only where it must not be executed twice.
func TestSharedDies(t *testing.T) {
	for method, want := range map[string]int{"GET": 200, "POST": 502} {
		var conns atomic.Int32
		target := frameOrigin(t, func(fr *framer) {
			first := conns.Add(1) == 1
			fr.requests(nil, func(id uint32, _ string) bool {
				if first && id > 1 {
					return true
				}
				fr.answers(id)
				return false
			})
		})
		dial, _ := engine(t, &Proxy{Upstream: pool(t, spec(target))})
		for _, c := range []struct {
			method string
			want   int
		}{{"GET", 200}, {method, want}} {
			if resp, _ := asks(t, dial, sent(c.method, "")); resp.StatusCode != c.want {
				t.Errorf("%s: got %v", c.method, resp)
			}
		}
	}
}

// The end of a connection is one failure of its target, however many exchanges it was the end of.
func TestSharedDiesOnce(t *testing.T) {
	const many = 20
	target := frameOrigin(t, func(fr *framer) {
		n := 0
		fr.requests(nil, func(uint32, string) bool {
			n++
			return n == many
		})
	})
	s := spec(target)
	s.MaxFails, s.FailTimeout = 2, patience
	up := pool(t, s)
	dial, _ := engine(t, &Proxy{Upstream: up})
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			if resp, _ := asks(t, dial, sent("POST", "body")); resp.StatusCode != 502 {
				t.Errorf("got %v", resp)
			}
		})
	}
	all.Wait()
	if st := (upstream.Set{s: up}).Stats()[0]; st.Failures != 1 || st.Aside {
		t.Errorf("%+v", st)
	}
}

// A malformed answer is a 502, and only its own stream ends: others over the same connection go on.
func TestMalformedAnswer(t *testing.T) {
	var conns atomic.Int32
	reset := make(chan struct{}, 1)
	target := frameOrigin(t, func(fr *framer) {
		conns.Add(1)
		for {
			got, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch got := got.(type) {
			case *http2.MetaHeadersFrame:
				if got.PseudoValue("path") == "/bad" {
					fr.WriteHeaders(http2.HeadersFrameParam{StreamID: got.StreamID, BlockFragment: []byte("\x88\x00\x0aconnection\x05close"), EndHeaders: true, EndStream: true})
				} else {
					fr.answers(got.StreamID)
				}
			case *http2.RSTStreamFrame:
				if got.ErrCode == http2.ErrCodeProtocol {
					reset <- struct{}{}
				}
			}
		}
	})
	dial, records := engine(t, &Proxy{Upstream: pool(t, spec(target))})
	for path, want := range map[string]int{"/bad": 502, "/": 200} {
		if resp, _ := asks(t, dial, "GET "+path+" HTTP/1.1\nHost: a\n\n"); resp.StatusCode != want {
			t.Errorf("%s: got %v", path, resp)
		}
		wait(t, "the record", records)
	}
	wait(t, "the reset", reset)
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

// h2Parrot is an h2c target that gives the same answer again and again, of gRPC's kind, and allocates nothing for it.
func h2Parrot(t testing.TB) (target string) {
	return "h2c://" + rawOriginTB(t, func(c net.Conn, in *bufio.Reader) {
		if _, err := in.Discard(len(http2.ClientPreface)); err != nil {
			return
		}
		c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
		first := frameOf(nil, 1, 4, 0, "\x88\x40\x05x-abc\x03def")
		first = frameOf(first, 0, 0, 0, strings.Repeat("x", 1024))
		first = frameOf(first, 1, 5, 0, "\x40\x0bgrpc-status\x010")
		next := frameOf(nil, 1, 4, 0, "\x88\xbf")
		next = frameOf(next, 0, 0, 0, strings.Repeat("x", 1024))
		next = frameOf(next, 1, 5, 0, "\xbe")
		for answer := first; ; {
			head, err := in.Peek(9)
			if err != nil {
				return
			}
			size, ends, id := int(head[0])<<16|int(head[1])<<8|int(head[2]), head[3] <= 1 && head[4]&1 != 0, binary.BigEndian.Uint32(head[5:])
			if in.Discard(9 + size); !ends {
				continue
			}
			for at := 0; at < len(answer); at += 9 + int(answer[at+1])<<8 + int(answer[at+2]) {
				binary.BigEndian.PutUint32(answer[at+5:], id)
			}
			c.Write(answer)
			answer = next
		}
	})
}

func frameOf(b []byte, kind, flags byte, id uint32, payload string) []byte {
	b = append(b, 0, byte(len(payload)>>8), byte(len(payload)), kind, flags)
	return append(binary.BigEndian.AppendUint32(b, id), payload...)
}

// Relaying to a target over HTTP/2 allocates nothing either, with a body that is here and without.
func TestNoAllocationsH2(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	for _, method := range []string{"GET", "POST"} {
		for _, spec := range []*conf.Upstream{spec(h2Parrot(t)), spec(h2Parrot(t), h2Parrot(t))} {
			p := &Proxy{Upstream: pool(t, spec), OwnCookie: OrCookie(own, "at")}
			x, s := frequentRequest()
			if x.Method = []byte(method); method == "POST" {
				s.body, x.Length = []byte("hello"), 5
			}
			if n := testing.AllocsPerRun(5000, func() { p.Serve(x) }); n > 0 || s.status != 200 || s.got != 1024 {
				t.Errorf("%s, %d targets: %v allocations; status %d, %d bytes, %v", method, len(spec.Targets), n, s.status, s.got, x.Record.Err)
			}
		}
	}
}

// BenchmarkRelayH2 is a request and its answer over loopback.
func BenchmarkRelayH2(b *testing.B) {
	p := &Proxy{Upstream: pool(b, spec(h2Parrot(b)))}
	x, _ := frequentRequest()
	b.ReportAllocs()
	for b.Loop() {
		p.Serve(x)
	}
}
