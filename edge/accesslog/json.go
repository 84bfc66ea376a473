package accesslog

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"edge/edge/record"
)

// appendJSON appends a line of JSON. Members that say nothing are left out.
func appendJSON(b []byte, r *record.Record, h *hidden) []byte {
	b = append(b, `{"time":"`...)
	b = r.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '"')
	b = text(b, `,"event":`, string(r.Event))
	if r.ID != (record.ID{}) {
		b = append(r.ID.AppendTo(append(b, `,"id":"`...)), '"')
	}
	b = text(b, `,"listener":`, r.Listener)
	b = text(b, `,"vhost":`, r.Vhost)
	b = text(b, `,"route":`, r.Route)
	b = client(b, r.Client)
	b = text(b, `,"method":`, r.Method)
	b = text(b, `,"host":`, r.Host)
	b = text(b, `,"path":`, r.Path)
	if len(r.Query) > 0 {
		b = quoteQuery(append(b, `,"query":`...), r.Query, h)
	}
	b = text(b, `,"proto":`, r.Proto)
	if r.TLS != 0 {
		b = text(b, `,"tls":`, tls.VersionName(r.TLS))
	}
	b = number(b, `,"status":`, int64(r.Status))
	b = number(b, `,"in":`, r.BytesIn)
	b = number(b, `,"out":`, r.BytesOut)
	b = number(b, `,"us":`, r.Took.Microseconds())
	b = text(b, `,"upstream":`, r.Upstream)
	b = between(b, `,"connect_us":`, r.Asked, r.Connected)
	b = between(b, `,"upstream_us":`, r.Asked, r.Answered)
	b = text(b, `,"user":`, r.User)
	b = text(b, `,"reason":`, r.Reason)
	if r.Err != nil {
		b = text(b, `,"error":`, r.Err.Error())
	}
	return append(b, "}\n"...)
}

// client appends who asked. Of one that a proxy told us of, the port is not known.
func client(b []byte, c netip.AddrPort) []byte {
	if !c.IsValid() {
		return b
	}
	b = append(b, `,"client":"`...)
	if c.Port() == 0 {
		return append(c.Addr().AppendTo(b), '"')
	}
	return append(c.AppendTo(b), '"')
}

func number(b []byte, key string, n int64) []byte { return strconv.AppendInt(append(b, key...), n, 10) }

// between appends how long something took, if it came to an end.
func between(b []byte, key string, from, to time.Duration) []byte {
	if to == 0 {
		return b
	}
	return number(b, key, (to - from).Microseconds())
}

// text appends a member, unless it is empty.
func text[T string | []byte](b []byte, key string, s T) []byte {
	if len(s) == 0 {
		return b
	}
	return quote(append(b, key...), s)
}

// quoteQuery appends a query as a JSON string. Few queries hold a byte that needs quoting: it is looked for in what was written already.
func quoteQuery(b, query []byte, h *hidden) []byte {
	start := len(b)
	b = h.appendQuery(append(b, '"'), query)
	for i := start + 1; i < len(b); i++ {
		if !plain(b[i]) {
			return quote(b[:start], append([]byte(nil), b[start+1:]...))
		}
	}
	return append(b, '"')
}

func plain(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' && c != '\\' }

// quote appends a JSON string. Bytes that are no UTF-8 become the replacement character, as JSON demands.
func quote[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	done := 0 // what of s is in b
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if plain(c) {
			i++
			continue
		}
		b = append(b, s[done:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < utf8.RuneSelf:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			b = utf8.AppendRune(b, r)
		}
		i += n
		done = i
	}
	return append(append(b, s[done:]...), '"')
}
