package upstream

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edge/conf"
)

const maxFails, failTimeout = 3, 10 * time.Second

// notes are what an upstream logs.
type notes struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.Write(p)
}

// take gives what was logged since it was last asked, without the times.
func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.out.Reset()
	return n.out.String()
}

func (n *notes) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(n, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// frail is an upstream of these targets that sets them aside.
func frail(targets ...string) (*Upstream, *notes) {
	s, n := spec(targets...), new(notes)
	s.MaxFails, s.FailTimeout = maxFails, failTimeout
	set, _ := Draft([]*conf.Upstream{s}, nil, n.logger())
	return set[s], n
}

var errBroken = errors.New("broken")

// fails has a target fail, as often as a failing one must to be set aside.
func fails(t *Target) {
	for range maxFails {
		t.Failed(errBroken)
	}
}

// firsts are the targets that are tried first, in n exchanges one after the other that end without a word.
func firsts(u *Upstream, n int) (names string) {
	for range n {
		t := u.Pick(nil)
		names += t.Name
		t.Done()
	}
	return names
}

// picked gives the next exchange that is for the first target: it may be the other one's turn.
func picked(t *testing.T, u *Upstream) Turn {
	t.Helper()
	for range u.targets {
		turn := u.Pick(nil)
		if turn.Target == u.targets[0] {
			return turn
		}
		turn.Done()
	}
	t.Fatalf("%s gets no turn", u.targets[0].Name)
	return Turn{}
}

// At most so many failures in a row, within the time, leave a target where it is.
func TestSetAside(t *testing.T) {
	for name, c := range map[string]struct {
		at    []time.Duration // of each failure; negative: an answer comes before
		aside bool
	}{
		"at once":                    {[]time.Duration{0, 0, 0}, true},
		"two":                        {[]time.Duration{0, 0}, false},
		"just within the time":       {[]time.Duration{0, 1, failTimeout}, true},
		"just not":                   {[]time.Duration{0, 1, failTimeout + 1}, false},
		"the last three of four":     {[]time.Duration{0, failTimeout - 1, failTimeout + 1, failTimeout + 2}, true},
		"an answer between":          {[]time.Duration{0, 1, -2, 3}, false},
		"an answer, and three again": {[]time.Duration{0, 1, -2, 3, 4}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			u, logged := frail("http://a", "http://b", "http://c")
			a, begin := u.Targets()[0], time.Now()
			for _, at := range c.at {
				if at < 0 {
					at = -at
					a.Answered()
				}
				time.Sleep(at - time.Since(begin))
				a.Failed(errBroken)
			}
			want, line := "abcabc", ""
			if c.aside {
				want, line = "bcbcbc", "level=WARN msg=\"target set aside\" upstream=up target=a for=10s error=broken\n"
			}
			if got, log := firsts(u, 6), logged.take(); got != want || log != line {
				t.Errorf("%s: tried first: %q, want %q; logged %q", name, got, want, log)
			}
		})
	}
}

// A target that is aside is tried again after its time, by one exchange at a time, until one is answered.
func TestProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, logged := frail("http://a", "http://b")
		a := u.Targets()[0]
		fails(a)
		logged.take()
		time.Sleep(failTimeout - 1)
		if got := firsts(u, 4); got != "bbbb" {
			t.Errorf("before its time: %q", got)
		}
		time.Sleep(time.Nanosecond)
		probe := picked(t, u)
		if got := firsts(u, 4); got != "bbbb" {
			t.Errorf("while it is tried: %q", got)
		}
		probe.Done() // its client left: it has told nothing
		probe = picked(t, u)
		probe.Failed(errBroken)
		probe.Done()
		if got := firsts(u, 4); got != "bbbb" {
			t.Errorf("when it has failed: %q", got)
		}
		time.Sleep(failTimeout)
		if log := logged.take(); log != "" {
			t.Errorf("a target that stays aside is told of again: %q", log)
		}
		probe = picked(t, u)
		probe.Answered()
		if got, log := firsts(u, 4), logged.take(); got != "baba" || log != "level=INFO msg=\"target is back\" upstream=up target=a\n" {
			t.Errorf("when it has answered: %q; logged %q", got, log)
		}
		probe.Done()
		a.Failed(errBroken)
		a.Failed(errBroken)
		if got, log := firsts(u, 4), logged.take(); got != "baba" || log != "" {
			t.Errorf("two failures after it is back: %q; logged %q", got, log)
		}
	})
}

