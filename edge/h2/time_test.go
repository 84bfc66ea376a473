package h2

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"edge/edge/socket"
	"edge/edge/wire"
)

// ends reads up to the end of the connection, and gives the reason of its last GOAWAY, if there was one.
func (c *raw) ends() (code http2.ErrCode, told bool) {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.t.Fatal("the connection does not end")
		}
		if err != nil {
			return code, told
		}
		if g, is := f.(*http2.GoAwayFrame); is {
			code, told = g.ErrCode, true
		}
	}
}

// What does not come in its time ends the connection: SETTINGS, a head, the rest of a frame.
func TestHeaderTime(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		for name, send := range map[string]func(c *raw){
			"half a head":  func(c *raw) { c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)}) },
			"half a frame": func(c *raw) { c.nc.Write(appendHead(nil, 100, frameHeaders, flagEndHeaders, 1)) },
			"drops of a head": func(c *raw) {
				c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)})
				go func() {
					for range 40 {
						time.Sleep(100 * time.Millisecond) // progress is not what counts
						if c.fr.WriteContinuation(1, false, c.block("a", "b")) != nil {
							return
						}
					}
				}()
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFront(t, overTLS, ok, func(f *front) { f.o.Header = time.Second })
				c := f.raw()
				began := time.Now()
				send(c)
				c.ends()
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("after %v", took)
				}
			})
		}
	})
}

// A body without progress is the handler's to answer; the connection goes on. One that comes slowly is no such thing.
func TestBodyTime(t *testing.T) {
	f := newFront(t, false, func(x *wire.Exchange) {
		p := make([]byte, 10)
		n, err := 0, error(nil)
		for err == nil {
			n, err = x.Body.Read(p)
			_ = n
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			wire.Reply(x, 408, "text/plain", "slow")
			return
		}
		ok(x)
	}, func(f *front) { f.body = time.Second })
	c := f.raw()
	post := func(id uint32) {
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a.test"), EndHeaders: true})
	}
	status := func(id uint32) byte {
		for {
			fr, err := c.next()
			if err != nil {
				t.Fatal(err)
			}
			if h, is := fr.(*http2.HeadersFrame); is && h.StreamID == id {
				return h.HeaderBlockFragment()[0]
			}
		}
	}
	post(1)
	if b := status(1); b != 0x08 { // a literal: 408
		t.Errorf("%x", b)
	}
	post(3)
	for range 8 { // twice as long as without progress
		time.Sleep(500 * time.Millisecond)
		c.fr.WriteData(3, false, []byte("a"))
	}
	c.fr.WriteData(3, true, nil)
	if b := status(3); b != 0x88 { // 200
		t.Errorf("%x", b)
	}
}

// A client that takes no byte of the connection is cut when a write has had its time, however wide its windows are, and no handler is kept.
func TestWriteTime(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		done := make(chan error, 1)
		f := newFront(t, overTLS, func(x *wire.Exchange) {
			x.Head(200, nil, wire.Unknown)
			var err error
			for err == nil {
				_, err = x.Write(much)
			}
			done <- err
		}, func(f *front) { f.write = time.Second })
		c := f.raw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		c.fr.WriteWindowUpdate(0, maxWindow-firstWindow)
		c.get(1)
		select {
		case <-done:
		case <-time.After(long):
			t.Error("the handler still writes")
		}
	})
}

// A connection without requests is told to go, twice, and closed, whether it has had requests or none.
func TestIdle(t *testing.T) {
	f := newFront(t, false, ok, func(f *front) { f.o.Idle = 2 * time.Second })
	fresh, used := f.raw(), f.raw()
	used.get(1)
	used.round(1)
	for _, c := range []*raw{used, fresh} {
		if code, told := c.ends(); code != 0 || !told {
			t.Error(code, told)
		}
	}
}

// A resting connection gives its buffers back.
func TestRestingBuffers(t *testing.T) {
	f := newFront(t, false, ok, nil)
	c := f.raw()
	c.get(1)
	c.round(1)
	f.mu.Lock()
	conn := f.conns[0]
	f.mu.Unlock()
	until(t, func() bool {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.out == nil && conn.spare == nil
	})
}

// A connection that nobody has read from yet does not rest, however late it is served: what the client has said may lie above the socket, where
// who waits for a long rest to end does not look.
func TestNewIsAwake(t *testing.T) {
	p := &pipe{}
	c := New(&testStream{Conn: p, below: socket.New(p)}, Options{})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lookAtRest(sweep.now() + 10*longRest); c.nudged {
		t.Error("it is sent to sleep")
	}
}
