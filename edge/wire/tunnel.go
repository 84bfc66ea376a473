package wire

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

var errNoUpgrade = errors.New("wire: the client asked for no upgrade")

// upgrade gives the protocol that the client asks for, if it may: RFC 9110 section 7.8. h2c is not offered, nor is an upgrade behind a
// body, which would run into the tunnel.
func upgrade(r *http.Request) []byte {
	proto := r.Header.Get("Upgrade")
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 || proto == "" || strings.EqualFold(proto, "h2c") || !options(r.Header)["upgrade"] {
		return nil
	}
	return []byte(proto)
}

// Tunnel accepts the upgrade.
func (a *answer) Tunnel(f Fields) (Stream, error) {
	if a.headSent {
		return nil, errHeadSent
	}
	proto := upgrade(a.r)
	if proto == nil {
		return nil, errNoUpgrade
	}
	nc, rw, err := a.rc.Hijack()
	if err != nil {
		return nil, err
	}
	a.headSent, a.rec.Status, a.rec.Tunnel = true, http.StatusSwitchingProtocols, true
	a.tunnel = newStream(nc, rw.Reader)
	nc.SetDeadline(time.Now().Add(a.conn.Write))
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", proto)
	h := http.Header{}
	f.AddTo(h)
	h.Write(rw)
	rw.WriteString("\r\n")
	if err := rw.Flush(); err != nil {
		return nil, err
	}
	return a.tunnel, nc.SetDeadline(time.Time{})
}

// stream is a hijacked connection with what was read of it too far.
type stream struct {
	net.Conn
	in    *bufio.Reader
	ahead atomic.Bool // in holds bytes; TCP may be asked while another goroutine reads
}

func newStream(c net.Conn, in *bufio.Reader) *stream {
	s := &stream{Conn: c, in: in}
	s.ahead.Store(in.Buffered() > 0)
	return s
}

func (s *stream) Read(p []byte) (int, error) {
	if !s.ahead.Load() {
		return s.Conn.Read(p)
	}
	n, err := s.in.Read(p[:min(len(p), s.in.Buffered())])
	s.ahead.Store(s.in.Buffered() > 0)
	return n, err
}

// CloseWrite ends our side: close_notify, FIN.
func (s *stream) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *stream) TCP() *net.TCPConn {
	if s.ahead.Load() {
		return nil
	}
	switch c := s.Conn.(type) {
	case *net.TCPConn:
		return c
	case interface{ TCP() *net.TCPConn }:
		return c.TCP()
	}
	return nil
}
