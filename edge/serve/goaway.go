package serve

import (
	"encoding/binary"
	"sync"
)

// goawayConn writes a GOAWAY of its own between two frames of an HTTP/2 server that cannot.
type goawayConn struct {
	*Conn
	mu      sync.Mutex
	frames  frames
	wanted  bool
	written bool
}

// firstGoaway is GOAWAY with the last stream 2^31-1 and no error, RFC 9113 section 6.8.
var firstGoaway = []byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// Write passes p on.
func (g *goawayConn) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, err := g.Conn.Write(p)
	g.frames.follow(p[:n])
	if err == nil {
		g.insert()
	}
	return n, err
}

// inject sends the GOAWAY now, or as soon as the frame that is being written has ended.
func (g *goawayConn) inject() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wanted = true
	g.insert()
}

// insert writes the GOAWAY where it may stand. g.mu is held.
func (g *goawayConn) insert() {
	if g.wanted && !g.written && g.frames.between() {
		g.written = true
		g.Conn.Write(firstGoaway)
	}
}

// frames follows the frames of one direction.
type frames struct {
	head  [9]byte
	got   int  // bytes of head
	left  int  // bytes of the payload that are to come
	seen  bool // a whole frame: the server's SETTINGS come first
	block bool // inside HEADERS … CONTINUATION, where no other frame may stand
}

// between says whether a frame may be inserted here.
func (f *frames) between() bool { return f.seen && f.got == 0 && f.left == 0 && !f.block }

func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left, p = f.left-n, p[n:]
		} else {
			n := copy(f.head[f.got:], p)
			f.got, p = f.got+n, p[n:]
			if f.got < len(f.head) {
				return
			}
			f.got = 0
			f.start()
		}
		f.seen = f.seen || f.left == 0
	}
}

// start reads the head of a frame.
func (f *frames) start() {
	const headers, pushPromise, continuation, endHeaders = 1, 5, 9, 4
	f.left = int(binary.BigEndian.Uint32(f.head[:4]) >> 8)
	switch f.head[3] {
	case headers, pushPromise, continuation:
		f.block = f.head[4]&endHeaders == 0
	}
}
