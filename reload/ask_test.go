package reload

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// asked is Run with jobs that last until the test says how they end, and that are asked for.
type asked struct {
	signals chan os.Signal
	asks    chan Ask
	end     chan error
	log     []string // which jobs began, and what was told to whom
	ended   chan struct{}
}

func runAsked(t *testing.T) *asked {
	a := &asked{signals: make(chan os.Signal), asks: make(chan Ask), end: make(chan error), ended: make(chan struct{})}
	job := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			a.log = append(a.log, name)
			select {
			case err := <-a.end:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	last := func(name string) func(context.Context) int64 {
		return func(ctx context.Context) int64 { job(name)(ctx); return 0 }
	}
	go func() {
		defer close(a.ended)
		Run(t.Context(), a.signals, Actions{
			Reload: job("reload"), Upgrade: job("upgrade"), Drain: last("drain"), Stop: last("stop"), PassOn: func() { a.log = append(a.log, "pass-on") },
			Due: func() time.Time { return time.Time{} }, Asks: a.asks, Log: slog.New(slog.DiscardHandler),
		})
	}()
	return a
}

// ask asks, and notes what is told.
func (a *asked) ask(name string, upgrade bool) {
	a.asks <- Ask{Upgrade: upgrade, Begin: func() { a.log = append(a.log, name+" begins") }, Done: func(err error) {
		if err == nil {
			err = errors.New("done")
		}
		a.log = append(a.log, name+": "+err.Error())
	}}
	synctest.Wait()
}

// Each ask is told the outcome of a job that began after it, once; whatever comes between.
func TestAsks(t *testing.T) {
	for name, test := range map[string]struct {
		events string // r1, r2: ask for a reload; u1: for an upgrade; HUP, TERM; ok, bad: the job that runs ends
		want   string
	}{
		"one":                       {"r1 ok", "r1 begins, reload, r1: done"},
		"a bad one":                 {"r1 bad", "r1 begins, reload, r1: fake failure"},
		"while one runs":            {"r1 r2 r3 ok bad", "r1 begins, reload, r1: done, r2 begins, r3 begins, reload, r2: fake failure, r3: fake failure"},
		"while a HUP's runs":        {"HUP r1 bad ok", "reload, r1 begins, reload, r1: done"},
		"an upgrade":                {"u1 bad", "u1 begins, upgrade, u1: fake failure"},
		"an upgrade after a reload": {"r1 u1 ok bad", "r1 begins, reload, r1: done, u1 begins, upgrade, u1: fake failure"},
		"two upgrades":              {"u1 u2 bad", "u1 begins, upgrade, u2: in progress: upgrade, u1: fake failure"},
		"a third behind a reload":   {"r1 u1 u2 ok bad", "r1 begins, reload, u2: in progress: reload, r1: done, u1 begins, upgrade, u1: fake failure"},
		"a reload, upgrade fails":   {"u1 r1 bad ok", "u1 begins, upgrade, u1: fake failure, r1 begins, reload, r1: done"},
		"a reload, upgrade goes on": {"u1 r1 ok", "u1 begins, upgrade, u1: done, pass-on, r1: a new process has taken over, drain"},
		"too late":                  {"u1 ok r1 u2", "u1 begins, upgrade, u1: done, drain, r1: a new process has taken over, u2: a new process has taken over"},
		"a stop":                    {"r1 r2 TERM", "r1 begins, reload, r1: context canceled, stop"},
		"during a stop":             {"TERM r1 u1", "stop, r1: this process stops, u1: this process stops"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := runAsked(t)
				for event := range strings.FieldsSeq(test.events) {
					switch event {
					case "ok":
						a.end <- nil
					case "bad":
						a.end <- errFake
					case "HUP":
						a.signals <- syscall.SIGHUP
					case "TERM":
						a.signals <- syscall.SIGTERM
					default:
						a.ask(event, event[0] == 'u')
					}
					synctest.Wait()
				}
				if got := strings.Join(a.log, ", "); got != test.want {
					t.Errorf("%s\n got: %s\nwant: %s", test.events, got, test.want)
				}
				a.leave()
				for event := range strings.FieldsSeq(test.events) {
					if told := strings.Count(strings.Join(a.log, ", "), event+": "); (event[0] == 'r' || event[0] == 'u') && told != 1 {
						t.Errorf("%s was told %d times: %q", event, told, a.log)
					}
				}
			})
		})
	}
}

// leave ends Run.
func (a *asked) leave() {
	for {
		select {
		case a.signals <- syscall.SIGTERM:
			synctest.Wait()
		case <-a.ended:
			return
		}
	}
}
