package static

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"math"
	"slices"
	"strconv"
)

// span is a part of a file.
type span struct{ start, length int64 }

// maxSpans bounds how many parts a request may name. Who asks for more gets the file as a whole: RFC 9110 section 14.2.
const maxSpans = 32

var (
	errIgnored       = errors.New("no range that is served in parts")
	errUnsatisfiable = errors.New("no byte of the file is in the range")
)

// parseRanges reads a Range field for a file of a size. errIgnored: the file goes as a whole.
func parseRanges(field []byte, size int64, into []span) ([]span, error) {
	unit, set, ok := bytes.Cut(field, []byte("="))
	if !ok || !bytes.EqualFold(bytes.TrimSpace(unit), []byte("bytes")) {
		return nil, errIgnored // "an origin server MUST ignore a Range header field that contains a range unit it does not understand"
	}
	spans, named := into[:0], 0
	for item := range bytes.SplitSeq(set, []byte(",")) {
		if item = bytes.TrimSpace(item); len(item) == 0 {
			continue
		}
		if named++; named > maxSpans {
			return nil, errIgnored
		}
		s, err := parseRange(item, size)
		if err != nil {
			return nil, err
		}
		if s.length > 0 {
			spans = append(spans, s)
		}
	}
	switch {
	case named == 0 || size == 0: // of an empty file there is no part; who asks for its beginning is told that it is empty
		return nil, errIgnored
	case len(spans) == 0:
		return nil, errUnsatisfiable
	}
	return coalesce(spans), nil
}

// parseRange reads "first-last", "first-" or "-last so many". A length of 0: it lies behind the end.
func parseRange(s []byte, size int64) (span, error) {
	from, to, ok := bytes.Cut(s, []byte("-"))
	first, firstOK := digits(bytes.TrimSpace(from))
	last, lastOK := digits(bytes.TrimSpace(to))
	switch {
	case !ok || !firstOK || !lastOK || first < 0 && last < 0:
		return span{}, errUnsatisfiable
	case first < 0:
		n := min(last, size)
		return span{size - n, n}, nil
	case last >= 0 && last < first:
		return span{}, errUnsatisfiable
	case first >= size:
		return span{}, nil
	case last < 0 || last >= size:
		last = size - 1
	}
	return span{first, last - first + 1}, nil
}

// digits reads a number, the largest there is for one that is larger; -1: there is none.
func digits(s []byte) (n int64, ok bool) {
	if len(s) == 0 {
		return -1, true
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// coalesce puts together what overlaps, so that no byte is sent twice. Where nothing does, the order stays the request's.
func coalesce(spans []span) []span {
	if len(spans) < 2 {
		return spans
	}
	var array [maxSpans]span
	sorted := append(array[:0], spans...)
	slices.SortFunc(sorted, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	merged := sorted[:1]
	for _, s := range sorted[1:] {
		if last := &merged[len(merged)-1]; s.start < last.start+last.length {
			last.length = max(last.length, s.start+s.length-last.start)
		} else {
			merged = append(merged, s)
		}
	}
	if len(merged) == len(spans) {
		return spans
	}
	return append(spans[:0], merged...)
}

// appendContentRange appends the value of Content-Range.
func (s span) appendContentRange(b []byte, size int64) []byte {
	b = strconv.AppendInt(append(b, "bytes "...), s.start, 10)
	b = strconv.AppendInt(append(b, '-'), s.start+s.length-1, 10)
	return strconv.AppendInt(append(b, '/'), size, 10)
}

// parts is a multipart/byteranges body, RFC 9110 section 14.6.
type parts struct {
	spans    []span
	size     int64 // of the file
	ctype    []byte
	boundary string // which the file cannot know
}

func newParts(spans []span, size int64, ctype []byte) *parts {
	return &parts{spans, size, ctype, rand.Text()}
}

// mediaType is the body's.
func (p *parts) mediaType() []byte { return []byte("multipart/byteranges; boundary=" + p.boundary) }

// head is what stands in front of a part.
func (p *parts) head(i int) []byte {
	var b []byte
	if i > 0 {
		b = append(b, "\r\n"...)
	}
	b = append(append(append(b, "--"...), p.boundary...), "\r\nContent-Range: "...)
	b = p.spans[i].appendContentRange(b, p.size)
	return append(append(append(b, "\r\nContent-Type: "...), p.ctype...), "\r\n\r\n"...)
}

// end is what stands behind all parts.
func (p *parts) end() []byte { return []byte("\r\n--" + p.boundary + "--\r\n") }

// length is the whole body's.
func (p *parts) length() int64 {
	n := int64(len(p.end()))
	for i, s := range p.spans {
		n += int64(len(p.head(i))) + s.length
	}
	return n
}
