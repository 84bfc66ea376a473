package upstream

import (
	"errors"
	"slices"
	"testing"

	"edge/conf"
)

// Counts stay with a target's name, whatever changes of its upstream; a target that is new begins at nothing.
func TestStats(t *testing.T) {
	first := spec("http://a:1", "http://b:1")
	first.MaxFails, first.FailTimeout = 1, patience
	set := draft(t, nil, first)
	turn := set[first].Pick(nil)
	turn.Failed(errors.New("down"))
	defer turn.Done()
	set[first].Pick(nil).Done()
	set[first].Pick(nil).Done()
	want := []Stats{{"up", "a:1", 1, 1, 1, true}, {"up", "b:1", 2, 0, 0, false}}
	if got := set.Stats(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	second, other := spec("http://b:1", "http://c:1"), spec("http://b:1")
	other.Name = "other"
	next := draft(t, set, second, other)
	next[second].Pick(nil).Done()
	set[first].Pick(nil).Done() // whoever is still at the old one counts too
	got := next.Stats()
	slices.SortFunc(got, func(a, b Stats) int { return int(b.Requests) - int(a.Requests) })
	want = []Stats{{"up", "b:1", 4, 0, 0, false}, {"up", "c:1", 0, 0, 0, false}, {"other", "b:1", 0, 0, 0, false}}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	next[second].targets[0].down = true
	if got := next[second].stats(); !got[0].Aside || got[1].Aside {
		t.Errorf("one that its checks have set aside, one that is well: %+v", got)
	}
	narrow := spec("http://a:1")
	narrow.Name, narrow.MaxInFlight, narrow.Queue = "narrow", 1, &conf.Queue{Size: 1, Timeout: patience}
	queued := draft(t, set, first, narrow)
	queued[narrow].queue.waiting = make([]*waiter, 3)
	if got := queued.Waiting(); len(got) != 1 || got["narrow"] != 3 {
		t.Errorf("three wait, in one queue: %v", got)
	}
	shared := Set{first: set[first], &conf.Upstream{}: set[first]}
	if n := len(shared.Stats()); n != 2 {
		t.Errorf("two specs of one upstream have %d targets", n)
	}
}
