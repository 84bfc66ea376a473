// Package accesslog writes one JSON line for each request.
package accesslog

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"crypto/tls"

	"edge/edge/record"
)

// Log is an access log. It is safe for concurrent use, also with a second process that appends to the same file: each line is one
// write to a file opened for appending.
type Log struct {
	path  string // "": not a file
	mu    sync.RWMutex
	out   io.Writer
	lost  atomic.Int64
	lines sync.Pool
}

// Open opens the log that the configuration names: a path, "stdout" or "off".
func Open(target string) (*Log, error) {
	l := &Log{lines: sync.Pool{New: func() any { return new([]byte) }}}
	switch target {
	case "off":
	case "stdout":
		l.out = os.Stdout
	default:
		l.path = target
		return l, l.Reopen()
	}
	return l, nil
}

// Reopen opens the file anew by its name, for a log that was rotated. On an error the log goes on where it was.
func (l *Log) Reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	l.mu.Lock()
	old := l.out
	l.out = f
	l.mu.Unlock()
	if old != nil {
		return old.(io.Closer).Close()
	}
	return nil
}

// Close closes the file. Lines that come later are lost, and counted.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.out.(*os.File); ok && l.path != "" {
		l.out = closed{}
		return f.Close()
	}
	return nil
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

// Lost is how many lines could not be written.
func (l *Log) Lost() int64 { return l.lost.Load() }

// Write writes a request's line: when it has ended, and for a tunnel also when it was opened.
func (l *Log) Write(r *record.Record) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.out == nil {
		return
	}
	buf := l.lines.Get().(*[]byte)
	*buf = appendLine((*buf)[:0], r, time.Now())
	if _, err := l.out.Write(*buf); err != nil {
		l.lost.Add(1)
	}
	l.lines.Put(buf)
}

func appendLine(b []byte, r *record.Record, now time.Time) []byte {
	b = append(b, `{"time":"`...)
	b = r.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, '"')
	b = text(b, `,"event":`, string(r.Event))
	b = text(b, `,"listener":`, r.Listener)
	b = text(b, `,"vhost":`, r.Vhost)
	b = text(b, `,"route":`, r.Route)
	b = client(b, r.Client)
	b = text(b, `,"method":`, r.Method)
	b = text(b, `,"host":`, r.Host)
	b = text(b, `,"path":`, r.Path) // without the query: it may hold a secret
	b = text(b, `,"proto":`, r.Proto)
	if r.TLS != 0 {
		b = text(b, `,"tls":`, tls.VersionName(r.TLS))
	}
	b = number(b, `,"status":`, int64(r.Status))
	b = number(b, `,"in":`, r.BytesIn)
	b = number(b, `,"out":`, r.BytesOut)
	b = number(b, `,"us":`, now.Sub(r.Start).Microseconds())
	b = text(b, `,"upstream":`, r.Upstream)
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

// text appends a member, unless it is empty.
func text[T string | []byte](b []byte, key string, s T) []byte {
	if len(s) == 0 {
		return b
	}
	return quote(append(b, key...), s)
}

// quote appends a JSON string. Bytes that are no UTF-8 become the replacement character, as JSON demands.
func quote[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	done := 0 // what of s is in b
	for i := 0; i < len(s); {
		c, n := s[i], 1
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
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
