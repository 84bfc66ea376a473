package h2

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"edge/edge/wire"
)

// answers reads frames, and has each request's stream dealt with by f until that says that it is enough.
func answers(fr *http2.Framer, f func(stream uint32) (enough bool)) {
	for {
		got, err := fr.ReadFrame()
		if err != nil {
			return
		}
		if h, is := got.(*http2.HeadersFrame); is && f(h.StreamID) {
			return
		}
	}
}

// What was not executed, as the server says, is told apart from what may have been: a refused stream, and one behind the last of a GOAWAY. What is
// before that comes to its end, and nothing begins any more.
func TestUnserved(t *testing.T) {
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		answers(fr, func(id uint32) bool {
			switch id {
			case 1:
				fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
			case 3: // it is answered behind the GOAWAY
			case 5:
				fr.WriteGoAway(3, 0, nil)
				nc.Write(good(3))
			}
			return false
		})
	})
	c := up.connect()
	var unserved *UnservedError
	if _, err := c.ask(requestBy("POST", "/"), nil); !errors.As(err, &unserved) {
		t.Errorf("a refused one ends with %v", err)
	}
	first, second := c.Begin(), c.Begin()
	if _, err := first.Send(requestBy("GET", "/")); err != nil {
		t.Fatal(err)
	}
	if _, err := second.ask(requestBy("POST", "/"), nil); !errors.As(err, &unserved) {
		t.Errorf("one behind the last ends with %v", err)
	}
	second.Done()
	if a, err := first.whole(); err != nil || a.Status != 200 {
		t.Errorf("the last one gets %s, %v", a, err)
	}
	if s := c.Begin(); s != nil {
		t.Error("one begins behind a GOAWAY")
	}
	first.Done()
	wait(t, "the connection ends", c.Over())
}

// An exchange that began before a GOAWAY, and is sent after it, is not sent.
func TestGoAwayBeforeSend(t *testing.T) {
	tell, told := make(chan struct{}), make(chan struct{})
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		<-tell
		fr.WriteGoAway(0, 0, nil)
		fr.WritePing(false, [8]byte{})
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if p, is := f.(*http2.PingFrame); is && p.IsAck() {
				close(told)
			}
		}
	})
	c := up.connect()
	s := c.Begin()
	close(tell)
	wait(t, "the GOAWAY", told)
	var no *NotSentError
	if _, err := s.Send(requestBy("POST", "/")); !errors.As(err, &no) {
		t.Errorf("it ends with %v", err)
	}
	s.Done()
}

// A connection that ends under an exchange ends it, as one that may have been executed; a word of the answer is none that is whole.
func TestServerDies(t *testing.T) {
	for name, sends := range map[string][]byte{"without a word": nil, "with half an answer": append(good(1)[:4:4], append([]byte{flagEndHeaders}, good(1)[5:]...)...)} {
		t.Run(name, func(t *testing.T) {
			up := played(t, func(nc net.Conn, fr *http2.Framer) {
				fr.WriteSettings()
				answers(fr, func(uint32) bool { nc.Write(sends); return true })
			})
			c := up.connect()
			a, err := c.ask(requestBy("GET", "/"), nil)
			var no *NotSentError
			if !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset by peer") || errors.As(err, &no) {
				t.Errorf("it ends with %s, %v", a, err)
			}
		})
	}
}

// Windows of one byte are no reason to stop: all of the body comes, byte by byte.
func TestSmallWindows(t *testing.T) {
	const size = 500
	got := make(chan string, 1)
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		var body []byte
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if d, is := f.(*http2.DataFrame); is {
				if len(d.Data()) > 1 {
					t.Errorf("%d bytes in a window of one", len(d.Data()))
				}
				body = append(body, d.Data()...)
				fr.WriteWindowUpdate(1, 1)
				fr.WriteWindowUpdate(0, 1)
			}
			if h, is := f.(*http2.HeadersFrame); is && h.StreamEnded() { // the trailers
				got <- string(body)
				nc.Write(good(1))
				return
			}
		}
	})
	for _, streamed := range []bool{true, false} {
		c := up.connect()
		text := strings.Repeat("0123456789", size/10)
		r, body := requestBy("POST", "/"), io.Reader(strings.NewReader(text))
		r.Length = size
		if !streamed {
			r.Body, body = []byte(text), nil
		}
		if a, err := c.ask(r, body); err != nil || a.Status != 200 {
			t.Errorf("got %s, %v", a, err)
		}
		if wait(t, "the body", got) != text {
			t.Error("it is another one")
		}
	}
}

