package h1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"edge/edge/wire"
)

// A client that leaves is noticed, plain and over TLS: by OnGone, by the Context, and when asked.
func TestGone(t *testing.T) {
	told, asked := make(chan error, 4), make(chan error, 4)
	everywhere(t, settings{}, func(x *wire.Exchange) {
		if x.Gone() != nil {
			t.Error("a client has left that is there")
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		x.OnGone(func(error) { cancel() })
		<-ctx.Done()
		told <- ctx.Err()
		select {
		case <-x.Context().Done():
		case <-time.After(patience):
			t.Error("the context does not end")
		}
		asked <- x.Gone()
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		c.send("GET / HTTP/1.1\nHost: a.test\n\n")
		time.Sleep(10 * time.Millisecond)
		c.Close()
		if err := wait(t, "OnGone", told); !errors.Is(err, context.Canceled) {
			t.Error("it was not told:", err)
		}
		if wait(t, "Gone", asked) == nil {
			t.Error("it is still there")
		}
	})
}

// OnGone that was taken back does not run; the Context ends with the exchange.
func TestGoneTakenBack(t *testing.T) {
	var ctx context.Context
	done := make(chan struct{})
	s := newSite(t, "h1", false, settings{}, func(x *wire.Exchange) {
		x.OnGone(func(error) { t.Error("it runs although it was taken back") })
		x.OnGone(nil)
		ctx = x.Context()
		path(x)
		close(done)
	})
	c := s.dial(t)
	c.send("GET / HTTP/1.1\nHost: a.test\n\n")
	c.expect("GET", 200, "/")
	<-done
	wait(t, "the context's end", ctx.Done())
	c.Close()
	time.Sleep(1100 * time.Millisecond) // the sweeper looks
}

// An upgrade hands out the connection with what was read of it too far, half-close included.
func TestTunnel(t *testing.T) {
	everywhere(t, settings{}, func(x *wire.Exchange) {
		s, err := x.Tunnel(wire.Fields{}.Add("x", "y"))
		if err != nil {
			t.Error(err)
			return
		}
		if x.Conn.TLS != nil && s.TCP() != nil {
			t.Error("the socket below TLS is given away")
		}
		io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s})
		if x.Conn.TLS == nil && s.TCP() == nil {
			t.Error("a plain tunnel hides its socket")
		}
		s.CloseWrite()
	}, func(t *testing.T, s *site) {
		c := s.dial(t)
		c.send("GET / HTTP/1.1\nHost: a.test\nConnection: keep-alive, Upgrade\nUpgrade: websocket\n\nfirst")
		resp, err := http.ReadResponse(c.in, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("X") != "y" {
			t.Fatal(resp, err)
		}
		buf := make([]byte, 5)
		if _, err := io.ReadFull(c.in, buf); err != nil || string(buf) != "first" {
			t.Fatalf("%q, %v", buf, err)
		}
		c.raw("later")
		if _, err := io.ReadFull(c.in, buf); err != nil || string(buf) != "later" {
			t.Fatalf("%q, %v", buf, err)
		}
		c.raw("last")
		c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		if rest, err := io.ReadAll(c.in); string(rest) != "last" || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

// The answer ends a Read of the body that waits, and the connection goes on if the rest of the body comes.
func TestFinishEndsARead(t *testing.T) {
	read := make(chan error, 1)
	s := newSite(t, "h1", false, settings{}, func(x *wire.Exchange) {
		if string(x.Path) == "/works" {
			path(x)
			return
		}
		begun, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			close(begun)
			_, err := io.ReadAll(x.Body)
			read <- err
		}()
		<-begun
		time.Sleep(20 * time.Millisecond)
		path(x)
		<-ended
	})
	for _, keep := range []bool{true, false} {
		c := s.dial(t)
		if keep {
			c.send("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 100\n\nhello")
		} else {
			c.send("POST /x HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n5\nhello\n")
		}
		if resp := c.expect("POST", 200, "/x"); resp.Close == keep {
			t.Errorf("Connection: close is %v", resp.Close)
		}
		if err := wait(t, "the read's end", read); !errors.Is(err, errAnswered) {
			t.Errorf("the read ended with %v", err)
		}
		if keep {
			c.raw(string(make([]byte, 95)))
			c.works()
		} else {
			c.ends()
		}
	}
}

// A client that says its end together with its request is answered, and then not waited for: nobody is told of that end, so it is looked for.
func TestEndWithTheRequest(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := (&site{t: t, addr: ln.Addr().String()}).dial(t)
	c.send("GET /last HTTP/1.1\nHost: a.test\n\n")
	c.Conn.(*net.TCPConn).CloseWrite()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // until the poller has heard of both, of which it tells once
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		st, _ := newStream(nc, false)
		Serve(st, Options{
			Handler: wire.HandlerFunc(path), Info: settings{}.info(), MaxHeader: 4096, Header: time.Hour, Idle: time.Hour,
			Last: func() bool { return false }, Waits: func(bool) {},
		})
	}()
	c.expect("GET", 200, "/last")
	c.ends()
	wait(t, "the connection is let go", ended)
}

// A connection that nobody has read from yet does not rest, however late it is served.
func TestNewIsAwake(t *testing.T) {
	c := New(nil, Options{})
	defer sweep.remove(c)
	c.reading.set(time.Hour)
	if c.lookAtRest(sweep.ticks.Load() + 10*longRest); c.nudged {
		t.Error("it is sent to sleep")
	}
}
