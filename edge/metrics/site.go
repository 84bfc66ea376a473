package metrics

import (
	"sync/atomic"

	"edge/edge/record"
)

// methods are the methods that are told apart. What a client makes up is "other".
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"}

const otherMethod = len(methods) - 1

func methodIndex(method []byte) int {
	switch string(method) {
	case "GET":
		return 0
	case "HEAD":
		return 1
	case "POST":
		return 2
	case "PUT":
		return 3
	case "PATCH":
		return 4
	case "DELETE":
		return 5
	case "OPTIONS":
		return 6
	}
	return otherMethod
}

// codes are the classes of status. A request that got no head of an answer is of class "none".
var codes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx", "other"}

func codeIndex(status int) int {
	class := status / 100
	if class >= len(codes)-1 || class == 0 && status != 0 || class < 0 {
		class = len(codes) - 1
	}
	return class
}

// Site counts the requests of a virtual host. It is safe for concurrent use, allocates nothing, and is a record.Counter.
type Site struct {
	name     string
	requests [len(methods)][len(codes)]atomic.Uint64
	in, out  atomic.Uint64
	duration histogram
}

// NewSite gives what counts for a virtual host.
func NewSite(name string) *Site { return &Site{name: name} }

// Count counts a request at its end; a tunnel's request when it opens, and what went through when it ends.
func (s *Site) Count(r *record.Record) {
	if r.Event != record.TunnelEnded {
		s.requests[methodIndex(r.Method)][codeIndex(r.Status)].Add(1)
	}
	if r.Event == record.TunnelOpened {
		return
	}
	if r.BytesIn > 0 {
		s.in.Add(uint64(r.BytesIn))
	}
	if r.BytesOut > 0 {
		s.out.Add(uint64(r.BytesOut))
	}
	if r.Event == record.Request {
		s.duration.observe(r.Took)
	}
}

// Requests is how many requests were counted.
func (s *Site) Requests() (n uint64) {
	for m := range s.requests {
		for c := range s.requests[m] {
			n += s.requests[m][c].Load()
		}
	}
	return n
}
