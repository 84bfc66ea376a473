package proxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/socket"
	"edge/edge/wire"
	"edge/listeners/proxyproto"
)

// A tunnel's target hears first, in the version that its upstream says, whose connection it gets, and then what the client sends; the bytes that are
// counted are the client's.
func TestAnnounce(t *testing.T) {
	ip := netip.MustParseAddrPort
	four, six, local := ip("192.0.2.7:1000"), ip("[2001:db8::7]:1000"), ip("127.0.0.1:443")
	none := netip.AddrPort{}
	for name, c := range map[string]struct {
		version       int
		remote, local netip.AddrPort
		want          proxyproto.Header
	}{
		"v1":                  {1, four, local, proxyproto.Header{Version: 1, Source: four, Destination: local}},
		"v2":                  {2, four, local, proxyproto.Header{Version: 2, Source: four, Destination: local}},
		"v2 mixed":            {2, six, local, proxyproto.Header{Version: 2, Source: six, Destination: ip("[::ffff:127.0.0.1]:443")}},
		"v1 unix":             {1, none, none, proxyproto.Header{Version: 1}},
		"v2 unix":             {2, none, none, proxyproto.Header{Version: 2, Unix: true}},
		"v2 unix to TCP":      {2, none, local, proxyproto.Header{Version: 2, Unix: true}},
		"v2 TCP by a unix":    {2, four, none, proxyproto.Header{Version: 2, Source: four, Destination: ip("0.0.0.0:0")}},
		"v1 IPv6 by a unix":   {1, six, none, proxyproto.Header{Version: 1, Source: six, Destination: ip("[::]:0")}},
		"none, by no version": {0, four, local, proxyproto.Header{}},
	} {
		for _, network := range []string{"tcp", "unix"} {
			s := spec()
			s.ProxyProtocol = c.version
			heard := hears(t, network, s, c.version)
			client, front := pair(t)
			client.Write([]byte("ping"))
			client.(*net.TCPConn).CloseWrite()
			var r record.Record
			a := arrived{stream{socket.New(front)}, &wire.Conn{Tunnel: patience, Remote: c.remote, Local: c.local}}
			Relay(context.Background(), pool(t, s), nil, a, &r, func() {})
			a.Close()
			got := wait(t, "the target", heard)
			if got.header != c.want || got.err != nil || got.rest != "ping" || r.BytesIn != 4 || r.Err != nil {
				t.Errorf("%s over %s: %+v, want %+v; the record has %+v", name, network, got, c.want, r)
			}
		}
	}
}

// heard is what a target hears.
type heard struct {
	header proxyproto.Header
	rest   string
	err    error
}

// hears adds a target to s, and gives what it hears of its one client.
func hears(t *testing.T, network string, s *conf.Upstream, version int) <-chan heard {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "socket")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s.Targets = []conf.Target{{Scheme: network, Address: ln.Addr().String()}}
	out := make(chan heard, 1)
	go func() {
		c, err := ln.Accept()
		ln.Close()
		if err != nil {
			out <- heard{err: err}
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		var h heard
		if version != 0 {
			h.header, h.err = proxyproto.Read(c)
		}
		if h.err == nil {
			var rest []byte
			rest, h.err = io.ReadAll(c)
			h.rest = string(rest)
		}
		out <- h
	}()
	return out
}

// pair is a connection's two ends.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}
