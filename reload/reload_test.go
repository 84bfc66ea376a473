package reload

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLive(t *testing.T) {
	var l Live[int]
	if l.Load() != nil {
		t.Error("there is a value before the first Swap")
	}
	values := make([]int, 1000)
	for i := range values {
		values[i] = i
	}
	l.Swap(&values[0])
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for last := 0; last < len(values)-1; {
				now := *l.Load()
				if now < last {
					t.Errorf("%d is in force after %d", now, last)
					return
				}
				last = now
			}
		})
	}
	for i := 1; i < len(values); i++ {
		if replaced := l.Swap(&values[i]); replaced != &values[i-1] {
			t.Fatalf("Swap gives %d, which %d did not replace", *replaced, i)
		}
	}
	readers.Wait()
}

// Which signal does what in which state: R18, R22, R23, R40, R55, R64 and the table of ZERO-LOSS.md §4.1.
var transitions = []struct {
	events  string // take-over first: this process was started by another edge
	calls   string
	running string // when the events are over; "end": Run has ended
	log     string // part of it
}{
	// Idle.
	{"", "", "", ""},
	{"HUP", "reload", "reload", ""},
	{"HUP ok", "reload", "", ""},
	{"HUP ok HUP ok", "reload reload", "", ""},
	{"HUP fail", "reload", "", "reload refused: nothing has changed"},
	{"HUP fail HUP ok", "reload reload", "", ""},
	{"USR2", "upgrade", "upgrade", ""},
	{"USR1", "reopen", "", "logs reopened"},
	{"TERM", "stop", "stop", ""},
	{"INT", "stop", "stop", ""},
	{"ctx", "stop", "stop", ""},

	// While a reload runs.
	{"HUP HUP", "reload", "reload", ""},
	{"HUP HUP HUP HUP ok", "reload reload", "reload", ""},
	{"HUP HUP HUP HUP ok ok", "reload reload", "", ""},
	{"HUP HUP fail ok", "reload reload", "", ""},
	{"HUP USR2", "reload", "reload", ""},
	{"HUP USR2 ok", "reload upgrade", "upgrade", ""},
	{"HUP USR2 fail", "reload upgrade", "upgrade", "reload refused"},
	{"HUP USR2 USR2 ok", "reload upgrade", "upgrade", `upgrade refused" because="in progress: reload"`},
	{"HUP HUP USR2 ok ok", "reload upgrade pass-on drain", "drain", ""},
	{"HUP HUP USR2 ok fail", "reload upgrade reload", "reload", ""},
	{"HUP USR2 TERM", "reload stop", "stop", ""},
	{"HUP USR1", "reload reopen", "reload", ""},
	{"HUP TERM", "reload stop", "stop", ""},
	{"HUP HUP TERM", "reload stop", "stop", ""},
	{"HUP ctx", "reload stop", "stop", ""},

	// While an upgrade runs.
	{"USR2 HUP HUP", "upgrade", "upgrade", ""},
	{"USR2 HUP HUP fail", "upgrade reload", "reload", "upgrade failed: this process goes on as before"},
	{"USR2 HUP HUP ok", "upgrade pass-on drain", "drain", ""},
	{"USR2 ok", "upgrade drain", "drain", ""},
	{"USR2 fail", "upgrade", "", "fake failure"},
	{"USR2 fail USR2 ok", "upgrade upgrade drain", "drain", ""},
	{"USR2 USR2", "upgrade", "upgrade", `upgrade refused" because="in progress: upgrade"`},
	{"USR2 USR2 USR2 fail", "upgrade", "", ""},
	{"USR2 USR1", "upgrade reopen", "upgrade", ""},
	{"USR2 TERM", "upgrade stop", "stop", ""},
	{"USR2 ctx", "upgrade stop", "stop", ""},
	{"deaf USR2 TERM", "upgrade", "upgrade", ""},
	{"deaf USR2 TERM fail", "upgrade stop", "stop", ""},
	{"deaf USR2 TERM ok", "upgrade drain stop", "stop", ""}, // it could not be taken back any more
	{"deaf USR2 TERM TERM fail", "upgrade stop", "end", ""}, // the second TERM counts, though the stop could not begin
	{"deaf USR2 HUP TERM fail", "upgrade stop", "stop", ""},

	// While what is left drains.
	{"USR2 ok HUP", "upgrade drain", "drain", "reload ignored: a new process has taken over"},
	{"USR2 ok USR2", "upgrade drain", "drain", `upgrade refused" because="in progress: drain"`},
	{"USR2 ok USR1", "upgrade drain reopen", "drain", ""},
	{"USR2 ok TERM", "upgrade drain stop", "stop", ""},
	{"USR2 ok ctx", "upgrade drain stop", "stop", ""},
	{"USR2 ok ok", "upgrade drain", "end", ""},

	// While it stops.
	{"TERM HUP", "stop", "stop", ""},
	{"TERM USR2", "stop", "stop", `upgrade refused" because="in progress: stop"`},
	{"TERM USR1", "stop reopen", "stop", ""},
	{"TERM ok", "stop", "end", ""},
	{"TERM TERM", "stop", "end", ""},
	{"TERM INT", "stop", "end", ""},
	{"TERM ctx", "stop", "end", ""},
	{"ctx TERM", "stop", "end", ""},

	// While this process takes over from the one that started it.
	{"take-over", "take-over", "take-over", ""},
	{"take-over ok", "take-over", "", ""},
	{"take-over HUP HUP ok", "take-over reload", "reload", ""},
	{"take-over USR2", "take-over", "take-over", `upgrade refused" because="in progress: take-over"`},
	{"take-over USR1", "take-over reopen", "take-over", ""},
	{"take-over TERM", "take-over stop", "stop", ""},
	{"take-over ctx", "take-over stop", "stop", ""},
	{"take-over fail", "take-over stop", "stop", "take-over failed"},
	{"take-over HUP fail ok", "take-over stop", "end", ""},
	{"take-over ok USR2 ok", "take-over upgrade drain", "drain", ""},
}

