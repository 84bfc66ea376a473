package h2

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"edge/edge/wire"
)

// tunnelled gives a tunnel, as its handler has it, and its client, who takes so many bytes. The handler ends with the test.
func tunnelled(t *testing.T, window uint32) (wire.Stream, *raw) {
	t.Helper()
	got, end := make(chan wire.Stream, 1), make(chan struct{})
	f := newFront(t, false, func(x *wire.Exchange) {
		up, err := x.Tunnel(nil)
		if err != nil {
			t.Error(err)
		}
		got <- up
		<-end
	}, nil)
	t.Cleanup(func() { close(end) })
	c := f.raw(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.block(":method", "CONNECT", ":protocol", "websocket",
		":scheme", "http", ":path", "/", ":authority", "a.test")})
	c.wants(http2.FrameHeaders)
	return <-got, c
}

// writing gives the outcome of a Write that waits for the client's window.
func writing(up wire.Stream) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := up.Write([]byte("hello"))
		done <- err
	}()
	return done
}

func result(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(long):
		t.Fatal("it waits still")
		return nil
	}
}

// A write deadline that comes ends a Write that waits, one that is taken back does not, and a later one lets a Write go on.
func TestTunnelWriteDeadline(t *testing.T) {
	up, c := tunnelled(t, 0)
	done := writing(up)
	up.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	if err := result(t, done); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a Write past its deadline: %v", err)
	}
	if _, err := up.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a Write after the deadline: %v", err)
	}
	up.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	up.SetWriteDeadline(time.Time{})
	done = writing(up)
	select {
	case err := <-done:
		t.Fatalf("a deadline that was taken back counts: %v", err)
	case <-time.After(60 * time.Millisecond): // that it does not end is all that can be seen
	}
	up.SetWriteDeadline(time.Now().Add(long))
	c.fr.WriteWindowUpdate(1, 100)
	if err := result(t, done); err != nil {
		t.Fatal(err)
	}
	if d := c.wants(http2.FrameData).(*http2.DataFrame); string(d.Data()) != "hello" {
		t.Fatalf("%q came", d.Data())
	}
}

// A deadline that has passed counts at once.
func TestTunnelWriteDeadlinePast(t *testing.T) {
	up, _ := tunnelled(t, 0)
	done := writing(up)
	up.SetWriteDeadline(past)
	if err := result(t, done); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
}

// After CloseWrite nothing is written any more, of a Write that waits neither: DATA after the end would cost the client the connection.
func TestTunnelCloseWrite(t *testing.T) {
	up, c := tunnelled(t, 3)
	done := writing(up)
	if d := c.wants(http2.FrameData).(*http2.DataFrame); string(d.Data()) != "hel" {
		t.Fatalf("%q came", d.Data())
	}
	if err := up.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	d := c.wants(http2.FrameData).(*http2.DataFrame)
	if !d.StreamEnded() || len(d.Data()) > 0 {
		t.Fatal(d)
	}
	c.fr.WriteWindowUpdate(1, 100)
	if err := result(t, done); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a Write that waited: %v", err)
	}
	c.fr.WritePing(false, [8]byte{1})
	if _, err := up.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("a Write after CloseWrite: %v", err)
	}
	if err := up.CloseWrite(); err != nil {
		t.Fatalf("a second CloseWrite: %v", err)
	}
	c.wants(http2.FramePing) // and no DATA before it
	c.fr.WriteData(1, false, []byte("from the client"))
	buf := make([]byte, 100)
	if n, err := up.Read(buf); err != nil || string(buf[:n]) != "from the client" {
		t.Fatalf("the other direction: %q, %v", buf[:n], err)
	}
}

// Whoever cuts tunnels may come when the handler has returned and its stream is given back: it touches nobody else's then.
func TestTunnelDeadlineAfterTheEnd(t *testing.T) {
	got := make(chan wire.Stream, 1)
	f := newFront(t, false, func(x *wire.Exchange) {
		up, err := x.Tunnel(nil)
		if err != nil {
			t.Error(err)
		}
		got <- up
	}, nil)
	c := f.raw()
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.block(":method", "CONNECT", ":protocol", "websocket",
		":scheme", "http", ":path", "/", ":authority", "a.test")})
	c.wants(http2.FrameHeaders)
	up := (<-got).(*tunnel)
	f.mu.Lock()
	conn := f.conns[0]
	f.mu.Unlock()
	for busy := true; busy; runtime.Gosched() {
		conn.mu.Lock()
		busy = conn.working > 0
		conn.mu.Unlock()
	}
	if err := up.SetDeadline(past); err != nil {
		t.Error(err)
	}
	if err := up.Close(); err != nil {
		t.Error(err)
	}
}
