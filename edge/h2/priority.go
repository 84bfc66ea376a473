package h2

import (
	"encoding/binary"
	"slices"
	"strings"
)

// priority is what a client says of how urgent an answer is, RFC 9218. It decides only whose body is written first, where several wait.
type priority struct {
	urgency uint8 // 0 to 7, the least is the most urgent
	whole   bool  // of no use in parts: answers like this are sent one after the other, others in turns
}

// unsaid is that of a request whose client says nothing: it takes turns, so that none that asks for much keeps another one waiting.
var unsaid = priority{urgency: 3}

const (
	leastUrgent  = 7
	longPriority = 256 // bytes of a field's value; a longer one says nothing
)

// parsePriority reads a Priority field, a dictionary of RFC 9651. Members that are unknown, out of range or of another type are ignored; of what is no
// dictionary, all is.
func parsePriority(s string) (priority, bool) {
	p := priority{unsaid.urgency, true}
	if len(s) > longPriority {
		return unsaid, false
	}
	s = strings.TrimLeft(s, " ")
	for len(s) > 0 {
		key, value, rest, ok := cutMember(s)
		if !ok {
			return unsaid, false
		}
		switch {
		case key == "u" && len(value) == 1 && value[0] >= '0' && value[0] <= '0'+leastUrgent:
			p.urgency = value[0] - '0'
		case key == "i" && (value == "?1" || value == "?0"):
			p.whole = value == "?0"
		}
		s = strings.TrimLeft(rest, " \t")
		if len(s) == 0 {
			break
		}
		if s[0] != ',' {
			return unsaid, false
		}
		if s = strings.TrimLeft(s[1:], " \t"); len(s) == 0 { // a comma at the end
			return unsaid, false
		}
	}
	return p, true
}

// cutMember takes a member off a dictionary: its key, and its value without parameters, which is "?1" where none is given.
func cutMember(s string) (key, value, rest string, ok bool) {
	n := 0
	for n < len(s) && isKey(s[n], n == 0) {
		n++
	}
	if n == 0 {
		return "", "", "", false
	}
	key, value, rest = s[:n], "?1", s[n:]
	if len(rest) > 0 && rest[0] == '=' {
		value = rest[1:]
		if rest, ok = skipValue(value); !ok {
			return "", "", "", false
		}
		value = value[:len(value)-len(rest)]
	}
	rest, ok = skipParameters(rest)
	return key, value, rest, ok
}

// isKey says whether a byte may stand in a key.
func isKey(c byte, first bool) bool {
	return 'a' <= c && c <= 'z' || c == '*' || !first && ('0' <= c && c <= '9' || c == '_' || c == '-' || c == '.')
}

// skipValue goes to the end of an item or an inner list. It is not particular about what it will not look at.
func skipValue(s string) (rest string, ok bool) {
	quoted, depth, n := false, 0, 0
	for ; n < len(s); n++ {
		c := s[n]
		switch {
		case c < ' ' || c > '~':
			return "", false
		case quoted && c == '\\':
			n++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0 && (c == ',' || c == ';' || c == ' ' || c == '\t'):
			return s[n:], n > 0
		}
		if depth < 0 || depth > 1 {
			return "", false
		}
	}
	return "", n > 0 && n == len(s) && !quoted && depth == 0
}

// skipParameters goes to the end of what follows a value.
func skipParameters(s string) (rest string, ok bool) {
	for len(s) > 0 && s[0] == ';' {
		s = strings.TrimLeft(s[1:], " ")
		n := 0
		for n < len(s) && isKey(s[n], n == 0) {
			n++
		}
		if n == 0 {
			return "", false
		}
		if s = s[n:]; len(s) > 0 && s[0] == '=' {
			if s, ok = skipValue(s[1:]); !ok {
				return "", false
			}
		}
	}
	return s, true
}

// reprioritize takes a PRIORITY_UPDATE, RFC 9218 section 7.1. One may come before its request, and goes before what that says itself then.
func (c *Conn) reprioritize(h head, p []byte) error {
	switch {
	case h.stream != 0:
		return broken("PRIORITY_UPDATE on a stream")
	case len(p) < 4:
		return errFrameSize
	}
	if err := c.pay(1); err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(p) & lastStream
	if id%2 == 0 { // we push nothing
		return broken("PRIORITY_UPDATE of a stream that is not a client's")
	}
	said, ok := priority{}, false
	if p = p[4:]; len(p) <= longPriority {
		said, ok = parsePriority(string(p))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil && ok {
		s.priority = said
	}
	if id <= c.newest || !ok {
		return nil
	}
	if _, known := c.early[id]; !known && len(c.early)+len(c.streams) >= c.o.Streams {
		return broken("PRIORITY_UPDATE of more streams than may be open")
	}
	if c.early == nil {
		c.early = map[uint32]priority{}
	}
	c.early[id] = said
	return nil
}

// prioritize gives a new stream what was said of it. c.mu is held.
func (c *Conn) prioritize(s *stream) {
	s.priority = c.req.priority
	if len(c.early) == 0 {
		return
	}
	if said, ok := c.early[s.id]; ok {
		s.priority = said
	}
	for id := range c.early {
		if id <= c.newest {
			delete(c.early, id)
		}
	}
}

// before says whether s goes before other, whoever has waited longer.
func (s *stream) before(other *stream) bool {
	return s.urgency < other.urgency || s.urgency == other.urgency && s.whole && other.whole && s.id < other.id
}

// next is the place in the queue of the stream whose turn it is: of the most urgent ones the one that has waited longest. Those that are sent whole
// are one among those that take turns: the first of them that was asked for. c.mu is held, and somebody waits.
func (c *Conn) next() int {
	at := 0
	for i, s := range c.queue {
		if s.before(c.queue[at]) {
			at = i
		}
	}
	return at
}

// outranked says whether somebody waits who goes before s. c.mu is held.
func (s *stream) outranked() bool {
	for _, other := range s.c.queue {
		if other.before(s) {
			return true
		}
	}
	return false
}

// stir notes that s is about to send, wane that it waits, or has no more to send for now. c.mu is held.
func (s *stream) stir() {
	if !s.awake {
		s.awake = true
		s.c.awake = append(s.c.awake, s)
	}
}

func (s *stream) wane() {
	if s.awake {
		s.awake = false
		at := slices.Index(s.c.awake, s)
		s.c.awake = slices.Delete(s.c.awake, at, at+1)
	}
}

// alone says whether nobody else sends or waits. c.mu is held.
func (s *stream) alone() bool {
	c := s.c
	return len(c.queue) == 0 && (len(c.awake) == 0 || len(c.awake) == 1 && s.awake)
}
