// Package reload is change without loss: the value in force, and the signals that change it, one at a time.
//
// What the value is and what is served by it is not known here.
package reload

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
)

// Live is the value in force. Readers load it once for each piece of work, and finish on what they loaded.
type Live[T any] struct{ p atomic.Pointer[T] }

// Load gives the value in force; nil before the first Swap.
func (l *Live[T]) Load() *T { return l.p.Load() }

// Swap puts a value in force and gives the one it replaced.
func (l *Live[T]) Swap(v *T) (replaced *T) { return l.p.Swap(v) }

// Actions are what the signals ask for. Each runs alone, on a goroutine of its own, but for Reopen and Stop, which need not wait.
type Actions struct {
	// TakeOver, if not nil, comes first: it returns when the process that this one was started by has handed over, or has not.
	TakeOver func(context.Context) error
	// Reload puts what is on disk in force; on an error nothing has changed.
	Reload func(context.Context) error
	// Renew makes anew what has an end, under the configuration in force.
	Renew func(context.Context) error
	// Upgrade hands everything to a new process. Without an error the new one has taken over; else nothing has changed.
	Upgrade func(context.Context) error
	// PassOn tells the new process of a reload that was asked for during the upgrade.
	PassOn func()
	// Drain waits until nothing is left of what was being served when the new process took over, or until ctx ends, and says how much of
	// it was cut.
	Drain func(context.Context) (cut int64)
	// Stop ends the service and says how much of it was cut. When ctx ends, it cuts what is left.
	Stop func(context.Context) (cut int64)
	// Reopen opens the logs anew.
	Reopen func() error
	// Due says when Renew is due; the zero time: never.
	Due func() time.Time
	// Asks are what others than signals ask for, and wait for; nil: nobody does.
	Asks <-chan Ask
	// Try is Reload for a Trial: without an error what it replaced is what Rollback puts in force again.
	Try func(context.Context) error
	// Rollback puts in force again what the last reload replaced; on an error nothing has changed.
	Rollback func(context.Context) error
	// Trials are what is asked about reloads on trial; nil: nobody asks.
	Trials <-chan Trial
	// Refused hears of each upgrade that was asked for and could not even begin, as something else was in progress; nil: nobody does.
	Refused func()
	Log     *slog.Logger
}

// Run obeys the signals until a stop, or a drain after an upgrade, has ended; so does ctx's end, like TERM. It says how much was cut.
//
// HUP reloads, USR2 upgrades, USR1 reopens the logs, TERM and INT stop, a second one at once. Reloads coalesce, and wait for an upgrade's end; an
// upgrade waits for a reload's, and a second one is refused. While a reload is on trial both are.
func Run(ctx context.Context, signals <-chan os.Signal, a Actions) (cut int64) {
	s := &supervisor{Actions: a, done: make(chan outcome)}
	defer s.asks.refuse(ErrStopping)
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer s.cancel()
	if a.TakeOver != nil {
		s.start(takeOver, a.TakeOver)
	}
	return s.run(ctx, signals)
}

// job is what runs now.
type job string

const (
	idle     job = ""
	takeOver job = "take-over"
	reload   job = "reload"
	renew    job = "renewal"
	upgrade  job = "upgrade"
	drain    job = "drain"
	stop     job = "stop"
)

type outcome struct {
	err error
	cut int64
}

// supervisor is the state of Run, which one goroutine owns.
type supervisor struct {
	Actions
	ctx         context.Context // of the job that runs
	cancel      context.CancelFunc
	running     job
	done        chan outcome
	asks        asks
	wantUpgrade bool // a reload is to end first
	wantReload  bool
	wantStop    bool
	wantCut     bool // a stop was asked for again before it could begin
	renewed     time.Time
	trials      trials
}

func (s *supervisor) run(ctx context.Context, signals <-chan os.Signal) (cut int64) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ended := ctx.Done()
	for {
		s.next()
		s.wind(timer)
		select {
		case sig := <-signals:
			s.signal(sig)
		case a := <-s.Asks:
			s.ask(a)
		case <-ended:
			ended = nil
			s.stop()
		case t := <-s.Trials:
			s.consider(t)
		case <-timer.C:
			s.ring()
		case o := <-s.done:
			if s.finished(o) {
				return o.cut
			}
		}
	}
}

