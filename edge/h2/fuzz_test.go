package h2

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"edge/edge/socket"
	"edge/edge/wire"
)

// pipe is a connection in memory whose client has sent all that it will, and takes every byte.
type pipe struct {
	net.Conn // nothing else is asked of it
	in       *bytes.Reader
	mu       sync.Mutex
	took     int
}

func (p *pipe) Read(b []byte) (int, error) { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took += len(b)
	return len(b), nil
}
func (p *pipe) Close() error                     { return nil }
func (p *pipe) CloseWrite() error                { return nil }
func (p *pipe) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p *pipe) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// Whatever frames come, the engine neither panics nor hangs, answers in proportion, and is left with nothing.
func FuzzFrames(f *testing.F) {
	for _, s := range samples(f) {
		var all []byte
		for i := range s.Send {
			all = append(all, s.Send[i].bytes(f)...)
		}
		if len(all) < 2000 {
			f.Add(all)
		}
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		in := appendHead([]byte(preface), 0, frameSettings, 0, 0)
		p := &pipe{in: bytes.NewReader(append(in, frames...))}
		below := &testStream{Conn: p, below: socket.New(p)}
		c := New(below, Options{
			Handler: wire.HandlerFunc(func(x *wire.Exchange) {
				if x.Upgrade != nil {
					up, err := x.Tunnel(nil)
					if err == nil {
						io.Copy(up, up)
					}
					return
				}
				if err := wire.Check(x.Path, x.RawQuery); err != nil && string(x.Path) != "*" {
					t.Errorf("%q: %v", x.Path, err)
				}
				for _, field := range x.Fields {
					if !validName(field.Name) || !validValue(field.Value) || wire.Framing(field.Name) {
						t.Errorf("%q: %q", field.Name, field.Value)
					}
				}
				n, err := io.Copy(io.Discard, x.Body)
				if err == nil && x.Length >= 0 && n != x.Length {
					t.Errorf("%d bytes of %d", n, x.Length)
				}
				wire.Reply(x, 200, "text/plain", "ok")
			}),
			Info: &wire.Conn{Body: long, Write: long, Tunnel: long}, MaxHeader: 8 << 10, Streams: 20, Header: long, Idle: long, Last: func() bool { return false },
		})
		done := make(chan struct{})
		go func() { defer close(done); c.Serve() }()
		select {
		case <-done:
		case <-time.After(long):
			t.Fatal("it hangs")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.working != 0 || len(c.streams) > 0 || c.heads != 0 || c.room+c.taken > recvWindow || len(c.queue)+len(c.full) > 0 {
			t.Errorf("left: %d handlers, %d streams, %d of heads, a window of %d", c.working, len(c.streams), c.heads, c.room+c.taken)
		}
		if cap(c.out)+cap(c.spare) > 2*mostOut+mostControl+64<<10 {
			t.Errorf("%d bytes of buffers", cap(c.out)+cap(c.spare))
		}
		p.mu.Lock() // a write that somebody began aside may end after Serve
		defer p.mu.Unlock()
		if limit := 2000 + 100*len(frames); p.took > limit {
			t.Errorf("%d bytes of answers to %d", p.took, len(frames))
		}
	})
}
