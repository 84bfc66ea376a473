package h1

import (
	"sync"
	"sync/atomic"
)

// A small buffer is for a head and a small body, or for an answer that leaves in one write; a large one for bodies, or a head and 64 KiB of one; a huge
// one for those of which much is to come: it halves the time that a megabyte takes, because who waits at either end is woken seldom.
const (
	smallSize = 16 << 10
	largeSize = 68 << 10
	hugeSize  = 256 << 10
)

// mostHuge is how many huge buffers are in use at a time, 64 MiB: a crowd that reads slowly must not fill the memory. Who comes later gets by
// with a large one.
const mostHuge = 256

// The pools hold pointers, because a slice that goes into an interface is an allocation.
var (
	small = sync.Pool{New: func() any { b := make([]byte, smallSize); return &b }}
	large = sync.Pool{New: func() any { b := make([]byte, largeSize); return &b }}
	huge  = sync.Pool{New: func() any { b := make([]byte, hugeSize); return &b }}

	hugeUsed atomic.Int32
)

func getSmall() *[]byte { return small.Get().(*[]byte) }
func getLarge() *[]byte { return large.Get().(*[]byte) }

// getFor gives a large buffer or a huge one, by how much is to come. It must be put back.
func getFor(n int64) *[]byte {
	if n <= 2*largeSize {
		return getLarge()
	}
	if hugeUsed.Add(1) > mostHuge {
		hugeUsed.Add(-1)
		return getLarge()
	}
	return huge.Get().(*[]byte)
}

// putBack gives a buffer to its pool, for anybody to write into; nil and other sizes are let go.
func putBack(b *[]byte) {
	switch {
	case b == nil:
	case len(*b) == smallSize:
		small.Put(b)
	case len(*b) == largeSize:
		large.Put(b)
	case len(*b) == hugeSize:
		huge.Put(b)
		hugeUsed.Add(-1)
	}
}

// input is what was read of a connection and is not used yet. The head of the request that is being answered must not move meanwhile: its
// buffer is pinned, and what is read of a body too far lands in another one.
type input struct {
	buf    *[]byte // nil: none
	r, w   int     // buf[r:w] is not used yet
	pinned *[]byte // holds the head, when buf does not
}

func (in *input) len() int       { return in.w - in.r }
func (in *input) unread() []byte { return (*in.buf)[in.r:in.w] }

// room gives where the next bytes of a head are to be read to: what is not used moves to the front, or into a buffer twice the size.
func (in *input) room() []byte {
	switch {
	case in.buf == nil:
		in.buf = getSmall()
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.w == len(*in.buf) && in.r > 0:
		in.r, in.w = 0, copy(*in.buf, in.unread())
	case in.w == len(*in.buf):
		grown := make([]byte, 2*len(*in.buf)+1) // of no pool's size
		in.w = copy(grown, *in.buf)
		putBack(in.buf)
		in.buf = &grown
	}
	return (*in.buf)[in.w:]
}

// bodyRoom is room for a body, which leaves the head where it is.
func (in *input) bodyRoom() []byte {
	if in.pinned == nil {
		next := getLarge()
		rest := in.unread() // at most the size of a chunk's line or of trailers: else nobody would ask for more
		in.pinned, in.buf, in.r, in.w = in.buf, next, 0, copy(*next, rest)
	} else if in.r > 0 {
		in.r, in.w = 0, copy(*in.buf, in.unread())
	}
	return (*in.buf)[in.w:]
}

// unpin lets the head go, after its request was answered.
func (in *input) unpin() {
	putBack(in.pinned)
	in.pinned = nil
}

// release gives all buffers back: an idle connection holds none.
func (in *input) release() {
	in.unpin()
	putBack(in.buf)
	*in = input{}
}
