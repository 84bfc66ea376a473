package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"edge/edge/h2"
)

// Call is an exchange with a target that speaks HTTP/2: Done is called after it.
type Call struct {
	*h2.Call
	target *Target
	over   *member
}

const (
	mostShared = 1024        // connections to a target that speaks HTTP/2
	dialPause  = time.Second // after a dial that has failed, while the exchanges of other connections come to their end
)

// shared are the connections to a target that speaks HTTP/2, each of which carries many exchanges. A new one is opened where all are full: one at a
// time, for all who wait. The oldest has the exchanges first, so that those that are too many are idle, and end.
type shared struct {
	mu      sync.Mutex
	conns   []*member
	waiting []*caller
	dialing context.CancelFunc // ends the dial that is under way; nil: none is
	paused  bool               // a dial has failed less than dialPause ago
	retired bool               // each is closed when it carries nothing
}

// member is one of them.
type member struct {
	*h2.ClientConn
	open int // exchanges that it carries; shared.mu guards it
}

// caller is who waits for a connection that has room.
type caller struct {
	not *h2.ClientConn
	got chan called // has room for what it gets
}

type called struct {
	call Call
	err  error
}

// noted is a failure for all who have waited for the same thing: Failed was told of it.
type noted struct{ error }

func (n noted) Unwrap() error { return n.error }

func isNoted(why error) bool {
	_, is := why.(noted)
	return is
}

var (
	errNoCalls = errors.New("the target speaks HTTP/2, and takes no request")
	errNotH2   = errors.New("the target does not speak HTTP/2 over TLS: it has not agreed on h2 (ALPN)")
	errCrowded = fmt.Errorf("no connection to the target has had room: %w", context.DeadlineExceeded)
)

// Call gives an exchange over a connection that has room, not over the one that is given: the oldest one, else a new one, within the context of whom
// it is for. Whatever the error, the target has not got a byte of the exchange. Failed takes each, and counts that of a dial once for all who have
// waited for it.
func (t *Target) Call(whom interface{ Context() context.Context }, not *h2.ClientConn) (Call, error) {
	s := &t.shared
	s.mu.Lock()
	if len(s.waiting) == 0 {
		if call := s.begin(t, not); call.Call != nil {
			s.mu.Unlock()
			return call, nil
		}
	}
	w := &caller{not, make(chan called, 1)}
	s.waiting = append(s.waiting, w)
	t.admitShared()
	t.grow()
	s.mu.Unlock()
	got := t.await(whom.Context(), w)
	return got.call, got.err
}

// Done ends the exchange.
func (c Call) Done() {
	c.Call.Done()
	s := &c.target.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	c.over.open--
	if len(s.waiting) > 0 {
		c.target.admitShared()
		c.target.grow()
	}
	if s.retired {
		c.over.CloseIdle()
	}
}

// begin gives an exchange over the first connection that has room; none: none has. s.mu is held.
func (s *shared) begin(t *Target, not *h2.ClientConn) Call {
	for _, m := range s.conns {
		if m.ClientConn == not {
			continue
		}
		if call := m.Begin(); call != nil {
			m.open++
			return Call{call, t, m}
		}
	}
	return Call{}
}

// admitShared gives exchanges to those who wait, in their order. t.shared.mu is held.
func (t *Target) admitShared() {
	s := &t.shared
	s.waiting = slices.DeleteFunc(s.waiting, func(w *caller) bool {
		call := s.begin(t, w.not)
		if call.Call != nil {
			w.got <- called{call: call}
		}
		return call.Call != nil
	})
}

// hopeless says whether no connection will have room for w when one of its exchanges ends: none is full. One that is about to end has room,
// and gives nobody any of it. s.mu is held.
func (s *shared) hopeless(w *caller) bool {
	return !slices.ContainsFunc(s.conns, func(m *member) bool { return m.ClientConn != w.not && m.open > 0 && m.open >= m.Most() })
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
		if got.call.Call != nil {
			got.call.Done()
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
	if len(s.waiting) == 0 || s.dialing != nil || len(s.conns) >= mostShared || s.paused && !slices.ContainsFunc(s.waiting, s.hopeless) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.dialing = cancel
	go t.open(ctx)
}

// open opens a connection for all who wait. Its failure is one, however many wait, and the end for those for whom no other connection will have room.
func (t *Target) open(ctx context.Context) {
	err := t.join(ctx)
	if err == errNoCalls { // it was about to end, perhaps: the next one is not
		err = t.join(ctx)
	}
	if err != nil && ctx.Err() == nil {
		t.Failed(err)
	}
	s := &t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	givenUp := ctx.Err() != nil // who waits now has come since
	s.dialing()
	s.dialing = nil
	if err != nil && !givenUp {
		t.disappoint(noted{err})
	}
	t.grow()
}

// join opens a connection, and has it among those that are shared as long as it lives.
func (t *Target) join(ctx context.Context) error {
	c, err := t.newShared(ctx)
	if err != nil {
		return err
	}
	s, m := &t.shared, &member{ClientConn: c}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, m)
	go t.serve(m)
	before := len(s.waiting)
	t.admitShared()
	if s.retired {
		c.CloseIdle()
	}
	if before > 0 && len(s.waiting) == before { // it has ended, or has no room: nor had another one
		return errNoCalls
	}
	return nil
}

// disappoint tells those who wait without hope why there is no connection. For all others one more is dialled in a while. t.shared.mu is held.
func (t *Target) disappoint(why error) {
	s := &t.shared
	s.waiting = slices.DeleteFunc(s.waiting, func(w *caller) bool {
		hopeless := s.hopeless(w)
		if hopeless {
			w.got <- called{err: why}
		}
		return hopeless
	})
	if len(s.waiting) == 0 || s.paused {
		return
	}
	s.paused = true
	time.AfterFunc(dialPause, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paused = false
		t.grow()
	})
}

// serve takes a connection off those that are shared when it ends.
func (t *Target) serve(m *member) {
	<-m.Over()
	s := &t.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.conns, m); i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
	}
	t.grow()
}

// newShared opens a connection of HTTP/2, over which the target has said that it speaks that. Its goroutine ends with it.
func (t *Target) newShared(ctx context.Context) (*h2.ClientConn, error) {
	nc, below, err := t.reach(ctx)
	if err != nil {
		return nil, err
	}
	if over, ok := nc.(*tls.Conn); ok && over.ConnectionState().NegotiatedProtocol != "h2" {
		below.Close()
		return nil, errNotH2
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
