package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A cell is what one server's turn at one work showed.
type cell struct {
	load
	own       time.Duration // CPU time of the server
	userShare float64       // of it
	wall      time.Duration
	memory    int64         // of the server, at the end; of a reload at its peak
	grown     int64         // by how much more than before
	seen      time.Duration // from the order to reload to the first answer that showed the change
	busy      float64       // CPUs that were busy at all
	strangers float64       // CPUs kept busy by what is no part of the benchmark
}

func newCell(got load, before, after usage) (*cell, error) {
	c := &cell{load: got, own: after.own - before.own, wall: after.at.Sub(before.at), memory: after.memory, grown: after.memory - before.memory}
	if c.own <= 0 || c.wall <= 0 || got.requests == 0 {
		return nil, errors.New("no CPU time was counted")
	}
	user, system := after.user-before.user, after.system-before.system
	c.userShare = user.Seconds() / max(tick, user+system).Seconds()
	busy := after.busy - before.busy
	c.busy = busy.Seconds() / c.wall.Seconds()
	c.strangers = max(0, (busy-c.own-got.cpu-(after.origin-before.origin)).Seconds()/c.wall.Seconds())
	return c, nil
}

// rate is requests a second.
func (c *cell) rate() float64 { return float64(c.requests) / c.duration.Seconds() }

// share is how many CPUs the server kept busy.
func (c *cell) share() float64 { return c.own.Seconds() / c.wall.Seconds() }

func (c *cell) String(w work) string {
	text := ""
	for _, f := range w.figures {
		text += fmt.Sprintf("%9.*f %s ", f.digits, f.of(w, c), f.unit)
	}
	return text + fmt.Sprintf("%8.0f/s  p50 %v p99 %v  %d MiB  CPUs: own %.2f, busy %.2f, strangers %.2f",
		c.rate(), c.p50.Round(time.Microsecond), c.p99.Round(time.Microsecond), c.memory/mib, c.share(), c.busy, c.strangers)
}

// warmUp is about how long a server just started is loaded before it counts.
const warmUp = 500 * time.Millisecond

// cpuTurn starts one server, loads it and ends it. Each turn has a process of its own: where its memory happens to lie, what an earlier work
// left in its heap and what idle neighbours do would otherwise stay the same for the whole run, and be taken for the server's own.
func (l *lab) cpuTurn(ctx context.Context, w work, s server, duration time.Duration) (*cell, error) {
	p, err := l.start(ctx, s, w.setup())
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := l.probe(ctx, p, w); err != nil {
		return nil, err
	}
	warm, err := l.warm(ctx, w, p)
	if err != nil {
		return nil, fmt.Errorf("warm-up: %w", err)
	}
	before, err := l.look(p)
	if err != nil {
		return nil, err
	}
	got, err := w.load(l, ctx, w, p, duration)
	if err != nil {
		return nil, err
	}
	after, err := l.look(p)
	if err != nil {
		return nil, err
	}
	if err := p.checkLog(w.log, warm.requests+got.requests); err != nil {
		return nil, err
	}
	return newCell(got, before, after)
}

// warm loads a server that has just started, so that its buffers, its connections to the origin and clients' tickets are there.
func (l *lab) warm(ctx context.Context, w work, p *process) (load, error) {
	if w.warm != nil {
		return w.warm(l, ctx, w, p, warmUp)
	}
	return w.load(l, ctx, w, p, warmUp)
}
