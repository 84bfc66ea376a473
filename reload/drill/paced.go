package drill

import (
	"context"
	"sync"
	"time"
)

// mostAtOnce is how many requests of a paced client are on their way at once, at most.
const mostAtOnce = 64

// furthestBehind is how late a paced client asks, at most. When all that it has asked waits, more of it would only say how long that has been so.
const furthestBehind = time.Second

// Paced is an HTTP/1.1 client that asks every so often, whether or not what it asked before has been answered. The time of an answer counts from when
// its request was due. It has as many connections as it needs, or one for each request.
func Paced(dial Dial, base string, every time.Duration, anew bool) Client {
	return func(ctx context.Context, r *Report) {
		idle := make(chan *h1, mostAtOnce) // the one that has waited longest is next: none is forgotten in an old process
		slots := make(chan struct{}, mostAtOnce)
		var asked sync.WaitGroup
		for due := time.Now(); ctx.Err() == nil; due = due.Add(every) {
			time.Sleep(time.Until(due))
			slots <- struct{}{}
			if now := time.Now(); now.Sub(due) > furthestBehind {
				due = now
			}
			asked.Go(func() {
				defer func() { <-slots }()
				askDue(dial, base, due, anew, r, idle)
			})
		}
		asked.Wait()
		close(idle)
		for c := range idle {
			c.hangUp()
		}
	}
}

// askDue asks by a connection that is idle, or by one of its own, and leaves it idle if it may be used again.
func askDue(dial Dial, base string, due time.Time, anew bool, r *Report, idle chan *h1) {
	c := idleOf(idle, r)
	if c == nil {
		if c = openH1(dial, r); c == nil {
			return
		}
	}
	req, id, err := r.request(base)
	if err == nil {
		req.Close = anew
	}
	if c.askSince(due, r, req, id, err) {
		idle <- c // there is room: there are no more connections than slots
	}
}

// idleOf takes a connection that is idle and still there, if any is.
func idleOf(idle chan *h1, r *Report) *h1 {
	for {
		select {
		case c := <-idle:
			if c.think(r, 0) {
				return c
			}
		default:
			return nil
		}
	}
}
