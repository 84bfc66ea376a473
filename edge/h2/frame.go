// Package h2 is HTTP/2, RFC 9113. Its server's side: frames become Exchanges, Exchanges become frames. One goroutine reads a connection and decodes
// its requests; each handler runs in a goroutine of its own, and whoever finds nobody writing writes for all, so that answers that are ready
// together leave together. Its client's side, ClientConn, is the same the other way round.
//
// It knows no hosts, routes or configuration.
package h2

import (
	"encoding/binary"
	"fmt"
)

// preface is what a client says first, RFC 9113 section 3.4.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// The frames, RFC 9113 section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindow       = 8
	frameContinuation = 9
	frameUpdate       = 16 // PRIORITY_UPDATE, RFC 9218 section 7.1
)

// Their flags.
const (
	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 32
)

// The settings, RFC 9113 section 6.5.2, and RFC 8441 section 3.
const (
	settingTableSize      = 1
	settingPush           = 2
	settingStreams        = 3
	settingInitialWindow  = 4
	settingFrameSize      = 5
	settingHeaderListSize = 6
	settingConnect        = 8
	settingNoPriorities   = 9 // of RFC 7540; RFC 9218 section 2.1
)

const (
	headLen     = 9
	maxFrame    = 16 << 10 // of a frame's payload, both ways: what everybody takes, and what TLS puts into a record
	firstWindow = 64<<10 - 1
	maxWindow   = 1<<31 - 1
	lastStream  = 1<<31 - 1
)

// head is a frame's head.
type head struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func parseHead(b []byte) head {
	return head{int(b[0])<<16 | int(b[1])<<8 | int(b[2]), b[3], b[4], binary.BigEndian.Uint32(b[5:]) & lastStream}
}

func (h head) has(flag byte) bool { return h.flags&flag != 0 }

// appendHead begins a frame.
func appendHead(b []byte, length int, kind, flags byte, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendReset(b []byte, stream uint32, c code) []byte {
	return binary.BigEndian.AppendUint32(appendHead(b, 4, frameReset, 0, stream), uint32(c))
}

func appendWindow(b []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendHead(b, 4, frameWindow, 0, stream), uint32(n))
}

func appendGoAway(b []byte, last uint32, c code) []byte {
	b = binary.BigEndian.AppendUint32(appendHead(b, 8, frameGoAway, 0, 0), last)
	return binary.BigEndian.AppendUint32(b, uint32(c))
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}

// code is why a stream or a connection ends, RFC 9113 section 7.
type code uint32

const (
	codeNone        code = 0
	codeProtocol    code = 1
	codeInternal    code = 2
	codeFlow        code = 3
	codeClosed      code = 5
	codeFrameSize   code = 6
	codeRefused     code = 7
	codeCancel      code = 8
	codeCompression code = 9
	codeCalm        code = 11
)

// connError ends a connection.
type connError struct {
	code code
	why  string
}

func (e *connError) Error() string { return "h2: " + e.why }

// broken is a connError that is a mistake of the protocol.
func broken(format string, args ...any) error {
	return &connError{codeProtocol, fmt.Sprintf(format, args...)}
}

var (
	errFrameSize   = &connError{codeFrameSize, "a frame of a length that it must not have"}
	errCompression = &connError{codeCompression, "a header block that cannot be decoded"}
	errWindow      = &connError{codeFlow, "a flow-control window that is overrun"}
	errCalm        = &connError{codeCalm, "more frames that ask for nothing than anybody has need of"}
)

// unpad takes the padding off a payload, RFC 9113 section 6.1.
func unpad(h head, p []byte) ([]byte, error) {
	if !h.has(flagPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, errFrameSize
	}
	pad := int(p[0])
	if p = p[1:]; pad > len(p) {
		return nil, broken("more padding than frame")
	}
	return p[:len(p)-pad], nil
}

// appendBlock appends the frames of a header block. The first one after the other side has made its table smaller, which lowered says, tells it that
// we keep none: RFC 7541 section 4.2.
func appendBlock(b, frames []byte, lowered *bool) []byte {
	if !*lowered {
		return append(b, frames...)
	}
	*lowered = false
	h := parseHead(frames)
	b = append(appendHead(b, h.length+1, h.kind, h.flags, h.stream), 0x20)
	return append(b, frames[headLen:]...)
}
