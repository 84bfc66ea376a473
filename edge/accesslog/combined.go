package accesslog

import (
	"strconv"

	"edge/edge/record"
)

// appendCombined appends a line in the combined format, as nginx and Apache write it:
//
//	client - user [time] "request" status bytes "referer" "user agent"
func appendCombined(b []byte, r *record.Record, h *hidden) []byte {
	if r.Client.IsValid() {
		b = r.Client.Addr().Unmap().AppendTo(b)
	} else {
		b = append(b, "unix:"...) // nginx's word
	}
	b = append(b, " - "...)
	b = word(b, r.User)
	b = append(b, " ["...)
	b = r.Start.AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	b = requestLine(b, r, h)
	b = append(b, `" `...)
	if r.Status == 0 { // nginx's way
		b = append(b, "00"...)
	}
	b = strconv.AppendInt(b, int64(r.Status), 10)
	b = strconv.AppendInt(append(b, ' '), r.BytesOut, 10)
	b = append(b, ` "`...)
	b = orDash(b, h.appendURL(b, r.Referer))
	b = append(b, `" "`...)
	b = orDash(b, append(b, r.UserAgent...))
	return append(b, "\"\n"...)
}

// requestLine appends the request's first line; "-" for a connection of which none was read.
func requestLine(b []byte, r *record.Record, h *hidden) []byte {
	if len(r.Method) == 0 {
		return append(b, '-')
	}
	start := len(b)
	b = append(append(b, r.Method...), ' ')
	b = append(b, r.Path...)
	if len(r.Query) > 0 {
		b = h.appendQuery(append(b, '?'), r.Query)
	}
	b = append(append(b, ' '), r.Proto...)
	return escape(b, start, false)
}

// word appends what stands between spaces, without quotation marks.
func word(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	return escape(append(b, s...), len(b), true)
}

// orDash gives b, to which a value was appended, with that escaped; or with "-" for none.
func orDash(before, b []byte) []byte {
	if len(b) == len(before) {
		return append(b, '-')
	}
	return escape(b, len(before), false)
}

// escape writes each byte of b from start on that could end a value, or the line, or that is no ASCII, as \xHH. Such bytes are seldom, and few.
func escape(b []byte, start int, spaces bool) []byte {
	const digits = "0123456789ABCDEF"
	bad := func(c byte) bool { return !plain(c) || spaces && c == ' ' }
	for i := start; i < len(b); i++ {
		if !bad(b[i]) {
			continue
		}
		rest := append([]byte(nil), b[i:]...)
		b = b[:i]
		for _, c := range rest {
			if bad(c) {
				b = append(b, '\\', 'x', digits[c>>4], digits[c&0xf])
			} else {
				b = append(b, c)
			}
		}
		break
	}
	return b
}
