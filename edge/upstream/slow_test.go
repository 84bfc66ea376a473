package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
)

const slowly = 30 * time.Second

// slow is an upstream of three targets of which one that comes back gets a share that grows.
func slow(least bool) *conf.Upstream {
	s := spec("http://a", "http://b", "http://c")
	s.MaxFails, s.FailTimeout, s.SlowStart, s.LeastConnections = maxFails, failTimeout, slowly, least
	return s
}

// shares are how many of n exchanges each target is the first one for. So many go on at a time that one more or less makes no odds.
func shares(u *Upstream, n int) map[string]int {
	got := map[string]int{}
	var going []Turn
	for range n {
		t := u.Pick(nil)
		got[t.Name]++
		if going = append(going, t); len(going) == 300 {
			going[0].Done()
			going = going[1:]
		}
	}
	for _, t := range going {
		t.Done()
	}
	return got
}

// about says whether a share is what it should be, but for a few.
func about(got, want int) bool { return got >= want-want/5-6 && got <= want+want/5+6 }

// A target that comes back gets a share that grows by its time, while the others have the rest of it in equal parts; then all have the same.
func TestSlowStart(t *testing.T) {
	for _, least := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := slow(least)
			u := draft(t, nil, s)[s]
			u.Start()
			if got := shares(u, 300); got["a"] != 100 || got["b"] != 100 {
				t.Errorf("at first: %v", got)
			}
			fails(u.targets[0])
			time.Sleep(failTimeout)
			probe := picked(t, u)
			probe.Answered()
			probe.Done()
			for _, percent := range []int{0, 10, 25, 50, 75, 99, 100, 200} {
				time.Sleep(time.Until(u.targets[0].since.Add(slowly * time.Duration(percent) / 100)))
				w := min(max(percent, 1), 100)
				want := 3000 * w / (w + 200)
				got := shares(u, 3000)
				if !about(got["a"], want) || !about(got["b"], (3000-want)/2) || !about(got["c"], (3000-want)/2) || got["a"] == 0 {
					t.Errorf("least is %v, after %d%% of the time: %v, want about %d for a", least, percent, got, want)
				}
				if u.targets[0].since.IsZero() != (percent >= 100) {
					t.Errorf("after %d%% of the time it is slow since %v", percent, u.targets[0].since)
				}
				if percent >= 100 {
					break
				}
			}
			if !least {
				if got := firsts(u, 6); strings.Count(got, "a") != 2 || got[:3] != got[3:] {
					t.Errorf("at the end, in turn: %q", got)
				}
			}
		})
	}
}

// The turns of a slow target are spread among those of the others.
func TestSlowStartIsEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slow(false)
		u := draft(t, nil, s)[s]
		u.warmUp(u.targets[0])
		time.Sleep(slowly / 2)
		if got := firsts(u, 10); got != "bcabc"+"bcabc" {
			t.Errorf("half warm: %q", got)
		}
	})
}

// A target that checks take back, and one that a reload adds, start slowly; those that were there do not, nor does any at the start of edge.
func TestSlowStartOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWard("http://a", "http://b")
		w.slowStart = slowly
		w.falls("a", errBroken)
		w.Start()
		defer w.Close()
		pass(3)
		w.falls("a", nil)
		pass(2)
		if got := shares(w.Upstream, 1000); got["a"] == 0 || got["a"] > 250 {
			t.Errorf("checks have taken a back: %v", got)
		}

		first, second := slow(false), slow(false)
		second.Targets[0].Address = "d"
		old := draft(t, nil, first)
		old.Start()
		next := draft(t, old, second)
		time.Sleep(time.Hour) // it is not in force yet
		next.Start()
		if got := shares(old[first], 300); got["a"] != 100 {
			t.Errorf("at the start: %v", got)
		}
		if got := shares(next[second], 1000); got["d"] == 0 || got["d"] > 20 || !about(got["b"], 495) {
			t.Errorf("d is new: %v", got)
		}

		time.Sleep(slowly / 2)
		third := slow(false)
		third.Targets[0].Address, third.MaxFails = "d", maxFails+1
		last := draft(t, next, third)
		last.Start()
		if got := shares(last[third], 1000); !about(got["d"], 200) {
			t.Errorf("d is half warm, and something else has changed: %v", got)
		}
	})
}

// Nobody starts slowly who is the only one left.
func TestSlowStartAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slow(false)
		u := draft(t, nil, s)[s]
		u.warmUp(u.targets[0])
		fails(u.targets[1])
		fails(u.targets[2])
		if got := firsts(u, 5); got != "aaaaa" {
			t.Errorf("tried first: %q", got)
		}
	})
}
