// Package record is what is known about one request: every layer writes its facts, log and metrics read them at the end.
package record

import (
	"net/netip"
	"time"
)

// Event is what a Record is logged for. A tunnel is logged twice.
type Event string

const (
	Request      Event = "request"
	TunnelOpened Event = "tunnel opened"
	TunnelEnded  Event = "tunnel ended"
	TunnelFailed Event = "tunnel failed" // no target was reached
)

// Record is one request's facts. Byte slices belong to the engine and die with the request: who keeps them copies them.
type Record struct {
	ID        ID
	Event     Event
	Start     time.Time     // the head was read
	Took      time.Duration // from Start to the event
	Listener  string
	Client    netip.AddrPort // invalid on a unix socket
	Proto     string         // "HTTP/1.1", "HTTP/2.0"
	TLS       uint16         // version, 0: none
	Method    []byte
	Host      []byte
	Path      []byte
	Query     []byte
	Referer   []byte // only where the log has a place for it
	UserAgent []byte // likewise
	Vhost     string
	Route     string
	User      string

	Upstream  string        // the target that answered, or was asked last
	Asked     time.Duration // after Start: it was its turn
	Connected time.Duration // after Start: a new connection to it was made; 0: an old one served
	Answered  time.Duration // after Start: its answer's head was here; 0: it gave none

	Status   int   // 0: no head was sent
	BytesIn  int64 // of the body, or of a tunnel
	BytesOut int64
	Tunnel   bool   // the connection left HTTP
	Reason   string // why the tunnel ended; "": it has not
	Err      error  // why the answer, or the tunnel's end, is not what was meant

	Counter Counter // of the virtual host; nil: the request is not counted
}

// Counter counts requests.
type Counter interface {
	// Count counts the request when it has ended, a tunnel also when it was opened.
	Count(*Record)
}

// Ask notes that it is a target's turn.
func (r *Record) Ask(target string) {
	r.Upstream, r.Asked, r.Connected, r.Answered = target, r.Now(), 0, 0
}

// Now is how long it is since Start, and never 0. It costs half of a look at the clock.
func (r *Record) Now() time.Duration { return max(1, time.Since(r.Start)) }
