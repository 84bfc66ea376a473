package h1

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// errGone is a client that has closed its side.
var errGone = errors.New("h1: the client has left")

// watch is who wants to know when the client of an exchange leaves. The sweeper looks.
type watch struct {
	on     atomic.Bool // somebody does
	mu     sync.Mutex  // also while f runs, so that who takes it back waits
	f      func(error)
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// onGone sets what runs when the client has left; nil takes it back, and waits for it if it runs.
func (w *watch) onGone(f func(error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.f = f
	w.on.Store(f != nil || w.ctx != nil)
}

// context gives the exchange's context.
func (w *watch) context() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithCancelCause(context.Background())
		w.on.Store(true)
	}
	return w.ctx
}

// look looks once.
func (w *watch) look(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.on.Load() {
		return
	}
	err := c.gone()
	if err == nil {
		return
	}
	w.on.Store(false)
	if w.cancel != nil {
		w.cancel(err)
	}
	if f := w.f; f != nil {
		w.f = nil
		f(err)
	}
}

// pause looks no more: in a tunnel the end of one side is not the end.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on.Store(false)
	w.f = nil
}

// end ends the watch of an exchange.
func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on.Store(false)
	if w.cancel != nil {
		w.cancel(context.Canceled)
	}
	w.f, w.ctx, w.cancel = nil, nil, nil
}

// gone asks the kernel whether the client has closed its side. Under TLS too: a client that ends says so by FIN.
func (c *Conn) gone() error {
	gone := error(nil)
	err := c.nc.Socket().Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 {
			gone = errGone
		}
	})
	return errors.Join(err, gone)
}
