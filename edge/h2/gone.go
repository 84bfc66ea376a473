package h2

import (
	"context"
	"sync"
)

// watch is who wants to know when the client of a stream leaves.
type watch struct {
	mu     sync.Mutex // also while f runs, so that who takes it back waits
	f      func(error)
	err    error // the client has left
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// onGone sets what runs when the client has left; nil takes it back, and waits for it if it runs.
func (w *watch) onGone(f func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f = f; w.err != nil {
		w.run()
	}
}

func (w *watch) run() {
	if f := w.f; f != nil {
		w.f = nil
		f(w.err)
	}
}

// tell says that the client has left.
func (w *watch) tell(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = err
	if w.cancel != nil {
		w.cancel(err)
	}
	w.run()
}

// context gives the exchange's context.
func (w *watch) context() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithCancelCause(context.Background())
		if w.err != nil {
			w.cancel(w.err)
		}
	}
	return w.ctx
}

// end ends the watch of an exchange.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil {
		w.cancel(context.Canceled)
	}
	w.f, w.ctx, w.cancel = nil, nil, nil
}

// Context ends when the client has left, or with the exchange.
func (a *answer) Context() context.Context { return a.s.gone.context() }
