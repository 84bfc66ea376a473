package reload

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Random sequences of events (R64): one job at a time; a HUP is never forgotten, HUPs coalesce; what has drained or stopped never begins again; and
// TERM always ends Run.
func TestRandom(t *testing.T) {
	const sequences, length = 2000, 50
	n := sequences
	if testing.Short() {
		n /= 20
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			random(t, rand.New(rand.NewPCG(uint64(seed), 0)), length)
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func random(t *testing.T, r *rand.Rand, length int) {
	events := []string{"HUP", "HUP", "HUP", "USR1", "USR2", "USR2", "1s", "1m", "ok", "ok", "ok", "fail", "fail"}
	w := start(t, r.IntN(4) == 0)
	w.deaf = r.IntN(4) == 0
	if r.IntN(2) == 0 {
		w.due = time.Now().Add(time.Duration(r.IntN(100)) * time.Second)
	}
	var done []string
	for range length {
		if w.ended {
			break
		}
		event := events[r.IntN(len(events))]
		switch r.IntN(60) {
		case 0:
			event = "TERM"
		case 1:
			event = "ctx"
		}
		if w.running == "" && (event == "ok" || event == "fail") {
			continue
		}
		done = append(done, event)
		w.do(event)
		if w.running == "" && !w.ended && w.pending {
			t.Errorf("a HUP was forgotten")
		}
	}
	w.finish()
	check(t, w.calls)
	if t.Failed() {
		t.Logf("events: %s\ncalls:  %s\nlog:\n%s", strings.Join(done, " "), w.called(), w.log.String())
	}
}

// check looks at what was called over a whole life.
func check(t *testing.T, calls []string) {
	calls = slices.DeleteFunc(slices.Clone(calls), func(s string) bool { return s == "reopen" })
	if i := slices.Index(calls, "take-over"); i > 0 {
		t.Error("the take-over was not the first")
	}
	drain := slices.Index(calls, "drain")
	if drain >= 0 && drain < len(calls)-1 && strings.Join(calls[drain+1:], " ") != "stop" {
		t.Errorf("after the drain comes %v", calls[drain+1:])
	}
	if i := slices.Index(calls, "pass-on"); i >= 0 && i != drain-1 {
		t.Error("pass-on is not between an upgrade and its drain")
	}
}
