package upstream

import "slices"

// Turn is a target for one exchange, which is in flight there until Done.
type Turn struct {
	*Target
}

// Pick gives the target to try next: none of tried, which have not taken the exchange. There is no Target where all were tried. Whoever gets
// one calls Done, once.
func (u *Upstream) Pick(tried []*Target) Turn {
	u.mu.Lock()
	defer u.mu.Unlock()
	var best *Target
	for i := range u.targets {
		t := u.targets[(u.turn+i)%len(u.targets)]
		if !slices.Contains(tried, t) && (best == nil || u.better(t, best)) {
			best = t
		}
	}
	if best == nil {
		return Turn{}
	}
	if len(tried) == 0 { // a second try takes nobody's turn: two targets would else get the same one's each time
		u.turn = (u.turn + 1) % len(u.targets)
	}
	best.inFlight.Add(1)
	return Turn{best}
}

// better says whether t comes before best, which is before it in turn. u.mu is held.
func (u *Upstream) better(t, best *Target) bool {
	return u.least && t.inFlight.Load() < best.inFlight.Load()
}

// Done ends the exchange.
func (t Turn) Done() { t.inFlight.Add(-1) }

// InFlight is how many exchanges with the target have begun and not ended: requests with their answers, and tunnels.
func (t *Target) InFlight() int { return int(t.inFlight.Load()) }

// Targets are the upstream's targets, in the order of the configuration. They are not to be changed.
func (u *Upstream) Targets() []*Target { return u.targets }
