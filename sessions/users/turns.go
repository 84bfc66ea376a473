package users

import (
	"context"
	"slices"
	"sync"
	"time"

	"edge/sessions"
)

const (
	maxHashing = 4                // at once: with DefaultCost 76 MiB
	maxWait    = 10 * time.Second // for one's turn
	maxQueue   = 1024             // who wait: about as many as get it in that time
	maxFrom    = maxQueue / 2     // of them, from one network
)

// turns lets maxHashing work at once. Of those who wait each network (sessions.From) has its turn after the other, and within one they go by age: who has
// hundreds waiting keeps others waiting for one of them, not for all. The zero value is ready, and safe for concurrent use.
type turns struct {
	mu      sync.Mutex
	working int
	waiting int
	queues  map[string][]chan struct{} // by network; none is empty. A channel is closed when it is that one's turn
	order   []string                   // the networks in queues, the next one first
}

// take waits for a turn, which done ends: ErrBusy, at once where too many wait already, or ctx's error.
func (t *turns) take(ctx context.Context) error {
	from := sessions.From(ctx)
	turn, err := t.enter(from)
	if turn == nil {
		return err
	}
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	select {
	case <-turn:
		return nil
	case <-timeout.C:
		err = sessions.ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	t.leave(from, turn)
	return err
}

// enter gives what to wait for; nil and no error: it is one's turn.
func (t *turns) enter(from string) (turn chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.working < maxHashing:
		t.working++
		return nil, nil
	case t.waiting == maxQueue || len(t.queues[from]) == maxFrom:
		return nil, sessions.ErrBusy
	}
	if t.queues == nil {
		t.queues = map[string][]chan struct{}{}
	}
	if len(t.queues[from]) == 0 {
		t.order = append(t.order, from)
	}
	turn = make(chan struct{})
	t.queues[from] = append(t.queues[from], turn)
	t.waiting++
	return turn, nil
}

// leave is for who waits no longer. A turn that came in that moment is the next one's.
func (t *turns) leave(from string, turn chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.queues[from], turn)
	if i < 0 {
		t.pass()
		return
	}
	t.queues[from] = slices.Delete(t.queues[from], i, i+1)
	t.waiting--
	if len(t.queues[from]) == 0 {
		t.forget(from)
	}
}

// done ends a turn.
func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives a turn that has ended to the next one. t.mu is held.
func (t *turns) pass() {
	if t.waiting == 0 {
		t.working--
		return
	}
	from := t.order[0]
	queue := t.queues[from]
	close(queue[0])
	t.waiting--
	if t.queues[from] = slices.Delete(queue, 0, 1); len(queue) == 1 {
		t.forget(from)
		return
	}
	t.order = append(t.order[1:], from)
}

// forget drops a network of which nobody waits any more. t.mu is held.
func (t *turns) forget(from string) {
	delete(t.queues, from)
	i := slices.Index(t.order, from)
	t.order = slices.Delete(t.order, i, i+1)
}
