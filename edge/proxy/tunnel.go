package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"edge/edge/upstream"
)

// tunnelIdle ends a tunnel without a byte either way. TCP keep-alive finds a dead peer far earlier.
const tunnelIdle = time.Hour

// tunnelTick is how often a tunnel looks at what went through: the other direction may be busy, or slow but not idle.
const tunnelTick = time.Minute

// halfCloser is one end of a tunnel.
type halfCloser interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Relay joins a client's connection with the upstream's next target, for a tcp or tls listener. It closes neither.
func Relay(ctx context.Context, u *upstream.Upstream, client net.Conn) (in, out int64, target string, err error) {
	t, up, err := reach(ctx, u)
	if err != nil {
		return 0, 0, t.Name, err
	}
	defer t.Done()
	defer up.Close()
	in, out = Join(halfClose(client), halfClose(up))
	return in, out, t.Name, nil
}

// Join copies both ways until both have ended, an end for an end; an error on one side ends both. in is what the client sent.
func Join(client, up halfCloser) (in, out int64) {
	var active atomic.Int64
	active.Store(time.Now().UnixNano())
	var wg sync.WaitGroup
	wg.Go(func() { in = pump(up, client, &active) })
	wg.Go(func() { out = pump(client, up, &active) })
	wg.Wait()
	return in, out
}

// pump copies one way, in pieces for which the kernel can splice.
func pump(dst, src halfCloser, active *atomic.Int64) (n int64) {
	d, _ := src.(interface{ SetReadDeadline(time.Time) error })
	for {
		if d != nil {
			d.SetReadDeadline(time.Now().Add(tunnelTick))
		}
		m, err := io.Copy(raw(dst).(io.Writer), &io.LimitedReader{R: noting(raw(src), active), N: 1 << 20})
		n += m
		if m > 0 {
			active.Store(time.Now().UnixNano())
		}
		idle := time.Since(time.Unix(0, active.Load()))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && idle < tunnelIdle:
		case err != nil: // neither side can be told of an error in the middle but by its end
			src.Close()
			dst.Close()
			return n
		case m == 0:
			if dst.CloseWrite() != nil {
				dst.Close()
			}
			return n
		}
	}
}

// noting gives src as a reader that notes each of its reads; but a socket as it is, which a splice is to find: its reads end with every tick.
func noting(src any, active *atomic.Int64) io.Reader {
	if tcp, ok := src.(*net.TCPConn); ok {
		return tcp
	}
	return &noted{src.(io.Reader), active}
}

type noted struct {
	io.Reader
	active *atomic.Int64
}

func (r *noted) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.active.Store(time.Now().UnixNano())
	}
	return n, err
}

// raw gives the socket where nothing lies above it, so that io.Copy finds splice.
func raw(c halfCloser) any {
	if s, ok := c.(interface{ TCP() *net.TCPConn }); ok {
		if tcp := s.TCP(); tcp != nil {
			return tcp
		}
	}
	return c
}

// halfClose gives c a CloseWrite: its own, or Close where it has none.
func halfClose(c io.ReadWriteCloser) halfCloser {
	if h, ok := c.(halfCloser); ok {
		return h
	}
	return closer{c}
}

type closer struct{ io.ReadWriteCloser }

func (c closer) CloseWrite() error { return c.Close() }
