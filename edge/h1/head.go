// Package h1 is HTTP/1.1, both sides of it, server and client, over one head parser and one chunk reader: bytes become an Exchange,
// an Exchange becomes bytes. It is as strict as RFC 9110 and 9112 allow, because smuggling lives in the difference between two readings.
//
// It knows no hosts, routes or configuration.
package h1

import (
	"bytes"
	"math"
	"slices"

	"edge/edge/wire"
)

// refusal is why a message is not taken: the status for the one who sent it, and a reason.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return "h1: " + r.why }

// The refusals that more than one place has need of.
var (
	errLine      = &refusal{400, "a line that does not end with CRLF, or a control byte in it"}
	errFold      = &refusal{400, "a folded header line"}
	errName      = &refusal{400, "a malformed field name"}
	errLengths   = &refusal{400, "a malformed Content-Length, or more than one"}
	errBoth      = &refusal{400, "both Content-Length and Transfer-Encoding"}
	errCoding    = &refusal{501, "a transfer coding other than chunked"}
	errCodings   = &refusal{400, "a malformed Transfer-Encoding, or more than one"}
	errOptions   = &refusal{400, "too many Connection options"}
	errCoding10  = &refusal{400, "Transfer-Encoding in HTTP/1.0"}
	errHost      = &refusal{400, "no Host, more than one, or a malformed one"}
	errUpgrades  = &refusal{400, "more than one Upgrade"}
	errExpect    = &refusal{417, "an expectation other than 100-continue"}
	errStartLine = &refusal{400, "a malformed first line"}
	errVersion   = &refusal{505, "a version of HTTP other than 1.0 and 1.1"}
	errTarget    = &refusal{400, "a malformed request target"}
	errMethod    = &refusal{501, "CONNECT is not served"}
	errDiffer    = &refusal{400, "the target's host and Host differ"}
)

// head is what the fields of a message say. Everything points into the buffer that was parsed.
type head struct {
	minor   int // of HTTP/1.x
	fields  wire.Fields
	length  int64 // of the body; wire.Unknown: not said
	chunked bool

	host       []byte
	hosts      int
	upgrade    []byte
	upgrades   int
	expect     bool // 100-continue
	close      bool // named by Connection
	keepAlive  bool
	wantsUp    bool // Connection: upgrade
	timeout    int  // seconds, of Keep-Alive; 0: not said
	connection [][]byte
}

func (h *head) reset(minor int) {
	if cap(h.fields) > 64 { // of a strange head; an ordinary one follows
		h.fields = nil
	}
	*h = head{minor: minor, fields: h.fields[:0], connection: h.connection[:0], length: wire.Unknown}
}

// parseFields reads field lines up to the end of text, which is the last line's CRLF. Names become lower case in place.
func (h *head) parseFields(text []byte) error {
	for len(text) > 0 {
		line, rest, err := cutLine(text)
		if err != nil {
			return err
		}
		text = rest
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		if err := h.add(name, value); err != nil {
			return err
		}
	}
	h.dropNamed()
	h.fields = slices.Grow(h.fields, added)
	return nil
}

// added is how many fields may be appended to those of a head without an allocation: that it is private, a cookie, and what a rule says.
const added = 4

// lines looks for the empty line at the end of a section of lines, as its bytes come. A line that ends with LF or CR alone is an error at
// once: who sends such lines sends an empty one like that too, and would wait.
type lines struct{ start, seen int } // of the line that is not complete; of the bytes, those that were looked at

// end gives where the section ends, behind its empty line; 0: not here. in must begin at the section's start.
func (l *lines) end(in []byte) (int, error) {
	for {
		i := bytes.IndexByte(in[l.seen:], '\n')
		if i < 0 {
			l.seen = len(in)
			if cr := bytes.IndexByte(in[l.start:], '\r'); cr >= 0 && l.start+cr+1 < len(in) {
				return 0, errLine
			}
			return 0, nil
		}
		i += l.seen
		if i == 0 || in[i-1] != '\r' {
			return 0, errLine
		}
		if i-1 == l.start {
			return i + 1, nil
		}
		l.start, l.seen = i+1, i+1
	}
}

// cutLine takes a line off text, which must end with CRLF and hold no control byte but HTAB: RFC 9112 section 2.2 lets one be lenient,
// with the consequences that section 11 describes.
func cutLine(text []byte) (line, rest []byte, err error) {
	i := bytes.IndexByte(text, '\n')
	if i < 1 || text[i-1] != '\r' {
		return nil, nil, errLine
	}
	line, rest = text[:i-1], text[i+1:]
	if !wire.Clean(line) {
		return nil, nil, errLine
	}
	return line, rest, nil
}

// splitField splits a field line, RFC 9112 section 5. The name becomes lower case where it stands.
func splitField(line []byte) (name, value []byte, err error) {
	if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		return nil, nil, errFold
	}
	i := 0
	for i < len(line) && lower[line[i]] != 0 {
		line[i] = lower[line[i]]
		i++
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return nil, nil, errName
	}
	return line[:i], trim(line[i+1:]), nil
}

// lower maps the bytes of a token (RFC 9110 section 5.6.2) to lower case, all others to 0.
var lower = func() (t [256]byte) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = c
	}
	for c := byte('A'); c <= 'Z'; c++ {
		t[c] = c | 0x20
	}
	return t
}()

