package upstream

import "slices"

// Turn is a target for one exchange, which is in flight there until Done.
type Turn struct {
	*Target
	asProbe uint64 // it is the one exchange that is spent on a target that is aside; 0: it is not
}

// pick is Take for one that does not wait: full says that there is a target, once it has room. u.mu is held.
func (u *Upstream) pick(tried []*Target, stick *Target) (turn Turn, full bool) {
	best, at := u.choose(tried, stick)
	if best == nil || u.full(best) {
		return Turn{}, best != nil
	}
	if len(tried) == 0 { // a second try takes nobody's turn: of two targets the same one would else be first each time
		u.turn = (at + 1) % len(u.targets)
		u.budget.request()
	}
	return u.begin(best), false
}

// choose gives the first target in turn that is as good as any, which may be full. u.mu is held.
func (u *Upstream) choose(tried []*Target, stick *Target) (best *Target, at int) {
	for i := range u.targets {
		n := (u.turn + i) % len(u.targets)
		if t := u.targets[n]; !slices.Contains(tried, t) && (best == nil || u.better(t, best)) {
			best, at = t, n
		}
	}
	switch {
	case best == nil:
	case stick != nil && stick.ready() && !slices.Contains(tried, stick) && (u.queue.size > 0 || !u.full(stick)):
		return stick, u.turn + len(u.targets) - 1 // it takes nobody's turn
	case u.warming() && u.rank(best) == readyWithRoom:
		return u.weighted(tried)
	}
	return best, at
}

// begin counts an exchange with a target. u.mu is held.
func (u *Upstream) begin(t *Target) Turn {
	t.inFlight.Add(1)
	t.counts.turns.Add(1)
	turn := Turn{Target: t}
	if t.aside && t.probe == 0 {
		u.probes++
		turn.asProbe, t.probe = u.probes, u.probes
	}
	return turn
}

// better says whether t comes before best, which is before it in turn. u.mu is held.
func (u *Upstream) better(t, best *Target) bool {
	switch rank, other := u.rank(t), u.rank(best); {
	case rank != other:
		return rank > other
	case rank < readyButFull && t.down != best.down:
		return best.down
	case rank < readyButFull:
		return t.until.Before(best.until)
	}
	return u.least && t.inFlight.Load() < best.inFlight.Load()
}

// The ranks of targets. One that is aside is not asked because the others are full: that would not help it.
const (
	asideAndFull = iota
	aside
	readyButFull
	readyWithRoom
)

// rank is a target's rank. u.mu is held.
func (u *Upstream) rank(t *Target) int {
	rank := aside
	if t.ready() {
		rank = readyWithRoom
	}
	if u.full(t) {
		rank--
	}
	return rank
}

// full says whether a target has all the exchanges that it may have at a time.
func (u *Upstream) full(t *Target) bool {
	return u.maxInFlight > 0 && t.inFlight.Load() >= u.maxInFlight
}

// Done ends the exchange.
func (t Turn) Done() {
	u := t.upstream
	t.inFlight.Add(-1)
	if t.asProbe == 0 && u.maxInFlight == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if t.asProbe != 0 && t.probe == t.asProbe { // else it was back meanwhile
		t.probe = 0 // another exchange may be spent on a target that is still aside
	}
	u.admit()
}

// InFlight is how many exchanges with the target have begun and not ended: requests with their answers, and tunnels.
func (t *Target) InFlight() int { return int(t.inFlight.Load()) }

// Targets are the upstream's targets, in the order of the configuration. They are not to be changed.
func (u *Upstream) Targets() []*Target { return u.targets }
