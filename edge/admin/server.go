package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// maxClients is how many are answered at a time.
const maxClients = 32

// maxWait is how long an operation may take, whatever it is.
const maxWait = time.Hour

// Operation does what a request asks for. ctx ends with the server. What it returns is sent as JSON; ErrMoved sends the client on.
type Operation func(ctx context.Context, args json.RawMessage) (any, error)

// Operations are what can be asked for, by name.
type Operations map[string]Operation

// Server answers on a control socket.
type Server struct {
	ops    Operations
	log    *slog.Logger
	ln     *socket
	ctx    context.Context
	cancel context.CancelFunc
	room   chan struct{} // holds one for each client
	users  func(uid uint32) bool
	done   sync.WaitGroup
}

// Listen makes a control socket at a path, in the place of what is there, and answers on it until Close.
func Listen(path string, ops Operations, log *slog.Logger) (*Server, error) {
	ln, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	s := &Server{ops: ops, log: log, ln: ln, room: make(chan struct{}, maxClients), users: trusted}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.done.Go(s.accept)
	return s, nil
}

// trusted says whose requests are done: those of the user who runs this process, and of root.
func trusted(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// AlsoAt makes the server found at another path of the same file system, in the place of what is there: at no moment there is nothing.
func (s *Server) AlsoAt(path string) error { return s.ln.alsoAt(path) }

// Close ends the server, and removes its paths as far as they are still its own. Requests that run are told that ctx ends, and waited for.
func (s *Server) Close() {
	s.ln.close()
	s.cancel()
	s.done.Wait()
}

func (s *Server) accept() {
	for {
		c, err := s.ln.AcceptUnix()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.log.Warn("control socket", "error", err)
			time.Sleep(100 * time.Millisecond) // out of descriptors, or the like
		default:
			s.take(c)
		}
	}
}

// take answers a client, if there is room for one more.
func (s *Server) take(c *net.UnixConn) {
	select {
	case s.room <- struct{}{}:
		s.done.Go(func() {
			defer func() { <-s.room }()
			defer c.Close()
			s.serve(c)
		})
	default:
		defer c.Close()
		c.SetWriteDeadline(time.Now()) // its buffer is empty, so this does not wait
		write(c, hello{V: version, Error: "too many clients"})
	}
}

func (s *Server) serve(c *net.UnixConn) {
	who, err := peer(c)
	if err != nil || !s.users(who.Uid) {
		s.log.Warn("control socket: a client was refused", "peer", who, "error", err)
		write(c, hello{V: version, Error: "only root and the user who runs edge may ask"})
		return
	}
	if err := write(c, hello{V: version, PID: os.Getpid()}); err != nil {
		return
	}
	var r request
	if err := read(c, time.Now().Add(lineTime), &r); err != nil {
		write(c, answer{V: version, Error: "the request: " + err.Error()})
		return
	}
	write(c, s.answer(r))
}

// answer does what is asked for.
func (s *Server) answer(r request) (a answer) {
	a.V = version
	op := s.ops[r.Op]
	switch {
	case r.V != version:
		a.Error = fmt.Sprintf("the request is of version %d, this edge speaks %d", r.V, version)
		return a
	case op == nil:
		a.Error = fmt.Sprintf("this edge knows no %q", r.Op)
		return a
	}
	ctx, cancel := context.WithTimeout(s.ctx, maxWait)
	defer cancel()
	result, err := op(ctx, r.Args)
	if err == nil {
		a.Result, err = json.Marshal(result)
	}
	if err == nil && len(a.Result) > MaxLine-1024 {
		a.Result, err = nil, fmt.Errorf("the answer has %d bytes, more than %d", len(a.Result), MaxLine)
	}
	if err != nil {
		a.Error, a.Moved = err.Error(), errors.Is(err, ErrMoved)
	}
	return a
}
