package h2

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2/hpack"

	"edge/edge/wire"
)

// Request is a request as it is sent. All of it is the caller's, and is not used any more when Send returns.
type Request struct {
	Method, Scheme, Path, Query, Host []byte
	HasQuery                          bool
	Fields                            wire.Fields   // those of framing are left out
	Length                            int64         // of the body: 0 none, or wire.Unknown
	Body                              []byte        // all of it, if Length > 0 and it is here; else SendBody sends it
	Within                            time.Duration // in place of the limit Response; 0: that one
}

// Answer is the head of an answer.
type Answer struct {
	Status int
	Fields wire.Fields // stand until Done
	Length int64       // as Content-Length says, also where there is no body, but never with 204; wire.Unknown: it does not
}

// Informer is told the interim answers but 100; its error ends the exchange.
type Informer interface {
	Inform(status int, f wire.Fields) error
}

// maxAnswerHead bounds an answer's head, with all interim ones before it, and its trailers, as SETTINGS_MAX_HEADER_LIST_SIZE counts.
const maxAnswerHead = 64 << 10

// What makes an answer none. None of these has a status for the client: it is always 502.
var (
	errNoStatus     = errors.New("h2: an answer without one :status of three digits")
	errAnswerPseudo = errors.New("h2: a pseudo-field that an answer, or its trailers, cannot have, or has only at its beginning")
	errAnswerSize   = errors.New("h2: the head of the answer is too large")
	errAnswerLength = errors.New("h2: an answer's body of another length than its head says, or where there can be none")
	errAnswerHead   = errors.New("h2: a second head, or a body before the head")
	errSwitched     = errors.New("h2: the server switched protocols, which HTTP/2 has not")
	errInterimEnds  = errors.New("h2: an interim answer that ends the stream, or says that it has a body")

	errListSize = errors.New("h2: the request's head is larger than the server takes")
)

// ErrUnsendable is a request that no server can be sent.
var ErrUnsendable = errors.New("h2: a byte in the request's head that must not stand there")

// reply is a header block of an answer as it is decoded. Its bytes lie in one piece that is used again.
type reply struct {
	text   []byte // names and values
	refs   []ref
	made   wire.Fields
	size   int // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	status int // 0: none
	length int64
	late   bool  // an ordinary field came: no pseudo-field may follow
	bad    error // the first thing that is wrong with it
}

func (r *reply) reset() {
	if cap(r.text) > 16<<10 || cap(r.refs) > 256 { // of a strange head; an ordinary one follows
		*r = reply{}
	}
	*r = reply{text: r.text[:0], refs: r.refs[:0], made: r.made[:0], length: wire.Unknown}
}

func (r *reply) no(why error) {
	if r.bad == nil {
		r.bad = why
	}
}

// field takes a decoded field. For the table's sake a block is read to its end also where it is refused.
func (r *reply) field(f hpack.HeaderField) {
	if r.size += int(f.Size()); r.size > maxAnswerHead {
		r.no(errAnswerSize)
	}
	switch {
	case r.bad != nil:
	case len(f.Name) > 0 && f.Name[0] == ':':
		r.pseudo(f)
	case !validName(f.Name):
		r.no(errName)
	case !validValue(f.Value):
		r.no(errValue)
	default:
		r.late = true
		r.ordinary(f)
	}
}

func (r *reply) pseudo(f hpack.HeaderField) {
	n, ok := parseUint(f.Value)
	switch {
	case f.Name != ":status" || r.late:
		r.no(errAnswerPseudo)
	case r.status != 0 || !ok || len(f.Value) != 3 || n < 100:
		r.no(errNoStatus)
	}
	r.status = int(n)
}

func (r *reply) ordinary(f hpack.HeaderField) {
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		r.no(errHopByHop)
	case "content-length":
		n, ok := parseUint(f.Value)
		if !ok || r.length != wire.Unknown {
			r.no(errLengths)
		}
		r.length = n
	default:
		if !wire.Framing(f.Name) {
			name := r.keep(f.Name)
			r.refs = append(r.refs, ref{name, r.keep(f.Value)})
		}
	}
}

func (r *reply) keep(s string) span {
	from := len(r.text)
	r.text = append(r.text, s...)
	return span{int32(from), int32(len(r.text)), true}
}

// fields gives the ordinary fields, which stand until the reply is used again.
func (r *reply) fields() wire.Fields {
	r.made = r.made[:0]
	for _, at := range r.refs {
		r.made = append(r.made, wire.Field{
			Name: r.text[at.name.from:at.name.to:at.name.to], Value: r.text[at.value.from:at.value.to:at.value.to],
		})
	}
	return r.made
}

