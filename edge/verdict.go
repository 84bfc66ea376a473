package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"edge/conf"
)

// Verdict is what has come of a reload or an upgrade.
type Verdict struct {
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`
	What     string    `json:"what"`               // what has changed, or why nothing has
	Mistakes string    `json:"mistakes,omitempty"` // of the configuration, each with its line and a caret
	Seconds  float64   `json:"seconds"`            // how long it took
	Heir     int       `json:"heir,omitempty"`     // the process that has taken over, after an upgrade
}

// maxMistakes bounds what a verdict shows of mistakes, in bytes.
const maxMistakes = 256 << 10

// verdicts keeps the last verdict on one kind of change. It is safe for concurrent use.
type verdicts struct {
	mu   sync.Mutex
	last *Verdict
	what string // what the change that runs has to say for itself
}

// of gives f, whose outcomes it keeps.
func (v *verdicts) of(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		begin := time.Now()
		v.say("")
		err := f(ctx)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.last = judge(v.what, err)
		v.last.Seconds = time.Since(begin).Seconds()
		return err
	}
}

// say notes what a change has done.
func (v *verdicts) say(what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.what = what
}

// get gives the last verdict; nil: there is none. Nobody changes it.
func (v *verdicts) get() *Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last
}

// judge makes a verdict.
func judge(what string, err error) *Verdict {
	if err == nil {
		return &Verdict{At: time.Now(), OK: true, What: what}
	}
	v := &Verdict{At: time.Now(), What: err.Error()}
	var list conf.Errors
	var one *conf.Error
	switch {
	case errors.As(err, &list):
		v.Mistakes = list.Explain()
	case errors.As(err, &one):
		v.Mistakes = one.Explain()
	}
	if len(v.Mistakes) > maxMistakes {
		v.Mistakes = v.Mistakes[:maxMistakes] + "\n… and more"
	}
	return v
}

// refused is a configuration that has mistakes. The log has a line for each; this counts them.
type refused struct {
	file string
	list conf.Errors
}

func (r refused) Error() string { return fmt.Sprintf("%s has mistakes: %d", r.file, len(r.list)) }

func (r refused) Unwrap() error { return r.list }
