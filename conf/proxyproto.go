package conf

import (
	"errors"
	"net/netip"
	"slices"
)

// anyUnixPeer stands for whoever connects by a unix socket, which its mode decides.
const anyUnixPeer = "unix:"

// proxyPeers reads who must send a PROXY header to a listener.
func (l *loader) proxyPeers(ln *Listener, v value) {
	for _, item := range v.list() {
		s := item.str()
		if s == "" {
			continue
		}
		if s == anyUnixPeer {
			ln.ProxyUnix = true
			continue
		}
		p, err := peerPrefix(s)
		if err != nil {
			item.mistake("%s %q %v", v.key, s, err)
			continue
		}
		if p.Bits() == 0 {
			l.warn(item.pos(), "proxy_protocol %q lets every client say that it is another", s)
		}
		ln.ProxyFrom = append(ln.ProxyFrom, p)
	}
	ln.ProxyProtocol = v.given()
}

// peerPrefix reads an address, or a prefix that says no more than it has bits.
func peerPrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" && !ip.Is4In6() {
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, errors.New(`must be an IP address, a prefix like "10.0.0.0/8" or "2001:db8::/32", or "unix:"`)
	case p != p.Masked():
		return netip.Prefix{}, errors.New("has bits behind its length: write " + p.Masked().String())
	}
	return p, nil
}

// announces reads which version of the PROXY header an upstream's targets get; 0: none.
func (l *loader) announces(u *Upstream, v value) int {
	word := v.oneOf("", "v1", "v2")
	i := slices.IndexFunc(u.Targets, func(t Target) bool { return t.Scheme != "tcp" && t.Scheme != "unix" })
	switch {
	case word == "":
		return 0
	case i >= 0:
		v.mistakeAtKey("proxy_protocol is for tcp and unix targets that bytes are relayed to: connections to %s targets carry the requests of many clients", u.Targets[i].Scheme)
		return 0
	}
	return int(word[1] - '0')
}
