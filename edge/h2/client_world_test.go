package h2

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"edge/edge/socket"
	"edge/edge/wire"
)

var longClient = ClientLimits{Response: long, Body: long, Idle: long}

// target is a server that a ClientConn talks to.
type target struct {
	t       testing.TB
	address string
	tls     *tls.Config
}

// standard serves h by net/http's HTTP/2, so many requests of a connection at a time; 0: as many as it likes.
func standard(t testing.TB, overTLS bool, h http.HandlerFunc, most int) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: most}}
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Protocols.SetHTTP2(true)
	up := &target{t: t, address: l.Addr().String()}
	if overTLS {
		up.tls = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
		l = tls.NewListener(l, certificate())
	}
	ended := make(chan struct{})
	go func() { defer close(ended); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-ended })
	return up
}

// listening serves each connection by f, and closes it then.
func listening(t testing.TB, l net.Listener, f func(net.Conn)) *target {
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(long))
				f(nc)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return &target{t: t, address: l.Addr().String()}
}

// played is a server whose connections are served frame by frame, behind the preface.
func played(t testing.TB, f func(nc net.Conn, fr *http2.Framer)) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listening(t, l, func(nc net.Conn) {
		if _, err := io.ReadFull(nc, make([]byte, len(preface))); err == nil {
			f(nc, http2.NewFramer(nc, nc))
		}
	})
}

// start connects, and waits for nothing.
func (up *target) start(l ClientLimits) *ClientConn {
	up.t.Helper()
	dialled, err := net.Dial("tcp", up.address)
	if err != nil {
		up.t.Fatal(err)
	}
	below := socket.New(dialled)
	nc := net.Conn(below)
	if up.tls != nil {
		over := tls.Client(below, up.tls)
		if err := over.Handshake(); err != nil {
			up.t.Fatal(err)
		}
		nc = over
	}
	c := NewClientConn(nc, below, l)
	go c.Serve()
	up.t.Cleanup(func() { c.Close(); wait(up.t, "the connection ends", c.Over()) })
	return c
}

// connect connects.
func (up *target) connect() *ClientConn {
	up.t.Helper()
	c := up.start(longClient)
	wait(up.t, "the server's SETTINGS", c.Ready())
	return c
}

func wait[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(long):
		t.Fatal("in vain: " + what)
	}
	return v
}

// told is all of an answer.
type told struct {
	Answer
	body     []byte
	trailers wire.Fields
	interim  []int
}

func (a *told) Inform(status int, _ wire.Fields) error {
	a.interim = append(a.interim, status)
	return nil
}

func requestBy(method, path string) *Request {
	return &Request{Method: []byte(method), Scheme: []byte("http"), Path: []byte(path), Host: []byte("a.test")}
}

var errNoRoom = errors.New("no room")

// ask makes an exchange, with a body that is streamed unless it is nil.
func (c *ClientConn) ask(r *Request, body io.Reader) (*told, error) {
	s := c.Begin()
	if s == nil {
		return nil, errNoRoom
	}
	defer s.Done()
	return s.ask(r, body)
}

func (s *Call) ask(r *Request, body io.Reader) (*told, error) {
	a := new(told)
	if body != nil && r.Length == 0 {
		r.Length = wire.Unknown
	}
	rest, err := s.Send(r)
	if err != nil {
		return nil, err
	}
	length := r.Length
	if len(rest) > 0 {
		body, length = &several{rest: rest}, int64(len(rest))
	}
	if body != nil {
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			s.SendBody(body, length, func() wire.Fields { return wire.Fields{}.Add("x-sent", "all") })
		}()
		defer func() { s.Abort(); <-sent }()
	}
	if a.Answer, err = s.ReadHead(a); err != nil {
		return a, err
	}
	a.Fields = a.Fields.Clone()
	for {
		b, err := s.Next()
		if err == io.EOF {
			a.trailers = s.Trailers().Clone()
			return a, nil
		}
		if err != nil {
			return a, err
		}
		a.body = append(a.body, b...)
	}
}

// several is a reader of some bytes.
type several struct{ rest []byte }

func (r *several) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (a *told) String() string {
	if a == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v %d %q %s", a.interim, a.Status, a.body, linesOf(a.trailers))
}

func linesOf(f wire.Fields) (text string) {
	for _, x := range f {
		text += string(x.Name) + ": " + string(x.Value) + ";"
	}
	return text
}