func isToken(b []byte) bool {
	for _, c := range b {
		if lower[c] == 0 {
			return false
		}
	}
	return len(b) > 0
}

// trim takes optional white space off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// add takes note of a field: one of framing becomes a fact, any other stays a field.
func (h *head) add(name, value []byte) error {
	switch string(name) {
	case "content-length":
		return h.setLength(value)
	case "transfer-encoding":
		return h.setCoding(value)
	case "host":
		h.host, h.hosts = value, h.hosts+1
	case "connection":
		return h.addConnection(value)
	case "upgrade":
		h.upgrade, h.upgrades = value, h.upgrades+1
	case "expect":
		if !bytes.EqualFold(value, []byte("100-continue")) {
			return errExpect
		}
		h.expect = true
	case "keep-alive":
		seconds, said := keepAliveTimeout(value)
		h.timeout, h.close = seconds, h.close || said && seconds == 0
	case "cookie":
		return h.addCookie(name, value)
	default:
		if !wire.Framing(name) {
			h.fields = append(h.fields, wire.Field{Name: name, Value: value})
		}
	}
	return nil
}

// setLength notes Content-Length. The same length twice is allowed to be refused (RFC 9110 section 8.6), and is.
func (h *head) setLength(value []byte) error {
	n, ok := parseUint(value)
	switch {
	case h.chunked:
		return errBoth
	case !ok || h.length != wire.Unknown:
		return errLengths
	}
	h.length = n
	return nil
}

// setCoding notes Transfer-Encoding: chunked, once and alone.
func (h *head) setCoding(value []byte) error {
	switch {
	case h.length != wire.Unknown:
		return errBoth
	case h.minor == 0:
		return errCoding10
	case h.chunked:
		return errCodings
	case isChunked(value):
		h.chunked = true
		return nil
	}
	return otherCoding(value)
}

// isChunked knows the name in ASCII only: Unicode's folding has a K that is none, and who reads on would take it for another coding.
func isChunked(value []byte) bool {
	return len(value) == len("chunked") && bytes.EqualFold(value, []byte("chunked"))
}

// otherCoding says what is wrong with a Transfer-Encoding that is not just chunked: 501 for what we do not know, 400 for what nobody could
// (RFC 9112 sections 6.1 and 6.3).
func otherCoding(value []byte) error {
	last := bytes.Count(value, []byte(","))
	i := 0
	for coding := range bytes.SplitSeq(value, []byte(",")) {
		name, _, _ := bytes.Cut(coding, []byte(";"))
		name = trim(name)
		if !isToken(name) || len(name) < len(trim(coding)) && bytes.EqualFold(name, []byte("chunked")) ||
			i < last && bytes.EqualFold(name, []byte("chunked")) {
			return errCodings
		}
		i++
	}
	return errCoding
}

// maxOptions bounds the options of Connection: each costs a look at every field.
const maxOptions = 16

// addConnection notes the options of Connection, RFC 9110 section 7.6.1.
func (h *head) addConnection(value []byte) error {
	for len(value) > 0 {
		var option []byte
		option, value, _ = bytes.Cut(value, []byte(","))
		option = trim(option)
		switch {
		case bytes.EqualFold(option, []byte("close")):
			h.close = true
		case bytes.EqualFold(option, []byte("keep-alive")):
			h.keepAlive = true
		case bytes.EqualFold(option, []byte("upgrade")):
			h.wantsUp = true
		case len(option) > 0 && len(h.connection) == maxOptions:
			return errOptions
		case len(option) > 0:
			h.connection = append(h.connection, option)
		}
	}
	return nil
}

// dropNamed drops the fields that Connection names: they end here.
func (h *head) dropNamed() {
	for _, option := range h.connection {
		h.fields = h.fields.DelFunc(func(name []byte) bool { return bytes.EqualFold(name, option) })
	}
}

// errCookies is a second Cookie field: RFC 6265 section 5.4 has one, and which one counts would be anybody's guess.
var errCookies = &refusal{400, "more than one Cookie"}

func (h *head) addCookie(name, value []byte) error {
	if _, n := h.fields.Get("cookie"); n > 0 {
		return errCookies
	}
	h.fields = append(h.fields, wire.Field{Name: name, Value: value})
	return nil
}

// keepAliveTimeout reads "timeout=5, max=100".
func keepAliveTimeout(value []byte) (seconds int, said bool) {
	for part := range bytes.SplitSeq(value, []byte(",")) {
		name, v, _ := bytes.Cut(trim(part), []byte("="))
		if n, ok := parseUint(trim(v)); ok && bytes.EqualFold(trim(name), []byte("timeout")) && n <= math.MaxInt32 {
			return int(n), true
		}
	}
	return 0, false
}

// parseUint reads a decimal number, digits only, that fits.
func parseUint(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseVersion reads "HTTP/1.x" and gives x.
func parseVersion(b []byte) (minor int, err error) {
	switch string(b) {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	if len(b) == 8 && string(b[:5]) == "HTTP/" && digit(b[5]) && b[6] == '.' && digit(b[7]) {
		return 0, errVersion
	}
	return 0, errStartLine
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
