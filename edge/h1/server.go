package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"edge/edge/record"
	"edge/edge/wire"
)

// Options are what a connection is served by.
type Options struct {
	Handler   wire.Handler
	Info      *wire.Conn
	MaxHeader int           // bytes of a request's head
	Header    time.Duration // for the whole head, from its first byte
	Idle      time.Duration // between two requests
	Last      func() bool   // asked as late as can be: is this answer to be the connection's last
	Waits     func(bool)    // told when the connection begins and ends to wait for a request's first byte
}

// Serve serves the requests of a connection one after the other, until it ends, and closes it. nc must linger when it is closed, and can be
// closed twice. If it has a method Reset, that ends an answer that an end by FIN would make look whole; if it has a method Socket, that
// is what lies below it, to ask the kernel about.
//
// Durations are counted by a sweeper that looks once a second, so they may be exceeded by two.
func Serve(nc wire.Stream, o Options) {
	c := &conn{nc: nc, o: o, socket: socketOf(nc)}
	c.ready = c.readyNow
	if tcp := nc.TCP(); tcp != nil {
		c.plain, _ = tcp.SyscallConn()
	}
	sweep.add(c)
	defer sweep.remove(c)
	defer nc.Close()
	c.serve()
}

// conn is a client's connection. One goroutine serves it.
type conn struct {
	nc               wire.Stream
	o                Options
	in               input
	req              request
	x                exchange
	reading, writing limit

	served   bool // a request
	handling bool // the handler is at work
	socket   syscall.RawConn
	plain    syscall.RawConn // socket, where nothing lies above it

	// for wait
	ready func(fd uintptr) bool
	asked bool
	poll  [1]unix.PollFd
	first [1]byte
}

// serve serves all requests.
func (c *conn) serve() {
	defer c.survive()
	for c.one() {
	}
	c.in.release()
}

// survive ends the connection of a handler that panics, and of that one only. The buffers are lost: a goroutine of the handler's may still
// be at them.
func (c *conn) survive() {
	e := recover()
	if e == nil {
		return
	}
	if e != http.ErrAbortHandler {
		slog.Error("panic", "listener", c.o.Info.Listener, "value", e, "stack", string(debug.Stack()))
	}
	c.in = input{}
	if c.handling {
		c.x.rec.Err = fmt.Errorf("panic: %v", e)
		c.x.answer.panicked(e)
	}
}

// one serves the next request, and says whether another may follow.
func (c *conn) one() bool {
	text, err := c.readHead()
	if err == nil {
		err = c.req.parse(text)
	}
	if err != nil {
		c.reject(err)
		return false
	}
	c.served = true
	return c.x.run(c)
}

// readHead reads up to the empty line, which it takes too. What it gives does not move until the next call.
func (c *conn) readHead() ([]byte, error) {
	text, err := c.receiveHead()
	if !c.reading.clear() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	return text, err
}

func (c *conn) receiveHead() ([]byte, error) {
	if err := c.begin(); err != nil {
		return nil, err
	}
	var l lines
	for limited := false; ; limited = true {
		in := c.in.unread()
		end, err := l.end(in)
		switch {
		case err != nil:
			return nil, err
		case end > c.o.MaxHeader, end == 0 && len(in) >= c.o.MaxHeader:
			return nil, tooLarge(in)
		case end > 0:
			c.in.r += end
			return in[:end-2], nil
		}
		if !limited {
			c.reading.set(c.o.Header)
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// begin waits for a request, and skips one empty line in front of it: RFC 9112 section 2.2.
func (c *conn) begin() error {
	if err := c.await(); err != nil {
		return err
	}
	if c.in.unread()[0] == '\r' {
		if c.in.len() < 2 {
			c.reading.set(c.o.Header)
			if err := c.fill(); err != nil {
				return err
			}
		}
		if c.in.unread()[1] != '\n' {
			return errLine
		}
		c.in.r += 2
		if err := c.await(); err != nil {
			return err
		}
	}
	if lower[c.in.unread()[0]] == 0 { // no method begins so; a TLS handshake does, and would not send a line
		return errStartLine
	}
	return nil
}

// errLineSize and errHeadSize are a head without end, errSlow one that takes too long.
var (
	errLineSize = &refusal{414, "a request line longer than is taken here"}
	errHeadSize = &refusal{431, "a request head larger than is taken here"}
	errSlow     = &refusal{408, "the request did not come in time"}
)

func tooLarge(in []byte) error {
	if bytes.IndexByte(in, '\n') < 0 {
		return errLineSize
	}
	return errHeadSize
}

// fill reads once more.
func (c *conn) fill() error {
	n, err := c.nc.Read(c.in.room())
	c.in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// reject answers what is no request. Who left, or never began, gets no answer.
func (c *conn) reject(err error) {
	var no *refusal
	if !errors.As(err, &no) {
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.in.len() == 0 {
			return
		}
		no = errSlow
	}
	c.writing.set(c.o.Info.Write)
	c.nc.Write(refused(no))
	c.writing.clear()
}

// fillIn makes the Exchange of the request.
func (c *conn) fillIn(x *exchange) {
	r := &c.req
	x.rec = record.Record{
		Start: time.Now(), Listener: c.o.Info.Listener, Client: c.o.Info.Remote, Proto: protoNames[r.minor],
		Method: r.method, Host: r.host, Path: r.path,
	}
	scheme := schemeHTTP
	if c.o.Info.TLS != nil {
		scheme, x.rec.TLS = schemeHTTPS, c.o.Info.TLS.Version
	}
	length := r.length
	if r.chunked {
		length = wire.Unknown
	}
	x.Exchange = wire.Exchange{
		Method: r.method, Scheme: scheme, Authority: r.authority, Host: r.host,
		Path: r.path, RawQuery: r.query, HasQuery: r.hasQuery, Fields: r.fields, Length: length, Upgrade: r.upgrade,
		Major: 1, Minor: r.minor, Conn: c.o.Info, Record: &x.rec, Body: &x.body, Responder: &x.answer,
	}
}

var (
	protoNames              = [2]string{"HTTP/1.0", "HTTP/1.1"}
	schemeHTTP, schemeHTTPS = []byte("http"), []byte("https")
)
