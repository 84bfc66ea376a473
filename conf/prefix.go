package conf

import (
	"net/netip"
	"slices"
	"strings"
)

// Prefixes are IP addresses, by prefix.
type Prefixes []netip.Prefix

// Contains says whether an address is one of them. An IPv4 address may come in its IPv6 form; the invalid address is in no prefix.
func (ps Prefixes) Contains(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

// prefixes reads a list of prefixes; an address alone is a prefix of one.
func prefixes(v value) (ps Prefixes) {
	for _, item := range addresses(v) {
		if p, ok := prefix(item); ok {
			ps = append(ps, p)
		}
	}
	return ps
}

// addresses is v's list, which true, as other servers have it for some of these keys, does not stand for.
func addresses(v value) []value {
	switch v.raw.(type) {
	case nil, string, []any:
		return v.list()
	}
	v.must(`a list of addresses, like ["192.0.2.1", "10.0.0.0/8"]`)
	return nil
}

func prefix(v value) (netip.Prefix, bool) {
	s := v.str()
	if s == "" {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	if !strings.Contains(s, "/") {
		var a netip.Addr
		a, err = netip.ParseAddr(s)
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case err != nil || strings.Contains(s, "%"):
		v.mistake(`%s %q must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"`, v.key, s)
	case p.Addr().Is4In6():
		v.mistake("%s %q must be written as IPv4", v.key, s)
	case p != p.Masked():
		v.mistake("%s %q has bits behind its length; %q is the prefix that holds it", v.key, s, p.Masked())
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// trustedProxies reads whose word about the client is taken.
func trustedProxies(ln *Listener, v value) {
	if ln.refuses(v, ln.Protocol.HTTP(), "http and https") {
		return
	}
	ln.TrustedProxies, ln.TrustsUnix = peers(ln, v)
}

// peers reads who is believed when they say who a client is: prefixes, and "unix" for everyone who can reach a unix socket of the listener.
// It warns of a prefix that is everybody: each client then says itself who it is.
func peers(ln *Listener, v value) (ps Prefixes, unix bool) {
	for _, item := range addresses(v) {
		if item.raw == any("unix") {
			unix = true
			if !slices.ContainsFunc(ln.Addresses, func(a Address) bool { return a.Network == "unix" }) {
				item.mistake(`"unix" is who comes by a unix socket, and listener %q has none`, ln.Name)
			}
		} else if p, ok := prefix(item); ok {
			ps = append(ps, p)
			if p.Bits() == 0 {
				v.l.warn(item.pos(), "every client is trusted to say who it is: name the proxies only")
			}
		}
	}
	return ps, unix
}
