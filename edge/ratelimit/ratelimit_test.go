package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var alice, bob = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// A burst passes at once, and then one request in each interval; who asks too early is told to the nanosecond when to come, and loses nothing.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(10, time.Second, 3)
		take := func(client netip.Addr, want time.Duration) {
			t.Helper()
			if got := l.Take(client); got != want {
				t.Fatalf("wait %v, want %v", got, want)
			}
		}
		for range 3 {
			take(alice, 0)
		}
		for range 5 {
			take(alice, 100*time.Millisecond)
		}
		take(bob, 0) // a client of its own
		time.Sleep(100*time.Millisecond - 1)
		take(alice, 1)
		time.Sleep(time.Nanosecond)
		take(alice, 0)
		take(alice, 100*time.Millisecond)
		time.Sleep(time.Hour) // a bucket is never more than full
		for range 3 {
			take(alice, 0)
		}
		take(alice, 100*time.Millisecond)
	})
}

// In the long run no more than the rate passes, however a client asks.
func TestLongRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(3, time.Second, 5)
		passed := 0
		for range 10_000 { // 100 s
			if l.Take(alice) == 0 {
				passed++
			}
			time.Sleep(10 * time.Millisecond)
		}
		if passed < 300 || passed > 306 {
			t.Errorf("%d passed in 100 s, want 300 and the burst", passed)
		}
	})
}

func TestClients(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"0.0.0.1", "0:0:0:1::", false},
		{"", "", true},
		{"", "0.0.0.0", false},
		{"", "::1", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		l := New(1, time.Hour, 1)
		a, _ := netip.ParseAddr(c.a)
		b, _ := netip.ParseAddr(c.b)
		if l.Take(a) != 0 || (l.Take(b) != 0) != c.same {
			t.Errorf("%q and %q: one client is %v", c.a, c.b, !c.same)
		}
	}
}

// Memory is bounded: the client that has not asked for longest is forgotten, and no other.
func TestForgets(t *testing.T) {
	l := New(1, time.Hour, 1)
	l.Take(alice)
	for i := range uint32(4 * shards * kept) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 10<<24+i)
		if l.Take(netip.AddrFrom4(b)) != 0 {
			t.Fatalf("client %d has been here before", i)
		}
		if i%1000 == 0 && l.Take(alice) == 0 {
			t.Fatalf("after %d others who asks all the time is forgotten", i)
		}
	}
	for i := range l.shards {
		if s := &l.shards[i]; len(s.slots) != kept || len(s.buckets) != kept+1 {
			t.Errorf("a shard has %d clients in %d buckets", len(s.slots), len(s.buckets))
		}
	}
	if l.Take(netip.MustParseAddr("10.0.0.0")) != 0 {
		t.Error("the first of many is not forgotten")
	}
	if l.Take(netip.MustParseAddr("10.3.255.255")) == 0 {
		t.Error("the last of many is forgotten")
	}
}

func TestTogether(t *testing.T) {
	l := New(1, time.Hour, 100)
	var passed atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if l.Take(alice) == 0 {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d passed, want 100", passed.Load())
	}
}

func TestNoAllocations(t *testing.T) {
	l := New(1, time.Second, 1)
	v6 := netip.MustParseAddr("2001:db8::1")
	l.Take(alice)
	l.Take(v6)
	if n := testing.AllocsPerRun(1000, func() { l.Take(alice); l.Take(v6) }); n > 0 {
		t.Errorf("%v allocations for known clients", n)
	}
}