// A probe that became a tunnel says no more: when the target is aside again, another one is spent on it, and only one.
func TestProbeTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := frail("tcp://a", "tcp://b")
		fails(u.Targets()[0])
		time.Sleep(failTimeout)
		tunnel := picked(t, u)
		tunnel.Answered()
		fails(u.Targets()[0])
		time.Sleep(failTimeout)
		second := picked(t, u)
		tunnel.Done()
		if got := firsts(u, 4); got != "bbbb" {
			t.Errorf("while it is tried: %q", got)
		}
		second.Done()
		if got := u.Targets()[0].InFlight(); got != 0 {
			t.Errorf("%d in flight", got)
		}
	})
}

// Where all are aside all are tried, the one whose time is over first before the others; one that takes part again before all of them.
func TestAllAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, logged := frail("http://a", "http://b", "http://c")
		for _, i := range []int{1, 0, 2} {
			fails(u.Targets()[i])
			time.Sleep(time.Second)
		}
		for range 4 {
			if got := order(u); got != "bac" {
				t.Errorf("tried in the order %q", got)
			}
		}
		u.Targets()[1].Failed(errBroken)
		if got := order(u); got != "acb" {
			t.Errorf("b fails again, and then %q", got)
		}
		if n := strings.Count(logged.take(), "set aside"); n != 3 {
			t.Errorf("told %d times", n)
		}
		u.Targets()[2].Answered()
		for range 4 {
			if got := order(u); got != "cab" {
				t.Errorf("c answers, and then %q", got)
			}
		}
	})
}

// An exchange that comes on top, where all are aside, does not make room for another one while the first is still on its target.
func TestAllAsideProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := frail("http://a", "http://b")
		fails(u.Targets()[0])
		time.Sleep(time.Nanosecond)
		fails(u.Targets()[1])
		first, second := u.Pick(nil), u.Pick(nil)
		second.Done()
		u.Targets()[1].Answered()
		time.Sleep(failTimeout)
		if got := firsts(u, 4); first.Name != "a" || second.Name != "a" || got != "bbbb" {
			t.Errorf("%s, %s, and then %q", first.Name, second.Name, got)
		}
		first.Done()
		if got := firsts(u, 4); got != "baba" && got != "abab" {
			t.Errorf("when it has ended: %q", got)
		}
	})
}

// Nobody is set aside who is the only one, or where max_fails is 0.
func TestNeverAside(t *testing.T) {
	one, logged := frail("http://a")
	fails(one.Targets()[0])
	two, also := frail("http://a", "http://b")
	two.maxFails = 0
	fails(two.Targets()[0])
	if got, log := firsts(two, 2), logged.take()+also.take(); got != "ab" || log != "" {
		t.Errorf("tried first: %q; logged %q", got, log)
	}
}

// What is known of a target is kept over a reload, as is the number of what is in flight there.
func TestHealthIsKept(t *testing.T) {
	s := spec("http://a", "http://b")
	s.MaxFails, s.FailTimeout = maxFails, failTimeout
	set := draft(t, nil, s)
	flight := set[s].Pick(nil)
	fails(flight.Target)
	again := *s
	again.Pos.Line++
	u := draft(t, set, &again)[&again]
	if got, n := firsts(u, 4), u.Targets()[0].InFlight(); got != "bbbb" || n != 1 {
		t.Errorf("tried first: %q; %d in flight", got, n)
	}
	flight.Done()
	if n := u.Targets()[0].InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// Whatever happens at once, one exchange at most is spent on a target that is aside while others are not, and nothing is left over.
func TestProbeAtOnce(t *testing.T) {
	s := spec("http://a", "http://b")
	s.MaxFails, s.FailTimeout, s.LeastConnections = 1, time.Microsecond, true
	u := draft(t, nil, s)[s]
	a := u.Targets()[0]
	a.Failed(errBroken)
	var at atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 2000 {
				turn := u.Pick(nil)
				if turn.Target == a {
					if at.Add(1) > 1 {
						t.Error("two probes at a time")
					}
					if (i+j)%2 == 0 {
						turn.Failed(errBroken)
					}
					at.Add(-1)
				}
				turn.Done()
			}
		})
	}
	wg.Wait()
	if n := a.InFlight() + u.Targets()[1].InFlight(); n != 0 || a.probe != 0 {
		t.Errorf("%d in flight at the end, and the probe %d", n, a.probe)
	}
}

func TestPickAsideAllocates(t *testing.T) {
	u, _ := frail("http://a", "http://b")
	fails(u.Targets()[0])
	if n := testing.AllocsPerRun(1000, func() {
		turn := u.Pick(nil)
		turn.Failed(errBroken)
		turn.Answered()
		turn.Done()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
