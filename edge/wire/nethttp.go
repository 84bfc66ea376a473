package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edge/edge/record"
)

var (
	errHeadSent  = errors.New("wire: the head of the answer was sent already")
	errAborted   = errors.New("wire: the answer was aborted")
	errNoUpgrade = errors.New("wire: the client asked for no upgrade")
	errAnswered  = errors.New("wire: the request was answered before its body was read")
)

// ServeHTTP adapts h for an engine that speaks net/http. conn is the connection that its requests come by; last, asked as late as can
// be, says whether an answer is to be the connection's last (HTTP/1.1; nil: none is). A request that is not canonical gets 400 and
// never reaches h.
func ServeHTTP(h Handler, conn *Conn, last func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{w: w, rc: http.NewResponseController(w), r: r, conn: conn, last: last}
		x, err := a.exchange()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.Serve(x)
		a.end()
	})
}

// answer is one request of a net/http server: the Responder and the Body of its Exchange.
type answer struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	r    *http.Request
	conn *Conn
	last func() bool
	rec  record.Record

	headSent, finished bool
	tunnel             *stream
	aborted            atomic.Bool
	stopGone           func() bool
	body               body
}

// exchange makes the canonical request out of what net/http parsed, or says why there is none.
func (a *answer) exchange() (*Exchange, error) {
	r := a.r
	path, query, hasQuery, err := target(r)
	if err != nil {
		return nil, err
	}
	authority, host, err := CanonicalHost(r.Host)
	if err != nil {
		return nil, err
	}
	if h, ok := r.Header["Host"]; ok && (len(h) != 1 || !strings.EqualFold(h[0], r.Host)) {
		return nil, errors.New("host and :authority differ")
	}
	a.rec = record.Record{
		Start: time.Now(), Listener: a.conn.Listener, Client: a.conn.Remote, Proto: r.Proto,
		Method: []byte(r.Method), Host: []byte(host), Path: []byte(path),
	}
	if a.conn.TLS != nil {
		a.rec.TLS = a.conn.TLS.Version
	}
	x := &Exchange{
		Method: a.rec.Method, Scheme: []byte(a.conn.Scheme()), Authority: []byte(authority), Host: a.rec.Host,
		Path: a.rec.Path, RawQuery: []byte(query), HasQuery: hasQuery,
		Fields: FromHeader(r.Header), Length: r.ContentLength, Upgrade: upgrade(r),
		Major: r.ProtoMajor, Minor: r.ProtoMinor, Conn: a.conn, Record: &a.rec, Body: &a.body, Responder: a,
	}
	a.body.answer = a
	if x.Length != 0 && r.ProtoMajor == 1 {
		a.rc.EnableFullDuplex() // an early answer, or one that grows with the request, is not a mistake
	}
	return x, nil
}

// target takes the request target apart: the very bytes that came, checked.
func target(r *http.Request) (path, query string, hasQuery bool, err error) {
	if r.Method == http.MethodConnect {
		return "", "", false, errors.New("CONNECT is not served")
	}
	if r.RequestURI == "*" && r.Method == http.MethodOptions {
		return "*", "", false, nil
	}
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") { // absolute-form: net/http took the host out of it
		if r.ProtoMajor != 1 || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.User != nil {
			return "", "", false, errPathStart
		}
		_, rest, _ := strings.Cut(uri, "://")
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			uri = rest[i:]
		} else {
			uri = ""
		}
		if !strings.HasPrefix(uri, "/") {
			uri = "/" + uri
		}
	}
	path, query, hasQuery = strings.Cut(uri, "?")
	return path, query, hasQuery, Check(path, query)
}

// upgrade gives the protocol that the client asks for, if it may: RFC 9110 section 7.8. h2c is not offered.
func upgrade(r *http.Request) []byte {
	proto := r.Header.Get("Upgrade")
	if r.ProtoMajor != 1 || r.ProtoMinor < 1 || proto == "" || strings.EqualFold(proto, "h2c") || !named(r.Header["Connection"], "upgrade") {
		return nil
	}
	return []byte(proto)
}

