package serve

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"edge/conf"
	"edge/listeners/proxyproto"
)

// Announcers are the peers that must begin with a PROXY header. Whoever else connects is refused: no byte of theirs is taken for one.
type Announcers struct {
	From conf.Prefixes
	Unix bool // who comes by a unix socket
}

// has says whether a peer is one of them. Without an address it comes by a unix socket.
func (a *Announcers) has(peer netip.AddrPort) bool {
	if !peer.IsValid() {
		return a.Unix
	}
	return a.From.Contains(peer.Addr())
}

var errNotAnnounced = errors.New("the peer is none that proxy_protocol lists")

// announced reads the PROXY header, and says whether the connection may go on. Who the client is, is what the header says from here on.
func (c *Conn) announced() bool {
	header, err := proxyproto.Header{}, errNotAnnounced
	if c.settings.Announcers.has(c.info.Remote) {
		c.under.SetReadDeadline(time.Now().Add(c.settings.Timeouts.Header))
		header, err = proxyproto.Read(c.under)
	}
	if err != nil {
		c.server.Log.Debug("proxy protocol", "listener", c.settings.Listener, "peer", c.RemoteAddr(), "error", err)
		c.gone.Store(true) // who is refused is not waited for
		return false
	}
	c.under.SetReadDeadline(time.Time{})
	if header.Says() {
		c.info.Remote = netip.AddrPortFrom(header.Source.Addr().Unmap(), header.Source.Port()) // invalid: a unix socket
	}
	return true
}

// client is who the connection is from, for the log.
func (c *Conn) client() string {
	if c.info.Remote.IsValid() {
		return c.info.Remote.String()
	}
	return c.RemoteAddr().String()
}

// goKeepAlive is what package net sets on each connection by itself: this long until the first probe, and between two.
const goKeepAlive = 15 * time.Second

// keepAliveProbes is how many of them are left without an answer before the connection is taken for dead. So has it package net.
const keepAliveProbes = 9

// keepAlive has the kernel ask whether a silent client is still there.
func (c *Conn) keepAlive() {
	t, d := c.under.TCP(), c.settings.KeepAlive
	if t == nil || d == goKeepAlive {
		return
	}
	t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: d > 0, Idle: d, Interval: d, Count: keepAliveProbes})
}
