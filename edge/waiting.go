package edge

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"edge/edge/tunnel"
	"edge/listeners"
)

// waiting is what an end is waited for, as the log says it: the connections that are open, and how many of them are tunnels.
func (s *Server) waiting() []any {
	return []any{"open", s.conns.Open(), "tunnels", byListener(s.tunnels.Count())}
}

// byListener writes counts like "db 3, https 2".
func byListener(count map[string]int) string {
	if len(count) == 0 {
		return "none"
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(count)) {
		list = append(list, fmt.Sprintf("%s %d", name, count[name]))
	}
	return strings.Join(list, ", ")
}

// remindEvery is how often the log says what is still waited for: that can last for days.
const remindEvery = time.Minute

// remind logs now and then what is waited for, until the function that it gives is called.
func (s *Server) remind(msg string, waiting func() []any) (enough func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.remindUntil(stop, msg, waiting)
	}()
	return func() { close(stop); <-stopped }
}

func (s *Server) remindUntil(stop <-chan struct{}, msg string, waiting func() []any) {
	tick := time.NewTicker(remindEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.log.Info(msg, waiting()...)
		case <-stop:
			return
		}
	}
}

// crowd is the connections of one socket. It is safe for concurrent use.
type crowd struct {
	from time.Time // when the socket was served from
	n    atomic.Int64
	left chan struct{} // gets something when the last has left
}

// enter counts a connection until what it gives, which calls done, is called.
func (c *crowd) enter(done func()) func() {
	c.n.Add(1)
	return func() {
		done()
		if c.n.Add(-1) == 0 {
			select {
			case c.left <- struct{}{}:
			default:
			}
		}
	}
}

// crowd gives the crowd of a socket that is to be served from.
func (s *Server) crowd(socket *listeners.Socket) *crowd {
	if s.crowds == nil {
		s.crowds = map[*listeners.Socket]*crowd{}
	}
	s.crowds[socket] = &crowd{from: time.Now(), left: make(chan struct{}, 1)}
	return s.crowds[socket]
}

// seeOff says of sockets that are closed what is still open of each, until nothing is.
func (s *Server) seeOff(gone []*listeners.Socket) {
	for _, socket := range gone {
		c := s.crowds[socket]
		delete(s.crowds, socket)
		if c != nil && c.n.Load() > 0 { // nil: nobody was served from it
			closed := time.Now()
			s.besides.Go(func() { s.drainSocket(socket, c, closed) })
		}
	}
}

// drainSocket waits for the connections of a socket that was closed.
func (s *Server) drainSocket(socket *listeners.Socket, c *crowd, closed time.Time) {
	which := []any{"listener", socket.Name(), "address", socket.Addr().String()}
	waiting := func() []any {
		return slices.Concat(which, []any{"open", c.n.Load(), "tunnels", s.tunnelsOf(socket, c.from, closed)})
	}
	s.log.Info("listener drains", waiting()...)
	enough := s.remind("listener drains", waiting)
	defer enough()
	for c.n.Load() > 0 {
		select {
		case <-c.left:
		case <-s.tasks.Done():
			return
		}
	}
	s.log.Info("listener drained", which...)
}

// tunnelsOf is how many tunnels are left of those that a socket has had. Its address may have had others before and since.
func (s *Server) tunnelsOf(socket *listeners.Socket, from, to time.Time) (n int) {
	for _, t := range s.tunnels.List() {
		if !t.Since.Before(from) && !t.Since.After(to) && cameBy(socket, t) {
			n++
		}
	}
	return n
}

// cameBy says whether a tunnel's client came by a socket.
func cameBy(socket *listeners.Socket, t tunnel.State) bool {
	tcp, ok := socket.Addr().(*net.TCPAddr)
	if !ok {
		return !t.Local.IsValid() && t.Listener == socket.Name()
	}
	at := tcp.AddrPort()
	return t.Local.Port() == at.Port() && (tcp.IP.IsUnspecified() || t.Local.Addr() == at.Addr().Unmap())
}
