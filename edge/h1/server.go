package h1

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

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

// Serve serves the requests of a connection one after the other, until it ends, and closes it. nc must linger when it is closed.
func Serve(nc wire.Stream, o Options) {
	c := &conn{nc: nc, o: o}
	defer c.release()
	defer nc.Close()
	for c.one() {
	}
}

// bufferSize is what a head and a small body fit in.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { return make([]byte, bufferSize) }}

// conn is a client's connection. One goroutine serves it.
type conn struct {
	nc   wire.Stream
	o    Options
	buf  []byte // what was read; buf[r:w] is not used yet
	r, w int
	req  request
	x    exchange

	served bool // a request
}

func (c *conn) release() {
	if len(c.buf) == bufferSize {
		buffers.Put(c.buf) //nolint:staticcheck // a slice of a fixed size
	}
	c.buf = nil
}

// errHeadSize is a head without end.
var errHeadSize = &refusal{431, "a request head larger than is taken here"}

var errLineSize = &refusal{414, "a request line longer than is taken here"}

// one serves the next request, and says whether another may follow.
func (c *conn) one() bool {
	text, err := c.readHead()
	if err == nil {
		err = c.req.parse(text)
	}
	var no *refusal
	switch {
	case errors.As(err, &no):
		c.refuse(no)
		return false
	case err != nil: // the client has gone, or takes too long
		return false
	}
	c.served = true
	return c.x.run(c)
}

// readHead reads up to the empty line, which it takes too. What it gives does not move until the next call.
func (c *conn) readHead() ([]byte, error) {
	if err := c.firstByte(); err != nil {
		return nil, err
	}
	if err := c.skipEmptyLine(); err != nil {
		return nil, err
	}
	limit := time.Time{}
	for seen := 0; ; {
		in := c.buf[c.r:c.w]
		if i := bytes.Index(in[seen:], []byte("\r\n\r\n")); i >= 0 {
			end := seen + i + 4
			if end > c.o.MaxHeader {
				return nil, c.tooLarge(in)
			}
			c.r += end
			return in[:end-2], nil
		}
		if bytes.Contains(in[max(0, seen-1):], []byte("\n\n")) {
			return nil, errLine // else a client that ends its lines with LF alone would wait for ever
		}
		seen = max(0, len(in)-3)
		if len(in) >= c.o.MaxHeader {
			return nil, c.tooLarge(in)
		}
		if limit.IsZero() {
			limit = time.Now().Add(c.o.Header)
			c.nc.SetReadDeadline(limit)
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

func (c *conn) tooLarge(in []byte) error {
	if bytes.IndexByte(in, '\n') < 0 {
		return errLineSize
	}
	return errHeadSize
}

// firstByte waits for the first byte of a request.
func (c *conn) firstByte() error {
	if c.r < c.w {
		return nil
	}
	c.r, c.w = 0, 0
	c.o.Waits(true)
	defer c.o.Waits(false)
	limit := c.o.Header // a client that has just come wants something
	if c.served {
		limit = c.o.Idle
	}
	c.nc.SetReadDeadline(time.Now().Add(limit))
	return c.fill()
}

// skipEmptyLine skips one CRLF in front of a request: RFC 9112 section 2.2.
func (c *conn) skipEmptyLine() error {
	for c.w-c.r < 2 && c.buf[c.r] == '\r' {
		c.nc.SetReadDeadline(time.Now().Add(c.o.Header))
		if err := c.fill(); err != nil {
			return err
		}
	}
	if c.buf[c.r] == '\r' && c.buf[c.r+1] == '\n' {
		c.r += 2
		return c.firstByte()
	}
	return nil
}

// fill reads once more into the buffer, which it makes room in first: what is not used moves to the front.
func (c *conn) fill() error {
	switch {
	case c.buf == nil:
		c.buf = buffers.Get().([]byte)
	case c.w == len(c.buf) && c.r > 0:
		c.w, c.r = copy(c.buf, c.buf[c.r:c.w]), 0
	case c.w == len(c.buf):
		grown := make([]byte, 2*len(c.buf))
		copy(grown, c.buf)
		c.release()
		c.buf = grown
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// refuse answers what is no request, and ends the connection.
func (c *conn) refuse(no *refusal) {
	text := http.StatusText(no.status) + ": " + no.why + "\n"
	b := appendStatus(nil, no.status)
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = appendDate(append(b, "\r\n"...))
	b = append(append(b, "\r\n"...), text...)
	c.nc.SetWriteDeadline(time.Now().Add(c.o.Info.Write))
	c.nc.Write(b)
}

// fillIn makes the Exchange of the request.
func (c *conn) fillIn(x *exchange) {
	r := &c.req
	x.rec = record.Record{
		Start: time.Now(), Listener: c.o.Info.Listener, Client: c.o.Info.Remote, Proto: protoNames[r.minor],
		Method: r.method, Host: r.host, Path: r.path,
	}
	if c.o.Info.TLS != nil {
		x.rec.TLS = c.o.Info.TLS.Version
	}
	length := r.length
	if r.chunked {
		length = wire.Unknown
	}
	x.Exchange = wire.Exchange{
		Method: r.method, Scheme: schemes[c.o.Info.TLS != nil], Authority: r.authority, Host: r.host,
		Path: r.path, RawQuery: r.query, HasQuery: r.hasQuery, Fields: r.fields, Length: length, Upgrade: r.upgrade,
		Major: 1, Minor: r.minor, Conn: c.o.Info, Record: &x.rec, Body: &x.body, Responder: &x.answer,
	}
}

var (
	protoNames = [2]string{"HTTP/1.0", "HTTP/1.1"}
	schemes    = map[bool][]byte{false: []byte("http"), true: []byte("https")}
)
