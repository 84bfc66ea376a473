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
	"sync/atomic"
	"time"

	"edge/edge/record"
	"edge/edge/socket"
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
	// Slim gives back what lies below and only a connection at work has need of; called by who reads. nil: who serves is not told of long rests.
	Slim func()
	// Prior gets a connection that begins with the preface of HTTP/2, RFC 9113 section 3.3, and what was read of it: all that the client has sent. It
	// closes the connection. nil: that is no request.
	Prior func(read []byte)
}

// Stream is a connection that requests are read from. It can be closed twice, and lingers when it is.
type Stream interface {
	wire.Stream
	Socket() *socket.Conn // below everything
	Reset()               // makes the end a reset, where an end by FIN would make an answer look whole
}

// New makes a connection of nc. Serve serves it.
//
// Durations are counted by a sweeper that looks once a second, so they may be exceeded by two.
func New(nc Stream, o Options) *Conn {
	c := &Conn{nc: nc, o: o}
	c.step = c.whileHere
	c.rests.Store(awake) // what the client has said already may lie above the socket
	sweep.add(c)
	return c
}

// Serve serves a connection to its end, on one goroutine.
func Serve(nc Stream, o Options) {
	o.Slim = nil
	New(nc, o).Serve()
}

// Serve serves the connection's requests one after the other, until it ends, and closes it. It says true where it has only rested for a while, if
// there is Options.Slim: then it is to be called again, on a new goroutine, whose stack is as small as a stack can be until there is a request.
func (c *Conn) Serve() (rests bool) {
	if c.whole() {
		return true
	}
	if c.prior != nil {
		c.o.Prior(c.prior)
	}
	return false
}

// whole serves the connection to its end, or to a long rest, and closes it at its end, unless it is one of HTTP/2.
func (c *Conn) whole() (rests bool) {
	defer func() {
		if rests {
			return
		}
		sweep.remove(c)
		if c.prior == nil {
			c.nc.Close()
		}
	}()
	return c.serve()
}

// Conn is a client's connection. One goroutine at a time serves it.
type Conn struct {
	nc               Stream
	o                Options
	in               input
	reading, writing limit
	*work            // written under the sweeper's mu

	step     func() bool  // whileHere, made once
	skipped  bool         // the empty line that may stand in front of a request
	parsed   bool         // req is a request that is not answered yet
	served   bool         // a request
	over     bool         // there is nothing more to serve
	handling bool         // the handler is at work
	prior    []byte       // what was read of a connection that speaks HTTP/2
	rests    atomic.Int64 // since which tick, or awake
	until    int64        // the tick that the rest ends at, if nothing comes
	nudged   bool         // the sweeper ended the rest, because it is a long one. Guarded by the sweeper's mu
	lean     bool         // the rest is a long one. Written under the sweeper's mu
}

// work is what a connection has need of while it reads requests and answers them. One that rests for long has none.
type work struct {
	lines lines // of the head that is being read
	req   request
	x     exchange
}

// serve serves all requests, or those before a long rest.
func (c *Conn) serve() (rests bool) {
	defer c.survive()
	for !c.over {
		if c.in.len() == 0 && !c.parsed && c.rest() {
			if c.o.Slim != nil {
				return true
			}
			continue
		}
		if !c.over {
			c.over = !c.one()
		}
	}
	c.in.release()
	return false
}

// survive ends the connection of a handler that panics, and of that one only. The buffers are lost: a goroutine of the handler's may still
// be at them.
func (c *Conn) survive() {
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
func (c *Conn) one() bool {
	if !c.parsed {
		text, err := c.readHead()
		if text == nil && err == nil {
			return true
		}
		if c.isPrior(text, err) {
			return false
		}
		if !c.parse(text, err) {
			return false
		}
	}
	c.parsed, c.served = false, true
	return c.x.run(c)
}

// preface is the head that HTTP/2 begins with.
const preface = "PRI * HTTP/2.0\r\n"

// isPrior says whether a head is that of HTTP/2, and may be, and keeps what was read.
func (c *Conn) isPrior(text []byte, err error) bool {
	if err != nil || c.served || c.o.Prior == nil || string(text) != preface {
		return false
	}
	c.prior = append([]byte(preface+"\r\n"), c.in.unread()...)
	return true
}

// parse makes a request of a head, or answers that it is none.
func (c *Conn) parse(text []byte, err error) bool {
	if err == nil {
		err = c.req.parse(text)
	}
	if err != nil {
		c.reject(err)
	}
	c.parsed = err == nil
	return c.parsed
}

// readHead reads up to the empty line, which it takes too. What it gives does not move until the next call. It gives nothing where there was
// only the empty line that may stand in front.
func (c *Conn) readHead() ([]byte, error) {
	c.reading.set(c.o.Header)
	text, err := c.receiveHead()
	if !c.reading.clear() && err == nil {
		err = os.ErrDeadlineExceeded
	}
	return text, err
}

func (c *Conn) receiveHead() ([]byte, error) {
	if err := c.skipLine(); err != nil || c.in.len() == 0 {
		return nil, err
	}
	if !c.begins() { // no method begins so; a TLS handshake does, and would not send a line
		return nil, errStartLine
	}
	for {
		text, err := c.takeHead()
		if text != nil || err != nil {
			return text, err
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// takeHead takes a head, if all of it is here.
func (c *Conn) takeHead() ([]byte, error) {
	in := c.in.unread()
	end, err := c.lines.end(in)
	switch {
	case err != nil:
		return nil, err
	case end > c.o.MaxHeader, end == 0 && len(in) >= c.o.MaxHeader:
		return nil, tooLarge(in)
	case end == 0:
		return nil, nil
	}
	c.lines, c.skipped = lines{}, false
	c.in.r += end
	return in[:end-2], nil
}

// skipLine skips one empty line in front of a request: RFC 9112 section 2.2.
func (c *Conn) skipLine() error {
	if c.skipped || c.in.unread()[0] != '\r' {
		return nil
	}
	if c.in.len() < 2 {
		if err := c.fill(); err != nil {
			return err
		}
	}
	if c.in.unread()[1] != '\n' {
		return errLine
	}
	c.in.r += 2
	c.skipped = true
	return nil
}

// begins says whether what is here can be the beginning of a request.
func (c *Conn) begins() bool { return lower[c.in.unread()[0]] != 0 }

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
func (c *Conn) fill() error {
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
func (c *Conn) reject(err error) {
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
	if told := c.o.Info.Refused; told != nil {
		r := &record.Record{Start: time.Now(), Listener: c.o.Info.Listener, Client: c.o.Info.Remote, Proto: protoNames[1], Status: no.status, Err: no}
		if c.o.Info.TLS != nil {
			r.TLS = c.o.Info.TLS.Version
		}
		told(r)
	}
}

// fillIn makes the Exchange of the request.
func (c *Conn) fillIn(x *exchange) {
	r := &c.req
	x.rec = record.Record{
		Start: time.Now(), Listener: c.o.Info.Listener, Client: c.o.Info.Remote, Proto: protoNames[r.minor],
		Method: r.method, Host: r.host, Path: r.path, Query: r.query,
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
