package edge

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	settlePeriod = time.Second / 2
	settleQuiet  = 2         // periods in a row, before memory is given back. Connections that give up theirs, after two seconds of rest, are not quiet
	settleNoise  = 128 << 10 // bytes that are allocated in a quiet period, at most
	settleLeast  = 4 << 20   // is worth it, if it is a quarter of all
	settlePause  = time.Minute
)

// footprint is what the Go runtime holds, in bytes.
type footprint struct {
	allocated uint64 // in all, ever
	objects   uint64 // that live, or were not found dead yet
	live      uint64 // of them, when they were looked at last
	free      uint64 // held for objects to come
	stacks    uint64
}

// settler decides when the process gives memory back. After a rush, of handshakes above all, as much as it needs lies idle, and the runtime looks
// again only when it is used up, or every two minutes, and even then keeps most of it for the next rush. A relayed request allocates nothing, so a
// process may be at work and quiet.
type settler struct {
	last  footprint
	quiet int // periods
	pause time.Duration
}

// due says, once a period, whether memory is to be given back now.
func (s *settler) due(m footprint) bool {
	allocated := m.allocated - s.last.allocated
	s.last = m
	s.pause = max(0, s.pause-settlePeriod)
	if s.quiet++; allocated > settleNoise {
		s.quiet = 0
	}
	gain := m.free + m.objects - min(m.live, m.objects)
	if s.quiet < settleQuiet || s.pause > 0 || gain < settleLeast || 4*gain < m.objects+m.free+m.stacks {
		return false
	}
	s.pause = settlePause
	return true
}

// settle gives memory back whenever it is due, until ctx ends.
func settle(ctx context.Context) {
	tick := time.NewTicker(settlePeriod)
	defer tick.Stop()
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
	}
	var s settler
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		v := func(i int) uint64 { return samples[i].Value.Uint64() }
		if s.due(footprint{v(0), v(1), v(2), v(3), v(4)}) {
			runtime.GC() // what pools hold survives one
			debug.FreeOSMemory()
		}
	}
}
