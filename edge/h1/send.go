package h1

import (
	"cmp"
	"io"
	"net"
	"os"
)

// joined is how much is collected before it is written: a head and a small body leave in one write, and so in one TLS record. What the
// chunked coding adds behind still fits in the buffer.
const joined = smallSize - 64

// put sends p behind what waits: collected if both are small, else at once.
func (a *answer) put(p []byte) error {
	if len(a.out)+len(p) <= joined {
		a.out = append(a.out, p...)
		return nil
	}
	if free := joined - len(a.out); free > 0 && len(a.out) > 0 && a.c.o.Info.TLS == nil {
		a.out, p = append(a.out, p[:free]...), p[free:]
	}
	return a.flushWith(p)
}

// flush writes what waits. a.mu is held.
func (a *answer) flush() error { return a.flushWith(nil) }

// flushWith writes what waits, and p behind it. a.mu is held.
func (a *answer) flushWith(p []byte) error {
	if len(a.out) == 0 && len(p) == 0 {
		return a.err
	}
	a.begun = a.headSent
	err := a.write(a.out, p)
	a.out = a.out[:0]
	return err
}

// write writes what may be missing, then p, in pieces that each have their time, so that a client that is slow but reads is not cut off.
func (a *answer) write(first, p []byte) error {
	for len(first)+len(p) > 0 && a.err == nil {
		n := min(len(p), hugeSize)
		a.c.writing.set(a.c.o.Info.Write)
		a.err = a.send(first, p[:n])
		if !a.c.writing.clear() && a.err == nil {
			a.err = os.ErrDeadlineExceeded
		}
		first, p = nil, p[n:]
	}
	return a.err
}

// send writes a piece. What takes more than one of TLS's records leaves in one system call all the same.
func (a *answer) send(first, p []byte) (err error) {
	if n := len(first) + len(p); n > smallSize && a.c.o.Info.TLS != nil {
		s := a.c.nc.Socket()
		s.Join(n)
		defer func() { err = cmp.Or(err, s.Flush()) }()
	}
	if len(first) > 0 {
		_, err = a.c.nc.Write(first)
	}
	if err == nil && len(p) > 0 {
		_, err = a.c.nc.Write(p)
	}
	return err
}

// ReadFrom sends r to its end, by sendfile or splice where nothing lies between the body and the socket and there is enough to send.
func (a *answer) ReadFrom(r io.Reader) (n int64, err error) {
	tcp, left := a.direct()
	if tcp != nil {
		return a.sendFile(tcp, r, left)
	}
	buf := getFor(left)
	defer putBack(buf)
	for {
		m, err := r.Read(*buf)
		if m > 0 {
			w, err := a.Write((*buf)[:m])
			n += int64(w)
			if err != nil {
				return n, err
			}
		}
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
}

// direct gives the socket, if the body can go there as it is, and how much of it is to come; it may be negative, where nobody has said so.
func (a *answer) direct() (*net.TCPConn, int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.length - a.written
	if a.writable() != nil || a.noBody || left <= joined {
		return nil, left
	}
	return a.c.nc.TCP(), left
}

// sendFile sends up to left bytes of r, what waits before them.
func (a *answer) sendFile(tcp *net.TCPConn, r io.Reader, left int64) (n int64, err error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: left}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err = a.flush()
	for err == nil && limited.N > 0 && left > 0 && !a.aborted.Load() {
		part := io.LimitedReader{R: limited.R, N: min(limited.N, left, hugeSize)} // one, over a file: sendfile sees through it
		a.c.writing.set(a.c.o.Info.Write)
		var m int64
		m, err = tcp.ReadFrom(&part)
		if !a.c.writing.clear() && err == nil {
			err = os.ErrDeadlineExceeded
		}
		a.count(m)
		n, left, limited.N = n+m, left-m, limited.N-m
		if part.N > 0 {
			return n, err
		}
	}
	return n, err
}
