package users

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"
)

var timing = flag.Bool("timing", false, "compare the times of known and unknown users over 5 runs of 1000 each")

// LOGIN.md §2h 38: a known, an unknown and a disabled user, in turns, take the same time: the median of the ratios of each run is within 5 %. With -timing it
// is 5 runs of 1000, and the figures are logged; else a small one that only a gross difference fails.
func TestTiming(t *testing.T) {
	runs, each, most := 1, 60, 0.5
	if *timing {
		runs, each, most = 5, 1000, 0.05
	}
	s := open(t, t.TempDir())
	s.Cost = Cost{Memory: 1024, Time: 1, Threads: 1} // a twentieth of the real one, which hides differences better
	for _, name := range []string{"alice", "bob"} {
		if err := add(s, name, "correct horse", []string{"staff"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Disable(ctx, "bob"); err != nil {
		t.Fatal(err)
	}
	names := []string{"alice", "nobody", "bob"}
	for run := range runs {
		took, worked := map[string][]time.Duration{}, map[string][]time.Duration{}
		for range each {
			for _, i := range rand.Perm(len(names)) { // else one may always come after another, or when the garbage collector does
				start, before := time.Now(), cpu(t)
				s.Verify(ctx, names[i], "wrong horse")
				took[names[i]] = append(took[names[i]], time.Since(start))
				worked[names[i]] = append(worked[names[i]], cpu(t)-before)
			}
		}
		line := ""
		for _, name := range names {
			off := apart(took[name], took["alice"])
			if math.Abs(off) > most {
				t.Errorf("run %d: %s takes %+.1f %%", run, name, off*100)
			}
			sorted := slices.Sorted(slices.Values(took[name]))
			work := 100 * apart(worked[name], worked["alice"])
			line += fmt.Sprintf(" %s %d µs (%+.1f %%, of CPU time %+.1f %%)", name, sorted[each/2].Microseconds(), off*100, work)
		}
		t.Logf("run %d:%s", run, line)
	}
}

// apart is by how much one kind takes longer than another. Neighbours in time are compared: what else the machine does changes from one moment to
// the next.
func apart(of, than []time.Duration) float64 {
	ratios := make([]float64, len(of))
	for i := range ratios {
		ratios[i] = float64(of[i]) / float64(than[i])
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2] - 1
}

// cpu is the processor time that this process has used: what other processes do is not in it, which tells a difference in work from a busy machine.
func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
