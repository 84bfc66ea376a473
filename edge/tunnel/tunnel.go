// Package tunnel joins a client's connection with an upstream's, and knows every pair that is joined.
package tunnel

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Kind is what a tunnel is to its client.
type Kind string

// The kinds.
const (
	TCP     Kind = "tcp"     // all that a connection carries
	TLS     Kind = "tls"     // all that a connection carries inside TLS
	Upgrade Kind = "upgrade" // what follows a request that switched protocols
)

// Facts are what is known of a tunnel when it opens.
type Facts struct {
	Kind     Kind
	Protocol string // of an Upgrade: what it was switched to, in its client's words
	Listener string
	Vhost    string         // "": none
	Client   netip.AddrPort // invalid on a unix socket
	Local    netip.AddrPort // where the client came in; invalid on a unix socket
	Target   string
}

// State is an open tunnel as it is now.
type State struct {
	Facts
	Since   time.Time
	In, Out int64 // bytes from the client, and to it; where the kernel splices, they may be a tick old
}

// Registry is the tunnels that are open. The zero value has none. It is safe for concurrent use.
type Registry struct {
	mu   sync.Mutex
	open map[*joint]struct{}
}

// Join copies both ways until both have ended, an end for an end, or until something ends both at once: an error, no byte either way for
// as long as idle, or the end of ctx, which is the connection's. The tunnel is in the registry meanwhile. A nil Registry keeps none.
//
// Join closes neither connection, but leaves both with deadlines that may be over: all that its caller can do is close them.
func (r *Registry) Join(ctx context.Context, f Facts, idle time.Duration, client, up Conn) End {
	return r.JoinWhile(ctx, nil, f, idle, client, up)
}

// JoinWhile is Join, but Check ends the tunnel once holds is false; nil: never.
func (r *Registry) JoinWhile(ctx context.Context, holds func() bool, f Facts, idle time.Duration, client, up Conn) End {
	j := newJoint(ctx, f, idle, client, up)
	j.holds = holds
	r.enter(j)
	defer r.leave(j)
	return j.run()
}

func (r *Registry) enter(j *joint) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[*joint]struct{}{}
	}
	r.open[j] = struct{}{}
}

func (r *Registry) leave(j *joint) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, j)
}

// Check ends the tunnels that hold no more. It is called by one at a time.
func (r *Registry) Check() {
	r.mu.Lock()
	var asked []*joint
	for j := range r.open {
		if j.holds != nil {
			asked = append(asked, j)
		}
	}
	r.mu.Unlock()
	for _, j := range asked {
		if !j.holds() {
			j.stop(Revoked, nil)
		}
	}
}

// Count is how many tunnels each listener has, of those that have any.
func (r *Registry) Count() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := map[string]int{}
	for j := range r.open {
		count[j.facts.Listener]++
	}
	return count
}

// List gives all of them, the oldest first.
func (r *Registry) List() []State {
	r.mu.Lock()
	list := make([]State, 0, len(r.open))
	for j := range r.open {
		list = append(list, State{j.facts, j.since, j.in.Load(), j.out.Load()})
	}
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b State) int { return a.Since.Compare(b.Since) })
	return list
}
