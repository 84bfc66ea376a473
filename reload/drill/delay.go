package drill

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Far makes the server look as far away as a round trip takes this long: what is sent, either way, comes after half of it, and so does the end.
// It is done in this process, so the handshake of TCP itself is not delayed; that of TLS above it is.
func Far(dial Dial, roundTrip time.Duration) Dial {
	if roundTrip == 0 {
		return dial
	}
	return func(ctx context.Context) (net.Conn, error) {
		server, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		ours, theirs, err := socketPair()
		if err != nil {
			server.Close()
			return nil, err
		}
		go carryBoth(theirs, server, roundTrip/2)
		return ours, nil
	}
}

// socketPair gives two connections that are each other's end: sockets, so that deadlines and half-closes are the kernel's.
func socketPair() (a, b net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	conns := [2]net.Conn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "far")
		c, cerr := net.FileConn(f)
		f.Close()
		if cerr != nil {
			err = cerr
			continue
		}
		conns[i] = c
	}
	if err != nil {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}
	return conns[0], conns[1], err
}

// carryBoth carries what comes on either side to the other, this much later, until both have ended or either is broken.
func carryBoth(a, b net.Conn, delay time.Duration) {
	done := make(chan error, 2)
	go func() { done <- carry(a, b, delay) }()
	go func() { done <- carry(b, a, delay) }()
	if <-done == nil {
		<-done
		a.Close()
		b.Close()
		return
	}
	a.Close()
	b.Close()
	<-done
}

// letter is what is on its way: some bytes, or the end.
type letter struct {
	bytes []byte
	due   time.Time
	err   error
}

// carry carries one way.
func carry(from, to net.Conn, delay time.Duration) error {
	way := make(chan letter, 1024)
	go read(from, way, delay)
	for l := range way {
		time.Sleep(time.Until(l.due))
		switch {
		case l.err == io.EOF:
			return to.(interface{ CloseWrite() error }).CloseWrite()
		case l.err != nil:
			return l.err
		}
		if _, err := to.Write(l.bytes); err != nil {
			from.Close() // so that read ends
			for range way {
			}
			return err
		}
	}
	return nil
}

// read posts what comes, and then the end.
func read(from net.Conn, way chan<- letter, delay time.Duration) {
	defer close(way)
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		if n > 0 {
			way <- letter{bytes: buf[:n], due: time.Now().Add(delay)}
		}
		if err != nil {
			way <- letter{err: err, due: time.Now().Add(delay)}
			return
		}
	}
}
