package reload

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What comes of a reload on trial, which is for a minute.
var trialTransitions = []struct {
	events, calls, running string
	answers                []string
	log                    string // part of it
}{
	{"TRY", "try", "try", nil, ""},
	{"TRY ok", "try", "", []string{"TRY: <nil>"}, "reloaded on trial"},
	{"TRY fail", "try", "", []string{"TRY: fake failure"}, "reload refused: nothing has changed"},
	{"TRY fail 1h", "try", "", []string{"TRY: fake failure"}, ""},
	{"TRY ok 59s", "try", "", []string{"TRY: <nil>"}, ""},
	{"TRY ok 1m", "try rollback", "rollback", []string{"TRY: <nil>"}, "not confirmed in time"},
	{"TRY ok 1m ok 1h", "try rollback", "", []string{"TRY: <nil>"}, ""},
	{"TRY ok 59s CONFIRM 1h", "try", "", []string{"TRY: <nil>", "CONFIRM: <nil>"}, "reload confirmed"},
	{"TRY ok 1m CONFIRM", "try rollback", "rollback", []string{"TRY: <nil>", "CONFIRM: in progress: rollback"}, ""},
	{"TRY ok 1m fail 59s", "try rollback", "", []string{"TRY: <nil>"}, "tried again in a minute"},
	{"TRY ok 1m fail 1m", "try rollback rollback", "rollback", []string{"TRY: <nil>"}, ""},
	{"TRY ok ROLLBACK ok 1h", "try rollback", "", []string{"TRY: <nil>", "ROLLBACK: <nil>"}, ""},
	{"TRY ok ROLLBACK fail", "try rollback", "", []string{"TRY: <nil>", "ROLLBACK: fake failure"}, "rollback failed"},
	{"TRY ok ROLLBACK fail 1m", "try rollback rollback", "rollback", []string{"TRY: <nil>", "ROLLBACK: fake failure"}, ""},
	{"TRY ok CONFIRM TRY ok 1m", "try try rollback", "rollback", []string{"TRY: <nil>", "CONFIRM: <nil>", "TRY: <nil>"}, ""},
	{"ROLLBACK ok", "rollback", "", []string{"ROLLBACK: <nil>"}, ""},
	{"ROLLBACK HUP ok", "rollback reload", "reload", []string{"ROLLBACK: <nil>"}, ""},
	{"CONFIRM", "", "", []string{"CONFIRM: no reload is on trial"}, ""},

	// Nothing else changes what is on trial, but a stop ends it.
	{"TRY TRY", "try", "try", []string{"TRY: a reload is on trial: confirm it or roll it back first"}, ""},
	{"TRY ok TRY", "try", "", []string{"TRY: <nil>", "TRY: a reload is on trial: confirm it or roll it back first"}, ""},
	{"TRY HUP ok", "try", "", []string{"TRY: <nil>"}, `reload refused" because="a reload is on trial`},
	{"TRY ok HUP", "try", "", []string{"TRY: <nil>"}, `reload refused" because="a reload is on trial`},
	{"TRY USR2 ok", "try", "", []string{"TRY: <nil>"}, `upgrade refused" because="a reload is on trial`},
	{"TRY ok USR2", "try", "", []string{"TRY: <nil>"}, `upgrade refused" because="a reload is on trial`},
	{"TRY ok USR1", "try reopen", "", []string{"TRY: <nil>"}, "logs reopened"},
	{"TRY ok CONFIRM HUP", "try reload", "reload", []string{"TRY: <nil>", "CONFIRM: <nil>"}, ""},
	{"TRY ok CONFIRM USR2", "try upgrade", "upgrade", []string{"TRY: <nil>", "CONFIRM: <nil>"}, ""},
	{"TRY TERM", "try stop", "stop", []string{"TRY: context canceled"}, ""},
	{"TRY ok TERM 1h", "try stop", "stop", []string{"TRY: <nil>"}, ""},
	{"TRY ok 1m TERM", "try rollback stop", "stop", []string{"TRY: <nil>"}, ""},

	// Nor is anything asked for while something else runs.
	{"HUP TRY", "reload", "reload", []string{"TRY: in progress: reload"}, ""},
	{"HUP ROLLBACK", "reload", "reload", []string{"ROLLBACK: in progress: reload"}, ""},
	{"USR2 TRY", "upgrade", "upgrade", []string{"TRY: in progress: upgrade"}, ""},
	{"USR2 ok ROLLBACK", "upgrade drain", "drain", []string{"ROLLBACK: in progress: drain"}, ""},
	{"TERM TRY", "stop", "stop", []string{"TRY: in progress: stop"}, ""},
}

