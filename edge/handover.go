package edge

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"edge/conf"
	"edge/edge/ratelimit"
	"edge/reload/upgrade"
)

// memory is what a process hands over to the one that takes its place, beside files. Programs of other versions read it: a field that is not known is left
// out, and one that is missing starts empty.
type memory struct {
	Rates []rateMemory `json:"rates,omitempty"`
}

type rateMemory struct {
	Vhost    string             `json:"vhost"`
	Path     string             `json:"path"`
	Requests int                `json:"requests"`
	Per      time.Duration      `json:"per"`
	Burst    int                `json:"burst"`
	Buckets  []ratelimit.Bucket `json:"buckets"`
}

// maxBuckets is how many buckets are handed over at most: as many as fit into upgrade.MaxState beside the names.
const maxBuckets = 12_000

// remember gives what is to be handed over.
func (s *Server) remember() ([]byte, error) {
	var m memory
	left, rates := maxBuckets, s.live.Load().rates
	byPlace := func(a, b rate) int { return strings.Compare(a.vhost+a.path, b.vhost+b.path) }
	for _, k := range slices.SortedFunc(maps.Keys(rates), byPlace) {
		list := rates[k].Buckets(left)
		left -= len(list)
		if len(list) > 0 {
			m.Rates = append(m.Rates, rateMemory{k.vhost, k.path, k.spec.Requests, k.spec.Per, k.spec.Burst, list})
		}
	}
	return json.Marshal(m)
}

// handOverMemory gives the new process what this one remembers. What it does not get it starts without: that is no reason to end an upgrade.
func (s *Server) handOverMemory(child *upgrade.Child) error {
	text, err := s.remember()
	if err != nil || len(text) > upgrade.MaxState {
		s.log.Warn("the rate limits begin anew in the new process", "bytes", len(text), "error", err)
		return nil
	}
	return child.HandOver(text)
}

// recall takes what the process before has handed over. A limit that is another now begins anew.
func (s *Server) recall(text []byte) {
	if text == nil {
		return
	}
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		s.log.Warn("what the process before has handed over cannot be read: the rate limits begin anew", "error", err)
		return
	}
	for _, r := range m.Rates {
		k := rate{r.Vhost, r.Path, conf.RateLimit{Requests: r.Requests, Per: r.Per, Burst: r.Burst}}
		if l := s.live.Load().rates[k]; l != nil {
			l.Restore(r.Buckets)
		}
	}
}
