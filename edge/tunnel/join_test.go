package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Each side's end is passed on, and the other direction goes on. The first one to close is the reason.
func TestHalfClose(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		for _, reason := range []Reason{ClientClosed, UpstreamClosed} {
			e := open(t, mode, time.Hour)
			first, last := e.client, e.up
			if reason == UpstreamClosed {
				first, last = e.up, e.client
			}
			says(t, first, last, "ping")
			says(t, last, first, "pong!")
			first.CloseWrite()
			hearsEnd(t, last)
			says(t, last, first, "late")
			last.CloseWrite()
			hearsEnd(t, first)
			want := [2]int64{4, 9}
			if reason == UpstreamClosed {
				want = [2]int64{9, 4}
			}
			if end := e.end(t, reason); [2]int64{end.In, end.Out} != want {
				t.Errorf("%d bytes in, %d out, want %v", end.In, end.Out, want)
			}
		}
	})
}

// A side that goes away altogether, as most do, has closed: what cannot be given to it any more is no error.
func TestCloseWithoutHalf(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		e := open(t, mode, time.Hour)
		says(t, e.client, e.up, "ping")
		e.client.Close()
		hearsEnd(t, e.up)
		for err := error(nil); err == nil; { // until it sees that nobody is there
			_, err = e.up.Write(make([]byte, 64<<10))
		}
		e.end(t, ClientClosed)
	})
}

// An error on one side ends both.
func TestReset(t *testing.T) {
	for _, side := range []string{"client", "upstream"} {
		t.Run(side, func(t *testing.T) {
			e := open(t, "plain", time.Hour)
			says(t, e.client, e.up, "ping")
			dies, other := e.client, e.up
			if side == "upstream" {
				dies, other = e.up, e.client
			}
			dies.(*net.TCPConn).SetLinger(0)
			dies.Close()
			if _, err := io.Copy(io.Discard, other); err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other side: %v", err)
			}
			if end := e.end(t, Error); !errors.Is(end.Err, syscall.ECONNRESET) || !strings.HasPrefix(end.Err.Error(), side+" to ") {
				t.Errorf("the error is %v", end.Err)
			}
		})
	}
}

// A connection that is cut takes its tunnel with it, also when its client has closed its side long ago and the upstream waits.
func TestCut(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		for _, half := range []bool{false, true} {
			e := open(t, mode, time.Hour)
			says(t, e.up, e.client, "ping")
			if half {
				e.client.CloseWrite()
				hearsEnd(t, e.up)
			}
			e.cancel()
			if !half {
				hearsEnd(t, e.up)
			}
			e.end(t, Cut)
		}
	})
}

// bad panics when it is read.
type bad struct{ Conn }

func (bad) Read([]byte) (int, error) { panic("a bug") }

// deaf is a connection as serve.Conn has them: cut, it reads as if it had ended.
type deaf struct{ Conn }

func (c deaf) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, err
}

// What was cut is not taken for closed.
func TestCutReadsLikeAnEnd(t *testing.T) {
	client, front, back, up := modes["plain"](t)
	e := join(t, Facts{}, time.Hour, client, deaf{front}, back, up)
	says(t, client, up, "ping")
	e.cancel()
	e.end(t, Cut)
}

// A bug in what is read is its tunnel's end, whichever goroutine meets it, and nobody else's.
func TestPanic(t *testing.T) {
	for _, side := range []string{"client", "upstream"} {
		t.Run(side, func(t *testing.T) {
			_, front, back, _ := modes["plain"](t)
			if side == "client" {
				front = bad{front}
			} else {
				back = bad{back}
			}
			var r Registry
			defer func() {
				if p := recover(); !strings.Contains(fmt.Sprint(p), "a bug, in:\ngoroutine") {
					t.Errorf("the panic is %v", p)
				}
				if n := r.Count(); len(n) != 0 {
					t.Errorf("still in the registry: %v", n)
				}
			}()
			r.Join(t.Context(), Facts{}, time.Hour, front, back)
		})
	}
}

// pipe is an end of a net.Pipe, which has no half-close.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return p.Close() }

// A tunnel through which nothing goes ends, and one with a byte either way does not.
func TestIdle(t *testing.T) {
	for _, idle := range []time.Duration{2 * time.Second, time.Minute, time.Hour} {
		for _, upstreamSpeaks := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				client, a := net.Pipe()
				b, up := net.Pipe()
				e := join(t, Facts{}, idle, pipe{client}, pipe{a}, pipe{b}, pipe{up})
				from, to, want := e.client, e.up, [2]int64{5, 0}
				if upstreamSpeaks {
					from, to, want = e.up, e.client, [2]int64{0, 5}
				}
				for range 5 {
					time.Sleep(idle - time.Second/2)
					says(t, from, to, "x")
				}
				last := time.Now()
				if end := <-e.ended; end != (End{want[0], want[1], Idle, nil}) {
					t.Errorf("it ended: %+v", end)
				}
				if d := time.Since(last); d < idle || d > idle+idle/4 {
					t.Errorf("idle for %v: it ended %v after the last byte", idle, d)
				}
				client.Close()
				up.Close()
			})
		}
	}
}

// Both sides hear of an idle tunnel's end: FIN, and before it close_notify where there is TLS, without which a read is no clean end.
func TestIdleIsTold(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		e := open(t, mode, 200*time.Millisecond)
		hearsEnd(t, e.client)
		hearsEnd(t, e.up)
		e.end(t, Idle)
	})
}

