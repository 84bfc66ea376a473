package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

func (l *lab) fullHandshakes(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	return l.handshakes(ctx, w, p, duration, nil, false)
}

// resumedHandshakes resumes what an earlier load left in the process's tickets; the first load begins with a full handshake for each client.
func (l *lab) resumedHandshakes(ctx context.Context, w work, p *process, duration time.Duration) (load, error) {
	first := p.tickets == nil
	for len(p.tickets) < w.conns {
		p.tickets = append(p.tickets, tls.NewLRUClientSessionCache(1))
	}
	if first {
		if _, err := l.handshakes(ctx, w, p, 0, p.tickets, false); err != nil {
			return load{}, err
		}
	}
	return l.handshakes(ctx, w, p, duration, p.tickets, true)
}

// handshakes has so many clients at once make one connection after the other, each one at least. All are to be resumed, or none.
func (l *lab) handshakes(ctx context.Context, w work, p *process, duration time.Duration, tickets []tls.ClientSessionCache, resumed bool) (load, error) {
	end := time.Now().Add(duration)
	return together(w.conns, func(i int) (times []time.Duration, err error) {
		offer := l.tlsOffer("http/1.1")
		if tickets != nil {
			offer.ClientSessionCache = tickets[i]
		}
		for len(times) == 0 || time.Now().Before(end) {
			began := time.Now()
			did, err := shakeHands(ctx, p, offer)
			if err != nil {
				return nil, err
			}
			if did != resumed {
				return nil, fmt.Errorf("a session was resumed: %v, want %v", did, resumed)
			}
			times = append(times, time.Since(began))
		}
		return times, nil
	})
}

// shakeHands makes a connection and closes it. That the server has ended it too shows that it has done all of its part, tickets included.
func shakeHands(ctx context.Context, p *process, offer *tls.Config) (resumed bool, err error) {
	conn, err := dial(ctx, p, offer, time.Now().Add(patience))
	if err != nil {
		return false, err
	}
	defer conn.NetConn().Close()
	if err := errors.Join(conn.CloseWrite(), conn.NetConn().(*net.TCPConn).CloseWrite()); err != nil {
		return false, err
	}
	n, err := io.Copy(io.Discard, conn)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // who is told that the client is gone need not say so too
	}
	if n != 0 {
		err = errors.New("an answer that nobody asked for")
	}
	return conn.ConnectionState().DidResume, err
}
