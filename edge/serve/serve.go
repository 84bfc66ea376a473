// Package serve owns a connection from its acceptance to its close: TLS, the choice of the protocol, the drain.
//
// A connection is never closed because of a change. A drain tells it to end, each protocol in its own way, and waits.
package serve

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/wire"
)

// Settings are what a connection is served by. They do not change while it lives.
type Settings struct {
	Listener string
	// TLS gives the settings of a handshake and the policy, a tlsconf.ID, that they stand for; nil: no TLS.
	TLS      func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string])
	Timeouts conf.ListenerTimeouts
	// MaxHeader bounds a request's head, in bytes.
	MaxHeader int
	// Handler answers requests; nil: Tunnel gets the connection.
	Handler wire.Handler
	// Refused is wire.Conn's.
	Refused func(*record.Record)
	// Tunnel relays c until ctx ends or either side does. What c implements besides net.Conn is wire.Stream.
	Tunnel Relay
	// Announcers begin with a PROXY header; nil: nobody does.
	Announcers *Announcers
	// Passthrough gives what relays a connection with its TLS unopened, by the name that its ClientHello asks for ("": none). Where it gives nil, TLS
	// is ended here, or, if TLS is nil, the client is told that nobody knows the name. Without a Passthrough nobody is asked for a name.
	Passthrough func(name string) Relay
	KeepAlive   time.Duration // 0: the kernel asks no client whether it is there
}

// Fault is a mistake made on purpose, by the tests that show what the product is spared. The zero value is the product.
type Fault int

// The faults.
const (
	NoFault        Fault = iota
	FaultShutdown        // http.Server.Shutdown in place of the lame duck
	FaultOneGoaway       // one GOAWAY in place of two
	FaultPanics          // whatever a new process is asked panics
)

// Server keeps the connections of a process. It is safe for concurrent use.
type Server struct {
	Log   *slog.Logger
	Fault Fault

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	draining bool
	empty    chan struct{}     // closed when draining and no connection is left
	accepted map[string]uint64 // by listener
	cut      int64
	panics   atomic.Uint64 // that ended one connection each
	account  Account

	handshakes
}

// New gives a server without connections.
func New(log *slog.Logger) *Server {
	return &Server{Log: log, conns: map[*Conn]struct{}{}, accepted: map[string]uint64{}, empty: make(chan struct{}), account: newAccount()}
}

// Handle serves a connection on a goroutine of its own. done is called at its end.
func (s *Server) Handle(nc net.Conn, settings *Settings, done func()) {
	c := s.register(nc, settings)
	go s.life(c, done)
}

// life serves a connection to its end. One that rests for long goes on in a new goroutine, whose stack is small. A bug in what reads its bytes
// ends that connection, and no other.
func (s *Server) life(c *Conn, done func()) {
	rests := false
	defer func() {
		if rests {
			go s.sleep(c, done)
			return
		}
		if p := recover(); p != nil {
			s.panics.Add(1)
			s.Log.Error("panic in a connection", "listener", c.settings.Listener, "value", p, "stack", string(debug.Stack()))
			c.endBy(Panic)
			c.abort()
		}
		c.cancel()
		s.forget(c)
		done()
	}()
	rests = c.serve()
}

// sleep waits until there is something to do for a connection that rests, and goes on with its life. It is a goroutine's first function, so that
// the stack of one that waits need not grow.
func (s *Server) sleep(c *Conn, done func()) {
	c.under.Await()
	s.life(c, done)
}

func (s *Server) register(nc net.Conn, settings *Settings) *Conn {
	c := newConn(nc, settings, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	s.accepted[settings.Listener]++
	s.account.Opened++
	if s.draining { // one that comes late, from the queue of a socket: served, then told
		c.tell(0)
	}
	return c
}

func (s *Server) forget(c *Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.account.enter(c.cause())
	s.checkEmpty()
}

// checkEmpty closes s.empty once. s.mu is held.
func (s *Server) checkEmpty() {
	if s.draining && len(s.conns) == 0 {
		select {
		case <-s.empty:
		default:
			close(s.empty)
		}
	}
}

// Drain tells every connection, at a moment of its own within spread, to end when it can: HTTP/1.1 with its next answer, HTTP/2 by two
// GOAWAYs; idle connections and tunnels are left alone. Connections that come later are told at once. Accept no more before it, or soon
// after. The channel closes when no connection is left.
func (s *Server) Drain(spread time.Duration) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c := range s.conns {
		c.tell(time.Duration(rand.Float64() * float64(spread)))
	}
	s.checkEmpty()
	return s.empty
}

// DrainOnly tells some connections to end, as Drain does, and does not wait.
func (s *Server) DrainOnly(spread time.Duration, which func(*Settings) bool) {
	for _, c := range s.list() {
		if which(c.settings) {
			c.tell(time.Duration(rand.Float64() * float64(spread)))
		}
	}
}

// Stop ends the service: idle connections are closed at once, requests may end until ctx does, the rest is cut. It
// says how many connections were cut in all, by Cut too.
func (s *Server) Stop(ctx context.Context) (cut int64) {
	empty := s.Drain(0)
	var closing sync.WaitGroup
	for _, c := range s.list() {
		closing.Go(c.closeIdle)
	}
	select {
	case <-empty:
	case <-ctx.Done():
		s.Cut(Stopped)
		<-empty
	}
	closing.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// Cut ends every connection now, for a cause, and says how many of them were not idle.
func (s *Server) Cut(why Cause) (cut int64) {
	for _, c := range s.list() {
		if c.busy() {
			c.endBy(why)
			cut++
		}
		go c.abort()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut += cut
	return cut
}

func (s *Server) list() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// Open is how many connections are open.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// addrPort gives an IP address and port; invalid for a unix socket.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