// What goes one way only keeps the tunnel, whichever way, and half closed too.
func TestOneWay(t *testing.T) {
	var tunnels []*ends
	for mode := range modes { // the second of each is half closed: only its upstream may speak
		tunnels = append(tunnels, open(t, mode, 1200*time.Millisecond), open(t, mode, 1200*time.Millisecond))
		tunnels[len(tunnels)-1].client.CloseWrite()
	}
	for range 16 {
		for i, e := range tunnels {
			from, to := e.client, e.up
			if i%2 == 1 {
				from, to = e.up, e.client
			}
			says(t, from, to, "x")
		}
		time.Sleep(200 * time.Millisecond) // the pace of a slow sender
	}
	for _, e := range tunnels {
		e.client.CloseWrite()
		hearsEnd(t, e.up)
		e.up.CloseWrite()
		e.end(t, ClientClosed)
	}
}

// A client that takes a download slowly keeps the tunnel while a piece of it, that the kernel holds, is on its way for longer than the timeout.
func TestSlowReader(t *testing.T) {
	e := open(t, "plain", 800*time.Millisecond)
	e.client.(*net.TCPConn).SetReadBuffer(16 << 10)
	var sending sync.WaitGroup
	sending.Go(func() { e.up.Write(make([]byte, 32<<20)) })
	defer sending.Wait()
	begin := time.Now()
	for buf := make([]byte, 8<<10); time.Since(begin) < 4*time.Second; time.Sleep(20 * time.Millisecond) {
		if _, err := e.client.Read(buf); err != nil || len(e.registry.List()) == 0 { // what is in the socket's buffers outlives the tunnel
			t.Fatalf("ended after %v: %v", time.Since(begin), err)
		}
	}
	e.client.Close()
	select {
	case <-e.ended: // by FIN or reset
	case <-time.After(patience):
		t.Fatal("the tunnel does not end")
	}
}

// A side that takes nothing any more does not keep the tunnel, though the other has more to say.
func TestStuck(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		for _, half := range []bool{false, true} {
			e := open(t, mode, 300*time.Millisecond)
			if half {
				e.client.CloseWrite()
			}
			if _, err := e.up.Write(make([]byte, 64<<20)); err == nil {
				t.Error("64 MiB were taken by nobody")
			}
			e.end(t, Idle)
		}
	})
}

// Between two sockets the kernel splices, in both directions; elsewhere it cannot.
func TestSplices(t *testing.T) {
	for mode, want := range map[string]int{"plain": 2, "TLS": 0, "TLS both": 0, "to a unix socket": 0} {
		e := open(t, mode, time.Hour)
		says(t, e.client, e.up, "ping")
		says(t, e.up, e.client, "pong")
		until(t, func() bool { return waiting("internal/poll.(*FD).Read(")+waiting("internal/poll.spliceDrain(") >= 2 })
		if n := waiting("internal/poll.spliceDrain("); n != want {
			t.Errorf("%s: %d directions are spliced, want %d", mode, n, want)
		}
		e.client.CloseWrite()
		hearsEnd(t, e.up)
		e.up.CloseWrite()
		e.end(t, ClientClosed)
	}
}

// waiting is how many of the goroutines that copy are in a function.
func waiting(function string) (n int) {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(g, "(*joint).pump(") && strings.Contains(g, function) {
			n++
		}
	}
	return n
}

// A context that ended before the tunnel began cuts it.
func TestCutBefore(t *testing.T) {
	_, front, back, _ := modes["plain"](t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if end := (*Registry)(nil).Join(ctx, Facts{}, time.Hour, front, back); end != (End{Reason: Cut}) {
		t.Errorf("it ended: %+v", end)
	}
}

// ahead is a client of which something was read before the tunnel opened.
type ahead struct {
	*net.TCPConn
	first atomic.Pointer[string]
	reads atomic.Int64
}

func (a *ahead) Read(p []byte) (int, error) {
	a.reads.Add(1)
	if first := a.first.Swap(nil); first != nil {
		return copy(p, *first), nil
	}
	return a.TCPConn.Read(p)
}

func (a *ahead) TCP() *net.TCPConn {
	if a.first.Load() != nil {
		return nil
	}
	return a.TCPConn
}

// What was read ahead goes first; from then on the kernel copies, both ways.
func TestSplicesBehindWhatWasRead(t *testing.T) {
	dialled, accepted := pair(t, "tcp")
	back, up := pair(t, "tcp")
	front := &ahead{TCPConn: accepted.(*net.TCPConn)}
	text := "ahead "
	front.first.Store(&text)
	limit := time.Now().Add(patience)
	dialled.SetDeadline(limit)
	up.SetDeadline(limit)
	e := join(t, Facts{Kind: TCP}, patience, dialled.(Conn), front, back.(Conn), up.(Conn))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(up, got); err != nil || string(got) != text {
		t.Fatalf("%q, %v", got, err)
	}
	for range 10 {
		says(t, e.client, e.up, "ping")
		says(t, e.up, e.client, "pong")
	}
	if n := front.reads.Load(); n != 1 {
		t.Errorf("the client was read from %d times above its socket", n)
	}
	e.client.CloseWrite()
	hearsEnd(t, e.up)
	e.up.CloseWrite()
	hearsEnd(t, e.client)
	if end := e.end(t, ClientClosed); end.In != 6+40 || end.Out != 40 {
		t.Errorf("%+v", end)
	}
}
