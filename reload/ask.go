package reload

import "errors"

// Why an ask was not done.
var (
	// ErrTakenOver is for asks that came too late, or during an upgrade: the new process is to be asked.
	ErrTakenOver = errors.New("a new process has taken over")
	ErrStopping  = errors.New("this process stops")
)

// Ask is a reload or an upgrade that somebody waits for.
type Ask struct {
	Upgrade bool            // else a reload
	Begin   func()          // called before the job that answers this; may be nil
	Done    func(err error) // called once, with the outcome of a job that began after the ask, or with why there was none. It must not wait
}

// asks are those without an answer.
type asks struct {
	reloads  []Ask // they wait for the next reload
	upgrades []Ask // at most one; it waits for a reload to end
	current  []Ask // they wait for the job that runs
}

// ask takes an ask.
func (s *supervisor) ask(a Ask) {
	switch {
	case s.wantStop:
		a.Done(ErrStopping)
	case s.running == drain:
		a.Done(ErrTakenOver)
	case s.onTrial():
		if a.Upgrade {
			s.refuseUpgrade(ErrOnTrial)
		}
		a.Done(ErrOnTrial)
	case !a.Upgrade:
		s.asks.reloads, s.wantReload = append(s.asks.reloads, a), true
	default:
		if err := s.busy(); err != nil {
			s.refuseUpgrade(err)
			a.Done(err)
			return
		}
		s.asks.upgrades, s.wantUpgrade = append(s.asks.upgrades, a), true
	}
}

// begin is the beginning of a job: it answers all that have asked for one like it up to now.
func (w *asks) begin(j job) {
	if j == upgrade {
		w.current, w.upgrades = w.upgrades, nil
	} else {
		w.current, w.reloads = w.reloads, nil
	}
	for _, a := range w.current {
		if a.Begin != nil {
			a.Begin()
		}
	}
}

// end tells those who waited for a job of its outcome.
func (w *asks) end(j job, err error) {
	if j != upgrade && j != reload {
		return
	}
	tell(w.current, err)
	w.current = nil
}

// refuse tells all that wait why they wait in vain.
func (w *asks) refuse(err error) {
	for _, list := range [][]Ask{w.current, w.upgrades, w.reloads} {
		tell(list, err)
	}
	*w = asks{}
}

func tell(list []Ask, err error) {
	for _, a := range list {
		a.Done(err)
	}
}
