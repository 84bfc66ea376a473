package upstream

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"edge/edge/h2"
)

// health is what exchanges and checks have told of a target. The upstream's mu guards all but ill.
type health struct {
	checked
	ill      atomic.Bool // there is something here that an answer ends
	failures []time.Time // the last ones, at most max_fails, since the last answer
	aside    bool        // others come first until the first answer
	until    time.Time   // of aside: then an exchange may be spent on it
	probe    uint64      // the Turn that is on it while it is aside; 0: none
}

// ready says whether the target takes part in the balance. A target that is aside does once its time is over, for one exchange at a time; one
// that checks have set aside does not, until they take it back.
func (h *health) ready() bool {
	return !h.down && (!h.aside || h.probe == 0 && !time.Now().Before(h.until))
}

// Failed notes that the target was not reached, or gave no valid answer. max_fails of these in a row within fail_timeout set it aside for
// fail_timeout, and so does each one while it is. What a client, or its request alone, may have caused is not to be noted.
func (t *Target) Failed(why error) {
	u := t.upstream
	if ended, is := errors.AsType[*h2.EndedError](why); ours(why) || isNoted(why) || is && !ended.First() { // a shared connection ends once
		return
	}
	t.counts.failures.Add(1)
	if u.maxFails == 0 {
		return
	}
	if u.noteFailure(t) {
		u.log.Warn("target set aside", "upstream", u.name, "target", t.Name, "for", u.failTimeout, "error", why)
	}
}

// ours says whether a failure tells of this process, or this machine, and not of a target: files and memory are lacking.
func ours(why error) bool {
	for _, want := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS} {
		if errors.Is(why, want) {
			return true
		}
	}
	return false
}

// noteFailure says whether the failure set the target aside, which was not before.
func (u *Upstream) noteFailure(t *Target) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	t.ill.Store(true)
	if len(t.failures) == u.maxFails {
		t.failures = append(t.failures[:0], t.failures[1:]...)
	}
	t.failures = append(t.failures, now)
	was := t.aside
	t.aside = was || len(t.failures) == u.maxFails && now.Sub(t.failures[0]) <= u.failTimeout
	if t.aside {
		t.until = now.Add(u.failTimeout)
		u.admit() // it may have been the last one that was not aside, but full
	}
	return t.aside && !was
}

// Answered notes that the target took a tunnel's connection, or gave a valid answer's head: all is well again.
func (t *Target) Answered() {
	if t.ill.Load() && t.upstream.noteAnswer(t) {
		t.upstream.log.Info("target is back", "upstream", t.upstream.name, "target", t.Name)
	}
}

// noteAnswer says whether the target was aside.
func (u *Upstream) noteAnswer(t *Target) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := t.aside
	t.ill.Store(false)
	t.failures, t.aside, t.probe = t.failures[:0], false, 0
	if was && !t.down {
		u.warmUp(t)
		u.admit()
	}
	return was
}
