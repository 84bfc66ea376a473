package conf

import (
	"net"
	"net/netip"
)

// metricsListener reads what only a listener of protocol metrics has, and warns if strangers can reach it.
func (l *loader) metricsListener(ln *Listener, pprof value) {
	ln.Pprof = pprof.boolean(false)
	if ln.refuses(pprof, ln.Protocol == Metrics, "metrics") || ln.Protocol != Metrics {
		return
	}
	for _, a := range ln.Addresses {
		if !a.local() {
			l.warn(a.Pos, "listener %q tells everybody who can reach %s how edge is doing: it has neither TLS nor login. Let it listen on 127.0.0.1, or on a unix socket",
				ln.Name, a.Address)
		}
	}
}

// local says whether only this machine reaches an address.
func (a Address) local() bool {
	if a.Network == "unix" {
		return true
	}
	host, _, _ := net.SplitHostPort(a.Address)
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
