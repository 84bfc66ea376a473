package wire

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"edge/edge/record"
)

var (
	errHeadSent = errors.New("wire: the head of the answer was sent already")
	errAborted  = errors.New("wire: the answer was aborted")
	errShort    = errors.New("wire: the answer is shorter than it was said to be")
	errLong     = errors.New("wire: the answer is longer than it was said to be")
)

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// ServeHTTP adapts h for an engine that speaks net/http. conn is the connection that its requests come by; last, asked as late as can
// be, says whether an answer is to be the connection's last (HTTP/1.1; nil: none is). A request that is not canonical gets 400 and
// never reaches h.
func ServeHTTP(h Handler, conn *Conn, last func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{w: w, rc: http.NewResponseController(w), r: r, conn: conn, last: last, length: Unknown}
		a.body.answer = a
		if r.ContentLength != 0 && r.ProtoMajor == 1 {
			a.rc.EnableFullDuplex() // an early answer, or one that grows with the request, is not a mistake
		}
		a.pause()
		x, err := a.exchange()
		if err != nil {
			a.progress()
			http.Error(w, err.Error(), http.StatusBadRequest)
			a.body.end()
			a.refused(err)
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
	length             int64 // of the answer's body, as the client was told; Unknown: it was not
	tunnel             *stream
	aborted            atomic.Bool
	stopGone           func()
	body               body
}

// refused tells who wants to know of a request that is none.
func (a *answer) refused(err error) {
	if a.conn.Refused == nil {
		return
	}
	r := &record.Record{
		Start: time.Now(), Listener: a.conn.Listener, Client: a.conn.Remote, Proto: a.r.Proto, Method: []byte(a.r.Method), Status: http.StatusBadRequest, Err: err,
	}
	if a.conn.TLS != nil {
		r.TLS = a.conn.TLS.Version
	}
	a.conn.Refused(r)
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
	if err := CheckConnection(r.Header); err != nil {
		return nil, err
	}
	a.rec = record.Record{
		Start: time.Now(), Listener: a.conn.Listener, Client: a.conn.Remote, Proto: r.Proto,
		Method: []byte(r.Method), Host: []byte(host), Path: []byte(path), Query: []byte(query),
	}
	if a.conn.TLS != nil {
		a.rec.TLS = a.conn.TLS.Version
	}
	x := &Exchange{
		Method: a.rec.Method, Scheme: []byte(a.conn.Scheme()), Authority: []byte(authority), Host: a.rec.Host,
		Path: a.rec.Path, RawQuery: a.rec.Query, HasQuery: hasQuery,
		Fields: FromHeader(r.Header), Length: r.ContentLength, Upgrade: upgrade(r),
		Major: r.ProtoMajor, Minor: r.ProtoMinor, Conn: a.conn, Record: &a.rec, Body: &a.body, Responder: a,
	}
	return x, nil
}

// target takes the request target apart: the very bytes that came, checked.
func target(r *http.Request) (path, query string, hasQuery bool, err error) {
	if err := CheckMethod(r.Method); err != nil {
		return "", "", false, err
	}
	if r.Method == http.MethodConnect {
		return "", "", false, errors.New("CONNECT is not served")
	}
	if r.RequestURI == "*" && r.Method == http.MethodOptions {
		return "*", "", false, nil
	}
	uri := r.RequestURI
	if !strings.HasPrefix(uri, "/") { // absolute-form: net/http took the host out of it
		_, rest, ok := strings.Cut(uri, "://")
		if !ok || r.ProtoMajor != 1 || r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.User != nil || r.URL.Host == "" {
			return "", "", false, errPathStart
		}
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

// end closes the exchange when its handler has returned.
func (a *answer) end() {
	a.OnGone(nil)
	if a.tunnel != nil {
		a.tunnel.Close()
		return
	}
	a.body.stop()
	a.progress() // for what net/http still has to write
	switch {
	case a.finished:
		a.body.end()
	case !a.headSent && !a.aborted.Load():
		http.Error(a.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		a.body.end()
	default:
		a.body.end()
		panic(http.ErrAbortHandler) // net/http closes the connection or resets the stream
	}
}

// Inform sends a 1xx.
func (a *answer) Inform(status int, f Fields) error {
	if a.headSent {
		return errHeadSent
	}
	if !a.r.ProtoAtLeast(1, 1) || status <= http.StatusSwitchingProtocols {
		return nil // the engine's own, and Tunnel's
	}
	h := a.w.Header()
	f.AddTo(h)
	a.progress()
	a.w.WriteHeader(status)
	a.pause()
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
	if length >= 0 && !bodiless(status) { // of a 304 nobody knows it
		h.Set("Content-Length", strconv.FormatInt(length, 10))
		if !a.dropsBody() {
			a.length = length
		}
	}
	if a.last != nil && a.last() {
		h.Set("Connection", "close")
	}
	a.progress()
	a.w.WriteHeader(status)
	a.pause()
	return nil
}

// progress gives the next write its time.
func (a *answer) progress() {
	a.rc.SetWriteDeadline(time.Now().Add(a.conn.Write))
	if a.aborted.Load() {
		a.rc.SetWriteDeadline(past) // Abort came in between
	}
}

// pause takes the time back after a write: HTTP/2 resets a stream whose time is over even if nothing waits to be written.
func (a *answer) pause() {
	if a.r.ProtoMajor == 2 {
		a.rc.SetWriteDeadline(time.Time{})
	}
}

// dropsBody says whether the answer's body is counted and dropped.
func (a *answer) dropsBody() bool { return a.r.Method == http.MethodHead || bodiless(a.rec.Status) }

// bodiless says whether answers of a status have no body: RFC 9110 section 6.4.1.
func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// piece is how much is written within one deadline, so that a client that is slow but reads is not cut off.
const piece = 16 << 10

func (a *answer) Write(p []byte) (n int, err error) {
	if a.dropsBody() {
		return len(p), nil
	}
	if a.length >= 0 && a.rec.BytesOut+int64(len(p)) > a.length {
		return 0, errLong
	}
	if a.rec.BytesOut+int64(len(p)) > held {
		a.body.leave()
	}
	defer a.pause()
	for {
		if a.aborted.Load() {
			return n, errAborted
		}
		a.progress()
		m, err := a.w.Write(p[n:min(n+piece, len(p))])
		n += m
		a.rec.BytesOut += int64(m)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// ReadFrom copies r, but never past the length that was announced: sendfile does not look.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.dropsBody() {
		return io.Copy(io.Discard, r)
	}
	a.body.leave()
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
		left := limited.N
		if a.length >= 0 {
			left = min(left, a.length-a.rec.BytesOut)
		}
		if left <= 0 {
			return total, nil
		}
		a.progress()
		part := &io.LimitedReader{R: limited.R, N: min(left, piece)} // one LimitedReader over a file: sendfile sees through it
		n, err := from.ReadFrom(part)
		limited.N -= n
		total += n
		a.rec.BytesOut += n
		if err != nil || part.N > 0 {
			return total, err
		}
	}
	return total, errAborted
}

func (a *answer) Flush() error {
	a.body.leave()
	a.progress()
	defer a.pause()
	return a.rc.Flush()
}

// Finish ends the answer well.
func (a *answer) Finish(trailers Fields) error {
	if a.aborted.Load() {
		return errAborted
	}
	if a.length >= 0 && a.rec.BytesOut != a.length { // HTTP/2 would not tell the client
		a.Abort(errShort)
		return errShort
	}
	if len(trailers) > 0 && a.length == Unknown {
		a.Flush() // else net/http would give a short answer its length, and no trailers
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
		a.rc.SetWriteDeadline(past) // whoever writes now stops
		a.body.stop()
	}
}

// OnGone runs f when the client has left. What it replaces does not run any more when it returns.
func (a *answer) OnGone(f func(error)) {
	if a.stopGone != nil {
		a.stopGone()
		a.stopGone = nil
	}
	if f == nil {
		return
	}
	ctx, ended := a.r.Context(), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		f(context.Cause(ctx))
	})
	a.stopGone = func() {
		if !stop() {
			<-ended
		}
	}
}

func (a *answer) Gone() error              { return context.Cause(a.r.Context()) }
func (a *answer) Context() context.Context { return a.r.Context() }
