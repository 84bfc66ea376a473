package h1

import (
	"net/http"
	"strconv"

	"edge/edge/wire"
)

// appendStatus appends a status line. The reason is a courtesy to people who look at it.
func appendStatus(b []byte, status int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	return append(append(b, http.StatusText(status)...), "\r\n"...)
}

// appendFields appends field lines, but none of framing.
func appendFields(b []byte, f wire.Fields) []byte {
	for _, x := range f {
		if wire.Framing(x.Name) || !sendable(x) {
			continue
		}
		b = append(append(b, x.Name...), ": "...)
		b = append(append(b, x.Value...), "\r\n"...)
	}
	return b
}

// sendable keeps a handler's mistake from becoming a second response.
func sendable(x wire.Field) bool { return wire.Clean(x.Value) && isToken(x.Name) }

func appendDate(b []byte) []byte {
	return append(append(append(b, "Date: "...), wire.Date()...), "\r\n"...)
}

// refused is the answer to what is no request: the connection's last.
func refused(no *refusal) []byte {
	text := http.StatusText(no.status) + ": " + no.why + "\n"
	b := appendStatus(nil, no.status)
	b = append(b, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(text)), 10)
	b = appendDate(append(b, "\r\n"...))
	return append(append(b, "\r\n"...), text...)
}
