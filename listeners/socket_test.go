package listeners

import (
	"net"
	"sync"
	"testing"
)

// R18: connections that come during a pause wait, and none is lost.
func TestPause(t *testing.T) {
	for _, sp := range everyKind(t) {
		t.Run(sp.Name, func(t *testing.T) {
			s := listen(t, sp)
			closing(t, s)
			srv := newServer(t, "hello")
			s.Serve(srv.handle)
			for round := range 5 {
				s.Pause()
				_, _, before := srv.counts()
				conns := dialMany(t, s.Addr(), 20)
				if _, _, now := srv.counts(); now != before {
					t.Fatalf("round %d: %d connections accepted during a pause", round, now-before)
				}
				s.Resume()
				expect(t, "hello", conns...)
			}
		})
	}
}

// R18 under load: clients that never try again notice nothing of a hundred pauses.
func TestPauseUnderLoad(t *testing.T) {
	s := listen(t, spec(1, "a", "tcp", "127.0.0.1:0"))
	closing(t, s)
	s.Serve(newServer(t, "hello").handle)
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		clients.Go(func() { hammer(t, s.Addr(), "hello", stop) })
	}
	for range 100 {
		s.Pause()
		s.Resume()
	}
	close(stop)
	clients.Wait()
}

// hammer connects again and again, and must be greeted each time.
func hammer(t *testing.T, a net.Addr, want string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		c, err := dial(a)
		if err != nil {
			t.Error(err)
			return
		}
		if got, err := greeting(c); got != want || err != nil {
			t.Errorf("%q, %v", got, err)
			return
		}
	}
}

// R27: what waits in the kernel when a socket is closed is served.
func TestCloseTakesTheQueue(t *testing.T) {
	const queued = 200
	for _, sp := range everyKind(t) {
		t.Run(sp.Name, func(t *testing.T) {
			s := listen(t, sp)
			t.Cleanup(s.Unlink)
			srv := newServer(t, "hello")
			s.Serve(srv.handle)
			s.Pause()
			conns := dialMany(t, s.Addr(), queued)
			s.CloseParked()
			if _, _, n := srv.counts(); n != queued {
				t.Errorf("%d of %d were taken", n, queued)
			}
			expect(t, "hello", conns...)
			if !refused(s.Addr()) {
				t.Error("it still listens")
			}
		})
	}
}

// R27: nor does Close lose what was connected a moment ago.
func TestCloseAtOnce(t *testing.T) {
	for range 50 {
		s := listen(t, spec(1, "a", "tcp", "127.0.0.1:0"))
		s.Serve(newServer(t, "hello").handle)
		conns := dialMany(t, s.Addr(), 10)
		s.Close()
		expect(t, "hello", conns...)
	}
}

func TestCloseNeverServed(t *testing.T) {
	before := descriptors()
	for _, sp := range everyKind(t) {
		s := listen(t, sp)
		s.Close()
		if !refused(s.Addr()) {
			t.Errorf("%s still listens", s.Addr())
		}
		s.Unlink()
	}
	if n := descriptors(); n != before {
		t.Errorf("%d descriptors, %d before", n, before)
	}
}

// limited is a server whose connections last until the test ends them, behind sockets that share a limit.
func limited(t *testing.T, n, sockets int) (srv *server, all []*Socket) {
	srv = newServer(t, "hello")
	limit := NewLimit(n)
	srv.may = make(chan struct{})
	for range sockets {
		s := listen(t, spec(1, "a", "tcp", "127.0.0.1:0"))
		s.SetLimit(limit)
		s.Serve(srv.handle)
		all = append(all, s)
	}
	t.Cleanup(func() { close(srv.may) })
	return srv, all
}

func TestLimit(t *testing.T) {
	srv, sockets := limited(t, 2, 1)
	closing(t, sockets...)
	conns := dialMany(t, sockets[0].Addr(), 10)
	for served := range 10 {
		until(t, "as many are served as may be", func() bool {
			open, _, _ := srv.counts()
			return open == min(2, 10-served)
		})
		srv.may <- struct{}{}
	}
	expect(t, "hello", conns...)
	if _, most, handled := srv.counts(); most != 2 || handled != 10 {
		t.Errorf("%d at once, %d in all", most, handled)
	}
}

// A socket where nothing happens takes no place from the others that share the limit.
func TestLimitIsShared(t *testing.T) {
	srv, sockets := limited(t, 1, 3)
	closing(t, sockets...)
	for i, s := range []*Socket{sockets[1], sockets[2], sockets[0], sockets[2]} {
		conns := dialMany(t, s.Addr(), 1)
		until(t, "the connection is served", func() bool {
			_, _, handled := srv.counts()
			return handled == i+1
		})
		srv.may <- struct{}{}
		expect(t, "hello", conns...)
	}
	if _, most, _ := srv.counts(); most != 1 {
		t.Errorf("%d at once", most)
	}
}

// Whoever raises a limit, or lifts it, need not wait for a connection to end.
func TestLimitChanges(t *testing.T) {
	srv, sockets := limited(t, 1, 1)
	closing(t, sockets...)
	conns := dialMany(t, sockets[0].Addr(), 4)
	served := func(n int) func() bool {
		return func() bool {
			open, _, _ := srv.counts()
			return open == n
		}
	}
	until(t, "one is served", served(1))
	sockets[0].SetLimit(NewLimit(1)) // the first one does not count here
	until(t, "two are served", served(2))
	sockets[0].SetLimit(NewLimit(0))
	until(t, "all are served", served(4))
	for range conns {
		srv.may <- struct{}{}
	}
	expect(t, "hello", conns...)
}

// Neither a pause nor a close waits for a connection to end; what is over the limit loses nothing by them.
func TestPauseAtTheLimit(t *testing.T) {
	srv, sockets := limited(t, 1, 1)
	s := sockets[0]
	conns := dialMany(t, s.Addr(), 5)
	until(t, "the limit is reached", func() bool {
		open, _, _ := srv.counts()
		return open == 1
	})
	for round := range 3 {
		s.Pause() // lets in the one in hand, and no other
		if _, _, handled := srv.counts(); handled > round+2 {
			t.Errorf("%d were let in by pause %d", handled, round+1)
		}
		s.Resume()
	}
	s.Close()
	if _, _, handled := srv.counts(); handled != 5 {
		t.Errorf("%d of 5 were served", handled)
	}
	for range conns {
		srv.may <- struct{}{}
	}
	expect(t, "hello", conns...)
}