func TestTrials(t *testing.T) {
	for _, test := range trialTransitions {
		t.Run(test.events, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := start(t, false)
				for _, e := range strings.Fields(test.events) {
					w.do(e)
				}
				if w.called() != test.calls || w.running != test.running || !slices.Equal(w.answers, test.answers) {
					t.Errorf("called: %q, now: %q, answers: %q; want %q, %q, %q", w.called(), w.running, w.answers, test.calls, test.running, test.answers)
				}
				if !strings.Contains(w.log.String(), test.log) {
					t.Errorf("the log does not say %q:\n%s", test.log, w.log.String())
				}
				w.finish()
			})
		})
	}
}

// A renewal that is due does not end a trial, and does not put off its end for longer than it takes.
func TestRenewalOnTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, false)
		w.due = time.Now().Add(30 * time.Second)
		for _, e := range strings.Fields("TRY ok 30s") {
			w.do(e)
		}
		w.due = time.Time{}
		w.do("45s")
		if w.called() != "try renewal" {
			t.Fatalf("called: %s", w.called())
		}
		w.do("ok")
		if w.called() != "try renewal rollback" {
			t.Errorf("called: %s", w.called())
		}
		w.finish()
	})
}

// Without a time to confirm it in there is no trial.
func TestNoTrialTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, false)
		w.mu.Unlock()
		w.trials <- Trial{Try, 0, w.answer("TRY")}
		synctest.Wait()
		w.mu.Lock()
		if len(w.answers) != 1 || !strings.Contains(w.answers[0], "must be more than 0") || w.called() != "" {
			t.Errorf("%q; called: %s", w.answers, w.called())
		}
		w.finish()
	})
}

// Random sequences of events: whoever asks gets one answer, one job runs at a time, no upgrade and no HUP gets between a trial and its end, and TERM always ends Run.
func TestRandomTrials(t *testing.T) {
	for seed := range 300 {
		synctest.Test(t, func(t *testing.T) { randomTrials(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomTrials(t *testing.T, r *rand.Rand) {
	events := []string{"TRY", "TRY", "CONFIRM", "ROLLBACK", "HUP", "USR1", "USR2", "20s", "1m", "ok", "ok", "ok", "fail"}
	w := start(t, false)
	asked := 0
	for range 40 {
		event := events[r.IntN(len(events))]
		if w.ended || w.running == "" && (event == "ok" || event == "fail") {
			continue
		}
		if event == "TRY" || event == "CONFIRM" || event == "ROLLBACK" {
			asked++
		}
		w.do(event)
	}
	w.finish()
	if len(w.answers) != asked {
		t.Errorf("%d asked, and got %q", asked, w.answers)
	}
	confirmed := 0
	for _, a := range w.answers {
		if a == "CONFIRM: <nil>" {
			confirmed++
		}
	}
	tried := false
	for _, call := range slices.DeleteFunc(slices.Clone(w.calls), func(s string) bool { return s == "reopen" }) {
		switch {
		case call == "try":
			tried = true
		case call == "rollback":
			tried = false
		case tried && (call == "reload" || call == "upgrade"):
			confirmed-- // or the trial had failed
			tried = false
		}
	}
	if fails := strings.Count(strings.Join(w.answers, "\n"), "TRY: fake failure"); confirmed+fails < 0 {
		t.Errorf("something got between a trial and its end: %v, %q", w.calls, w.answers)
	}
}
