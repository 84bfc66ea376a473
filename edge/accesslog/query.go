package accesslog

import "bytes"

// ours are the parameters that the login puts into addresses: of the hand-over between virtual hosts, the way to a provider and back, invitations and
// the setup link. They are hidden whatever the configuration says, since a Referer brings them into the lines of other requests.
var ours = []string{"code", "flow", "state", "f", "invite"}

// hidden is which parameters of a query are not written.
type hidden struct {
	names   map[string]bool // in lower case
	longest int
}

func newHidden(names []string) hidden {
	h := hidden{names: map[string]bool{}}
	for _, list := range [][]string{ours, names} {
		for _, name := range list {
			h.names[string(lower([]byte(name)))] = true
			h.longest = max(h.longest, len(name))
		}
	}
	return h
}

// Bounds of what is written of a query. One that is cut ends with the mark.
const (
	longestQuery = 1024
	cutMark      = "[...]"
)

// appendQuery appends a query with "-" in place of what is hidden. It writes a part at a time, so what it cuts off it has looked at.
//
// Where one reader takes ";" for a separator another does not: a name begins after either, and a value that is hidden ends at "&" alone.
func (h *hidden) appendQuery(b, query []byte) []byte {
	start, hide := len(b), false
	for len(query) > 0 {
		end := bytes.IndexAny(query, "&;")
		part, sep := query, []byte(nil)
		if end >= 0 {
			part, sep = query[:end], query[end:end+1]
		}
		query = query[len(part)+len(sep):]
		if !hide {
			b, hide = h.appendPart(b, part)
		}
		if len(sep) > 0 && (sep[0] == '&' || !hide) {
			b, hide = append(b, sep[0]), false
		}
		if len(b)-start > longestQuery {
			return append(b[:start+longestQuery], cutMark...)
		}
	}
	return b
}

// appendPart appends "name=value", and says whether the value was hidden. A hidden name without "=" is written: there is no value.
func (h *hidden) appendPart(b, part []byte) ([]byte, bool) {
	i := bytes.IndexByte(part, '=')
	if i < 0 || i <= longestQuery && !h.hides(part[:i]) { // of one with a longer name nothing but that is written
		return append(b, part...), false
	}
	return append(append(b, part[:i+1]...), '-'), true
}

// hides says whether a parameter of this name is hidden: as it stands, as a reader decodes it, and by each part of "user[password]".
func (h *hidden) hides(name []byte) bool {
	var room [3 * 64]byte
	for len(name) > 0 {
		part := name
		if end := bracket(name); end >= 0 {
			part, name = name[:end], name[end+bracketSize(name[end:]):]
		} else {
			name = nil
		}
		if len(part) == 0 || len(part) > 3*h.longest { // however it is encoded
			continue
		}
		if h.knows(append(room[:0], part...)) || h.knows(decode(append(room[:0], part...))) {
			return true
		}
	}
	return false
}

// knows says whether a name, which it may change, is hidden.
func (h *hidden) knows(name []byte) bool {
	return len(name) <= h.longest && h.names[string(lower(name))]
}

// bracket finds the first "[" or "]", also as "%5B" or "%5D"; -1: there is none.
func bracket(name []byte) int {
	for i := range name {
		if bracketSize(name[i:]) > 0 {
			return i
		}
	}
	return -1
}

// bracketSize is how long the bracket at the beginning of b is; 0: it is none.
func bracketSize(b []byte) int {
	switch {
	case b[0] == '[' || b[0] == ']':
		return 1
	case len(b) >= 3 && b[0] == '%' && b[1] == '5' && (b[2]|0x20 == 'b' || b[2]|0x20 == 'd'):
		return 3
	}
	return 0
}

// decode takes percent-encoding off where it stands. What is no encoding stays as it is.
func decode(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			if high, low := unhex(b[i+1]), unhex(b[i+2]); high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// lower makes ASCII letters small where they stand.
func lower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return b
}

// appendURL appends an address whose query and fragment are treated as queries are.
func (h *hidden) appendURL(b, url []byte) []byte {
	for len(url) > 0 {
		i := bytes.IndexAny(url, "?#")
		if i < 0 {
			break
		}
		b = append(b, url[:i+1]...)
		url = url[i+1:]
		end := bytes.IndexByte(url, '#')
		if end < 0 {
			end = len(url)
		}
		b = h.appendQuery(b, url[:end])
		url = url[end:]
	}
	return append(b, url...)
}
