package static

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"edge/edge/wire"
)

// Whatever is asked for, what is sent lies within the file and no byte of it goes twice.
func FuzzRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-5", "bytes=1-2,4-", "bytes=5-1", "bytes=9999999999999999999-", "items=1", "bytes=0-0,0-0,1-1"} {
		f.Add([]byte(s), int64(10))
	}
	f.Fuzz(func(t *testing.T, field []byte, size int64) {
		if size < 0 {
			return
		}
		before := bytes.Clone(field)
		spans, err := parseRanges(field, size, nil)
		if !bytes.Equal(before, field) {
			t.Errorf("%q became %q", before, field)
		}
		if err != nil {
			return
		}
		if len(spans) == 0 || len(spans) > maxSpans {
			t.Errorf("%q: %d parts", field, len(spans))
		}
		sorted := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.start, b.start) })
		end := int64(0)
		for _, s := range sorted {
			if s.start < end || s.length < 1 || s.start+s.length > size {
				t.Errorf("%q of %d bytes: %v", field, size, spans)
			}
			end = s.start + s.length
		}
	})
}

// Whatever is accepted, what is offered is liked, and what is liked best comes first.
func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip, br;q=0.5", "*;q=0", "identity;q=0, *", "gzip;q=1.000", ";q=1", "gzip;q", ",,", "zstd ; q = 0.3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, field []byte) {
		likes := without
		likes.read(wire.Fields{{Name: acceptEncoding, Value: field}})
		last, seen := 2000, map[offer]bool{}
		for _, o := range likes.best(nil) {
			q := likes[o.coding]
			if q < 1 || q > last || seen[o] {
				t.Errorf("%q: %v of %v", field, o, likes)
			}
			last, seen[o] = q, true
		}
	})
}

// Whatever a condition says, it is not taken for a tag that is not in it.
func FuzzTags(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a", "b"`, "*", `"`, `W/`, `"a""b"`, "a,\"b\""} {
		f.Add([]byte(s))
	}
	tag := []byte(`"a"`)
	f.Fuzz(func(t *testing.T, list []byte) {
		strong, weak := inList(list, tag, false), inList(list, tag, true)
		if strong && !weak || weak && !bytes.Contains(list, tag) && !bytes.Contains(list, []byte("*")) {
			t.Errorf("%q: %v, %v", list, strong, weak)
		}
		(&validators{tag: tag}).holds(list)
	})
}
