package conf

import (
	"crypto/sha256"
	"encoding/binary"
)

// Sum is a hash over all that Load has read: the text of each file, each secret from elsewhere. Equal sums are equal configurations. What the files
// hold that the configuration only names is not in it.
type Sum [sha256.Size]byte

// read adds to the sum what has been read, and what it was read as.
func (s *Sum) read(as string, text []byte) {
	h := sha256.New()
	h.Write(s[:])
	for _, part := range [][]byte{[]byte(as), text} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // else what ends one part could begin the next
		h.Write(part)
	}
	h.Sum(s[:0])
}
