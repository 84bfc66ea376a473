package record

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// An id is what the UUID package takes for one of version 7, with the time in it; no two are alike, and later ones sort later.
func TestID(t *testing.T) {
	now := time.UnixMilli(1795438800123)
	seen := map[ID]bool{}
	for range 10_000 {
		id := NewID(now)
		u, err := uuid.Parse(id.String())
		if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 || [16]byte(u) != id {
			t.Fatalf("%s: %v, version %d", id, err, u.Version())
		}
		if sec, nsec := u.Time().UnixTime(); !time.Unix(sec, nsec).Equal(now) {
			t.Fatalf("%s is of %v, want %v", id, time.Unix(sec, nsec), now)
		}
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
	}
	if a, b := NewID(now), NewID(now.Add(time.Millisecond)); a.String() >= b.String() {
		t.Errorf("%s, then %s", a, b)
	}
}

func TestIDCostsNothing(t *testing.T) {
	buf, now := make([]byte, 0, 64), time.Now()
	if n := testing.AllocsPerRun(1000, func() { buf = NewID(now).AppendTo(buf[:0]) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkID(b *testing.B) {
	buf, now := make([]byte, 0, 64), time.Now()
	for b.Loop() {
		buf = NewID(now).AppendTo(buf[:0])
	}
}
