package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errFake is why a job fails when a test says so.
var errFake = errors.New("fake failure")

// world is Run in a synctest bubble, with actions that last until the test ends them.
type world struct {
	t       *testing.T
	signals chan os.Signal
	trials  chan Trial
	cancel  context.CancelFunc // of Run's context
	end     chan error         // ends the job that runs
	mu      sync.Mutex         // of what follows; the test holds it, except in do
	running string
	calls   []string // what was called, in order
	pending bool     // a HUP was sent and nothing has come of it
	due     time.Time
	asked   int  // how often Due was
	deaf    bool // an upgrade goes on though its context has ended
	reopen  error
	ended   bool
	cut     int64
	refused int      // upgrades
	answers []string // to what was asked about trials, in order
	log     bytes.Buffer
}

// start starts Run.
func start(t *testing.T, takeOver bool) *world {
	w := &world{t: t, signals: make(chan os.Signal), trials: make(chan Trial), end: make(chan error)}
	a := Actions{
		Reload: w.job("reload"), Renew: w.job("renewal"), Upgrade: w.job("upgrade"), PassOn: w.passOn,
		Drain: func(ctx context.Context) int64 { w.job("drain")(ctx); return 0 },
		Stop:  w.stop, Reopen: w.reopened, Due: w.isDue,
		Try: w.job("try"), Rollback: w.job("rollback"), Trials: w.trials,
		Refused: func() { w.mu.Lock(); defer w.mu.Unlock(); w.refused++ },
		Log:     slog.New(slog.NewTextHandler(w, nil)),
	}
	if takeOver {
		a.TakeOver = w.job("take-over")
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(t.Context())
	go w.run(ctx, a)
	synctest.Wait()
	w.mu.Lock()
	return w
}

func (w *world) run(ctx context.Context, a Actions) {
	cut := Run(ctx, w.signals, a)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended, w.cut = true, cut
}

// job is an action that lasts until the test, or its context, ends it.
func (w *world) job(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		deaf, end := w.begin(name)
		defer end()
		if deaf {
			return <-w.end
		}
		select {
		case err := <-w.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) stop(ctx context.Context) (cut int64) {
	w.job("stop")(ctx)
	if ctx.Err() != nil {
		return 1
	}
	return 0
}

func (w *world) begin(name string) (deaf bool, end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running != "" {
		w.t.Errorf("%s began while %s ran", name, w.running)
	}
	w.running = name
	w.calls = append(w.calls, name)
	if name == "reload" || name == "stop" {
		w.pending = false
	}
	return w.deaf && name == "upgrade", func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.running = ""
	}
}

func (w *world) passOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "pass-on")
	w.pending = false
}

func (w *world) reopened() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, "reopen")
	return w.reopen
}

// answer takes the answer to an event.
func (w *world) answer(event string) func(error) {
	return func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.answers = append(w.answers, fmt.Sprintf("%s: %v", event, err))
	}
}

func (w *world) isDue() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return w.due
}

// Write takes the log.
func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

var signals = map[string]os.Signal{
	"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
}

// do makes one thing happen and waits until all that follows from it has: a signal; "ctx", the end of Run's context; "ok" or "fail", the end of
// the job that runs; "deaf", which makes upgrades so; or the passing of a time.
func (w *world) do(event string) {
	w.t.Helper()
	if event == "HUP" && w.running != "drain" && w.running != "stop" {
		w.pending = true
	}
	if event == "deaf" {
		w.deaf = true
	}
	w.mu.Unlock()
	defer w.mu.Lock()
	switch event {
	case "deaf":
	case "ctx":
		w.cancel()
	case "ok":
		w.end <- nil
	case "fail":
		w.end <- errFake
	case "TRY", "CONFIRM", "ROLLBACK":
		w.trials <- Trial{map[string]Want{"TRY": Try, "CONFIRM": Confirm, "ROLLBACK": Rollback}[event], time.Minute, w.answer(event)}
	default:
		if sig, ok := signals[event]; ok {
			w.signals <- sig
			break
		}
		d, err := time.ParseDuration(event)
		if err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(d)
	}
	synctest.Wait()
}

// finish ends Run, as an impatient TERM does.
func (w *world) finish() {
	w.t.Helper()
	if n := strings.Count(w.log.String(), "upgrade refused"); n != w.refused {
		w.t.Errorf("%d refused upgrades were told of, and %d counted", n, w.refused)
	}
	for range 2 {
		if !w.ended {
			w.do("TERM")
		}
	}
	if w.running == "upgrade" {
		w.do("ok") // it was deaf
	}
	if !w.ended {
		w.t.Fatalf("Run goes on after TERM and TERM: %s runs", w.running)
	}
	if i := slices.Index(w.calls, "stop"); i >= 0 && i != len(w.calls)-1 && slices.ContainsFunc(w.calls[i+1:], func(s string) bool { return s != "reopen" }) {
		w.t.Errorf("something begins after the stop: %v", w.calls)
	}
	w.cancel()
}

// called gives what was called, as words.
func (w *world) called() string { return strings.Join(w.calls, " ") }