// wind sets the timer to the moment when a renewal is due, or a trial is over. While anything runs none is: a drain can last for days.
func (s *supervisor) wind(timer *time.Timer) {
	timer.Stop()
	if s.running != idle {
		return
	}
	var waits []time.Duration
	if due := s.Due(); !due.IsZero() {
		// A renewal that fails leaves the moment in the past: no more than one a minute.
		waits = append(waits, max(time.Until(due), time.Until(s.renewed.Add(time.Minute))))
	}
	if !s.trials.until.IsZero() {
		waits = append(waits, time.Until(s.trials.until))
	}
	if waits != nil {
		timer.Reset(slices.Min(waits))
	}
}

// ring does what the timer was wound for.
func (s *supervisor) ring() {
	if until := s.trials.until; !until.IsZero() && !time.Now().Before(until) {
		s.takeBack()
		return
	}
	s.renewed = time.Now()
	s.start(renew, s.Renew)
}

func (s *supervisor) signal(sig os.Signal) {
	if n, ok := sig.(syscall.Signal); ok && s.refuseOnTrial(n) {
		return
	}
	switch sig {
	case syscall.SIGHUP:
		if s.running == drain {
			s.Log.Warn("reload ignored: a new process has taken over, send HUP to it")
			return
		}
		s.wantReload = true
	case syscall.SIGUSR2:
		if err := s.busy(); err != nil {
			s.refuseUpgrade(err)
			return
		}
		s.wantUpgrade = true
	case syscall.SIGUSR1:
		if err := s.Reopen(); err != nil {
			s.Log.Error("logs not reopened", "error", err)
			return
		}
		s.Log.Info("logs reopened")
	case syscall.SIGTERM, syscall.SIGINT:
		s.stop()
	}
}

// refuseUpgrade says that an upgrade does not begin.
func (s *supervisor) refuseUpgrade(why error) {
	s.Log.Warn("upgrade refused", "because", why)
	if s.Refused != nil {
		s.Refused()
	}
}

// busy says why no upgrade can be asked for now.
func (s *supervisor) busy() error {
	if s.running != idle && (s.running != reload && s.running != renew || s.wantUpgrade || s.wantStop) {
		return fmt.Errorf("in progress: %s", s.running)
	}
	return nil
}

// stop is TERM: what runs is taken back; a stop that runs cuts, and one that is still to begin will at once.
func (s *supervisor) stop() {
	s.wantCut, s.wantStop = s.wantStop, true
	if s.running != idle {
		s.cancel()
	}
}

// next starts what is wanted, if nothing runs.
func (s *supervisor) next() {
	if s.running != idle {
		return
	}
	switch {
	case s.wantStop:
		s.cancel()
		s.ctx, s.cancel = context.WithCancel(context.Background())
		if s.wantCut {
			s.cancel()
		}
		s.running = stop
		go s.runStop()
	case s.wantUpgrade:
		s.wantUpgrade = false
		s.asks.begin(upgrade)
		s.start(upgrade, s.Upgrade)
	case s.wantReload:
		s.wantReload = false
		s.asks.begin(reload)
		s.start(reload, s.Reload)
	}
}

// start runs a job.
func (s *supervisor) start(j job, f func(context.Context) error) {
	s.running = j
	go func() { s.done <- outcome{err: f(s.ctx)} }()
}

func (s *supervisor) runDrain() { s.done <- outcome{cut: s.Drain(s.ctx)} }

func (s *supervisor) runStop() { s.done <- outcome{cut: s.Stop(s.ctx)} }

// finished takes note of a job's end, and says whether it was the last.
func (s *supervisor) finished(o outcome) (end bool) {
	was := s.running
	s.running = idle
	s.asks.end(was, o.err)
	switch was {
	case stop:
		return true
	case drain:
		return !s.wantStop // a drain that TERM ended early goes on as a stop
	case upgrade:
		if o.err != nil && s.wantStop {
			s.Log.Info("upgrade taken back: this process was told to stop")
			return false
		}
		if o.err != nil {
			s.Log.Error("upgrade failed: this process goes on as before", "error", o.err)
			return false
		}
		if s.wantReload {
			s.PassOn()
		}
		s.asks.refuse(ErrTakenOver)
		s.running = drain
		go s.runDrain()
	case takeOver:
		if o.err != nil {
			s.Log.Error("take-over failed", "error", o.err)
			s.wantStop = true
			return false
		}
		s.Log.Info("this process has taken over", "pid", os.Getpid())
	case reload:
		if o.err != nil {
			s.Log.Error("reload refused: nothing has changed", "error", o.err)
		}
	case trial:
		s.tried(o.err)
	case rollback:
		s.rolledBack(o.err)
	case renew:
		if o.err != nil {
			s.Log.Error("renewal failed: nothing has changed; it is tried again in a minute", "error", o.err)
		}
	}
	return false
}
