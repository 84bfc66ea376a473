package proxy

import (
	"net"
	"net/netip"

	"edge/edge/wire"
	"edge/listeners/proxyproto"
)

// announce tells a tunnel's target in a PROXY header whose connection this is, before all else; in version 0 it says nothing. It does not wait: a
// new connection has room for more.
func announce(up net.Conn, version int, client *wire.Conn) error {
	if version == 0 {
		return nil
	}
	h := proxyproto.Header{Version: version, Source: client.Remote, Destination: client.Local, Unix: !client.Remote.IsValid()}
	if !h.Unix && !h.Destination.IsValid() { // a proxy has come by a unix socket, and has told us of a client that has not
		h.Destination = netip.AddrPortFrom(nowhere(client.Remote.Addr()), 0)
	}
	_, err := up.Write(h.Append(nil))
	return err
}

// nowhere is the address of an IP address's family that stands for none.
func nowhere(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
