package edge

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/vhost"
	"edge/edge/wire"
	"edge/reload/upgrade"
)

// health counts what this process itself is to blame for. It is safe for concurrent use.
type health struct {
	failed, panics atomic.Uint64
}

// note counts a request that has ended. 500 is what edge says of itself; 502, 503 and 504 tell of the servers behind it, and a 500 of theirs is no
// mistake of ours.
func (h *health) note(r *record.Record) {
	if r.Status == http.StatusInternalServerError && r.Answered == 0 {
		h.failed.Add(1)
	}
}

// healthNow is how this process has done since it started. Requests of virtual hosts that are gone are not counted any more.
func (s *Server) healthNow() upgrade.Health {
	h := upgrade.Health{Failed: s.health.failed.Load(), Panics: s.health.panics.Load() + s.conns.Panics()}
	for _, site := range s.live.Load().counters {
		h.Requests += site.Requests()
	}
	return h
}

// When a new process is taken back in its probation. The bounds are wide: a mistake that the old process makes as often is no reason to keep it.
const (
	minPanics   = 3  // fewer may be one client's doing
	minFailed   = 10 // fewer tell nothing
	minFailedOf = 10 // and one of so many requests
	worseBy     = 10 // and so many times the share of before
)

// worseThan judges a new process by how the old one did.
func worseThan(before upgrade.Health) func(now upgrade.Health) error {
	return func(now upgrade.Health) error {
		switch {
		case now.Panics >= minPanics && muchWorse(now.Panics, now.Requests, before.Panics, before.Requests):
			return fmt.Errorf("the new process has panicked %d times in %d requests, the old one %d times in %d",
				now.Panics, now.Requests, before.Panics, before.Requests)
		case now.Failed >= minFailed && now.Failed >= now.Requests/minFailedOf && muchWorse(now.Failed, now.Requests, before.Failed, before.Requests):
			return fmt.Errorf("the new process has answered %d of %d requests with a 500 of its own, the old one %d of %d",
				now.Failed, now.Requests, before.Failed, before.Requests)
		}
		return nil
	}
}

// muchWorse says whether bad of all is worseBy times the share of before. Before the first request there was nothing bad.
func muchWorse(bad, all, badBefore, allBefore uint64) bool {
	all, allBefore = max(all, 1), max(allBefore, 1)
	return float64(bad)/float64(all) > worseBy*float64(badBefore)/float64(allBefore)
}

// panicking is serve.FaultPanics.
func panicking() (paths vhost.Paths[*route]) {
	paths.Add("/", &route{path: "/", access: conf.Access{Public: true}, handler: wire.HandlerFunc(func(*wire.Exchange) { panic("a mistake made on purpose") })})
	return paths
}
