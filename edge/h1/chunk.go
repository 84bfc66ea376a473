package h1

import (
	"bytes"

	"edge/edge/wire"
)

// maxChunkLine bounds a chunk's size line with its extension, maxTrailers all trailers: what is not body must not be a way to make us
// read without end.
const (
	maxChunkLine  = 256
	maxExtensions = 16 << 10 // of a whole body, as in net/http (CVE-2023-39326)
	maxTrailers   = 8 << 10
)

var (
	errChunk    = &refusal{400, "a malformed chunk"}
	errTrailers = &refusal{400, "malformed or too large trailers"}
)

// chunks follows the chunked coding, RFC 9112 section 7.1, over bytes as they come. The zero value is at the start of a body.
type chunks struct {
	left  int64 // of the chunk's data
	extra int   // bytes of extensions, of all chunks
	state chunkState
	lines lines // of the trailers
	done  bool
}

// chunkState is what comes next.
type chunkState byte

const (
	chunkSize chunkState = iota
	chunkData
	chunkEnd // the CRLF behind the data
	chunkTrailers
)

// next looks at the bytes that are here. It gives how many of them it has done with, and which part of those is data of the body. Where
// it takes nothing, the bytes do not suffice: more must come, behind them. trailers is set at the end, and points into in.
func (c *chunks) next(in []byte) (taken int, data []byte, trailers []byte, err error) {
	switch c.state {
	case chunkSize:
		taken, err = c.sizeLine(in)
	case chunkData:
		n := min(int64(len(in)), c.left)
		if c.left -= n; c.left == 0 {
			c.state = chunkEnd
		}
		return int(n), in[:n], nil, nil
	case chunkEnd:
		if len(in) > 0 && in[0] != '\r' || len(in) > 1 && in[1] != '\n' {
			return 0, nil, nil, errChunk
		}
		if len(in) >= 2 {
			taken, c.state = 2, chunkSize
		}
	case chunkTrailers:
		taken, trailers, err = c.section(in)
	}
	return taken, nil, trailers, err
}

// skip follows the coding over bytes that are here, without taking them, and says where it ends if it does.
func (c chunks) skip(in []byte) (n int, done bool) {
	for !c.done {
		taken, _, trailers, err := c.next(in[n:])
		if err == nil && c.done {
			_, err = parseTrailers(trailers)
		}
		if err != nil || taken == 0 {
			return 0, false
		}
		n += taken
	}
	return n, true
}

// sizeLine reads "1a;ext\r\n". Extensions are checked and dropped.
func (c *chunks) sizeLine(in []byte) (taken int, err error) {
	end := bytes.IndexByte(in[:min(len(in), maxChunkLine)], '\n')
	if end < 0 {
		if len(in) >= maxChunkLine {
			return 0, errChunk
		}
		return 0, nil
	}
	line, _, err := cutLine(in[:end+1])
	if err != nil {
		return 0, errChunk
	}
	size, digits := int64(0), 0
	for digits < len(line) {
		d, ok := hexDigit(line[digits])
		if !ok {
			break
		}
		size, digits = size<<4|int64(d), digits+1
	}
	if digits == 0 || digits > 15 || !isExtensions(line[digits:]) { // 15 digits fit in an int64
		return 0, errChunk
	}
	if c.extra += len(line) - digits; c.extra > maxExtensions {
		return 0, errChunk
	}
	c.left, c.state = size, chunkData
	if size == 0 {
		c.state = chunkTrailers
	}
	return end + 1, nil
}

// isExtensions checks `;name`, `;name=token` and `;name="quoted"`, in any number, RFC 9112 section 7.1.1. The white space that this allows
// for old senders' sake is not taken: parsers have been split by it.
func isExtensions(b []byte) bool {
	for len(b) > 0 {
		name := tokenLen(b[1:])
		if b[0] != ';' || name == 0 {
			return false
		}
		if b = b[1+name:]; len(b) == 0 || b[0] != '=' {
			continue
		}
		value := tokenLen(b[1:])
		if value == 0 {
			value = quotedLen(b[1:])
		}
		if value == 0 {
			return false
		}
		b = b[1+value:]
	}
	return true
}

func tokenLen(b []byte) (n int) {
	for n < len(b) && lower[b[n]] != 0 {
		n++
	}
	return n
}

// quotedLen is how long the quoted string at b's start is; 0: there is none.
func quotedLen(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return 0
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return 0
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case digit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// section reads the trailer section with the empty line at its end.
func (c *chunks) section(in []byte) (taken int, trailers []byte, err error) {
	end, err := c.lines.end(in)
	if err != nil || end > maxTrailers || end == 0 && len(in) >= maxTrailers {
		return 0, nil, errTrailers
	}
	if end == 0 {
		return 0, nil, nil
	}
	c.done = true
	return end, in[:end-2], nil
}

// parseTrailers reads a trailer section. Fields that frame or route a message may not stand there (RFC 9110 section 6.5.1).
func parseTrailers(text []byte) (wire.Fields, error) {
	var f wire.Fields
	for len(text) > 0 {
		line, rest, err := cutLine(text)
		if err != nil {
			return nil, errTrailers
		}
		name, value, err := splitField(line)
		if err != nil {
			return nil, errTrailers
		}
		if wire.Framing(name) || forbiddenTrailer[string(name)] {
			return nil, errTrailers
		}
		f, text = append(f, wire.Field{Name: name, Value: value}), rest
	}
	return f, nil
}

// forbiddenTrailer are the fields that decide who asks, from where, or how the content is read: too late behind it.
var forbiddenTrailer = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "content-type": true, "content-encoding": true,
	"content-range": true, "cache-control": true, "max-forwards": true, "www-authenticate": true, "forwarded": true, "location": true,
}
