package listeners

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of how long an accept loop waits before it tries again.
const (
	leastWait = 5 * time.Millisecond
	mostWait  = time.Second
)

// tellEvery is how seldom a want is told of.
const tellEvery = time.Second

// patience is how long clients wait for a want to end before they are sent away.
const patience = time.Second

// Want is what a socket's accept loop lacks: files or memory.
type Want struct {
	Err      error
	Failures int // of accept, since it was told of last
	Refused  int // clients that were sent away since
}

// want is what an accept loop knows of a time in which it cannot accept. Only the loop uses it.
type want struct {
	since time.Time     // zero: there is no want
	wait  time.Duration // before the next attempt
	now   Want
	told  time.Time
	spare int // a descriptor for nothing but to be closed; -1: none
}

// newWant takes a spare descriptor, if there is one.
func newWant() want {
	w := want{spare: -1}
	w.refill()
	return w
}

// refill takes the spare again. It is an eventfd: one needs no file system, and costs the least.
func (w *want) refill() {
	if w.spare >= 0 {
		return
	}
	if fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		w.spare = fd
	}
}

// release gives the spare back.
func (w *want) release() {
	if w.spare >= 0 {
		unix.Close(w.spare)
		w.spare = -1
	}
}

// over ends a want.
func (w *want) over() {
	w.since, w.wait = time.Time{}, 0
	w.refill()
}

// starve is what the accept loop does in place of accepting, when it lacks what it takes. Clients wait in the kernel, so that a short want costs
// nobody anything. Those who are there when it has lasted for longer are sent away: an end is an answer, and they may try elsewhere; silence
// is none.
func (s *Socket) starve(err error) {
	w, now := &s.want, time.Now()
	if w.since.IsZero() {
		w.since = now
	}
	w.wait = min(max(2*w.wait, leastWait), mostWait)
	w.now.Err = err
	w.now.Failures++
	if now.Sub(w.since) >= s.patience && (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)) {
		w.now.Refused += s.sendAway()
	}
	if now.Sub(w.told) >= tellEvery {
		if s.onWant != nil {
			s.onWant(w.now)
		}
		w.now, w.told = Want{}, now
	}
	select {
	case <-time.After(w.wait):
	case <-s.stopping:
	}
}

// sendAway closes the connections that wait, one after the other in the spare's place.
func (s *Socket) sendAway() (n int) {
	s.want.release()
	defer s.want.refill()
	s.control(func(fd int) {
		for n < mostQueued {
			nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err == unix.EINTR || err == unix.ECONNABORTED {
				continue
			}
			if err != nil { // there are no more, or somebody else was faster
				return
			}
			unix.Close(nfd)
			n++
		}
	})
	return n
}
