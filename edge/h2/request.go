package h2

import (
	"bytes"
	"net/http"

	"golang.org/x/net/http2/hpack"

	"edge/edge/wire"
)

// request is a header block of a client's as it is decoded. A connection decodes one at a time, and lends the bytes and the fields that came of it to the
// stream, which gives back those that it had, so that decoding allocates nothing in the steady state.
type request struct {
	lent
	refs []ref // of ordinary fields
	size int   // as SETTINGS_MAX_HEADER_LIST_SIZE counts
	max  int

	method, scheme, path, authority, protocol span
	host                                      span
	cookies                                   int
	length                                    int64
	expects                                   bool
	priority                                  priority

	late bool     // an ordinary field came: no pseudo-field may follow
	bad  *refusal // what is wrong with it
	long bool     // it is larger than is taken
}

// lent is what a stream's Exchange stands in.
type lent struct {
	text []byte // names and values
	made wire.Fields
}

// ref is a field in text; span is a piece of text that may be missing.
type (
	ref  struct{ name, value span }
	span struct {
		from, to int32
		given    bool
	}
)

// refusal is why a request is not taken. With a status it is answered, without one it is no HTTP, and the stream is reset.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return "h2: " + r.why }

var (
	errName     = &refusal{0, "a malformed field name"}
	errValue    = &refusal{0, "a control byte, or white space around a field's value"}
	errPseudo   = &refusal{0, "a pseudo-field that is unknown, given twice, late, or in trailers"}
	errMissing  = &refusal{0, "a request without :method, :scheme or :path"}
	errHopByHop = &refusal{0, "a field of one connection, which HTTP/2 has none of"}
	errLengths  = &refusal{0, "a malformed Content-Length, or more than one"}
	errTooMuch  = &refusal{0, "a body of another length than Content-Length says"}
	errScheme   = &refusal{400, "a scheme other than http and https"}
	errDiffer   = &refusal{400, "host and :authority differ"}
	errHost     = &refusal{400, "no :authority, or a malformed one"}
	errMethod   = &refusal{400, "a malformed method"}
	errConnect  = &refusal{501, "CONNECT is served for WebSocket only"}
	errExpect   = &refusal{417, "an expectation other than 100-continue"}
	errHeadSize = &refusal{431, "a request head larger than is taken here"}
)

func (r *request) reset(max int) {
	if cap(r.text) > 16<<10 || cap(r.refs) > 256 || cap(r.made) > 256 { // of a strange head; an ordinary one follows
		*r = request{}
	}
	*r = request{lent: lent{r.text[:0], r.made[:0]}, refs: r.refs[:0], max: max, length: wire.Unknown, priority: unsaid}
}

// cost is what the head takes, about, until its handler has returned.
func (r *request) cost() int { return len(r.text) + 96*len(r.refs) }

// no notes what is wrong, the first thing only.
func (r *request) no(why *refusal) {
	if r.bad == nil {
		r.bad = why
	}
}

// field takes a decoded field. What is decoded is for the table's sake read to its end also where the request is refused.
func (r *request) field(f hpack.HeaderField) {
	r.size += int(f.Size())
	if r.size > r.max {
		r.long = true
	}
	if r.long || r.bad != nil && r.bad.status == 0 {
		return
	}
	if len(f.Name) > 0 && f.Name[0] == ':' {
		r.pseudo(f)
		return
	}
	r.late = true
	r.ordinary(f)
}

func (r *request) keep(s string) span {
	from := len(r.text)
	r.text = append(r.text, s...)
	return span{int32(from), int32(len(r.text)), true}
}

func (r *request) pseudo(f hpack.HeaderField) {
	var at *span
	switch f.Name {
	case ":method":
		at = &r.method
	case ":scheme":
		at = &r.scheme
	case ":path":
		at = &r.path
	case ":authority":
		at = &r.authority
	case ":protocol":
		at = &r.protocol
	}
	if at == nil || at.given || r.late {
		r.no(errPseudo)
		return
	}
	if !validValue(f.Value) {
		r.no(errValue)
	}
	*at = r.keep(f.Value)
}

func (r *request) ordinary(f hpack.HeaderField) {
	switch {
	case !validName(f.Name):
		r.no(errName)
		return
	case !validValue(f.Value):
		r.no(errValue)
		return
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		r.no(errHopByHop)
	case "te":
		if f.Value != "trailers" {
			r.no(errHopByHop)
		}
	case "host":
		if r.host.given {
			r.no(errHost)
		}
		r.host = r.keep(f.Value)
	case "content-length":
		r.setLength(f.Value)
	case "expect":
		if !asciiFold(f.Value, "100-continue") {
			r.no(errExpect)
		}
		r.expects = true
	case "cookie":
		r.cookies++
		r.add(f)
	case "priority":
		if said, ok := parsePriority(f.Value); ok {
			r.priority = said
		}
		r.add(f)
	default:
		if !wire.Framing(f.Name) {
			r.add(f)
		}
	}
}

func (r *request) add(f hpack.HeaderField) {
	name := r.keep(f.Name)
	r.refs = append(r.refs, ref{name, r.keep(f.Value)})
}

// setLength notes Content-Length, once.
func (r *request) setLength(s string) {
	n, ok := parseUint(s)
	if !ok || r.length != wire.Unknown {
		r.no(errLengths)
	}
	r.length = n
}

func parseUint(s string) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func (r *request) bytes(s span) []byte { return r.text[s.from:s.to:s.to] }

