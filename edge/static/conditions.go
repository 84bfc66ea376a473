package static

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"edge/edge/wire"
)

// asked is what a request's fields say about which bytes it wants. The slices are nil where nothing is said.
type asked struct {
	ifMatch, ifNoneMatch, encodings                     bool // these are lists, which may stand on several lines
	ifModifiedSince, ifUnmodifiedSince, ifRange, ranges []byte
}

// read looks at each field once.
func (q *asked) read(f wire.Fields) {
	for i := range f {
		switch string(f[i].Name) {
		case "if-match":
			q.ifMatch = true
		case "if-none-match":
			q.ifNoneMatch = true
		case "accept-encoding":
			q.encodings = true
		case "if-modified-since":
			first(&q.ifModifiedSince, f[i].Value)
		case "if-unmodified-since":
			first(&q.ifUnmodifiedSince, f[i].Value)
		case "if-range":
			first(&q.ifRange, f[i].Value)
		case "range":
			first(&q.ranges, f[i].Value)
		}
	}
}

// first keeps the first of several values: the field should stand once.
func first(to *[]byte, value []byte) {
	if *to == nil {
		*to = value
	}
}

// validators say which bytes these are. Both are empty where nobody knows.
type validators struct {
	tag      []byte // an entity tag, always a strong one
	date     []byte // as Last-Modified has it
	modified int64  // Unix time
}

// epoch is the last time that says nothing: images whose builds are to be reproducible, and stores like Nix's, give it to every file. A tag made of
// it would stay the same when the file does not.
const epoch = 1

// make makes the validators of a file that is sent in a coding. Equal bytes are taken for unchanged if neither time, to the nanosecond, nor
// size has changed.
func (v *validators) make(f *file, c coding) {
	v.tag, v.date, v.modified = v.tag[:0], v.date[:0], f.stat.Mtim.Sec
	if f.stat.Mtim.Sec <= epoch {
		return
	}
	v.tag = append(v.tag, '"')
	v.tag = strconv.AppendInt(v.tag, f.stat.Mtim.Nano(), 16)
	v.tag = append(v.tag, '-')
	v.tag = strconv.AppendInt(v.tag, f.stat.Size, 16)
	if c != identity {
		v.tag = append(append(v.tag, '-'), codings[c].name...)
	}
	v.tag = append(v.tag, '"')
	v.date = time.Unix(f.stat.Mtim.Sec, 0).UTC().AppendFormat(v.date, http.TimeFormat)
}

// check evaluates the request's preconditions in the order of RFC 9110 section 13.2.2. It gives 412, 304 or, where they hold, 0.
func (q *asked) check(f wire.Fields, v *validators) int {
	switch {
	case q.ifMatch && !anyTag(f, "if-match", v.tag, false),
		!q.ifMatch && q.ifUnmodifiedSince != nil && v.changedSince(q.ifUnmodifiedSince, false):
		return http.StatusPreconditionFailed
	case q.ifNoneMatch && anyTag(f, "if-none-match", v.tag, true),
		!q.ifNoneMatch && q.ifModifiedSince != nil && !v.changedSince(q.ifModifiedSince, true):
		return http.StatusNotModified
	}
	return 0
}

// changedSince says whether the file is newer than a field's date; unsure is what is said where the date is none, or the file's unknown.
func (v *validators) changedSince(date []byte, unsure bool) bool {
	if len(v.date) == 0 {
		return unsure
	}
	if bytes.Equal(date, v.date) { // clients say it as they were told
		return false
	}
	t, err := http.ParseTime(string(date))
	if err != nil {
		return unsure
	}
	return v.modified > t.Unix()
}

// holds says whether If-Range lets a range be sent: RFC 9110 section 13.1.5. A weak tag never does, a date only if it is the very one.
func (v *validators) holds(ifRange []byte) bool {
	if ifRange == nil {
		return true
	}
	tag, weak, rest := cutTag(ifRange)
	if tag != nil {
		return !weak && len(bytes.TrimSpace(rest)) == 0 && bytes.Equal(tag, v.tag)
	}
	t, err := http.ParseTime(string(ifRange))
	return err == nil && len(v.date) > 0 && t.Unix() == v.modified
}

// anyTag says whether a tag is in the lists of a field. "*" stands for every tag; weak tags count if weak says so.
func anyTag(f wire.Fields, field string, tag []byte, weak bool) bool {
	for i := range f {
		if string(f[i].Name) == field && inList(f[i].Value, tag, weak) {
			return true
		}
	}
	return false
}

func inList(list, tag []byte, weak bool) bool {
	for {
		list = bytes.TrimLeft(list, " \t,")
		if len(list) == 0 {
			return false
		}
		if list[0] == '*' {
			return true
		}
		t, isWeak, rest := cutTag(list)
		if t == nil {
			return false
		}
		if (weak || !isWeak) && bytes.Equal(t, tag) {
			return true
		}
		list = rest
	}
}

// cutTag takes the entity tag that s begins with, with its quotes and without its W/. nil: there is none.
func cutTag(s []byte) (tag []byte, weak bool, rest []byte) {
	rest, weak = bytes.CutPrefix(s, []byte("W/"))
	if len(rest) < 2 || rest[0] != '"' {
		return nil, false, s
	}
	end := bytes.IndexByte(rest[1:], '"')
	if end < 0 {
		return nil, false, s
	}
	return rest[:end+2], weak, rest[end+2:]
}
