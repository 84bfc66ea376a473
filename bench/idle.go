package main

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// settle is how long idle connections are left alone before memory is read. Nobody's collector is told to run.
const settle = 4 * time.Second

func (w work) perConnection(c *cell) float64 { return float64(c.grown) / kib / float64(c.requests) }

// idleConns is how many connections a work may have open: HAProxy counts two file descriptors for each.
func idleConns(wanted int) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return min(wanted, int(min(limit.Max, 1<<30))*9/20), nil
}

// idleTurn opens connections, each for one request, and reads the server's memory while they are idle.
func (l *lab) idleTurn(ctx context.Context, w work, s server, _ time.Duration) (*cell, error) {
	p, err := l.start(ctx, s, w.setup())
	if err != nil {
		return nil, err
	}
	defer p.stop()
	if err := l.probe(ctx, p, w); err != nil {
		return nil, err
	}
	before, err := l.look(p)
	if err != nil {
		return nil, err
	}
	got, visits, err := l.visit(ctx, w, p)
	defer closeAll(visits)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	after, err := l.look(p)
	if err != nil {
		return nil, err
	}
	for _, v := range visits {
		if err := v.alive(); err != nil {
			return nil, err
		}
	}
	return newCell(got, before, after)
}

// visits opens all connections and closes them again, as often as there is time, once at least.
func (l *lab) visits(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	all := load{}
	for end := time.Now().Add(duration); all.requests == 0 || time.Now().Before(end); {
		got, visits, err := l.visit(ctx, w, p)
		closeAll(visits)
		if err != nil {
			return all, err
		}
		all.requests, all.duration, all.cpu = all.requests+got.requests, all.duration+got.duration, all.cpu+got.cpu
	}
	return all, nil
}

// visit opens all connections that may be open, with one request each. The caller closes what it gets, whatever the error.
func (l *lab) visit(ctx context.Context, w work, p *process) (load, []*visit, error) {
	n, err := idleConns(w.conns)
	if err != nil {
		return load{}, nil, err
	}
	cpu, began := ownCPU(), time.Now()
	visits, err := l.open(ctx, w, p, n)
	if err != nil {
		return load{}, visits, err
	}
	return load{requests: n, duration: time.Since(began), cpu: ownCPU() - cpu}, visits, nil
}

// open makes connections, 64 at a time, and asks once on each. The caller closes what it gets, whatever the error.
func (l *lab) open(ctx context.Context, w work, p *process, n int) ([]*visit, error) {
	offer, deadline := l.tlsOffer("http/1.1"), time.Now().Add(2*time.Minute)
	visits, errs := make([]*visit, n), make([]error, n)
	places := make(chan struct{}, 64)
	var all sync.WaitGroup
	for i := range visits {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			conn, err := dial(ctx, p, offer, deadline)
			if err != nil {
				errs[i] = fmt.Errorf("connection %d: %w", i+1, err)
				return
			}
			visits[i] = newVisit(conn, w)
			errs[i] = visits[i].ask()
		})
	}
	all.Wait()
	return visits, firstOf(errs)
}

func closeAll(visits []*visit) {
	for _, v := range visits {
		if v != nil {
			v.NetConn().Close()
		}
	}
}
