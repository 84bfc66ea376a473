package h1

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errGone is a client that has closed its side.
var errGone = errors.New("h1: the client has left")

// watch looks, once a second, whether the client of an exchange is still there, if anybody wants to know.
type watch struct {
	mu     sync.Mutex
	f      func(error)
	timer  *time.Timer
	ctx    context.Context
	cancel context.CancelCauseFunc
	calls  sync.WaitGroup
}

// Gone asks the kernel whether the client has closed its side. Under TLS too: a client that ends says so by FIN.
func (a *answer) Gone() error {
	sc, ok := a.c.nc.(interface{ Socket() syscall.Conn })
	if !ok {
		return nil
	}
	rc, err := sc.Socket().SyscallConn()
	if err != nil {
		return err
	}
	gone := error(nil)
	err = rc.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(p, 0); err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 {
			gone = errGone
		}
	})
	return errors.Join(err, gone)
}

// onGone sets what runs when the client has left; nil takes it back, and waits for it if it runs.
func (w *watch) onGone(a *answer, f func(error)) {
	w.mu.Lock()
	w.f = f
	if f != nil {
		w.start(a)
	}
	w.mu.Unlock()
	if f == nil {
		w.calls.Wait()
	}
}

// start begins to look. w.mu is held.
func (w *watch) start(a *answer) {
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Second, func() { w.look(a) })
	}
}

// look looks once, and again a second later.
func (w *watch) look(a *answer) {
	w.mu.Lock()
	if w.timer == nil { // over
		w.mu.Unlock()
		return
	}
	err := a.Gone()
	if err == nil {
		w.timer.Reset(time.Second)
		w.mu.Unlock()
		return
	}
	f, cancel := w.f, w.cancel
	w.f = nil
	w.calls.Add(1)
	defer w.calls.Done()
	w.mu.Unlock()
	if cancel != nil {
		cancel(err)
	}
	if f != nil {
		f(err)
	}
}

// context gives the exchange's context.
func (w *watch) context(a *answer) context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithCancelCause(context.Background())
		w.start(a)
	}
	return w.ctx
}

// end ends the watch of an exchange.
func (w *watch) end() {
	w.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if w.cancel != nil {
		w.cancel(context.Canceled)
	}
	w.f, w.ctx, w.cancel = nil, nil, nil
	w.mu.Unlock()
	w.calls.Wait()
}
