package plan

import (
	"fmt"
	"slices"
	"strings"

	"edge/conf"
)

var (
	// A connection is served by the serve.Settings of its accept (edge/compile.go, settle; edge/edge.go, start).
	later = cost{words: "holds for new connections; those that are open keep what they began with"}
	// A handshake is made by what is in force; a request whose host asks something else of TLS than its connection was made with gets 421
	// (edge/policy.go).
	handshakes = cost{words: "holds for new handshakes; connections that were made under another policy are told so with 421, and their clients open new ones"}
)

// listeners compares the listeners by name. One that only its name tells apart is the same: sockets are kept by network and address, and the
// name is a label (listeners/listeners.go, Table.Draft).
func (d *differ) listeners() {
	for _, p := range pair(d.old.Listeners, d.new.Listeners, func(l *conf.Listener) string { return l.Name }, firstAddress) {
		was, is := p[0], p[1]
		switch {
		case was == nil:
			d.add(Adds, "listener "+is.Name, []Key{{"address", "", addresses(is)}}, d.opens(is, nil))
		case is == nil:
			d.add(Removes, "listener "+was.Name, []Key{{"address", addresses(was), ""}}, d.closes(was, nil))
		default:
			d.compare("listener "+was.Name, d.listenerFacts(was, is, was), d.listenerFacts(was, is, is))
		}
	}
}

func firstAddress(l *conf.Listener) string { return socket(l.Addresses[0]) }

// socket is what a socket is kept by (listeners.Spec.key).
func socket(a conf.Address) string {
	if a.Network == "unix" {
		return "unix:" + a.Address
	}
	return a.Address
}

func addresses(l *conf.Listener) string { return list(l.Addresses, socket) }

// without gives the addresses of l that no listener of the others has.
func without(l *conf.Listener, others []*conf.Listener) (list []string) {
	for _, a := range l.Addresses {
		if !slices.ContainsFunc(others, func(o *conf.Listener) bool {
			return slices.ContainsFunc(o.Addresses, func(b conf.Address) bool { return socket(a) == socket(b) })
		}) {
			list = append(list, socket(a))
		}
	}
	return list
}

// opens is the cost of the addresses that a listener has come to have. was is nil where it is new.
func (d *differ) opens(is, was *conf.Listener) cost {
	fresh := without(is, d.old.Listeners)
	if len(fresh) == 0 {
		return cost{words: "the socket is kept: only its listener is another one"}
	}
	if was == nil {
		return none
	}
	return cost{words: strings.Join(fresh, ", ") + " opens"}
}

// closes is the cost of the addresses that are left out. A closed socket's connections stay: those of tcp and tls until they end, requests end on the last
// Snapshot that had the socket, and their connections are told to (edge/edge.go, apply; edge/snapshot.go, retire). is is nil where the
// listener is gone; only then are all its connections those of the closed sockets.
func (d *differ) closes(was, is *conf.Listener) cost {
	gone := without(was, d.new.Listeners)
	switch {
	case len(gone) == 0:
		return cost{words: "the socket is kept: only its listener is another one"}
	case is != nil:
		return cost{words: strings.Join(gone, ", ") + " closes; what is open there stays until it ends"}
	}
	return cost{words: strings.Join(append([]string{"closes"}, d.leaving(was)...), "; ")}
}

// leaving says what comes of a listener's connections if it has no socket for them any more.
func (d *differ) leaving(l *conf.Listener) (words []string) {
	tunnels := d.live.Tunnels[l.Name]
	if n := d.live.Connections[l.Name] - tunnels; n > 0 && l.Protocol.HTTP() {
		words = append(words, fmt.Sprintf("%s %s told to end", many(n, "open connection"), verb(n, "is", "are")))
	}
	if tunnels > 0 {
		words = append(words, fmt.Sprintf("%s %s until %s", many(tunnels, "tunnel"), verb(tunnels, "stays", "stay"), verb(tunnels, "it ends", "they end")))
	}
	return words
}

// listenerFacts are what l, which is was or is, says.
func (d *differ) listenerFacts(was, is, l *conf.Listener) []fact {
	t := l.Timeouts
	facts := []fact{
		{"name", l.Name, cost{words: "the socket is kept: a name is a label"}}, // and so is its limit
		{"address", addresses(l), d.moved(was, is)},
		{"protocol", string(l.Protocol), d.speaks(was)},
		{"max_connections", l.MaxConnections, cost{words: "its connections are counted from 0 again: those that are open do not count", loses: true}}, // edge/compile.go, limit
		{"max_header", l.MaxHeader, later},
		{"timeouts.header", t.Header, later}, {"timeouts.body", t.Body, later}, {"timeouts.write", t.Write, later},
		{"timeouts.idle", t.Idle, later}, {"timeouts.tunnel", t.Tunnel, later},
		{"trusted_proxies", trusted(l.TrustedProxies, l.TrustsUnix), none},
		{"redirect_to", of(l.RedirectTo, func(to *conf.Listener) string { return to.Name }), none},
		{"proxy", of(l.Proxy, upstreamName), later},
		{"sni", list(l.SNI, func(s conf.SNI) string { return s.Name + " = " + of(s.Proxy, upstreamName) }), later},
		{"keepalive", l.KeepAlive, later},
		{"mode", fmt.Sprintf("%04o", l.SocketMode), cost{words: "holds for who connects from now on"}}, // listeners/socket.go, setMode
		{"proxy_protocol", announcers(l), later},
		{"pprof", l.Pprof, none},
	}
	return append(facts, tlsFacts(l.TLS)...)
}

// moved is the cost of other addresses.
func (d *differ) moved(was, is *conf.Listener) cost {
	var list []cost
	if len(without(is, d.old.Listeners)) > 0 {
		list = append(list, d.opens(is, was))
	}
	if len(without(was, d.new.Listeners)) > 0 {
		list = append(list, d.closes(was, is))
	}
	return costs(list)
}

// speaks is the cost of another protocol: the socket stays, and the connections of the old one end as those of a closed socket do.
func (d *differ) speaks(was *conf.Listener) cost {
	return cost{words: strings.Join(append([]string{"the socket is kept"}, d.leaving(was)...), "; ")}
}

// tlsFacts are what a policy says; nil: nothing.
func tlsFacts(p *conf.TLSPolicy) []fact {
	if p == nil {
		p = new(conf.TLSPolicy)
	}
	return []fact{
		{"tls.min_version", p.MinVersion, handshakes}, {"tls.client_auth", string(p.ClientAuth), handshakes},
		{"tls.client_ca", p.ClientCA, handshakes}, {"tls.alpn", p.ALPN, handshakes},
	}
}

// trusted gives who is believed.
func trusted(ps conf.Prefixes, unix bool) string {
	s := text(ps)
	if unix {
		s = strings.TrimPrefix(s+", unix", ", ")
	}
	return s
}

func announcers(l *conf.Listener) string {
	if !l.ProxyProtocol {
		return ""
	}
	return trusted(l.ProxyFrom, l.ProxyUnix)
}

func upstreamName(u *conf.Upstream) string { return u.Name }
