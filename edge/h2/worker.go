package h2

import (
	"sync"
	"sync/atomic"

	"edge/edge/stack"
)

// worker is a goroutine that serves streams of one connection, one after the other: its stack has grown already, and a new one's would grow anew
// for each. Between two streams it waits in the connection's idle list.
type worker struct {
	next  chan *stream // nil: it ends
	stays bool         // it is in the list
	run   func()       // work, made once
}

// These bound what waits for streams that may never come: of a connection, until it rests, and of all.
const (
	mostIdle    = 128
	mostWorkers = 8 << 10
)

var (
	workers atomic.Int64
	ended   = sync.Pool{New: func() any { return &worker{next: make(chan *stream, 1)} }} // each may be one again
)

// begin has a stream served, by the worker that was the last to become idle. c.mu is held.
func (c *Conn) begin(s *stream) {
	var w *worker
	if last := len(c.idle) - 1; last >= 0 {
		w = c.idle[last]
		c.idle[last] = nil
		c.idle = c.idle[:last]
	} else {
		if w = ended.Get().(*worker); w.run == nil {
			w.run = w.work
		}
		workers.Add(1)
		go w.run()
	}
	w.next <- s
}

func (w *worker) work() {
	stack.Grow8K(false)
	for s := <-w.next; s != nil; s = <-w.next {
		s.worker, w.stays = w, false
		if s.serve(); !w.stays {
			break
		}
	}
	workers.Add(-1)
	ended.Put(w)
}

// park has a worker that is about to be idle wait for another stream. c.mu is held.
func (c *Conn) park(w *worker) {
	if c.err == nil && !c.lean.Load() && len(c.idle) < mostIdle && workers.Load() <= mostWorkers {
		w.stays = true
		c.idle = append(c.idle, w)
	}
}

// dismiss ends the workers that are idle. c.mu is held.
func (c *Conn) dismiss() {
	for _, w := range c.idle {
		w.next <- nil
	}
	c.idle = nil
}