// end closes the exchange when its handler has returned.
func (a *answer) end() {
	if a.stopGone != nil {
		a.stopGone()
	}
	switch {
	case a.tunnel != nil:
		a.tunnel.Close()
	case a.finished:
	case !a.headSent && !a.aborted.Load():
		http.Error(a.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	default:
		panic(http.ErrAbortHandler) // net/http closes the connection or resets the stream
	}
}

// Inform sends a 1xx.
func (a *answer) Inform(status int, f Fields) error {
	if a.headSent {
		return errHeadSent
	}
	if !a.r.ProtoAtLeast(1, 1) {
		return nil
	}
	h := a.w.Header()
	f.AddTo(h)
	a.w.WriteHeader(status)
	clear(h)
	return nil
}

// Head sends the head of the answer.
func (a *answer) Head(status int, f Fields, length int64) error {
	if a.headSent {
		return errHeadSent
	}
	a.headSent, a.rec.Status = true, status
	h := a.w.Header()
	f.AddTo(h)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // what the handler left out is not guessed
	}
	if length >= 0 && status >= 200 && status != http.StatusNoContent {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if a.last != nil && a.last() {
		h.Set("Connection", "close")
	}
	a.progress()
	a.w.WriteHeader(status)
	return nil
}

// progress gives the next write its time.
func (a *answer) progress() {
	a.rc.SetWriteDeadline(time.Now().Add(a.conn.Write))
}

// bodiless says whether the answer's body is counted and dropped.
func (a *answer) bodiless() bool {
	return a.r.Method == http.MethodHead || a.rec.Status == http.StatusNoContent || a.rec.Status == http.StatusNotModified
}

func (a *answer) Write(p []byte) (int, error) {
	if a.aborted.Load() {
		return 0, errAborted
	}
	if a.bodiless() {
		return len(p), nil
	}
	a.progress()
	n, err := a.w.Write(p)
	a.rec.BytesOut += int64(n)
	return n, err
}

// ReadFrom copies r in pieces, so that each has its time to be written.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.bodiless() {
		return io.Copy(io.Discard, r)
	}
	from, ok := a.w.(io.ReaderFrom)
	if !ok {
		return io.CopyBuffer(struct{ io.Writer }{a}, r, make([]byte, 64<<10))
	}
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	var total int64
	for !a.aborted.Load() {
		a.progress()
		piece := &io.LimitedReader{R: limited.R, N: min(limited.N, 4<<20)} // one LimitedReader over a file: sendfile sees through it
		n, err := from.ReadFrom(piece)
		limited.N -= n
		total += n
		a.rec.BytesOut += n
		if err != nil || piece.N > 0 || limited.N == 0 {
			return total, err
		}
	}
	return total, errAborted
}

func (a *answer) Flush() error {
	a.progress()
	return a.rc.Flush()
}

// Finish ends the answer well.
func (a *answer) Finish(trailers Fields) error {
	if a.aborted.Load() {
		return errAborted
	}
	for _, t := range trailers {
		if !Framing(t.Name) {
			a.w.Header().Add(http.TrailerPrefix+string(t.Name), string(t.Value))
		}
	}
	a.finished = true
	a.body.stop()
	return nil
}

// Abort makes Serve's end a failure that the client sees.
func (a *answer) Abort(err error) {
	if !a.aborted.Swap(true) {
		a.rc.SetWriteDeadline(time.Unix(1, 0)) // whoever writes now stops
		a.body.stop()
	}
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
	a.tunnel = &stream{Conn: nc, in: rw.Reader}
	nc.SetDeadline(time.Now().Add(a.conn.Write))
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", proto)
	for _, x := range f {
		if !Framing(x.Name) {
			fmt.Fprintf(rw, "%s: %s\r\n", http.CanonicalHeaderKey(string(x.Name)), x.Value)
		}
	}
	rw.WriteString("\r\n")
	if err := rw.Flush(); err != nil {
		return nil, err
	}
	return a.tunnel, nc.SetDeadline(time.Time{})
}

// OnGone runs f when the client has left.
func (a *answer) OnGone(f func(error)) {
	if a.stopGone != nil {
		a.stopGone()
		a.stopGone = nil
	}
	if f != nil {
		a.stopGone = context.AfterFunc(a.r.Context(), func() { f(context.Cause(a.r.Context())) })
	}
}

func (a *answer) Gone() error              { return context.Cause(a.r.Context()) }
func (a *answer) Context() context.Context { return a.r.Context() }

// body is the Body of an answer's Exchange.
type body struct {
	answer  *answer
	mu      sync.Mutex
	reading bool
	err     error // for every Read from now on
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.begin(); err != nil {
		return 0, err
	}
	n, err := b.answer.r.Body.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.answer.rec.BytesIn += int64(n)
	if err != nil && b.err == nil {
		b.err = err
	}
	if err == io.EOF {
		b.answer.rc.SetReadDeadline(time.Time{}) // else net/http's look at the waiting connection would end by it
	}
	return n, err
}

// begin gives the next read its time.
func (b *body) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.reading = true
		b.answer.rc.SetReadDeadline(time.Now().Add(b.answer.conn.Body))
	}
	return b.err
}

// stop ends a Read that waits, and all later ones: the answer is complete.
func (b *body) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errAnswered
	}
	if b.reading {
		b.answer.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (b *body) Buffered() ([]byte, bool) { return nil, b.answer.r.ContentLength == 0 }
func (b *body) Trailers() Fields         { return FromHeader(b.answer.r.Trailer) }

// stream is a hijacked connection with what was read of it too far.
type stream struct {
	net.Conn
	in *bufio.Reader
}

func (s *stream) Read(p []byte) (int, error) {
	if s.in.Buffered() > 0 {
		return s.in.Read(p[:min(len(p), s.in.Buffered())])
	}
	return s.Conn.Read(p)
}

// CloseWrite ends our side: close_notify, FIN.
func (s *stream) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (s *stream) TCP() *net.TCPConn {
	if s.in.Buffered() > 0 {
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
