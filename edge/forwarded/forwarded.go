// Package forwarded finds out who the client is where proxies stand between it and us: only those that are trusted are believed.
package forwarded

import (
	"bytes"
	"net/netip"

	"edge/conf"
	"edge/edge/wire"
)

// Trust says whose word about the client is taken. Nil is nobody's.
type Trust struct {
	Proxies conf.Prefixes
	Unix    bool // that of a peer without an address, too: it came by a unix socket
}

// maxHops bounds how many trusted proxies a request may have come through. What stands further left is not looked at.
const maxHops = 32

// Read writes into x who the client is, and what it asked for, by the word of a trusted peer. The fields are read from the right, as each
// proxy appends what it saw: trusted ones are passed over, and the first other address is the client; all that stands left of it is its own
// claim. At what is no address the walk ends, and the last good one is the client. Where there is X-Forwarded-For, Forwarded is not looked
// at, and else only that: a proxy that writes the one passes the other on as the client sent it.
func (t *Trust) Read(x *wire.Exchange) {
	if t == nil || !t.trusts(x.Conn.Remote.Addr()) {
		return
	}
	if _, n := x.Fields.Get("x-forwarded-for"); n > 0 {
		t.readForwardedFor(x)
		return
	}
	if _, n := x.Fields.Get("forwarded"); n > 0 {
		t.readForwarded(x)
		return
	}
	said(x, single(x, "x-forwarded-proto"), single(x, "x-forwarded-host"))
}

func (t *Trust) trusts(a netip.Addr) bool {
	if !a.IsValid() {
		return t.Unix
	}
	return t.Proxies.Contains(a)
}

// chain is the addresses that were read, from the right.
type chain struct {
	hops [maxHops]netip.Addr
	n    int
}

// add takes the address that stands next, to the left, and says whether to read on.
func (c *chain) add(t *Trust, a netip.Addr) bool {
	c.hops[c.n] = a
	c.n++
	return c.n < maxHops && t.trusts(a)
}

// settle makes the last address the client.
func (c *chain) settle(x *wire.Exchange) {
	if c.n == 0 {
		return
	}
	x.Hops = make([]netip.Addr, c.n)
	for i := range c.n {
		x.Hops[c.n-1-i] = c.hops[i]
	}
	x.Record.Client = netip.AddrPortFrom(x.Hops[0], 0)
}

// readForwardedFor reads X-Forwarded-For and its relatives.
func (t *Trust) readForwardedFor(x *wire.Exchange) {
	var c chain
	fromRight(x.Fields, "x-forwarded-for", func(item []byte) bool {
		a, ok := address(item)
		return ok && c.add(t, a)
	})
	c.settle(x)
	said(x, single(x, "x-forwarded-proto"), single(x, "x-forwarded-host"))
}

// readForwarded reads Forwarded, RFC 7239. What the proxy that saw the client says of scheme and host is in the client's own element.
func (t *Trust) readForwarded(x *wire.Exchange) {
	var c chain
	var last element
	fromRight(x.Fields, "forwarded", func(item []byte) bool {
		e, ok := parseElement(item)
		if !ok || !e.node.IsValid() {
			return false
		}
		last = e
		return c.add(t, e.node)
	})
	c.settle(x)
	said(x, last.proto, last.host)
}

// said takes over the scheme and the host that the client used, if they are well-formed. The host is only passed on: what x is matched by
// stays what this connection's Host says, or a client could choose its rules.
func said(x *wire.Exchange, proto, host []byte) {
	switch {
	case bytes.EqualFold(proto, schemeHTTPS):
		x.Scheme = schemeHTTPS
	case bytes.EqualFold(proto, schemeHTTP):
		x.Scheme = schemeHTTP
	}
	if len(host) == 0 {
		return
	}
	if lower, _, err := wire.CanonicalHost(string(host)); err == nil {
		x.ForwardedHost = []byte(lower)
	}
}

var schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")

// single gives the value of a field that stands once; nil for none.
func single(x *wire.Exchange, name string) []byte {
	if v, n := x.Fields.Get(name); n == 1 {
		return v
	}
	return nil
}

// fromRight calls f for each item of a list field, from the last item of its last line, while it returns true. A comma in a quoted string
// ends no item.
func fromRight(f wire.Fields, name string, each func(item []byte) bool) {
	for i := len(f) - 1; i >= 0; i-- {
		if string(f[i].Name) != name {
			continue
		}
		for rest, more := f[i].Value, true; more; {
			var item []byte
			rest, item, more = cutLast(rest)
			if !each(bytes.Trim(item, " \t")) {
				return
			}
		}
	}
}

// cutLast cuts a list before its last item. Quotes are counted from the right: what a client wrote left of it cannot change where it begins.
func cutLast(list []byte) (rest, last []byte, more bool) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch {
		case list[i] == '"':
			quoted = !quoted
		case list[i] == ',' && !quoted:
			return list[:i], list[i+1:], true
		}
	}
	return nil, list, false
}

// address reads an address, maybe with a port: "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80".
func address(s []byte) (netip.Addr, bool) {
	if len(s) > 64 {
		return netip.Addr{}, false
	}
	text := string(s)
	if n := len(text); n > 2 && text[0] == '[' && text[n-1] == ']' {
		a, err := netip.ParseAddr(text[1 : n-1])
		return a.Unmap(), err == nil && a.Is6() && a.Zone() == ""
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(text); err == nil {
			a = ap.Addr()
		}
	}
	return a.Unmap(), err == nil && a.Zone() == ""
}

// element is what one proxy says in Forwarded.
type element struct {
	node        netip.Addr // "for"; invalid: it does not tell
	proto, host []byte
}

// parseElement reads pairs like `for="[2001:db8::1]:80";proto=https`.
func parseElement(s []byte) (e element, ok bool) {
	for len(s) > 0 {
		var name, value []byte
		if name, value, s, ok = cutPair(s); !ok {
			return element{}, false
		}
		switch string(bytes.ToLower(name)) {
		case "for":
			e.node, _ = address(value)
		case "proto":
			e.proto = value
		case "host":
			e.host = value
		}
	}
	return e, true
}

// cutPair cuts a pair off. A quoted value must hold no backslash: none that we read has need of one.
func cutPair(s []byte) (name, value, rest []byte, ok bool) {
	name, rest, ok = bytes.Cut(s, []byte("="))
	name = bytes.TrimLeft(name, " \t")
	if !ok || len(name) == 0 {
		return nil, nil, nil, false
	}
	if len(rest) > 0 && rest[0] == '"' {
		value, rest, ok = bytes.Cut(rest[1:], []byte(`"`))
		if !ok || bytes.IndexByte(value, '\\') >= 0 {
			return nil, nil, nil, false
		}
		if rest = bytes.TrimLeft(rest, " \t"); len(rest) == 0 {
			return name, value, nil, true
		}
		return name, value, rest[1:], rest[0] == ';'
	}
	value, rest, _ = bytes.Cut(rest, []byte(";"))
	value = bytes.TrimRight(value, " \t")
	return name, value, rest, bytes.IndexByte(value, '"') < 0
}
