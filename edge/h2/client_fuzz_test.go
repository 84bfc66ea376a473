package h2

import (
	"bytes"
	"testing"

	"edge/edge/socket"
	"edge/edge/wire"
)

// Whatever frames a server sends, the client neither panics nor hangs, takes no answer that is none, and is left with nothing.
func FuzzAnswerFrames(f *testing.F) {
	for _, s := range answerSamples(f) {
		if all := s.bytes(f); len(all) < 2000 && s.Class != "beginning" {
			f.Add(all[headLen:])
		}
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		p := &pipe{in: bytes.NewReader(append(appendHead(nil, 0, frameSettings, 0, 0), frames...))}
		begun := make(chan struct{})
		below := socket.New(&late{p, begun})
		c := NewClientConn(below, below, longClient)
		c.settled = true // so that what comes finds two exchanges
		first, second := c.Begin(), c.Begin()
		c.settled = false
		go c.Serve()
		ended := make(chan *told, 2)
		for i, s := range []*Call{first, second} {
			method := []string{"GET", "HEAD"}[i]
			if _, err := s.Send(requestBy(method, "/")); err != nil {
				t.Fatal(err)
			}
		}
		close(begun)
		for _, s := range []*Call{first, second} {
			go func() {
				a, err := s.whole()
				if err != nil {
					a = nil
				} else {
					a.Fields, a.trailers = a.Fields.Clone(), s.Trailers().Clone()
				}
				s.Done()
				ended <- a
			}()
		}
		for range 2 {
			if a := wait(t, "an exchange ends", ended); a != nil {
				a.check(t)
			}
		}
		wait(t, "the connection ends", c.Over())
		c.mu.Lock()
		if len(c.calls)+c.open+len(c.queue)+len(c.full) > 0 || cap(c.out)+cap(c.spare) > 2*mostOut+mostControl+64<<10 {
			t.Errorf("left: %d streams, %d exchanges, %d bytes of buffers", len(c.calls), c.open, cap(c.out)+cap(c.spare))
		}
		c.mu.Unlock()
		p.mu.Lock() // a write that somebody began aside may end later
		defer p.mu.Unlock()
		if limit := 2000 + 100*len(frames); p.took > limit {
			t.Errorf("%d bytes of answers to %d", p.took, len(frames))
		}
	})
}

// check says what must not be in an answer.
func (a *told) check(t *testing.T) {
	if a.Status < 200 || a.Status > 999 || a.Length >= 0 && a.Length != int64(len(a.body)) && a.Status != 304 && len(a.body) > 0 {
		t.Errorf("got %s", a)
	}
	for _, field := range append(a.Fields, a.trailers...) {
		if !validName(field.Name) || !validValue(field.Value) || wire.Framing(field.Name) {
			t.Errorf("%q: %q", field.Name, field.Value)
		}
	}
}

// late is a connection over which nothing comes before the exchanges have begun.
type late struct {
	*pipe
	begun chan struct{}
}

func (l *late) Read(b []byte) (int, error) {
	<-l.begun
	return l.pipe.Read(b)
}
