package edge

import (
	"slices"

	"edge/conf"
	"edge/plan"
)

// PlanWith says what a reload that finds this configuration would change of what is in force, and what that costs those who are connected now. It
// changes nothing, and is safe for concurrent use. Of the files that the configuration names it says that one of them holds something else, not which;
// where others are named it says that.
func (s *Server) PlanWith(cfg *conf.Config) plan.Plan {
	snap := s.live.Load()
	p := plan.Plan{File: cfg.File, Changes: plan.Diff(snap.conf, cfg, s.openNow(snap))}
	if otherContent(snap, cfg) {
		p.Changes = append(p.Changes, plan.Change{Kind: plan.Changes, Subject: "files", Cost: "certificates, keys, passwords or pages are read anew; an upstream whose ca has changed begins its connection pool anew"})
	}
	return p
}

// otherContent says whether the files that both name, if they name the same, hold something else now.
func otherContent(snap *Snapshot, cfg *conf.Config) bool {
	alike := *cfg
	alike.Sum = snap.conf.Sum // the text is the plan's business
	return slices.Equal(named(snap.conf), named(cfg)) && snap.inputs.given != lookAt(&alike).given
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
