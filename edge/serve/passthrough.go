package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"edge/edge/socket"
	"edge/edge/wire"
)

// Relay is what takes a connection over until it ends.
type Relay func(ctx context.Context, c *Conn)

// mostHello bounds what is read of a client before it is known whom it is for: the largest that one record holds.
const mostHello = 16 << 10

// byName relays a connection whose TLS is for others, by the name that its ClientHello asks for, and says whether it goes on here: where the
// name is nobody else's. What was read of it is read again by whoever gets the connection.
func (c *Conn) byName() (on bool) {
	c.under.SetReadDeadline(time.Now().Add(c.settings.Timeouts.Header))
	name, read, err := serverName(c.under)
	if err != nil {
		c.server.Log.Debug("client hello", "listener", c.settings.Listener, "client", c.client(), "error", err)
		return false
	}
	c.under.SetReadDeadline(time.Time{})
	c.Conn = &rewound{Conn: c.under, again: read}
	if relay := c.settings.Passthrough(name); relay != nil {
		c.begun.Store(true)
		relay(c.ctx, c)
		return false
	}
	if c.settings.TLS == nil {
		c.under.SetWriteDeadline(time.Now().Add(time.Second))
		c.under.Write(unrecognizedName)
		return false
	}
	return true
}

// unrecognizedName is the fatal alert of that name, RFC 6066 section 3 and RFC 8446 section 6.2.
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// errSeen ends a handshake of which all is known that is wanted.
var errSeen = errors.New("the ClientHello is here")

// serverName reads a ClientHello by the one who knows best how to. It gives the name that this asks for, in lower case ("": none), and all
// that was read.
func serverName(c net.Conn) (name string, read []byte, err error) {
	e, seen := &ear{Conn: c}, false
	err = tls.Server(e, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name, seen = plain(hello.ServerName), true
		return nil, errSeen
	}}).Handshake()
	if !seen {
		return "", nil, err
	}
	return name, e.heard, nil
}

// plain gives a server name in lower case; "" for one that cannot be any.
func plain(name string) string {
	if host, ok := wire.PlainHost(strings.ToLower(name)); ok && len(host) == len(name) { // that is without a port
		return host
	}
	return ""
}

// ear listens and says nothing: it keeps what is read, and drops what is written.
type ear struct {
	net.Conn
	heard []byte
}

func (e *ear) Read(p []byte) (int, error) {
	room := mostHello - len(e.heard)
	if room == 0 {
		return 0, fmt.Errorf("it is not whole after %d bytes", mostHello)
	}
	n, err := e.Conn.Read(p[:min(len(p), room)])
	e.heard = append(e.heard, p[:n]...)
	return n, err
}

func (e *ear) Write(p []byte) (int, error) { return len(p), nil }

// rewound is a connection with what was read of it already.
type rewound struct {
	*socket.Conn
	again []byte
	bare  atomic.Bool // again is empty; TCP may be asked while another goroutine reads
}

func (r *rewound) Read(p []byte) (int, error) {
	if r.bare.Load() {
		return r.Conn.Read(p)
	}
	n := copy(p, r.again)
	r.again = r.again[n:]
	if len(r.again) == 0 {
		r.again = nil
		r.bare.Store(true)
	}
	return n, nil
}

// TCP gives the socket as soon as nothing but it is to be read from.
func (r *rewound) TCP() *net.TCPConn {
	if !r.bare.Load() {
		return nil
	}
	return r.Conn.TCP()
}
