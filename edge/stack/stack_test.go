package stack

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
)

// Each grows the stacks of goroutines to the size that its name says, and no further.
func TestGrow(t *testing.T) {
	const goroutines = 1000
	for size, grow := range map[int]func(bool){8 << 10: Grow8K, 16 << 10: Grow16K} {
		runtime.GC() // takes the stacks of goroutines that have ended
		before := inUse()
		var begun, all sync.WaitGroup
		begun.Add(goroutines)
		end := make(chan bool)
		for range goroutines {
			all.Go(func() {
				grow(false)
				begun.Done()
				<-end
			})
		}
		begun.Wait()
		if got := (inUse() - before) / goroutines; got < size*3/4 || got > size*5/4 {
			t.Errorf("a stack of %d bytes, and %d were wanted", got, size)
		}
		close(end)
		all.Wait()
	}
}

// inUse is how many bytes stacks take.
func inUse() int {
	s := []metrics.Sample{{Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}
