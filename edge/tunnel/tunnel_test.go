package tunnel

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The registry says what is open, and how much went through so far: also while the kernel splices, and nothing ends.
func TestRegistry(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		client, front, back, up := modes[mode](t)
		f := Facts{Upgrade, "websocket", "https", "a.test", netip.MustParseAddrPort("192.0.2.1:5"), netip.MustParseAddrPort("192.0.2.2:443"), "127.0.0.1:1"}
		before := time.Now()
		e := join(t, f, 4*time.Second, client, front, back, up)
		says(t, client, up, "ping")
		says(t, up, client, "pong!")
		until(t, func() bool { s := e.registry.List()[0]; return s.In == 4 && s.Out == 5 })
		if s := e.registry.List()[0]; s.Facts != f || s.Since.Before(before) || s.Since.After(time.Now()) {
			t.Errorf("it is known as %+v", s)
		}
		if n := e.registry.Count(); !maps.Equal(n, map[string]int{"https": 1}) {
			t.Errorf("the counts are %v", n)
		}
		client.Close()
		hearsEnd(t, up)
		up.Close()
		e.end(t, ClientClosed)
		if n := e.registry.Count(); len(n) != 0 {
			t.Errorf("the counts are %v", n)
		}
	})
}

// Many at a time come and go while others count.
func TestManyTunnels(t *testing.T) {
	var r Registry
	var tunnels, readers sync.WaitGroup
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				list, sum := r.List(), 0
				for i := 1; i < len(list); i++ {
					if list[i].Since.Before(list[i-1].Since) {
						t.Error("a younger one is before an older one")
					}
				}
				for _, n := range r.Count() {
					sum += n
				}
				if sum > 20 {
					t.Errorf("%d are open", sum)
				}
			}
		}
	})
	for i := range 20 {
		tunnels.Go(func() {
			for range 5 {
				client, front, back, up := modes["plain"](t)
				go func() {
					io.WriteString(client, "ping")
					client.CloseWrite()
					io.Copy(up, up)
					up.CloseWrite()
				}()
				if end := r.Join(t.Context(), Facts{Listener: fmt.Sprint(i % 3)}, time.Hour, front, back); end != (End{4, 4, ClientClosed, nil}) {
					t.Errorf("it ended: %+v", end)
				}
			}
		})
	}
	tunnels.Wait()
	close(stop)
	readers.Wait()
	if n := r.Count(); len(n) != 0 {
		t.Errorf("at the end: %v", n)
	}
}

// A tunnel ends once its reason to be open holds no more, and no other does.
func TestCheck(t *testing.T) {
	everywhere(t, func(t *testing.T, mode string) {
		var revoked atomic.Bool
		_, front, back, _ := modes[mode](t)
		stays := open(t, mode, time.Hour)
		ended := make(chan End, 1)
		var tunnels sync.WaitGroup
		tunnels.Go(func() {
			ended <- stays.registry.JoinWhile(t.Context(), func() bool { return !revoked.Load() }, Facts{Kind: Upgrade}, time.Hour, front, back)
		})
		until(t, func() bool { return len(stays.registry.List()) == 2 })
		stays.registry.Check()
		says(t, stays.client, stays.up, "ping")
		select {
		case end := <-ended:
			t.Fatalf("it ended though it holds: %+v", end)
		default:
		}
		revoked.Store(true)
		stays.registry.Check()
		select {
		case end := <-ended:
			if end.Reason != Revoked || end.Err != nil {
				t.Errorf("it ended: %+v", end)
			}
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
		tunnels.Wait()
		says(t, stays.client, stays.up, "still here")
		stays.client.Close()
		hearsEnd(t, stays.up)
		stays.up.Close()
		<-stays.ended
	})
}
