package edge

import (
	"edge/conf"
	"edge/plan"
)

// PlanWith says what a reload that finds this configuration would change of what is in force, and what that costs those who are connected now. It
// changes nothing, and is safe for concurrent use. What the files hold that the configuration names, certificates and passwords for example, is not
// compared: only which they are.
func (s *Server) PlanWith(cfg *conf.Config) plan.Plan {
	snap := s.live.Load()
	return plan.Plan{File: cfg.File, Changes: plan.Diff(snap.conf, cfg, s.openNow(snap))}
}

// openNow is what is open.
func (s *Server) openNow(snap *Snapshot) plan.Live {
	live := plan.Live{Connections: map[string]int{}, Tunnels: s.tunnels.Count(), InFlight: map[string]int{}}
	for kind, n := range s.conns.Stats().Open {
		live.Connections[kind.Listener] += n
	}
	for _, t := range snap.upstreams.Stats() {
		live.InFlight[t.Upstream] += t.InFlight
	}
	return live
}