// head says what is wrong with the block as an answer's head. ends: nothing follows it.
func (r *reply) head(ends, toHEAD bool) error {
	switch {
	case r.bad != nil:
		return r.bad
	case r.status == 0:
		return errNoStatus
	case r.status == http.StatusSwitchingProtocols:
		return errSwitched
	case r.status < 200 && (ends || r.length != wire.Unknown):
		return errInterimEnds
	case r.status == http.StatusNoContent && r.length > 0, ends && r.length > 0 && !toHEAD && r.status != http.StatusNotModified:
		return errAnswerLength
	}
	return nil
}

// trailers says what is wrong with the block as trailers.
func (r *reply) trailers(ends bool) error {
	switch {
	case r.bad != nil:
		return r.bad
	case r.status != 0:
		return errAnswerPseudo
	case r.length != wire.Unknown:
		return errHopByHop
	case !ends:
		return errAnswerHead
	}
	return nil
}

// bodiless says whether the answer has no body, whatever its Content-Length says.
func (r *reply) bodiless(toHEAD bool) bool {
	return toHEAD || r.status == http.StatusNoContent || r.status == http.StatusNotModified
}

// answer gives the head. ends: nothing followed it.
func (r *reply) answer(ends, toHEAD bool) Answer {
	a := Answer{Status: r.status, Fields: r.fields(), Length: r.length}
	switch {
	case r.status == http.StatusNoContent:
		a.Length = wire.Unknown
	case ends && r.length == wire.Unknown && !r.bodiless(toHEAD):
		a.Length = 0
	}
	return a
}

// sendable says whether the request's head is read as it is meant. Those who make Exchanges let no other one through; this is the last door.
func (r *Request) sendable() bool {
	return validToken(r.Method) && len(r.Path) > 0 && plain(r.Path) && plain(r.Query) && plain(r.Host)
}

func validToken(b []byte) bool {
	for _, c := range b {
		if !token[c] && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(b) > 0
}

func plain(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// listSize is how SETTINGS_MAX_HEADER_LIST_SIZE counts the request, about: never less than it is.
func (r *Request) listSize() int {
	n := 6*(32+20) + len(r.Method) + len(r.Path) + len(r.Query) + len(r.Host)
	for _, f := range r.Fields {
		n += 32 + len(f.Name) + len(f.Value)
	}
	return n
}

// asked are the names that RFC 7541's static table has, of those that requests often carry.
var asked = map[string]int{
	"accept-charset": 15, "accept-encoding": 16, "accept-language": 17, "accept": 19, "authorization": 23, "cache-control": 24, "content-encoding": 26,
	"content-type": 31, "cookie": 32, "from": 37, "if-match": 39, "if-modified-since": 40, "if-none-match": 41, "if-range": 42, "if-unmodified-since": 43,
	"max-forwards": 47, "range": 50, "referer": 51, "user-agent": 58, "via": 60,
}

// appendRequest appends a request's header block: literals that no table keeps, so that encoding has no state. It gets a te field: gRPC's C++
// servers refuse requests without it.
func appendRequest(b []byte, r *Request) []byte {
	switch string(r.Method) {
	case http.MethodGet:
		b = append(b, 0x82)
	case http.MethodPost:
		b = append(b, 0x83)
	default:
		b = appendValue(append(b, 2), r.Method)
	}
	if string(r.Scheme) == "https" {
		b = append(b, 0x87)
	} else {
		b = append(b, 0x86)
	}
	b = appendValue(append(b, 1), r.Host)
	b = append(b, 4)
	if r.HasQuery {
		b = appendInt(b, 0, 7, len(r.Path)+1+len(r.Query))
		b = append(append(append(b, r.Path...), '?'), r.Query...)
	} else {
		b = appendValue(b, r.Path)
	}
	b = append(b, "\x00\x02te\x08trailers"...)
	if r.Length > 0 || r.Length == 0 && hasContent(r.Method) { // RFC 9110 section 8.6
		var digits [20]byte
		b = appendValue(append(b, 0x0f, 28-15), strconv.AppendInt(digits[:0], r.Length, 10))
	}
	return appendAsked(b, r.Fields)
}

// hasContent says of a method that a request without a body has to say so.
func hasContent(method []byte) bool {
	switch string(method) {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return false
}

// appendAsked appends a request's fields: none of framing, and none that a handler's mistake made. What is secret is marked as such (RFC 7541
// section 7.1.3).
func appendAsked(b []byte, fields wire.Fields) []byte {
	for _, f := range fields {
		if wire.Framing(f.Name) || !validName(f.Name) || !wire.Clean(f.Value) {
			continue
		}
		first := byte(0)
		if string(f.Name) == "authorization" || string(f.Name) == "cookie" {
			first = 0x10
		}
		if i, ok := asked[string(f.Name)]; ok {
			b = appendInt(b, first, 4, i)
		} else {
			b = appendValue(append(b, first), f.Name)
		}
		b = appendValue(b, bytes.Trim(f.Value, " \t"))
	}
	return b
}
