package upstream

import (
	"slices"
	"sync"
	"testing"
)

// abc is an upstream of three targets.
func abc(t testing.TB, least bool) *Upstream {
	s := spec("http://a", "http://b", "http://c")
	s.LeastConnections = least
	return draft(t, nil, s)[s]
}

// Pick is Take for one that does not wait.
func (u *Upstream) Pick(tried []*Target) Turn {
	u.mu.Lock()
	defer u.mu.Unlock()
	turn, _ := u.pick(tried, nil)
	return turn
}

// order gives the names of an upstream's targets as one exchange would try them.
func order(u *Upstream) (names string) {
	var tried []*Target
	for t := u.Pick(nil); t.Target != nil; t = u.Pick(tried) {
		names += t.Name
		tried = append(tried, t.Target)
		t.Done()
	}
	return names
}

func TestPick(t *testing.T) {
	u := abc(t, false)
	var got []string
	for range 6 {
		got = append(got, order(u))
	}
	if want := []string{"abc", "bca", "cab", "abc", "bca", "cab"}; !slices.Equal(got, want) {
		t.Errorf("picked %q, want %q", got, want)
	}
	one := spec("http://a")
	if names := order(draft(t, nil, one)[one]); names != "a" {
		t.Errorf("picked %q", names)
	}
}

// A target that does not take the connection costs its own turns, and nobody else's.
func TestPickSecondTry(t *testing.T) {
	s := spec("http://a", "http://b")
	u := draft(t, nil, s)[s]
	var got string
	for range 4 {
		first := u.Pick(nil)
		got += first.Name
		first.Done()
		if first.Name == "a" {
			u.Pick([]*Target{first.Target}).Done()
		}
	}
	if got != "abab" {
		t.Errorf("first picked %q", got)
	}
}

// The fewest in flight are first, and those that have as many come in turn: also where there are none at all.
func TestPickLeast(t *testing.T) {
	u := abc(t, true)
	for _, want := range []string{"abc", "bca", "cab", "abc"} {
		if got := order(u); got != want {
			t.Errorf("idle: picked %q, want %q", got, want)
		}
	}
	b := u.Pick(nil)
	busy := u.Pick([]*Target{u.Targets()[0], u.Targets()[2]}) // b, again
	c := u.Pick([]*Target{u.Targets()[0], u.Targets()[1]})
	if b.Name != "b" || busy.Name != "b" || c.Name != "c" || b.InFlight() != 2 || c.InFlight() != 1 {
		t.Fatalf("%s has %d in flight, %s has %d", b.Name, b.InFlight(), c.Name, c.InFlight())
	}
	for range 6 {
		if got := order(u); got != "acb" {
			t.Errorf("picked %q", got)
		}
	}
	b.Done()
	busy.Done()
	u.Pick(nil)
	u.Pick(nil)
	for _, target := range u.Targets() {
		if n := target.InFlight(); n != 1 {
			t.Errorf("%s has %d in flight", target.Name, n)
		}
	}
}

// Whoever picks meanwhile, no target has many more exchanges than another; and nothing is left in flight.
func TestPickAtOnce(t *testing.T) {
	const each, pickers = 1000, 8
	u := abc(t, true)
	var wg sync.WaitGroup
	for range pickers {
		wg.Go(func() {
			for range each {
				t := u.Pick(nil)
				u.Pick([]*Target{t.Target}).Done()
				t.Done()
			}
		})
	}
	var kept []Turn
	for range 3 * each {
		kept = append(kept, u.Pick(nil))
	}
	wg.Wait()
	for _, target := range u.Targets() {
		if n := target.InFlight(); n < each-2*pickers || n > each+2*pickers {
			t.Errorf("%s has %d in flight of %d", target.Name, n, 3*each)
		}
	}
	for _, turn := range kept {
		turn.Done()
	}
	for _, target := range u.Targets() {
		if n := target.InFlight(); n != 0 {
			t.Errorf("%s has %d in flight at the end", target.Name, n)
		}
	}
}

func TestPickAllocates(t *testing.T) {
	for _, least := range []bool{false, true} {
		u := abc(t, least)
		if n := testing.AllocsPerRun(1000, func() { u.Pick(nil).Done() }); n > 0 {
			t.Errorf("least is %v: %v allocations", least, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	u := abc(b, true)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u.Pick(nil).Done()
		}
	})
}
