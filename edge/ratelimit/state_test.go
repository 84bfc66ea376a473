package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// What one limiter remembers another takes over: nobody has a full bucket again, and nobody loses one.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := New(10, time.Second, 3)
		six := netip.MustParseAddr("2001:db8::1")
		for _, client := range []netip.Addr{alice, alice, alice, six, {}} {
			old.Take(client)
		}
		time.Sleep(50 * time.Millisecond)
		old.Take(bob)
		l := New(10, time.Second, 3)
		list := old.Buckets(100)
		if len(list) != 4 {
			t.Fatalf("%d buckets: %v", len(list), list)
		}
		l.Restore(list)
		for client, passes := range map[netip.Addr]int{alice: 0, bob: 2, six: 2, {}: 2} {
			for n := range 3 {
				was, wait := old.Take(client), l.Take(client)
				if wait != was || (wait == 0) != (n < passes) {
					t.Errorf("%v, request %d: wait %v, was %v", client, n, wait, was)
				}
			}
		}
		time.Sleep(time.Second)
		if list := old.Buckets(100); len(list) != 0 {
			t.Errorf("full buckets are told of: %v", list)
		}
	})
}

// What no limiter gives is not believed, and what is known already stays.
func TestRestoreNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(10, time.Second, 3)
		for range 3 {
			l.Take(alice)
		}
		a := Bucket{uint64(binary.BigEndian.Uint32(alice.AsSlice())), 4, time.Millisecond}
		l.Restore([]Bucket{a, {1, 4, time.Hour}, {2, 4, -time.Second}, {3, 5, time.Millisecond}, {4, 0, time.Millisecond}})
		if list := l.Buckets(100); len(list) != 1 || list[0].Left != 300*time.Millisecond {
			t.Errorf("%v", list)
		}
	})
}

// There are never more than were asked for.
func TestBucketsAreBounded(t *testing.T) {
	l := New(1, time.Hour, 3)
	for i := range 10_000 {
		l.Take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	for _, most := range []int{0, 1, 100, 5000, 20_000} {
		if n := len(l.Buckets(most)); n > most || n < min(most, 10_000)*9/10 {
			t.Errorf("%d buckets of at most %d", n, most)
		}
	}
}
