package main

import (
	"context"
	"time"
)

func (work) p50(c *cell) float64 { return float64(c.p50) / float64(time.Millisecond) }
func (work) p99(c *cell) float64 { return float64(c.p99) / float64(time.Millisecond) }

// onSchedule asks at a rate over kept connections, whose requests are spread evenly. A request that is late because its connection still waited
// for an answer counts from when it was due; one that is late because this program was not woken, from when it went out.
func (l *lab) onSchedule(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	visits, err := l.open(ctx, w, p, w.conns)
	defer closeAll(visits)
	if err != nil {
		return load{}, err
	}
	gap := time.Duration(w.conns) * time.Second / time.Duration(w.rate)
	start := time.Now()
	got, err := together(w.conns, func(i int) ([]time.Duration, error) {
		return visits[i].every(ctx, start.Add(gap*time.Duration(i)/time.Duration(w.conns)), gap, start.Add(duration))
	})
	return got, err
}

// every asks each time that it is due.
func (v *visit) every(ctx context.Context, due time.Time, gap time.Duration, end time.Time) (times []time.Duration, err error) {
	for ; due.Before(end); due = due.Add(gap) {
		from := due
		if wait := time.Until(due); wait > 0 {
			if err := pause(ctx, wait); err != nil {
				return nil, err
			}
			from = time.Now()
		}
		if err := v.ask(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(from))
	}
	return times, nil
}

// pause waits, unless it is all over.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// halfOfSlowest is half of the requests a second that the slowest of some servers can answer, by a turn of each.
func (l *lab) halfOfSlowest(ctx context.Context, w work, servers []server) (int, error) {
	slowest := 0.0
	w.load, w.warm = (*lab).wrk, (*lab).warmH1
	for _, s := range servers {
		c, err := l.cpuTurn(ctx, w, s, time.Second)
		if err != nil {
			return 0, err
		}
		if rate := c.rate(); slowest == 0 || rate < slowest {
			slowest = rate
		}
	}
	return max(100, int(slowest/200)*100), nil
}
