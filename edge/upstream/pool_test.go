package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// piped is a target without sockets. Each connection to it answers all that it is asked.
func piped(t *testing.T) (target *Target, dialled, open *atomic.Int32) {
	s := spec("http://a")
	target = draft(t, nil, s)[s].Targets()[0]
	dialled, open = new(atomic.Int32), new(atomic.Int32)
	target.dial = func(context.Context) (net.Conn, error) {
		ours, theirs := net.Pipe()
		dialled.Add(1)
		open.Add(1)
		go func() {
			defer open.Add(-1)
			answerAll(theirs)
		}()
		return ours, nil
	}
	return target, dialled, open
}

func answerAll(c net.Conn) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

// asked gives n connections, each behind an exchange of which it has not been told that it is done.
func asked(t *testing.T, target *Target, n int) (conns []*Conn) {
	t.Helper()
	for range n {
		c, _, err := begin(target, "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next(); err != io.EOF {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return conns
}

// The connection that came back last is the first one to be used again, so that those that are too many grow old.
func TestPoolOrder(t *testing.T) {
	target, dialled, _ := piped(t)
	conns := asked(t, target, 3)
	for _, i := range []int{1, 0, 2} { // the order in which they come back
		conns[i].Done()
	}
	for _, i := range []int{2, 0, 1} {
		if c := asked(t, target, 1)[0]; c != conns[i] || !c.Reused {
			t.Errorf("it is not the connection %d", i)
		}
	}
	for range 3 { // the one in use is the only one that is used
		conns[2].Done()
		if c := asked(t, target, 1)[0]; c != conns[2] {
			t.Error("another one is used")
		}
	}
	if n := dialled.Load(); n != 3 {
		t.Errorf("dialled %d times", n)
	}
	for _, c := range conns {
		c.Done()
	}
}

// Of the connections that nobody uses maxIdle are kept, and each one above that is closed as it comes back.
func TestPoolBound(t *testing.T) {
	const more = 5
	target, dialled, open := piped(t)
	for _, c := range asked(t, target, maxIdle+more) {
		c.Done()
	}
	for limit := time.Now().Add(patience); open.Load() != maxIdle; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d connections are kept", open.Load())
		}
	}
	again := asked(t, target, maxIdle)
	if n := dialled.Load(); n != maxIdle+more {
		t.Errorf("dialled %d times in all: not all that were kept are used", n)
	}
	again = append(again, asked(t, target, 1)...)
	if n := dialled.Load(); n != maxIdle+more+1 {
		t.Errorf("dialled %d times in all: more were kept", n)
	}
	for _, c := range again {
		c.Done()
	}
}
