// Package ratelimit is how often one client may ask: a token bucket for each, kept as one time (the generic cell rate algorithm), in bounded memory.
package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// What a Limiter remembers at most: the clients that asked last. Who is forgotten has a full bucket again, so the bound must be more than
// asks within the time that a bucket takes to fill.
const (
	shards = 16
	kept   = 4096 // in each
)

// Limiter has a bucket for each client. It is safe for concurrent use, and has nothing to close.
type Limiter struct {
	start  time.Time
	each   int64 // nanoseconds that fill a bucket by one
	full   int64 // nanoseconds that fill it from empty
	seed   maphash.Seed
	shards [shards]shard
}

// New gives a limiter that lets a client ask burst times at once, and requests times in each per in the long run. All are more than 0, and
// burst times per must fit a time.Duration.
func New(requests int, per time.Duration, burst int) *Limiter {
	each := max(int64(per)/int64(requests), 1)
	l := &Limiter{start: time.Now(), each: each, full: each * int64(burst), seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].slots = map[key]int32{}
	}
	return l
}

// Take counts a request of a client, and says how long it must wait before it may ask; 0: it may. A request that must wait is not counted.
// All whose address is not known, which is the invalid one, are one client.
func (l *Limiter) Take(client netip.Addr) (wait time.Duration) {
	now := int64(time.Since(l.start))
	k := keyOf(client)
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucket(k)
	next := max(b.fullAt, now) + l.each
	if over := next - now - l.full; over > 0 {
		return time.Duration(over)
	}
	b.fullAt = next
	return 0
}

func (l *Limiter) shard(k key) *shard { return &l.shards[maphash.Comparable(l.seed, k)%shards] }

// key is a client: an IPv4 address, or the /64 that a subscriber has at least. The zero key is one without an address.
type key struct {
	bits    uint64
	version byte // 4 or 6
}

func keyOf(a netip.Addr) key {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return key{uint64(binary.BigEndian.Uint32(b[:])), 4}
	}
	if !a.IsValid() {
		return key{}
	}
	b := a.As16()
	return key{binary.BigEndian.Uint64(b[:8]), 6}
}

// shard is a part of the clients: their buckets, in a list from the one that asked last to the one that is forgotten next.
type shard struct {
	mu      sync.Mutex
	slots   map[key]int32 // into buckets
	buckets []bucket      // the first is none: its next is the newest, its prev the oldest
}

// bucket is a client's.
type bucket struct {
	key        key
	fullAt     int64 // nanoseconds since the limiter's start
	prev, next int32
}

// bucket gives a client's bucket, which is now the newest. A new client gets a full one, that of the oldest if there are too many.
func (s *shard) bucket(k key) *bucket {
	if len(s.buckets) == 0 {
		s.buckets = append(s.buckets, bucket{})
	}
	i, known := s.slots[k]
	switch {
	case known:
		s.unlink(i)
	case len(s.buckets) <= kept:
		i = int32(len(s.buckets))
		s.buckets = append(s.buckets, bucket{key: k})
		s.slots[k] = i
	default:
		i = s.buckets[0].prev
		s.unlink(i)
		delete(s.slots, s.buckets[i].key)
		s.buckets[i] = bucket{key: k}
		s.slots[k] = i
	}
	s.link(i)
	return &s.buckets[i]
}

func (s *shard) unlink(i int32) {
	b := &s.buckets[i]
	s.buckets[b.prev].next, s.buckets[b.next].prev = b.next, b.prev
}

// link makes a bucket the newest.
func (s *shard) link(i int32) {
	first := s.buckets[0].next
	s.buckets[i].prev, s.buckets[i].next = 0, first
	s.buckets[first].prev = i
	s.buckets[0].next = i
}
