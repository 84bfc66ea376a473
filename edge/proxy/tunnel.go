package proxy

import (
	"context"

	"edge/edge/record"
	"edge/edge/tunnel"
	"edge/edge/upstream"
	"edge/edge/wire"
)

// Client is a connection of a tcp or tls listener.
type Client interface {
	wire.Stream
	Info() *wire.Conn
}

// Relay joins a client with the upstream's next target, and notes in r which one, how much went through, and why it ended. It calls opened
// when there is a target, and never if none can be reached. The target is told first who the client is, where the upstream is to. The caller closes
// the client.
func Relay(ctx context.Context, u *upstream.Upstream, tunnels *tunnel.Registry, client Client, r *record.Record, opened func()) {
	r.Ask("")
	t, up, err := reach(ctx, u)
	if t.Target != nil { // else all are full
		r.Upstream = t.Name
	}
	if err != nil {
		r.Err = err
		return
	}
	r.Connected = r.Now()
	defer t.Done()
	defer up.Close()
	if r.Err = announce(up, u.ProxyProtocol, client.Info()); r.Err != nil {
		return
	}
	opened()
	facts := tunnel.Facts{Kind: tunnel.TCP}
	if client.Info().TLS != nil {
		facts.Kind = tunnel.TLS
	}
	join(tunnels, nil, facts, r, client.Info(), client, up.(tunnel.Conn)) // TCP and unix, which both half-close
}

// join joins the two, and notes in r what came of it.
func join(tunnels *tunnel.Registry, holds func() bool, f tunnel.Facts, r *record.Record, info *wire.Conn, client, up tunnel.Conn) {
	ctx := info.Context
	if ctx == nil {
		ctx = context.Background()
	}
	f.Listener, f.Vhost, f.Client, f.Local, f.Target = r.Listener, r.Vhost, r.Client, info.Local, r.Upstream
	r.Reason = string(tunnel.Error) // unless Join says otherwise: it may panic
	end := tunnels.JoinWhile(ctx, holds, f, info.Tunnel, client, up)
	r.BytesIn, r.BytesOut, r.Reason, r.Err = end.In, end.Out, string(end.Reason), end.Err
}
