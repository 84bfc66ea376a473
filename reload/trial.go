package reload

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Trial is what somebody asks about a reload that is taken back unless it is confirmed, and waits for.
type Trial struct {
	Want Want
	For  time.Duration // Try: within which it must be confirmed; more than 0
	Done func(error)   // called once, with the outcome. It must not wait
}

// Want is what is asked for.
type Want int

// What can be asked about a reload.
const (
	Try      Want = iota + 1 // reload, and roll back unless a Confirm comes in time
	Confirm                  // what was reloaded on trial stays
	Rollback                 // put in force again what the last reload replaced, on trial or not
)

// Why nothing came of what was asked for.
var (
	ErrOnTrial     = errors.New("a reload is on trial: confirm it or roll it back first")
	ErrNotOnTrial  = errors.New("no reload is on trial")
	errNoTrialTime = errors.New("the time within which a reload is to be confirmed must be more than 0")
)

const (
	trial    job = "reload on trial"
	rollback job = "rollback"
)

// trials is what the supervisor knows of the reload that is on trial. Nobody else does, so it ends with the process.
type trials struct {
	asked *Trial    // whose job runs; nil: nobody's
	until time.Time // when it is taken back; zero: none is on trial
}

// onTrial says that what is in force may not stay, or that it may soon be so.
func (s *supervisor) onTrial() bool { return s.running == trial || !s.trials.until.IsZero() }

// refuseOnTrial says whether a signal must wait for the word of whoever asked for the trial: a reload would put on trial what nobody tried, or
// bring back what was just taken back, and a new process knows of no trial.
func (s *supervisor) refuseOnTrial(sig syscall.Signal) bool {
	switch {
	case !s.onTrial():
		return false
	case sig == syscall.SIGHUP:
		s.Log.Warn("reload refused", "because", ErrOnTrial)
	case sig == syscall.SIGUSR2:
		s.refuseUpgrade(ErrOnTrial)
	default:
		return false
	}
	return true
}

// consider does what is asked for, or says why not.
func (s *supervisor) consider(t Trial) {
	switch {
	case t.Want == Confirm:
		t.Done(s.confirm())
	case t.Want == Try && s.onTrial():
		t.Done(ErrOnTrial)
	case t.Want == Try && t.For <= 0:
		t.Done(errNoTrialTime)
	case s.running != idle:
		t.Done(fmt.Errorf("in progress: %s", s.running))
	case t.Want == Try:
		s.trials.asked = &t
		s.start(trial, s.Try)
	default:
		s.trials.asked = &t
		s.start(rollback, s.Rollback)
	}
}

func (s *supervisor) confirm() error {
	switch {
	case s.running == rollback:
		return fmt.Errorf("in progress: %s", s.running)
	case s.trials.until.IsZero():
		return ErrNotOnTrial
	}
	s.trials.until = time.Time{}
	s.Log.Info("reload confirmed")
	return nil
}

// takeBack rolls back what nobody has confirmed in time.
func (s *supervisor) takeBack() {
	s.Log.Warn("reload not confirmed in time: rolling back")
	s.start(rollback, s.Rollback)
}

// tried takes note of the end of a trial's beginning.
func (s *supervisor) tried(err error) {
	asked := s.trials.asked
	s.trials.asked = nil
	if err != nil {
		s.Log.Error("reload refused: nothing has changed", "error", err)
	} else {
		s.trials.until = time.Now().Add(asked.For)
		s.Log.Info("reloaded on trial", "to be confirmed within", asked.For)
	}
	asked.Done(err)
}

// rolledBack takes note of the end of a rollback. One that nobody asked for and that failed is tried again.
func (s *supervisor) rolledBack(err error) {
	asked := s.trials.asked
	s.trials.asked = nil
	switch {
	case err == nil:
		s.trials.until = time.Time{}
	case asked == nil:
		s.trials.until = time.Now().Add(time.Minute)
		s.Log.Error("rollback failed: nothing has changed; it is tried again in a minute", "error", err)
	default:
		s.Log.Error("rollback failed: nothing has changed", "error", err)
	}
	if asked != nil {
		asked.Done(err)
	}
}
