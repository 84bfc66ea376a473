package wire

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Field is one header line: Name in lower case, Value trimmed; no CR, LF or NUL in either.
type Field struct{ Name, Value []byte }

// Fields are the end-to-end fields. Never among them, in or out, are the fields of framing (see Framing): the engine turns these into
// facts of the Exchange and writes its own, so no handler can forge framing. There is at most one Cookie field.
type Fields []Field

// Get gives the first value of a name, which must be in lower case, and how often the name occurs.
func (f Fields) Get(lower string) (value []byte, count int) {
	for i := range f {
		if string(f[i].Name) == lower {
			if count == 0 {
				value = f[i].Value
			}
			count++
		}
	}
	return value, count
}

// Add gives f with one more field. The name must be in lower case.
func (f Fields) Add(lower, value string) Fields {
	return append(f, Field{[]byte(lower), []byte(value)})
}

// Del gives f, whose array it reuses, without the fields of a name, which must be in lower case.
func (f Fields) Del(lower string) Fields {
	return f.DelFunc(func(name []byte) bool { return string(name) == lower })
}

// DelFunc gives f, whose array it reuses, without the fields whose name gone says yes to.
func (f Fields) DelFunc(gone func(name []byte) bool) Fields {
	return slices.DeleteFunc(f, func(x Field) bool { return gone(x.Name) })
}

// Framing says whether a field, its name in lower case, is the engine's alone: framing, routing of the message, or its date.
func Framing[T string | []byte](lower T) bool {
	switch string(lower) {
	case "host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "content-length",
		"upgrade", "expect", "date", "http2-settings":
		return true
	}
	return false
}

// FromHeader gives the end-to-end fields of a net/http header: without framing fields and those that Connection names.
func FromHeader(h http.Header) Fields {
	f, named := make(Fields, 0, len(h)+2), options(h)
	for name, values := range h {
		lower := strings.ToLower(name)
		if Framing(lower) || named[lower] || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		if lower == "cookie" && len(values) > 1 { // HTTP/2 may send it in crumbs, RFC 9113 section 8.2.3
			values = []string{strings.Join(values, "; ")}
		}
		for _, v := range values {
			f = f.Add(lower, v)
		}
	}
	return f
}

// maxOptions bounds what Connection may name: nobody needs more, and each is work for everyone behind us.
const maxOptions = 32

// CheckConnection says whether a net/http header's Connection may be taken. Who does not ask gets from FromHeader what is right, all the same.
func CheckConnection(h http.Header) error {
	if len(options(h)) > maxOptions {
		return errors.New("too many Connection options")
	}
	return nil
}

// options gives what Connection names, in lower case: RFC 9110 section 7.6.1.
func options(h http.Header) map[string]bool {
	lines := h["Connection"]
	if len(lines) == 0 {
		return nil
	}
	named := map[string]bool{}
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			named[strings.ToLower(strings.TrimSpace(token))] = true
		}
	}
	return named
}

// AddTo adds the fields to a net/http header, without any framing field.
func (f Fields) AddTo(h http.Header) {
	for _, x := range f {
		if !Framing(x.Name) {
			h.Add(string(x.Name), string(x.Value))
		}
	}
}

// Clone copies f and everything in it: the copy is the caller's.
func (f Fields) Clone() Fields {
	c := make(Fields, len(f))
	for i, x := range f {
		c[i] = Field{bytes.Clone(x.Name), bytes.Clone(x.Value)}
	}
	return c
}

// date is the Date of this second.
var (
	date  atomic.Pointer[dateText]
	began = time.Now()
)

type dateText struct {
	until time.Duration // after began: the second is over
	text  []byte
}

// Date is the value of the field Date, RFC 9110 section 6.6.1. It is read-only.
func Date() []byte {
	since := time.Since(began) // half of what a look at the time of day costs
	d := date.Load()
	if d == nil || since >= d.until {
		now := time.Now()
		d = &dateText{since + time.Second - time.Duration(now.Nanosecond()), now.UTC().AppendFormat(nil, http.TimeFormat)}
		date.Store(d)
	}
	return d.text
}

// Clean says whether text has no control byte but HTAB, so that it can stand in a field's value or in a line: RFC 9110 section 5.5. All text goes
// through here several times, so it looks at eight bytes together.
func Clean[T string | []byte](text T) bool {
	i := 0
	for ; i+8 <= len(text); i += 8 {
		s := text[i : i+8]
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if mayControl(w) && !cleanBytes(s) {
			return false
		}
	}
	return cleanBytes(text[i:])
}

// mayControl says whether one of eight bytes is less than a space, or DEL. A byte may be taken for one that stands above such a one, so it is never
// wrong where it says no.
func mayControl(w uint64) bool {
	const each, top = 0x0101010101010101, 0x8080808080808080
	del := w ^ each*0x7f
	return ((w-each*' ')&^w|(del-each)&^del)&top != 0
}

func cleanBytes[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