// into makes the Exchange's request of what was decoded, or says what is wrong. ends: nothing follows the head.
func (r *request) into(x *wire.Exchange, ends bool) *refusal {
	x.Method = r.bytes(r.method)
	if r.long {
		return errHeadSize
	}
	if r.bad != nil {
		return r.bad
	}
	if no := r.connect(x, ends); no != nil {
		return no
	}
	if !r.method.given || !r.scheme.given || !r.path.given || r.path.from == r.path.to {
		return errMissing
	}
	if wire.CheckMethod(x.Method) != nil {
		return errMethod
	}
	if s := string(r.bytes(r.scheme)); s != "https" && s != "http" {
		return errScheme
	}
	if no := r.target(x); no != nil {
		return no
	}
	if no := r.routed(x); no != nil {
		return no
	}
	r.made = r.fields(r.made[:0])
	x.Fields = r.made
	return r.framed(x, ends)
}

// connect makes an extended CONNECT (RFC 8441) the upgrade that it is. Plain CONNECT is not served.
func (r *request) connect(x *wire.Exchange, ends bool) *refusal {
	x.Upgrade = nil
	if string(x.Method) != http.MethodConnect {
		if r.protocol.given {
			return errPseudo
		}
		return nil
	}
	if !bytes.EqualFold(r.bytes(r.protocol), websocket) {
		return errConnect
	}
	if ends || r.length != wire.Unknown {
		return errConnect
	}
	x.Method, x.Upgrade = methodGet, websocket
	return nil
}

var methodGet, websocket = []byte(http.MethodGet), []byte("websocket")

// target checks the path, whose bytes are the ones that route, decide and go upstream.
func (r *request) target(x *wire.Exchange) *refusal {
	path := r.bytes(r.path)
	if string(path) == "*" && string(x.Method) == http.MethodOptions {
		x.Path, x.RawQuery, x.HasQuery = path, nil, false
		return nil
	}
	x.Path, x.RawQuery, x.HasQuery = bytes.Cut(path, []byte("?"))
	if err := wire.Check(x.Path, x.RawQuery); err != nil {
		return &refusal{400, err.Error()}
	}
	return nil
}

// routed checks the host, which may stand in two places that must agree.
func (r *request) routed(x *wire.Exchange) *refusal {
	authority := r.bytes(r.authority)
	if host := r.bytes(r.host); !r.authority.given {
		authority = host
	} else if r.host.given && !bytes.EqualFold(host, authority) {
		return errDiffer
	}
	for i, c := range authority {
		if 'A' <= c && c <= 'Z' {
			authority[i] = c | 0x20
		}
	}
	if host, ok := wire.PlainHost(authority); ok {
		x.Authority, x.Host = authority, host
		return nil
	}
	a, h, err := wire.CanonicalHost(string(authority))
	if err != nil {
		return &refusal{400, err.Error()}
	}
	x.Authority, x.Host = []byte(a), []byte(h)
	return nil
}

// fields gives the ordinary fields, the crumbs of Cookie as one: RFC 9113 section 8.2.3.
func (r *request) fields(f wire.Fields) wire.Fields {
	if r.cookies > 1 {
		r.joinCookies()
	}
	for _, at := range r.refs {
		f = append(f, wire.Field{Name: r.bytes(at.name), Value: r.bytes(at.value)})
	}
	return f
}

func (r *request) joinCookies() {
	from, first, kept := len(r.text), -1, r.refs[:0]
	for _, at := range r.refs {
		if string(r.bytes(at.name)) != "cookie" {
			kept = append(kept, at)
			continue
		}
		if first < 0 {
			first = len(kept)
			kept = append(kept, at)
		} else {
			r.text = append(r.text, "; "...)
		}
		r.text = append(r.text, r.text[at.value.from:at.value.to]...)
	}
	kept[first].value = span{int32(from), int32(len(r.text)), true}
	r.refs = kept
}

// framed says how long the body is.
func (r *request) framed(x *wire.Exchange, ends bool) *refusal {
	switch {
	case x.Upgrade != nil:
		x.Length = 0
	case ends && r.length > 0:
		return errTooMuch
	case ends:
		x.Length = 0
	default:
		x.Length = r.length
	}
	return nil
}

// trailers gives the fields of trailers, copied; they must hold no pseudo-field, and nothing of framing is passed on.
func (r *request) trailers() (wire.Fields, *refusal) {
	switch {
	case r.long:
		return nil, errHeadSize
	case r.bad != nil:
		return nil, r.bad
	case r.method.given || r.scheme.given || r.path.given || r.authority.given || r.protocol.given:
		return nil, errPseudo
	case r.length != wire.Unknown || r.host.given:
		return nil, errHopByHop
	}
	return r.fields(nil).Clone(), nil
}

// token maps the bytes that a field name may hold, in lower case, to true: RFC 9113 section 8.2.1.
var token = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = true
	}
	return t
}()

func validName[T string | []byte](s T) bool {
	for i := range len(s) {
		if !token[s[i]] {
			return false
		}
	}
	return len(s) > 0
}

func validValue[T string | []byte](s T) bool {
	n := len(s)
	if n == 0 {
		return true
	}
	if s[0] == ' ' || s[0] == '\t' || s[n-1] == ' ' || s[n-1] == '\t' {
		return false
	}
	return wire.Clean(s)
}

func asciiFold(s, lower string) bool {
	return len(s) == len(lower) && bytes.EqualFold([]byte(s), []byte(lower))
}