func TestTransitions(t *testing.T) {
	for _, test := range transitions {
		t.Run(test.events, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := strings.Fields(test.events)
				takeOver := len(events) > 0 && events[0] == "take-over"
				w := start(t, takeOver)
				if takeOver {
					events = events[1:]
				}
				for _, e := range events {
					w.do(e)
				}
				running := w.running
				if w.ended {
					running = "end"
				}
				if w.called() != test.calls || running != test.running {
					t.Errorf("called: %q, now: %q; want %q, %q", w.called(), running, test.calls, test.running)
				}
				if !strings.Contains(w.log.String(), test.log) {
					t.Errorf("the log does not say %q:\n%s", test.log, w.log.String())
				}
				w.finish()
			})
		})
	}
}

// The number of cut connections is that of the stop, whatever came before it.
func TestCut(t *testing.T) {
	for events, want := range map[string]int64{
		"TERM ok": 0, "TERM TERM": 1, "ctx TERM": 1, "USR2 ok ok": 0, "USR2 ok TERM ok": 0, "USR2 ok TERM TERM": 1,
		"deaf USR2 TERM TERM fail": 1, "deaf USR2 TERM fail ok": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, false)
			for _, e := range strings.Fields(events) {
				w.do(e)
			}
			if !w.ended || w.cut != want {
				t.Errorf("%s: ended %t, %d cut; want %d", events, w.ended, w.cut, want)
			}
			w.finish()
		})
	}
}

func TestReopenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, false)
		w.reopen = errFake
		w.do("USR1")
		if !strings.Contains(w.log.String(), "logs not reopened") {
			t.Errorf("log: %s", w.log.String())
		}
		w.do("HUP") // and it goes on
		if w.running != "reload" {
			t.Errorf("%q runs", w.running)
		}
		w.finish()
	})
}

func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, false)
		w.due = time.Now().Add(10 * time.Minute)
		w.do("USR1") // anything: Due is asked after it
		w.do("9m59s")
		if w.called() != "reopen" {
			t.Fatalf("called before the time: %s", w.called())
		}
		w.do("1s")
		if w.running != "renewal" {
			t.Fatal("no renewal when it was due")
		}
		w.due = time.Time{}
		w.do("ok")
		w.do("100h")
		if w.called() != "reopen renewal" {
			t.Errorf("called: %s", w.called())
		}
		w.finish()
	})
}

// A due renewal that fails stays due: it is tried again, but not in a hurry.
func TestDueAndFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, false)
		w.due = time.Now()
		for range 10 {
			w.do("USR1")
			w.do("59s")
			if w.running == "renewal" {
				w.do("fail")
			}
			w.do("1s")
		}
		if n := strings.Count(w.called(), "renewal"); n < 9 || n > 11 {
			t.Errorf("%d renewals in ten minutes", n)
		}
		w.finish()
	})
}

// What is due while something else runs waits for its end, and the wait costs nothing: a drain can last for days.
func TestDueMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, true)
		w.due = time.Now().Add(time.Minute)
		w.do("1h")
		if w.called() != "take-over" {
			t.Fatalf("called: %s", w.called())
		}
		w.do("ok")
		w.do("1ns")
		if w.running != "renewal" {
			t.Fatalf("called: %s, and %q runs", w.called(), w.running)
		}
		w.due = time.Now().Add(time.Hour)
		w.do("ok")
		w.do("USR2")
		w.do("2h")
		w.do("ok")
		asked := w.asked
		w.do("72h")
		if w.running != "drain" || w.asked != asked {
			t.Errorf("%q runs; during a drain Due was asked %d times", w.running, w.asked-asked)
		}
		if strings.Contains(w.called(), "pass-on") {
			t.Error("nobody asked for a reload, yet the new process was told")
		}
		w.finish()
	})
}
