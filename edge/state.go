package edge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strings"

	"edge/edge/metrics"
	"edge/edge/wire"
)

// phase is what the process is at.
type phase int32

const (
	serving phase = iota
	draining
	stopping
)

func (p phase) String() string { return [...]string{"serving", "draining", "stopping"}[p] }

// ownSite is what a metrics listener serves: it answers for edge itself.
func (s *Server) ownSite(withPprof bool) wire.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(s.gather, s.log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", s.ready)
	if withPprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return wire.HTTP(mux)
}

// ready says whether new work should come here.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	switch p := phase(s.phase.Load()); p {
	case serving:
		say(w, http.StatusOK, "ready")
	default:
		say(w, http.StatusServiceUnavailable, p.String())
	}
}

func say(w http.ResponseWriter, status int, what string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, what+"\n")
}

// look sees how the process is doing.
func (s *Server) look() metrics.State {
	snap := s.live.Load()
	st := metrics.State{
		Version: s.Version, Generation: s.generation, Draining: phase(s.phase.Load()) != serving, Sites: snap.counters,
		Reloads: s.reloads.get(), Upgrades: s.upgrades.get(), LogWritten: s.logged.Written.Load(), LogDropped: s.logged.Dropped.Load(),
	}
	s.lookAtConnections(snap, &st)
	st.Waiting = snap.upstreams.Waiting()
	for _, t := range snap.upstreams.Stats() {
		st.Targets = append(st.Targets, metrics.Target{
			Upstream: t.Upstream, Name: t.Target, Requests: t.Requests, Failures: t.Failures, InFlight: t.InFlight, Aside: t.Aside,
		})
	}
	for _, leaf := range snap.certs.Leaves() {
		st.Certificates = append(st.Certificates, metrics.Certificate{Name: leafName(leaf), Serial: fmt.Sprintf("%x", leaf.SerialNumber), NotAfter: leaf.NotAfter})
	}
	return st
}

// leafName is what a certificate is called by.
func leafName(leaf *x509.Certificate) string {
	switch {
	case len(leaf.DNSNames) > 0:
		return leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		return leaf.IPAddresses[0].String()
	}
	return strings.ToValidUTF8(leaf.Subject.CommonName, "?")
}

// lookAtConnections sees what is open. Of listeners that are gone it tells what is still open there, and no counters.
func (s *Server) lookAtConnections(snap *Snapshot, st *metrics.State) {
	conns := s.conns.Stats()
	for name := range snap.listeners {
		st.Listeners = append(st.Listeners, metrics.Listener{Name: name, Accepted: conns.Accepted[name], InFlight: conns.InFlight[name]})
	}
	for kind, n := range conns.Open {
		st.Connections = append(st.Connections, metrics.Connections{Listener: kind.Listener, Protocol: kind.Protocol, State: kind.State, Open: n})
	}
	for h, n := range conns.Handshakes {
		version := strings.TrimPrefix(tls.VersionName(h.Version), "TLS ")
		st.Handshakes = append(st.Handshakes, metrics.Handshakes{Version: version, Resumed: h.Resumed, Count: n})
	}
	st.FailedHandshakes = conns.FailedHandshakes
	tunnels := map[[2]string]int{}
	for _, t := range s.tunnels.List() {
		tunnels[[2]string{t.Listener, string(t.Kind)}]++
	}
	for of, n := range tunnels {
		st.Tunnels = append(st.Tunnels, metrics.Tunnels{Listener: of[0], Kind: of[1], Open: n})
	}
}
