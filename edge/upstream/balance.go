package upstream

import "slices"

// Turn is a target for one exchange, which is in flight there until Done.
type Turn struct {
	*Target
	asProbe uint64 // it is the one exchange that is spent on a target that is aside; 0: it is not
}

// Pick gives the target to try next: none of tried, which have not taken the exchange. There is no Target where all were tried. Whoever gets
// one calls Done, once. Targets that are aside come last, the one whose time is over first before the others.
func (u *Upstream) Pick(tried []*Target) Turn {
	u.mu.Lock()
	defer u.mu.Unlock()
	best, at := (*Target)(nil), 0
	for i := range u.targets {
		n := (u.turn + i) % len(u.targets)
		if t := u.targets[n]; !slices.Contains(tried, t) && (best == nil || u.better(t, best)) {
			best, at = t, n
		}
	}
	if best == nil {
		return Turn{}
	}
	if len(tried) == 0 { // a second try takes nobody's turn: of two targets the same one would else be first each time
		u.turn = (at + 1) % len(u.targets)
	}
	best.inFlight.Add(1)
	best.counts.turns.Add(1)
	turn := Turn{Target: best}
	if best.aside && best.probe == 0 {
		u.probes++
		turn.asProbe, best.probe = u.probes, u.probes
	}
	return turn
}

// better says whether t comes before best, which is before it in turn. u.mu is held.
func (u *Upstream) better(t, best *Target) bool {
	switch ready := t.ready(); {
	case ready != best.ready():
		return ready
	case !ready:
		return t.until.Before(best.until)
	}
	return u.least && t.inFlight.Load() < best.inFlight.Load()
}

// Done ends the exchange.
func (t Turn) Done() {
	t.inFlight.Add(-1)
	if t.asProbe != 0 {
		t.upstream.probed(t)
	}
}

// probed lets another exchange be spent on a target that is still aside.
func (u *Upstream) probed(t Turn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t.probe == t.asProbe { // else it was back meanwhile
		t.probe = 0
	}
}

// InFlight is how many exchanges with the target have begun and not ended: requests with their answers, and tunnels.
func (t *Target) InFlight() int { return int(t.inFlight.Load()) }

// Targets are the upstream's targets, in the order of the configuration. They are not to be changed.
func (u *Upstream) Targets() []*Target { return u.targets }
