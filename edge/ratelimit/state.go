package ratelimit

import (
	"slices"
	"time"
)

// Bucket is what a Limiter remembers of a client.
type Bucket struct {
	Bits    uint64        `json:"b"`
	Version byte          `json:"v"`
	Left    time.Duration `json:"l"` // until it is full
}

// Buckets gives the buckets that are not full, the most of them at most; of each shard those that were asked of last.
func (l *Limiter) Buckets(most int) (list []Bucket) {
	now := int64(time.Since(l.start))
	for i := range l.shards {
		list = l.shards[i].export(list, now, most*(i+1)/shards)
	}
	return list
}

func (s *shard) export(list []Bucket, now int64, most int) []Bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buckets) == 0 {
		return list
	}
	for i := s.buckets[0].next; i != 0 && len(list) < most; i = s.buckets[i].next {
		if b := &s.buckets[i]; b.fullAt > now {
			list = append(list, Bucket{b.key.bits, b.key.version, time.Duration(b.fullAt - now)})
		}
	}
	return list
}

// Restore takes buckets that another Limiter of the same limit has given. What no limiter gives is left out; nobody's bucket becomes fuller.
func (l *Limiter) Restore(list []Bucket) {
	now := int64(time.Since(l.start))
	for _, b := range slices.Backward(list) {
		k := key{b.Bits, b.Version}
		if b.Left <= 0 || int64(b.Left) > l.full || !k.valid() {
			continue
		}
		l.shard(k).restore(k, now+int64(b.Left))
	}
}

func (s *shard) restore(k key, fullAt int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.bucket(k)
	b.fullAt = max(b.fullAt, fullAt)
}

func (k key) valid() bool { return k.version == 4 || k.version == 6 || k == key{} }
