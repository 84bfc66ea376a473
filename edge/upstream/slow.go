package upstream

import (
	"slices"
	"time"
)

// A target's weight, of which its share is made. The least is more than none, or one that comes back would never be asked.
const (
	fullWeight  = 1000
	leastWeight = 10
)

// warmth is how long a target has taken part again. The upstream's mu guards it.
type warmth struct {
	since   time.Time // it came back, or was new; zero: it has always been there
	current int       // what it is owed of its share
}

// warmUp gives a target a small share, which grows. u.mu is held.
func (u *Upstream) warmUp(t *Target) { u.warmSince(t, time.Now()) }

// warmSince is warmUp for a target whose share has grown since then. u.mu is held.
func (u *Upstream) warmSince(t *Target, since time.Time) {
	if u.slowStart > 0 {
		t.since = since
		if full := since.Add(u.slowStart); full.After(u.warm) {
			u.warm = full
		}
	}
}

// warming says whether the share of some target still grows. u.mu is held.
func (u *Upstream) warming() bool {
	if u.warm.IsZero() || time.Now().Before(u.warm) {
		return !u.warm.IsZero()
	}
	u.warm = time.Time{}
	for _, t := range u.targets {
		t.warmth = warmth{}
	}
	return false
}

// weight grows from the target's first moment to the end of its slow start.
func (t *Target) weight(now time.Time) int {
	slow, passed := t.upstream.slowStart, now.Sub(t.since)
	if t.since.IsZero() || passed >= slow {
		return fullWeight
	}
	return max(leastWeight, int(fullWeight*passed/slow))
}

// weighted gives, of the targets that are ready and have room, the one that is owed most of its share: the turns of each are spread evenly
// among those of the others (nginx's smooth weighted round robin). Where the fewest in flight come first, these are counted by weight, and
// only the targets that have as few take part. u.mu is held.
func (u *Upstream) weighted(tried []*Target) (best *Target, at int) {
	now, total := time.Now(), 0
	for i, t := range u.targets {
		if !u.weighs(t, tried) || u.least && u.loaded(t, tried, now) {
			continue
		}
		weight := t.weight(now)
		t.current += weight
		total += weight
		if best == nil || t.current > best.current {
			best, at = t, i
		}
	}
	best.current -= total
	return best, at
}

func (u *Upstream) weighs(t *Target, tried []*Target) bool {
	return u.rank(t) == readyWithRoom && !slices.Contains(tried, t)
}

// loaded says whether another target has less to do than t, by weight.
func (u *Upstream) loaded(t *Target, tried []*Target, now time.Time) bool {
	mine := t.inFlight.Load()
	for _, other := range u.targets {
		if u.weighs(other, tried) && other.inFlight.Load()*int64(t.weight(now)) < mine*int64(other.weight(now)) {
			return true
		}
	}
	return false
}
