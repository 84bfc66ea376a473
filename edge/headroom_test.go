package edge

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// While little lives, the most that is allocated between two collections is headroom, and at least half of it; else it is what lives, as ever.
func TestPercent(t *testing.T) {
	const mib = 1 << 20
	for looked, want := range map[uint64]uint64{0: 800, mib: 800, 4 * mib: 800, 4*mib + 1: 400, 8 * mib: 400, 9 * mib: 200, 16 * mib: 200, 17 * mib: 100, 1 << 40: 100} {
		p := percent(looked)
		if p != want {
			t.Errorf("%d bytes: %d, and ought to be %d", looked, p, want)
		}
		if room := max(looked, 4*mib) * p / 100; p > 100 && (room > headroom || room < headroom/2) {
			t.Errorf("%d bytes: room for %d", looked, room)
		}
	}
}

// The rule is set anew after each collection, by what that found.
func TestHeadroomFollows(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	afterCollection()
	becomes(t, func(p uint64) bool { return p > 100 })
	held := make([]*[1 << 20]byte, 40)
	for i := range held {
		held[i] = new([1 << 20]byte)
	}
	becomes(t, func(p uint64) bool { return p == 100 })
	runtime.KeepAlive(held)
	held = nil
	becomes(t, func(p uint64) bool { return p > 100 })
}

// becomes collects until the rule is as wanted.
func becomes(t *testing.T, wanted func(uint64) bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !wanted(gogc()); runtime.GC() {
		if time.Now().After(limit) {
			t.Fatalf("after ten seconds of collections the rule is %d", gogc())
		}
	}
}

func gogc() uint64 {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