// What takes too long ends: a server that says nothing at all, one that does not answer, one that takes nothing of a body, an answer that stops.
func TestServerTime(t *testing.T) {
	for name, c := range map[string]struct {
		play   func(nc net.Conn, fr *http2.Framer)
		method string
	}{
		"SETTINGS": {func(nc net.Conn, fr *http2.Framer) { io.Copy(io.Discard, nc) }, ""},
		"answer":   {func(nc net.Conn, fr *http2.Framer) { fr.WriteSettings(); io.Copy(io.Discard, nc) }, "GET"},
		"body":     {func(nc net.Conn, fr *http2.Framer) { fr.WriteSettings(); io.Copy(io.Discard, nc) }, "POST"},
		"header block": {func(nc net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			answers(fr, func(id uint32) bool {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}}) == nil
			})
			io.Copy(io.Discard, nc)
		}, "GET"},
		"the rest": {func(nc net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			answers(fr, func(id uint32) bool {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndHeaders: true}) == nil
			})
			io.Copy(io.Discard, nc)
		}, "GET"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := played(t, c.play)
			began := time.Now()
			conn := up.start(ClientLimits{Response: time.Second, Body: time.Second, Idle: long})
			if c.method == "" {
				wait(t, "the connection ends", conn.Over())
				if err := conn.Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("it ends with %v", err)
				}
				return
			}
			wait(t, "the server's SETTINGS", conn.Ready())
			body := io.Reader(nil)
			if c.method == "POST" {
				body = endless{}
			}
			s := conn.Begin()
			a, err := s.ask(requestBy(c.method, "/"), body)
			if _, late := s.BodyFailure(); !errors.Is(err, os.ErrDeadlineExceeded) || late != (name == "body") {
				t.Errorf("it ends with %s, %v; late is %v", a, err, late)
			}
			s.Done()
			if took := time.Since(began); took < time.Second || took > 6*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
}

// A connection that nobody uses says so, and ends.
func TestIdleClient(t *testing.T) {
	said := make(chan bool, 1)
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		away := false
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				said <- away
				return
			}
			if g, is := f.(*http2.GoAwayFrame); is {
				away = g.ErrCode == 0
			}
		}
	})
	c := up.start(ClientLimits{Response: long, Body: long, Idle: time.Second})
	wait(t, "the connection ends", c.Over())
	if !wait(t, "the server sees the end", said) {
		t.Error("it was not told")
	}
}

// A server that is not there any more, though nobody has said so, is found out by a PING while an answer is waited for; one that answers it is not,
// nor is it asked again soon.
func TestSilentServer(t *testing.T) {
	for _, alive := range []bool{false, true} {
		pings := make(chan struct{}, 100)
		up := played(t, func(nc net.Conn, fr *http2.Framer) {
			fr.WriteSettings()
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					return
				}
				if p, is := f.(*http2.PingFrame); is && !p.IsAck() {
					pings <- struct{}{}
					if alive {
						fr.WritePing(true, p.Data)
					}
				}
			}
		})
		c := up.start(ClientLimits{Response: time.Hour, Body: time.Hour, Idle: time.Hour})
		wait(t, "the server's SETTINGS", c.Ready())
		s := c.Begin()
		s.Send(requestBy("GET", "/"))
		now := sweep.now()
		c.heard.Store(now - 1)
		for tick := range int64(pingAfter + 2) {
			c.look(now + tick)
		}
		wait(t, "a PING", pings)
		if alive {
			for limit := time.Now().Add(long); ; time.Sleep(time.Millisecond) {
				if c.mu.Lock(); c.heard.Load() >= now {
					c.heard.Store(now + pingAfter + 2) // as it would be
					c.mu.Unlock()
					break
				}
				c.mu.Unlock()
				if time.Now().After(limit) {
					t.Fatal("nothing comes back")
				}
			}
		}
		for tick := range int64(pingAgain - 2*pingAfter) {
			c.look(now + pingAfter + 2 + tick)
		}
		if alive {
			if err := c.Err(); err != nil || len(pings) > 0 {
				t.Errorf("it ends with %v, after %d more", err, len(pings))
			}
		} else if _, err := s.whole(); !errors.Is(err, errSilent) {
			t.Errorf("it ends with %v", err)
		}
		s.Done()
	}
}

// A request whose head is larger than the server takes is not sent; and where the server wants no table, the first block says that there is none.
func TestServerSettings(t *testing.T) {
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, is := f.(*http2.HeadersFrame); is {
				if shrinks := h.HeaderBlockFragment()[0] == 0x20; shrinks != (h.StreamID == 1) {
					t.Errorf("the block of %d makes the table smaller: %v", h.StreamID, shrinks)
				}
				nc.Write(good(h.StreamID))
			}
		}
	})
	c := up.connect()
	r := requestBy("GET", "/")
	r.Fields = wire.Fields{}.Add("x-a", strings.Repeat("a", 1000))
	if _, err := c.ask(r, nil); !errors.Is(err, errListSize) {
		t.Errorf("a head too large: %v", err)
	}
	if a, err := c.ask(requestBy("GET", "/"), nil); err != nil || a.Status != 200 {
		t.Errorf("got %s, %v", a, err)
	}
	if a, err := c.ask(requestBy("GET", "/"), nil); err != nil || a.Status != 200 {
		t.Errorf("got %s, %v", a, err)
	}
}

