package edge

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"edge/conf"
	"edge/edge/wire"
	"edge/tlsconf"
)

// place is where a TLS policy holds: a virtual host on a listener, or, without one, a listener for all other names.
type place struct {
	listener *conf.Listener
	vhost    *conf.Vhost
}

// policies reads the TLS policy of every place that has one of its own. The error lists every mistake once.
func policies(cfg *conf.Config) (map[place]*tlsconf.Policy, error) {
	var files tlsconf.Policies
	var wrong conf.Errors
	found, told := map[place]*tlsconf.Policy{}, map[conf.Error]bool{}
	load := func(at place) {
		p, err := files.Load(at.listener.TLSPolicy(at.vhost))
		found[at] = p
		var list conf.Errors
		errors.As(err, &list)
		for _, mistake := range list {
			if !told[*mistake] { // on several listeners
				told[*mistake], wrong = true, append(wrong, mistake)
			}
		}
	}
	for _, l := range cfg.Listeners {
		if l.Protocol.TLS() {
			load(place{l, nil})
		}
	}
	for _, v := range cfg.Vhosts {
		for _, l := range v.Listeners {
			if l.Protocol.TLS() && v.TLS != nil {
				load(place{l, v})
			}
		}
	}
	if wrong != nil {
		return nil, wrong
	}
	return found, nil
}

// settings gives what handshakes for a virtual host on a listener are made under; nil: without TLS. Places that ask the same share it.
func (snap *Snapshot) settings(l *conf.Listener, v *conf.Vhost) *tlsconf.Settings {
	p := snap.policies[place{l, v}]
	if p == nil {
		p = snap.policies[place{l, nil}]
	}
	if p == nil {
		return nil
	}
	if snap.tls[p] == nil {
		snap.tls[p] = tlsconf.Server(snap.certs.Get, snap.tickets, p)
	}
	return snap.tls[p]
}

// handshake gives what a handshake for a name is made under. Who names nothing, or an address, asks for the address that it connected to.
func (l *listener) handshake(name string, local netip.Addr) *tlsconf.Settings {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || net.ParseIP(name) != nil {
		name = local.Unmap().WithZone("").String()
	}
	if site, ok := l.sites.Match([]byte(name)); ok {
		return site.tls
	}
	return l.tls
}

// handshake gives what a handshake is made under by the configuration in force: the one that the connection's requests will meet.
func (e *entry) handshake(hello *tls.ClientHelloInfo) (*tls.Config, tlsconf.ID) {
	var local netip.Addr
	if tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
		local = tcp.AddrPort().Addr()
	}
	s := e.listener(e.snapshot()).handshake(hello.ServerName, local)
	return s.For(hello), s.ID()
}

// wholeListener gives what all handshakes of a listener are made under.
func wholeListener(s *tlsconf.Settings) func(*tls.ClientHelloInfo) (*tls.Config, tlsconf.ID) {
	return func(hello *tls.ClientHelloInfo) (*tls.Config, tlsconf.ID) { return s.For(hello), s.ID() }
}

// on gives the site as it is on a listener, where it is v or, without one, has no policy of its own.
func (s *site) on(snap *Snapshot, l *conf.Listener, v *conf.Vhost) *site {
	on := *s
	if on.tls = snap.settings(l, v); on.tls != nil {
		on.policy = on.tls.ID()
	}
	return &on
}

// misdirected answers a request for a site of another policy than that of its connection. One that a reload has left behind, so that it
// is not even good for the name that it was made for, ends: its client would come back by it for ever.
func (l *listener) misdirected(x *wire.Exchange) {
	c := x.Conn
	if c.TLS != nil && c.Retire != nil && l.handshake(c.TLS.ServerName, c.Local.Addr()).ID() != c.Policy {
		c.Retire()
	}
	wire.ReplyText(x, http.StatusMisdirectedRequest, "This site asks something else of TLS than the connection was made with: please open another one.")
}
