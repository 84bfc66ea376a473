package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a client of ours waits for anything.
const patience = 20 * time.Second

// tlsOffer is what our own clients offer in TLS: what openssl.cnf says for the others. Go chooses the cipher by itself, and dial looks at it.
func (l *lab) tlsOffer(protocol string) *tls.Config {
	return &tls.Config{RootCAs: l.roots, ServerName: "localhost", MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{protocol}}
}

// dial makes a TLS connection to a server. All of it, the connection's life too, must be over by the deadline.
func dial(ctx context.Context, p *process, offer *tls.Config, deadline time.Time) (*tls.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.site.TLS))
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, offer)
	err = errors.Join(raw.SetDeadline(deadline), conn.HandshakeContext(ctx))
	if err == nil {
		err = agreed(conn.ConnectionState(), offer)
	}
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// agreed is an error where a server speaks something else than the others.
func agreed(state tls.ConnectionState, offer *tls.Config) error {
	if got := fmt.Sprintf("%s, %s, %v", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID); got != "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519" {
		return fmt.Errorf("speaks %s", got)
	}
	if state.NegotiatedProtocol != offer.NextProtos[0] {
		return fmt.Errorf("speaks %q, not %q", state.NegotiatedProtocol, offer.NextProtos[0])
	}
	return nil
}

// A visit is an HTTP/1.1 connection that is kept.
type visit struct {
	*tls.Conn
	answers *bufio.Reader
	request []byte
	size    int // of the answers' bodies
}

func newVisit(conn *tls.Conn, w work) *visit {
	return &visit{Conn: conn, answers: bufio.NewReaderSize(conn, 2*kib), size: w.size,
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", w.path)}
}

// ask makes one request and checks the answer.
func (v *visit) ask() error {
	if _, err := v.Write(v.request); err != nil {
		return err
	}
	res, err := http.ReadResponse(v.answers, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || n != int64(v.size) || res.Close {
		return fmt.Errorf("the answer is %s, %d bytes, closing: %v", res.Status, n, res.Close)
	}
	return nil
}

// alive is an error where the server has closed the connection, or sent what nobody asked for.
func (v *visit) alive() error {
	raw, err := v.NetConn().(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var peeked error
	err = raw.Control(func(fd uintptr) {
		_, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	if err == nil && !errors.Is(peeked, syscall.EAGAIN) {
		err = fmt.Errorf("an idle connection was closed or has unread bytes (%w)", peeked)
	}
	return err
}

// together has so many do something at once, each until it ends by itself, and gives the number that all counted, their times and the CPU time
// that this process took. Where some fail, the error of the first of them is one.
func together(n int, do func(i int) ([]time.Duration, error)) (load, error) {
	cpu, began := ownCPU(), time.Now()
	times, errs := make([][]time.Duration, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { times[i], errs[i] = do(i) })
	}
	all.Wait()
	got := load{duration: time.Since(began), cpu: ownCPU() - cpu}
	flat := slices.Concat(times...)
	got.requests = len(flat)
	got.p50, got.p99 = percentiles(flat)
	return got, firstOf(errs)
}

// firstOf is the first error that there is: many fail for the same reason.
func firstOf(errs []error) error {
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return errs[i]
	}
	return nil
}

// ownCPU is what this process, without its children, has taken.
func ownCPU() time.Duration {
	var used unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &used) // it cannot fail
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
