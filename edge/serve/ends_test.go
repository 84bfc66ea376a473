package serve

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"sync"
	"testing"
	"time"
	"unique"
)

// balanced fails a test whose account does not add up.
func (s *Server) balanced(t *testing.T) Account {
	t.Helper()
	a := s.Stats().Account
	if a.Opened != Sum(a.Finished)+uint64(a.Open)+Sum(a.Cut) {
		t.Errorf("the account does not add up: %+v", a)
	}
	return a
}

// Each connection is opened once, and ends once, by one cause.
func TestCauses(t *testing.T) {
	stopped := func(w *world) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w.Stop(ctx)
	}
	for name, test := range map[string]struct {
		do            func(w *world, c *client)
		finished, cut Cause
	}{
		"the client leaves": {do: func(_ *world, c *client) { c.get("/"); c.answer(); c.Close() }, finished: ByClient},
		"the last answer":   {do: func(_ *world, c *client) { c.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"); c.answer(); c.ended() }, finished: ByEdge},
		"a drain":           {do: func(w *world, c *client) { w.Drain(0); c.get("/"); c.answer(); c.ended() }, finished: Told},
		"a stop while idle": {do: func(w *world, c *client) { c.get("/"); c.answer(); w.idle(t); stopped(w) }, finished: Told},
		"a stop while answered": {do: func(w *world, c *client) {
			c.get("/held")
			until(t, func() bool { return w.served.Load() == 1 })
			stopAround(w, stopped, c)
		}, cut: Stopped},
		"the hard limit": {do: func(w *world, c *client) {
			c.get("/held")
			until(t, func() bool { return w.served.Load() == 1 })
			if n := w.Cut(HardLimit); n != 1 {
				t.Errorf("%d were cut", n)
			}
			close(w.hold)
		}, cut: HardLimit},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.dial()
			test.do(w, c)
			c.Close()
			until(t, func() bool { return w.Open() == 0 })
			want := newAccount()
			want.Opened = 1
			if test.cut != "" {
				want.Cut[test.cut] = 1
			} else {
				want.Finished[test.finished] = 1
			}
			if got := w.balanced(t); got.Opened != 1 || !maps.Equal(got.Finished, want.Finished) || !maps.Equal(got.Cut, want.Cut) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// stopAround stops while a request is held, which it lets go when its client has seen the end.
func stopAround(w *world, stop func(*world), c *client) {
	var stopping sync.WaitGroup
	stopping.Go(func() { stop(w) })
	io.Copy(io.Discard, c.in)
	close(w.hold)
	stopping.Wait()
}

// idle waits until a connection is.
func (s *Server) idle(t *testing.T) {
	until(t, func() bool { return s.Stats().Open[Kind{"test", "http/1.1", "idle"}] == 1 })
}

// A client that wants TLS and gets none of it leaves a connection that was never ready.
func TestUnready(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		conf := selfSigned(t)
		s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return conf, unique.Handle[string]{} }
	})
	c := w.dial()
	c.send("GET / HTTP/1.1\r\n\r\n")
	io.Copy(io.Discard, c.in)
	c.Close()
	until(t, func() bool { return w.Open() == 0 })
	if a := w.balanced(t); a.Finished[Unready] != 1 {
		t.Errorf("%+v", a)
	}
}

// The account adds up at every moment, while connections come and go, and through a drain and a cut.
func TestAccountUnderLoad(t *testing.T) {
	w := newWorld(t, nil)
	end := time.Now().Add(time.Second)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for time.Now().Before(end) {
				c := w.dial()
				for range i {
					c.get("/")
					if c.answer().Close {
						break
					}
				}
				c.Close()
			}
		})
	}
	moments := 0
	for time.Now().Before(end) {
		w.balanced(t)
		if moments++; moments == 2000 {
			w.Drain(0)
		}
	}
	clients.Wait()
	w.Cut(HardLimit)
	until(t, func() bool { return w.Open() == 0 })
	a := w.balanced(t)
	if a.Opened < 50 || a.Open != 0 || a.Opened != w.Stats().Accepted["test"] {
		t.Errorf("after %d looks: %+v, accepted: %v", moments, a, w.Stats().Accepted)
	}
}
