package drill

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// kind is one row of the table: clients of one kind, this far away.
type kind struct {
	name      string
	roundTrip time.Duration
	client    Client
	excused   func() excuse
	resumes   bool   // whether its sessions of TLS are resumed
	control   Client // of a paced client: the same, without edge
}

// far is the round trip of the clients that are not near.
const far = 10 * time.Millisecond

// startClients starts every kind of client; they run until ctx ends.
func (g *Rig) startClients(ctx context.Context, wg *sync.WaitGroup) {
	for _, roundTrip := range []time.Duration{0, far} {
		for _, k := range append(g.kinds(roundTrip), g.paced(roundTrip)...) {
			k.roundTrip = roundTrip
			g.start(ctx, wg, k)
		}
	}
}

// start starts the clients of a kind.
func (g *Rig) start(ctx context.Context, wg *sync.WaitGroup, k kind) {
	r := newReport(k.excused)
	g.result.rows = append(g.result.rows, &row{kind: k, Report: r})
	for range g.Clients {
		wg.Go(func() { k.client(ctx, r) })
	}
	if k.control != nil {
		control := newReport(nil)
		g.result.timings = append(g.result.timings, &timing{name: k.name, edge: r, control: control})
		wg.Go(func() { k.control(ctx, control) })
	}
}

// kinds are the kinds of clients.
func (g *Rig) kinds(roundTrip time.Duration) []kind {
	const (
		base   = "http://drill.localhost"
		secure = "https://drill.localhost"
		short  = 10 * time.Millisecond
		life   = 5 * time.Second
	)
	plain, unix, tunnel := Far(g.plain("http"), roundTrip), Far(g.unix, roundTrip), Far(g.plain("tunnel"), roundTrip)
	extra, raw := Far(g.plain("extra"), roundTrip), Far(g.plain("https"), roundTrip)
	h1 := g.overTLS(raw, &tls.Config{NextProtos: []string{"http/1.1"}})
	h2 := g.overTLS(raw, &tls.Config{NextProtos: []string{"h2"}})
	again := g.overTLS(raw, &tls.Config{NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(0)})
	killed, gone := g.killed, g.gone
	return []kind{
		{name: "h1 kept, no pause", client: KeepAlive(plain, base, 0), excused: killed},
		{name: "h1 kept, 20 ms, TLS", client: KeepAlive(h1, base, 20*time.Millisecond), excused: killed},
		{name: "h1 kept, 500 ms, TLS", client: KeepAlive(h1, base, 500*time.Millisecond), excused: killed},
		{name: "h1 each anew", client: EachAnew(plain, base, short), excused: killed},
		{name: "h1 each anew, TLS resumed", client: EachAnew(again, base, short), excused: killed, resumes: true},
		{name: "h1 pipelined", client: Pipelined(plain, base, short), excused: killed},
		{name: "h1 POST, TLS", client: Posts(h1, base, short), excused: killed},
		{name: "h1 upload of 1 s, TLS", client: Uploads(h1, base), excused: killed},
		{name: "h1 download of 1 s, TLS", client: Downloads(h1, base), excused: killed},
		{name: "h2, 4 streams", client: Streams(h2, secure, 4, short), excused: killed},
		{name: "WebSocket of 5 s, TLS", client: Messages(h1, secure, 20*time.Millisecond, life), excused: killed},
		{name: "WebSocket, one", client: Messages(plain, base, 20*time.Millisecond, 0), excused: killed},
		{name: "tunnel of 5 s", client: Tunnel(tunnel, 20*time.Millisecond, life), excused: killed},
		{name: "tunnel, one", client: Tunnel(tunnel, 20*time.Millisecond, 0), excused: killed},
		{name: "unix socket, 20 ms", client: KeepAlive(unix, base, 20*time.Millisecond), excused: killed},
		{name: "listener that comes and goes", client: g.whereItIs(EachAnew(extra, base, short)), excused: gone},
	}
}

// killed excuses what is lost while the drill kills a process that serves.
func (g *Rig) killed() excuse {
	if g.killing.Load() {
		return killed
	}
	return none
}

// gone is killed for the clients of the listener that comes and goes.
func (g *Rig) gone() excuse {
	if x := g.killed(); x != none || !g.away.Load() {
		return x
	}
	return away
}

// paced are the clients whose times are judged, if they are. They are near: what a round trip adds is no matter of edge's.
func (g *Rig) paced(roundTrip time.Duration) []kind {
	if roundTrip != 0 || !g.Times {
		return nil
	}
	const base = "http://drill.localhost"
	plain, killed := g.plain("http"), g.killed
	app := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", g.app.Addr().String())
	}
	each := func(name string, every time.Duration, anew bool) kind {
		return kind{name: name, excused: killed, client: Paced(plain, base, every, anew), control: Paced(app, base, every, anew)}
	}
	return []kind{each("h1 kept, every 5 ms", 5*time.Millisecond, false), each("h1 each anew, every 10 ms", 10*time.Millisecond, true)}
}

// whereItIs runs a client of the listener that comes and goes, while that is there.
func (g *Rig) whereItIs(client Client) Client {
	return func(ctx context.Context, r *Report) {
		for ctx.Err() == nil {
			if g.away.Load() {
				pause(ctx, 2*time.Millisecond)
				continue
			}
			here, leave := context.WithCancel(ctx)
			go func() {
				defer leave()
				for here.Err() == nil && !g.away.Load() {
					pause(here, 2*time.Millisecond)
				}
			}()
			client(here, r)
			leave()
		}
	}
}

// exchange asks once, and gives what is answered.
func exchange(c net.Conn, req *http.Request) (string, error) {
	if err := req.Write(c); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return string(text), err
}
