package serve

import (
	"crypto/tls"
	"sync/atomic"
)

// Kind is what connections are counted by.
type Kind struct {
	Listener string
	Protocol string // http/1.1, h2, tcp or tls
	State    string // handshake (TLS, and what else comes first), active, idle, closing (our FIN is out), tunnel (of a tcp or tls listener)
}

// Stats are the connections as they are now, and what they were.
type Stats struct {
	Open     map[Kind]int
	Accepted map[string]uint64 // by listener
	Account  Account
	InFlight map[string]int64 // requests that handlers are at, by listener

	Handshakes       map[Handshake]uint64
	FailedHandshakes uint64
}

// Handshake is what handshakes with clients are counted by.
type Handshake struct {
	Version uint16
	Resumed bool
}

// handshakes are how handshakes went.
type handshakes struct {
	ok     [2][2]atomic.Uint64 // TLS 1.2 and 1.3, not resumed and resumed
	failed atomic.Uint64
}

func (h *handshakes) count(state *tls.ConnectionState) {
	version, resumed := 0, 0
	if state.Version == tls.VersionTLS13 {
		version = 1
	}
	if state.DidResume {
		resumed = 1
	}
	h.ok[version][resumed].Add(1)
}

// Stats looks at all connections.
func (s *Server) Stats() Stats {
	st := Stats{Open: map[Kind]int{}, Accepted: map[string]uint64{}, InFlight: map[string]int64{}, Handshakes: map[Handshake]uint64{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Account = s.account.at(len(s.conns))
	for listener, n := range s.accepted {
		st.Accepted[listener] = n
	}
	for c := range s.conns {
		st.Open[c.kind()]++
		if n := c.open.Load(); n > 0 {
			st.InFlight[c.settings.Listener] += n
		}
	}
	for v, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for r := range s.handshakes.ok[v] {
			st.Handshakes[Handshake{version, r == 1}] = s.handshakes.ok[v][r].Load()
		}
	}
	st.FailedHandshakes = s.handshakes.failed.Load()
	return st
}

func (c *Conn) kind() Kind {
	k := Kind{Listener: c.settings.Listener, Protocol: "http/1.1", State: "active"}
	state, begun, secure := c.state.Load(), c.begun.Load(), c.settings.TLS != nil || c.settings.Passthrough != nil
	switch {
	case !begun && secure:
		k.Protocol, k.State = "tls", "handshake"
	case !begun && c.settings.Handler == nil:
		k.Protocol, k.State = "tcp", "handshake"
	case !begun:
		k.State = "handshake"
	case c.settings.Handler == nil && secure:
		k.Protocol, k.State = "tls", "tunnel"
	case c.settings.Handler == nil:
		k.Protocol, k.State = "tcp", "tunnel"
	case c.multi.Load():
		k.Protocol = "h2"
		if c.open.Load() == 0 {
			k.State = "idle"
		}
	case state == idle:
		k.State = "idle"
	}
	if state == deaf {
		k.State = "closing"
	}
	return k
}
