package edge

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// headroom is how many bytes may be allocated, at most, between two collections while less than that lives. The runtime's own rule, as many as live,
// has a process in which little lives collect after every few megabytes, which was a tenth of what handshakes took. What lies idle afterwards settle
// gives back.
const headroom = 32 << 20

// maxPercent makes headroom out of four megabytes, the least that the runtime reckons with.
const maxPercent = 800

// keepHeadroom has the rule for when to collect follow what lives, as long as the process does, unless GOGC in the environment sets it.
var keepHeadroom = sync.OnceFunc(func() {
	if os.Getenv("GOGC") == "" {
		afterCollection()
	}
})

// afterCollection sets the rule for the next collection, and is called again after that.
func afterCollection() {
	samples := []metrics.Sample{{Name: "/gc/gogc:percent"}, {Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	v := func(i int) uint64 { return samples[i].Value.Uint64() }
	if p := percent(v(1) + v(2) + v(3)); p != v(0) { // to set it stops everybody for a moment
		debug.SetGCPercent(int(p))
	}
	type found struct{ _ *found }                                        // dead by the next collection
	runtime.SetFinalizer(new(found), func(*found) { afterCollection() }) // cleanups wait for the end of the sweep, when the next one is near
}

// percent is the rule in the runtime's words, by how many bytes a collection looks at: in steps, so that it seldom changes.
func percent(looked uint64) uint64 {
	p := uint64(100)
	for p < maxPercent && 2*p*looked <= 100*headroom {
		p *= 2
	}
	return p
}
