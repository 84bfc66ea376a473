package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"edge/edge/h2"
	"edge/edge/socket"
)

// Call is an exchange with a target that speaks HTTP/2: Done is called after it.
type Call struct {
	*h2.Call
	target *Target
}

// mostShared bounds the connections to a target that speaks HTTP/2.
const mostShared = 1024

// shared are the connections to a target that speaks HTTP/2, each of which carries many exchanges. A new one is opened where all are full: one at a
// time, for all who wait. The oldest has the exchanges first, so that those that are too many are idle, and end.
type shared struct {
	mu      sync.Mutex
	conns   []*h2.ClientConn
	waiting []*caller
	dialing context.CancelFunc // ends the dial that is under way; nil: none is
	retired bool               // each is closed when it carries nothing
}

// caller is who waits for a connection that has room.
type caller struct {
	not *h2.ClientConn
	got chan called // has room for what it gets
}

type called struct {
	call *h2.Call
	err  error
}

var (
	errNoCalls = errors.New("the target speaks HTTP/2, and takes no request")
	errNotH2   = errors.New("the target does not speak HTTP/2 over TLS: it has not agreed on h2 (ALPN)")
	errCrowded = fmt.Errorf("no connection to the target has had room: %w", context.DeadlineExceeded)
)

// Call gives an exchange over a connection that has room, not over the one that is given: the oldest one, else a new one, within the context of whom
// it is for. Whatever the error, the target has not got a byte of the exchange.
func (t *Target) Call(whom interface{ Context() context.Context }, not *h2.ClientConn) (Call, error) {
	s := &t.shared
	s.mu.Lock()
	if len(s.waiting) == 0 {
		if call := s.begin(not); call != nil {
			s.mu.Unlock()
			return Call{call, t}, nil
		}
	}
	w := &caller{not, make(chan called, 1)}
	s.waiting = append(s.waiting, w)
	s.admit()
	t.grow()
	s.mu.Unlock()
	got := t.await(whom.Context(), w)
	return Call{got.call, t}, got.err
}

// Done ends the exchange.
func (c Call) Done() {
	conn := c.Conn()
	c.Call.Done()
	s := &c.target.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		s.admit()
		c.target.grow()
	}
	if s.retired {
		conn.CloseIdle()
	}
}

// begin gives an exchange over the first connection that has room; nil: none has. s.mu is held.
func (s *shared) begin(not *h2.ClientConn) *h2.Call {
	for _, c := range s.conns {
		if c == not {
			continue
		}
		if call := c.Begin(); call != nil {
			return call
		}
	}
	return nil
}

// admit gives exchanges to those who wait, in their order. s.mu is held.
func (s *shared) admit() {
	s.waiting = slices.DeleteFunc(s.waiting, func(w *caller) bool {
		call := s.begin(w.not)
		if call != nil {
			w.got <- called{call: call}
		}
		return call != nil
	})
}

// await waits for what w gets.
func (t *Target) await(ctx context.Context, w *caller) called {
	late := time.NewTimer(t.connect + t.limits.Response)
	defer late.Stop()
	err := error(nil)
	select {
	case got := <-w.got:
		return got
	case <-late.C:
		err = errCrowded
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if got, ok := t.shared.leave(w); !ok {
		if got.call != nil {
			Call{got.call, t}.Done()
		}
	}
	return called{err: err}
}

// leave takes w off those who wait; it does not if w has got something.
func (s *shared) leave(w *caller) (got called, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting, w)
	if i < 0 {
		return <-w.got, false
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
	s.giveUp()
	return got, true
}

// giveUp ends a dial that nobody waits for. s.mu is held.
func (s *shared) giveUp() {
	if len(s.waiting) == 0 && s.dialing != nil {
		s.dialing()
	}
}

// grow opens a connection, if somebody waits for it. t.shared.mu is held.
func (t *Target) grow() {
	s := &t.shared
	if len(s.waiting) == 0 || s.dialing != nil || len(s.conns) >= mostShared {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.dialing = cancel
	go t.open(ctx)
}

// open opens a connection for all who wait, who share its failure too.
func (t *Target) open(ctx context.Context) {
	c, err := t.newShared(ctx)
	s := &t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	givenUp := ctx.Err() != nil // who waits now has come since
	s.dialing()
	s.dialing = nil
	before := len(s.waiting)
	if err == nil {
		s.conns = append(s.conns, c)
		go t.serve(c)
		if s.admit(); len(s.waiting) == before { // it has ended, or has no room: nor had another one
			err = errNoCalls
		}
	}
	if err != nil && !givenUp {
		for _, w := range s.waiting {
			w.got <- called{err: err}
		}
		s.waiting = nil
	}
	if c != nil && s.retired {
		c.CloseIdle()
	}
	t.grow()
}

// serve has a connection among those that are shared as long as it lives.
func (t *Target) serve(c *h2.ClientConn) {
	<-c.Over()
	s := &t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.conns, c); i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
	}
	t.grow()
}

// newShared opens a connection of HTTP/2, over which the target has said that it speaks that. Its goroutine ends with it.
func (t *Target) newShared(ctx context.Context) (*h2.ClientConn, error) {
	dialled, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	below := socket.New(dialled)
	nc := net.Conn(below)
	if t.tls != nil {
		if nc, err = t.handshake(ctx, below); err != nil {
			return nil, err
		}
		if nc.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
			below.Close()
			return nil, errNotH2
		}
	}
	c := h2.NewClientConn(nc, below, h2.ClientLimits{Response: t.limits.Response, Body: t.limits.Body, Idle: t.lasts})
	go c.Serve()
	ctx, cancel := context.WithTimeout(ctx, t.connect)
	defer cancel()
	select {
	case <-c.Ready():
		return c, nil
	case <-c.Over():
		return nil, c.Err()
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("the target says nothing of HTTP/2: %w", context.Cause(ctx))
	}
}

// retire closes the connections that carry nothing, and each other one when it carries nothing any more.
func (s *shared) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	for _, c := range s.conns {
		c.CloseIdle()
	}
	s.giveUp()
}
