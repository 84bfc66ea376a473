package upstream

import (
	"context"
	"errors"
	"slices"
	"time"
)

// ErrFull is an exchange for which every target is full, and that had no place in the queue, or waited there in vain.
var ErrFull = errors.New("every target has all the exchanges that it may have")

// queue is where exchanges wait for a target that has room, the first one before the others. The upstream's mu guards it.
type queue struct {
	size    int
	timeout time.Duration
	waiting []*waiter
}

// waiter is an exchange in the queue.
type waiter struct {
	tried []*Target
	stick *Target
	got   chan Turn // has room for the one that it gets
}

// Take gives the target to try next: none of tried, which have not taken the exchange. There is no Target where all were tried. Whoever gets
// one calls Done, once. stick is the target that its client was led to before, if any: it comes before all others if it is ready. Targets that
// are aside come last, the one whose time is over first before the others. Where all are full that come first, the exchange waits, within the
// queue's time and the context of whom it is for; an error says why it has waited in vain.
func (u *Upstream) Take(whom interface{ Context() context.Context }, tried []*Target, stick *Target) (Turn, error) {
	w, turn, err := u.enter(tried, stick)
	if w == nil {
		return turn, err
	}
	return u.await(whom.Context(), w)
}

// enter gives a turn, or a place in the queue.
func (u *Upstream) enter(tried []*Target, stick *Target) (*waiter, Turn, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.admit() // first those who wait, if time alone has made room
	if turn, full := u.pick(tried, stick); !full {
		return nil, turn, nil // nobody waits for this one: the others may stick to one that is full
	}
	if len(u.queue.waiting) >= u.queue.size {
		return nil, Turn{}, ErrFull
	}
	w := &waiter{tried, stick, make(chan Turn, 1)}
	u.queue.waiting = append(u.queue.waiting, w)
	return w, Turn{}, nil
}

func (u *Upstream) await(ctx context.Context, w *waiter) (Turn, error) {
	late := time.NewTimer(u.queue.timeout)
	defer late.Stop()
	select {
	case turn := <-w.got:
		return turn, nil
	case <-late.C:
		if turn, ok := u.leave(w); ok {
			return turn, nil
		}
		return Turn{}, ErrFull
	case <-ctx.Done():
		if turn, ok := u.leave(w); ok && turn.Target != nil {
			turn.Done()
		}
		return Turn{}, context.Cause(ctx)
	}
}

// leave gives up a place in the queue, or gives the turn that has just come.
func (u *Upstream) leave(w *waiter) (turn Turn, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := slices.Index(u.queue.waiting, w); i >= 0 {
		u.queue.waiting = slices.Delete(u.queue.waiting, i, i+1)
		return Turn{}, false
	}
	return <-w.got, true
}

// admit gives turns to those who wait, now that a target may have room. u.mu is held.
func (u *Upstream) admit() {
	for i := 0; i < len(u.queue.waiting); {
		w := u.queue.waiting[i]
		turn, full := u.pick(w.tried, w.stick)
		switch {
		case !full:
			w.got <- turn
			u.queue.waiting = slices.Delete(u.queue.waiting, i, i+1)
		case len(w.tried) == 0 && w.stick == nil: // nobody finds what this one does not
			return
		default:
			i++
		}
	}
}

// Waiting is how many exchanges wait for a target that has room.
func (u *Upstream) Waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queue.waiting)
}
