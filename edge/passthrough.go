package edge

import (
	"edge/conf"
	"edge/edge/serve"
	"edge/edge/tunnel"
	"edge/edge/vhost"
)

// passthrough gives what relays the connections of a tls listener that are for others, by their names; nil where it has none.
func (snap *Snapshot) passthrough(l *conf.Listener, tunnels *tunnel.Registry) func(string) serve.Relay {
	if len(l.SNI) == 0 {
		return nil
	}
	var names vhost.Hosts[func(name string) serve.Relay]
	for _, sni := range l.SNI {
		names.Add(sni.Name, snap.relay(l.Protocol, sni.Proxy, tunnels))
	}
	return func(name string) serve.Relay {
		to, ok := names.Match([]byte(name))
		if !ok {
			return nil
		}
		return to(name)
	}
}

// announcers are the peers that must send a PROXY header; nil: a listener wants none.
func announcers(l *conf.Listener) *serve.Announcers {
	if !l.ProxyProtocol {
		return nil
	}
	return &serve.Announcers{From: l.ProxyFrom, Unix: l.ProxyUnix}
}
