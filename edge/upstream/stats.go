package upstream

import (
	"slices"
	"sync/atomic"
)

// counts are what a target has been asked for and how that went. They are kept for as long as an upstream of this name has a target of this
// name, whatever else of it changes.
type counts struct{ turns, failures atomic.Uint64 }

// keepCounts has u go on counting where the upstream of old that has its name was.
func (u *Upstream) keepCounts(old Set) {
	for _, was := range old {
		if was.name != u.name {
			continue
		}
		for _, t := range u.targets {
			for _, before := range was.targets {
				if before.Name == t.Name && before.Scheme == t.Scheme && before.H2 == t.H2 && !u.counts(before.counts) {
					t.counts = before.counts
				}
			}
		}
	}
}

// counts says whether a target of u counts there already: it may have two of one name.
func (u *Upstream) counts(c *counts) bool {
	return slices.ContainsFunc(u.targets, func(t *Target) bool { return t.counts == c })
}

// Stats are a target as it is now, and what it has done.
type Stats struct {
	Upstream, Target   string
	Requests, Failures uint64 // Turns, and those that it Failed
	InFlight           int
	Aside              bool // by exchanges that it failed, or by checks
}

// Stats gives each target of the set, in no order.
func (set Set) Stats() (list []Stats) {
	seen := map[*Upstream]bool{}
	for _, u := range set {
		if !seen[u] {
			seen[u] = true
			list = append(list, u.stats()...)
		}
	}
	return list
}

// Waiting is how many exchanges wait in the queue of each upstream that has one, by its name.
func (set Set) Waiting() map[string]int {
	waiting := map[string]int{}
	for _, u := range set {
		if u.queue.size > 0 {
			waiting[u.name] = u.Waiting()
		}
	}
	return waiting
}

func (u *Upstream) stats() (list []Stats) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.targets {
		list = append(list, Stats{
			Upstream: u.name, Target: t.Name, Requests: t.counts.turns.Load(), Failures: t.counts.failures.Load(), InFlight: t.InFlight(), Aside: t.aside || t.down,
		})
	}
	return list
}
