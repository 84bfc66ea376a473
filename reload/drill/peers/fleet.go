package main

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edge/reload/drill"
)

// roundTrips are how far away the clients are.
var roundTrips = []time.Duration{0, 10 * time.Millisecond}

// A kind is a row of the table: clients of one kind, this far away.
type kind struct {
	name      string
	roundTrip time.Duration
	client    drill.Client
}

// key is the name of a kind's report.
func (k kind) key() string { return k.name + ", " + k.roundTrip.String() }

// kinds are the clients that `edge drill` has, but for the one of a listener that comes and goes.
func (l *lab) kinds(s *server, roundTrip time.Duration) []kind {
	const (
		base   = "http://drill.localhost"
		secure = "https://drill.localhost"
		short  = 5 * time.Millisecond
		life   = 5 * time.Second
	)
	plain, tunnel, raw := drill.Far(port(s.site.Plain), roundTrip), drill.Far(port(s.site.Tunnel), roundTrip), drill.Far(port(s.site.TLS), roundTrip)
	unix := drill.Far(dial("unix", filepath.Join(s.site.Dir, "peer.sock")), roundTrip)
	h1 := l.overTLS(raw, &tls.Config{NextProtos: []string{"http/1.1"}})
	h2 := l.overTLS(raw, &tls.Config{NextProtos: []string{"h2"}})
	again := l.overTLS(raw, &tls.Config{NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(0)})
	return []kind{
		{"h1 kept, no pause", roundTrip, drill.KeepAlive(plain, base, 0)},
		{"h1 kept, 20 ms, TLS", roundTrip, drill.KeepAlive(h1, base, 20*time.Millisecond)},
		{"h1 kept, 500 ms, TLS", roundTrip, drill.KeepAlive(h1, base, 500*time.Millisecond)},
		{"h1 each anew", roundTrip, drill.EachAnew(plain, base, short)},
		{resuming, roundTrip, drill.EachAnew(again, base, short)},
		{"h1 pipelined", roundTrip, drill.Pipelined(plain, base, short)},
		{"h1 POST, TLS", roundTrip, drill.Posts(h1, base, short)},
		{"h1 upload of 1 s, TLS", roundTrip, drill.Uploads(h1, base)},
		{"h1 download of 1 s, TLS", roundTrip, drill.Downloads(h1, base)},
		{"h2, 4 streams", roundTrip, drill.Streams(h2, secure, 4, short)},
		{"WebSocket of 5 s, TLS", roundTrip, drill.Messages(h1, secure, 20*time.Millisecond, life)},
		{"WebSocket, one", roundTrip, drill.Messages(plain, base, 20*time.Millisecond, 0)},
		{"tunnel of 5 s", roundTrip, drill.Tunnel(tunnel, 20*time.Millisecond, life)},
		{"tunnel, one", roundTrip, drill.Tunnel(tunnel, 20*time.Millisecond, 0)},
		{"unix socket, 20 ms", roundTrip, drill.KeepAlive(unix, base, 20*time.Millisecond)},
	}
}

// resuming is the kind whose sessions of TLS are resumed.
const resuming = "h1 each anew, TLS resumed"

// whyNot says why a contestant is not asked by a kind of clients; "" if it is.
func (s *server) whyNot(k kind) string {
	if s.program == "nginx" && s.site.Stream == "" && strings.HasPrefix(k.name, "tunnel") {
		return "its module is not installed: libnginx-mod-stream"
	}
	for prefix, why := range s.without {
		if strings.HasPrefix(k.name, prefix) {
			return why
		}
	}
	return ""
}

func port(n int) drill.Dial { return dial("tcp", "127.0.0.1:"+strconv.Itoa(n)) }

func dial(network, address string) drill.Dial {
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, address) }
}

// overTLS makes dial a dial of TLS.
func (l *lab) overTLS(dial drill.Dial, config *tls.Config) drill.Dial {
	config.RootCAs, config.ServerName = l.roots, "drill.localhost"
	return func(ctx context.Context) (net.Conn, error) {
		raw, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		c := tls.Client(raw, config)
		if err := c.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		return c, nil
	}
}
