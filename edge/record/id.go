package record

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// ID names a request: a UUID of version 7 (RFC 9562 section 5.7), so that ids sort by time. The zero ID is none.
type ID [16]byte

// NewID makes the id of a request that began at t. It allocates nothing and takes no lock: its 74 random bits are those of the runtime's
// ChaCha8, which each process seeds from the kernel. An id is no secret, and must not be taken for one.
func NewID(t time.Time) (id ID) {
	high := uint64(t.UnixMilli())<<16 | 0x7000 | rand.Uint64()&0x0fff
	binary.BigEndian.PutUint64(id[:8], high)
	binary.BigEndian.PutUint64(id[8:], 2<<62|rand.Uint64()>>2)
	return id
}

// idSize is how long an id is in text.
const idSize = 36

// AppendTo appends the id in text.
func (id ID) AppendTo(b []byte) []byte {
	var text [idSize]byte
	at := 0
	for i, group := range [...][2]int{{0, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 16}} {
		if i > 0 {
			text[at] = '-'
			at++
		}
		at += hex.Encode(text[at:], id[group[0]:group[1]])
	}
	return append(b, text[:]...)
}

func (id ID) String() string { return string(id.AppendTo(nil)) }
