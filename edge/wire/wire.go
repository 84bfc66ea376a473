// Package wire is one request and its answer, whatever protocol carries them.
//
// Ownership: every []byte reached through an Exchange belongs to the engine, is read-only, and neither moves nor changes until Serve
// returns; whoever keeps it longer copies it.
package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"
	"unique"

	"edge/edge/record"
)

// Unknown is the length of a body that ends by its framing.
const Unknown = -1

// Exchange is one request; its Responder is the one answer to it.
type Exchange struct {
	Method, Scheme  []byte
	Authority, Host []byte // as sent on to an upstream (lower case, port kept); for matching (no port, no brackets, no last dot, ASCII)
	Path, RawQuery  []byte // the bytes of the request, checked (see Check); Path starts with '/', or is "*" for OPTIONS
	HasQuery        bool   // a '?' was there, even if nothing follows it
	Fields          Fields
	Length          int64  // of the body: 0 none, Unknown
	Upgrade         []byte // asked for, from Upgrade; nil none
	Major, Minor    int    // the client's HTTP version
	User            string // who asks, as the guard found; "": nobody knows
	Groups          []string
	Holds           func() bool  // of an upgrade: whether who asks may still pass, to be asked by one at a time as long as it is open; nil: always
	Email           string       // "": not known
	Assertion       string       // a signed token that says who asks; "": none is wanted
	Conn            *Conn        // what all requests of the connection share
	Hops            []netip.Addr // the client, then the trusted proxies that it came through but for the peer; nil: the peer is the client
	ForwardedHost   []byte       // what the client asked a trusted proxy for; nil: it does not say. Decides nothing
	Pages           Pages        // what ReplyText answers with in place of its text; nil: nothing
	Record          *record.Record
	Body            Body
	Responder       // the engine's; middleware may wrap it
	private         private
}

// Target is the request's path and query, as they came.
func (x *Exchange) Target() string {
	if !x.HasQuery {
		return string(x.Path)
	}
	return string(x.Path) + "?" + string(x.RawQuery)
}

// Conn is a client's connection. It is read-only.
type Conn struct {
	Listener      string
	Remote, Local netip.AddrPort // invalid on a unix socket
	TLS           *tls.ConnectionState
	Body, Write   time.Duration   // how long a body's read, a response's write may go without progress; never zero
	Tunnel        time.Duration   // how long a tunnel may be without a byte either way; never zero
	Context       context.Context // ends when the connection is cut, or has ended; nil: nobody tells
	// Policy is what the handshake was made under, a tlsconf.ID; zero without TLS.
	Policy unique.Handle[string]
	// ClientCert is what upstreams are told of the client's certificate; empty: it showed none that counts.
	ClientCert Fields
	// Refused is told of what was no request, and so never became an Exchange, once that was answered; nil: nobody is told. Method and Path may be
	// missing, or of any kind.
	Refused func(*record.Record)
	// Retire makes the connection end as soon as it can without loss: the next answer says so. Safe concurrently; nil: it cannot be told.
	Retire func()
}

// Scheme is "https" where the client's bytes came through TLS, else "http".
func (c *Conn) Scheme() string {
	if c.TLS != nil {
		return "https"
	}
	return "http"
}

// Body is a request's body: one reader at a time. Body and Responder may be used at the same time by two goroutines; a handler
// joins its own before Serve returns, for which Finish and Abort end a Read that waits.
type Body interface {
	io.Reader                 // the first Read sends 100 Continue if asked for; io.EOF only at the true end
	Buffered() ([]byte, bool) // the whole body, if all of it is here: it can be sent without a second goroutine, and again on a retry
	Trailers() Fields         // after io.EOF
}

// Responder takes the answer: Head, Write*, Finish, in this order. Arguments may be reused as soon as a call returns.
type Responder interface {
	Inform(status int, f Fields) error             // a 1xx but 100 and 101, sent at once; nothing after Head or to HTTP/1.0
	Head(status int, f Fields, length int64) error // the engine chooses framing and adds Date; may wait in the buffer
	io.Writer                                      // past length: error; for HEAD, 204, 304: counted and dropped
	io.ReaderFrom                                  // sendfile or splice where possible
	Flush() error
	Finish(trailers Fields) error    // Serve without Finish is Abort (500 if no Head was given): what is cut short never looks whole
	Abort(error)                     // the client sees a failure: no last chunk, RST_STREAM. Any goroutine, any time before Serve returns
	Tunnel(f Fields) (Stream, error) // accept Upgrade: 101; instead of Head
	OnGone(f func(error))            // f runs once, must not block, when the client left or the server gives up; nil takes it back and waits
	Gone() error                     // asks now
	Context() context.Context        // ends with OnGone or Serve. For dials and adapters
}

// Stream is a tunnel; it ends when Serve returns. TCP gives the socket where nothing (TLS, frames, buffered bytes) lies above it, else nil.
type Stream interface {
	net.Conn
	CloseWrite() error
	TCP() *net.TCPConn
}

// Handler answers an Exchange. It must not keep x, or anything reached through it, after Serve returns.
type Handler interface{ Serve(x *Exchange) }

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(x *Exchange)

// Serve calls f.
func (f HandlerFunc) Serve(x *Exchange) { f(x) }

// Reply answers with a short text in one go. ctype is its media type.
func Reply(x *Exchange, status int, ctype, body string, more ...Field) {
	f := append(Fields{
		{Name: []byte("content-type"), Value: []byte(ctype)},
		{Name: []byte("x-content-type-options"), Value: []byte("nosniff")},
	}, more...)
	err := x.Head(status, f, int64(len(body)))
	if err == nil {
		_, err = io.WriteString(x, body)
	}
	if err == nil {
		err = x.Finish(nil)
	}
	if err != nil && err != ErrReplaced {
		x.Abort(err) // ends a Read of the body that waits, too
	}
}

// ErrReplaced is what Head says where a Responder has given, as a whole, another answer in place of the handler's. The handler has nothing left to do.
var ErrReplaced = errors.New("wire: another answer was given in place of this one")

// Pages are HTML pages by the status that they stand for.
type Pages map[int]string

// ReplyText answers with a status and why, or with the page that there is for this status.
func ReplyText(x *Exchange, status int, why string, more ...Field) {
	if page, ok := x.Pages[status]; ok {
		ReplyPage(x, status, page, more...)
		return
	}
	Reply(x, status, "text/plain; charset=utf-8", why+"\n", more...)
}

// ReplyPage answers with a page.
func ReplyPage(x *Exchange, status int, page string, more ...Field) {
	Reply(x, status, "text/html; charset=utf-8", page, more...)
}
