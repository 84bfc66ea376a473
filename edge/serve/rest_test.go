package serve

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asleep is how many connections of the process rest in goroutines of their own.
func asleep() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "serve.(*Server).sleep(")
}

// A connection that has rested for long is served as before, rests again, and ends as any other: by its client, by its idle timeout, and by a stop.
func TestLongRest(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Timeouts.Idle = 4 * time.Second })
	again, leaves, fresh := w.dial(), w.dial(), w.dial()
	for range 2 {
		again.get("/")
		again.answer()
	}
	leaves.get("/")
	leaves.answer()
	until(t, func() bool { return asleep() == 3 })
	again.get("/")
	again.answer()
	leaves.Close()
	until(t, func() bool { return w.Open() == 2 })
	begin := time.Now()
	fresh.ended() // Timeouts.Header
	again.ended() // Timeouts.Idle
	if took := time.Since(begin); took < 2*time.Second || took > 10*time.Second {
		t.Errorf("they ended after %v", took)
	}
}

// A stop ends a connection that rests at once.
func TestStopOfLongRest(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.get("/")
	c.answer()
	until(t, func() bool { return asleep() == 1 })
	stopped := make(chan int64)
	begin := time.Now()
	go func() { stopped <- w.Stop(context.Background()) }()
	c.ended()
	if cut := <-stopped; cut != 0 || time.Since(begin) > 5*time.Second {
		t.Errorf("%d were cut, after %v", cut, time.Since(begin))
	}
}