// Trailers are sent as the last block, and NO_ERROR behind a whole answer ends the upload alone.
func TestUploadEnds(t *testing.T) {
	got := make(chan string, 1)
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		text := ""
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.DataFrame:
				if f.StreamID == 1 {
					text += string(f.Data())
				} else if f.StreamID == 3 {
					nc.Write(append(good(3), appendReset(nil, 3, codeNone)...))
				}
			case *http2.HeadersFrame:
				if f.StreamID == 1 && f.StreamEnded() {
					got <- text + string(f.HeaderBlockFragment())
					nc.Write(good(1))
				}
			}
		}
	})
	c := up.connect()
	if a, err := c.ask(requestBy("POST", "/"), strings.NewReader("body")); err != nil || a.Status != 200 {
		t.Errorf("got %s, %v", a, err)
	}
	if text := wait(t, "the trailers", got); text != "body\x00\x06x-sent\x03all" {
		t.Errorf("the server got %q", text)
	}
	if a, err := c.ask(requestBy("POST", "/"), endless{}); err != nil || a.Status != 200 {
		t.Errorf("got %s, %v", a, err)
	}
}

// Abort frees the server, and the connection goes on.
func TestAbort(t *testing.T) {
	resets := make(chan http2.ErrCode, 1)
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.RSTStreamFrame:
				resets <- f.ErrCode
			case *http2.HeadersFrame:
				if f.StreamID > 1 {
					nc.Write(good(f.StreamID))
				}
			}
		}
	})
	c := up.connect()
	s := c.Begin()
	s.Send(requestBy("GET", "/"))
	go s.OnGone()(nil)
	if _, err := s.whole(); err != errClientAborted {
		t.Errorf("it ends with %v", err)
	}
	s.Done()
	if why := wait(t, "the reset", resets); why != http2.ErrCodeCancel {
		t.Errorf("it is %v", why)
	}
	if a, err := c.ask(requestBy("GET", "/"), nil); err != nil || a.Status != 200 {
		t.Errorf("got %s, %v", a, err)
	}
}

// A request that waits behind another one's body when the connection ends was never sent, and is told apart from the one before it.
func TestUnsent(t *testing.T) {
	stuck, end := make(chan struct{}), make(chan struct{})
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
		fr.WriteWindowUpdate(0, maxWindow-firstWindow)
		answers(fr, func(uint32) bool { return true })
		close(stuck) // it reads nothing any more
		<-end
		nc.(*net.TCPConn).SetLinger(0)
	})
	c := up.connect()
	first, second := c.Begin(), c.Begin()
	ends := make(chan error, 2)
	go func() {
		_, err := first.ask(requestBy("POST", "/"), endless{})
		ends <- err
	}()
	wait(t, "the first one", stuck)
	for last, still := int64(0), 0; still < 20; time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		if still++; !c.busy || c.handed != last {
			last, still = c.handed, 0
		}
		c.mu.Unlock()
	}
	told := make(chan error, 1)
	go func() {
		_, err := second.ask(requestBy("POST", "/"), nil)
		told <- err
	}()
	time.AfterFunc(100*time.Millisecond, func() { close(end) })
	var no *NotSentError
	if err := wait(t, "the second one's end", told); !errors.As(err, &no) {
		t.Errorf("the second one ends with %v", err)
	}
	if err := wait(t, "the first one's end", ends); err == nil || errors.As(err, &no) {
		t.Errorf("the first one ends with %v", err)
	}
	first.Done()
	second.Done()
	c.nothingLeft(t)
}

// The window of the connection is given back when half of it is used, whether anybody reads or not; that of a stream only as far as it is used,
// which what was read is when more is wanted.
func TestWindowsGivenBack(t *testing.T) {
	grows := make(chan [2]uint32, 10)
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				grows <- [2]uint32{f.StreamID, f.Increment}
			case *http2.HeadersFrame:
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true})
				for range bodyWindow / maxFrame {
					fr.WriteData(f.StreamID, false, make([]byte, maxFrame))
				}
			}
		}
	})
	c := up.connect()
	if got := wait(t, "the connection's window", grows); got != [2]uint32{0, clientWindow - firstWindow} {
		t.Errorf("at first it grows by %d", got)
	}
	c.mu.Lock()
	c.room = clientWindow/2 + bodyWindow // one byte of the body less would not be enough
	c.mu.Unlock()
	s := c.Begin()
	defer s.Done()
	s.Send(requestBy("GET", "/"))
	if got := wait(t, "the connection's window", grows); got != [2]uint32{0, clientWindow / 2} {
		t.Errorf("it grows by %d", got)
	}
	if len(grows) > 0 {
		t.Errorf("more grows: %d", <-grows)
	}
	s.ReadHead(new(told))
	if b, err := s.Next(); len(b) != bodyWindow || err != nil {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	if len(grows) > 0 {
		t.Errorf("before what was read is used %d grows", <-grows)
	}
	read := make(chan error, 1)
	go func() {
		_, err := s.Next()
		read <- err
	}()
	defer wait(t, "the end of a read", read)
	defer s.Abort()
	if got := wait(t, "the stream's window", grows); got != [2]uint32{1, bodyWindow} {
		t.Errorf("it grows by %d", got)
	}
}
