package h1

import (
	"bytes"
	"net"
	"sync/atomic"

	"edge/edge/wire"
)

// tunnel is the connection after an upgrade: what was read of it too far comes first.
type tunnel struct {
	wire.Stream
	in    []byte
	clear atomic.Bool // in is used up; asked by the goroutine of the other direction too
}

func newTunnel(nc wire.Stream, in []byte) *tunnel {
	t := &tunnel{Stream: nc, in: bytes.Clone(in)}
	t.clear.Store(len(in) == 0)
	return t
}

func (t *tunnel) Read(p []byte) (int, error) {
	if t.clear.Load() {
		return t.Stream.Read(p)
	}
	n := copy(p, t.in)
	if t.in = t.in[n:]; len(t.in) == 0 {
		t.clear.Store(true)
	}
	return n, nil
}

func (t *tunnel) TCP() *net.TCPConn {
	if !t.clear.Load() {
		return nil
	}
	return t.Stream.TCP()
}
