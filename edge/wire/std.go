package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// HTTP adapts a net/http handler: everything is copied, so h may keep what it likes. Its ResponseWriter has Flush, ReadFrom and
// Hijack (by Tunnel); http.ErrAbortHandler is Abort.
func HTTP(h http.Handler) Handler {
	return HandlerFunc(func(x *Exchange) {
		r, cancel, err := request(x)
		if err != nil {
			ReplyText(x, http.StatusBadRequest, err.Error())
			return
		}
		defer cancel()
		w := &writer{x: x, header: http.Header{}}
		defer func() {
			if e := recover(); e != nil {
				if e != http.ErrAbortHandler {
					panic(e)
				}
				x.Abort(http.ErrAbortHandler)
			}
		}()
		h.ServeHTTP(w, r)
		w.end()
	})
}

// request gives the Exchange as net/http knows requests.
func request(x *Exchange) (*http.Request, context.CancelFunc, error) {
	target := x.Target()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		if target != "*" {
			return nil, nil, err
		}
		u = &url.URL{Path: "*"}
	}
	ctx, cancel := context.WithCancel(x.Context())
	r := (&http.Request{
		Method: string(x.Method), URL: u, RequestURI: target, Host: string(x.Authority),
		Proto: "HTTP/" + strconv.Itoa(x.Major) + "." + strconv.Itoa(x.Minor), ProtoMajor: x.Major, ProtoMinor: x.Minor,
		Header: http.Header{}, ContentLength: x.Length, Body: io.NopCloser(x.Body), TLS: x.Conn.TLS,
	}).WithContext(ctx)
	if x.Length == 0 {
		r.Body = http.NoBody
	}
	if x.Record.Client.IsValid() {
		r.RemoteAddr = x.Record.Client.String()
	}
	x.Fields.AddTo(r.Header)
	return r, cancel, nil
}

// small is how much of an answer is kept back, so that a short one leaves with its length.
const small = 4 << 10

// writer is the ResponseWriter over an Exchange.
type writer struct {
	x        *Exchange
	header   http.Header
	status   int // 0: none yet
	held     bytes.Buffer
	headSent bool
	err      error
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	if 100 <= status && status < 200 && status != http.StatusSwitchingProtocols {
		w.x.Inform(status, FromHeader(w.header))
		return
	}
	w.status = status
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if !w.headSent && w.held.Len()+len(p) <= small {
		return w.held.Write(p)
	}
	if err := w.sendHead(Unknown, p); err != nil {
		return 0, err
	}
	return w.x.Write(p)
}

// sendHead sends the head, once, and what was held back. next is what follows, to guess the media type from.
func (w *writer) sendHead(length int64, next []byte) error {
	if w.headSent || w.err != nil {
		return w.err
	}
	w.headSent = true
	if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		length = n
	}
	if _, ok := w.header["Content-Type"]; !ok && w.held.Len()+len(next) > 0 && w.header.Get("Content-Encoding") == "" {
		start := append(w.held.Bytes()[:w.held.Len():w.held.Len()], next[:min(len(next), 512)]...)
		w.header.Set("Content-Type", http.DetectContentType(start))
	}
	if w.err = w.x.Head(w.status, FromHeader(w.header), length); w.err == nil && w.held.Len() > 0 {
		_, w.err = w.x.Write(w.held.Bytes())
	}
	return w.err
}

func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	w.WriteHeader(http.StatusOK)
	if w.header.Get("Content-Type") != "" {
		if err := w.sendHead(Unknown, nil); err != nil {
			return 0, err
		}
		return w.x.ReadFrom(r)
	}
	first := make([]byte, 512) // to guess the media type from
	n, err := io.ReadFull(r, first)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		m, err := w.Write(first[:n])
		return int64(m), err
	}
	if err != nil {
		return int64(n), err
	}
	if err := w.sendHead(Unknown, first); err != nil {
		return 0, err
	}
	if n, err = w.x.Write(first); err != nil {
		return int64(n), err
	}
	m, err := w.x.ReadFrom(r)
	return int64(n) + m, err
}

// FlushError sends what there is.
func (w *writer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	if err := w.sendHead(Unknown, nil); err != nil {
		return err
	}
	return w.x.Flush()
}

func (w *writer) Flush() { w.FlushError() }

// Hijack hands out the tunnel of an upgrade.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.status != 0 {
		return nil, nil, errors.New("wire: hijack after the head")
	}
	s, err := w.x.Tunnel(FromHeader(w.header))
	if err != nil {
		return nil, nil, err
	}
	w.headSent = true
	return s, bufio.NewReadWriter(bufio.NewReader(s), bufio.NewWriter(s)), nil
}

// SetReadDeadline and its like are the engine's: progress is watched there.
func (w *writer) SetReadDeadline(time.Time) error  { return nil }
func (w *writer) SetWriteDeadline(time.Time) error { return nil }

// end finishes the answer of a handler that has returned.
func (w *writer) end() {
	if w.x.Record.Tunnel {
		return
	}
	w.WriteHeader(http.StatusOK)
	length := int64(w.held.Len())
	if length == 0 && string(w.x.Method) == http.MethodHead || bodiless(w.status) {
		length = Unknown // the handler may have known that nobody reads it
	}
	err := w.sendHead(length, nil)
	if err == nil {
		err = w.x.Finish(trailers(w.header))
	}
	if err != nil {
		w.x.Abort(err)
	}
}

// trailers gives the fields that the handler set as trailers by the prefix that net/http knows.
func trailers(h http.Header) Fields {
	var f Fields
	for name, values := range h {
		if rest, ok := bytes.CutPrefix([]byte(name), []byte(http.TrailerPrefix)); ok {
			for _, v := range values {
				f = f.Add(string(bytes.ToLower(rest)), v)
			}
		}
	}
	return f
}
