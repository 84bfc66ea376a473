// Package proxyproto reads and writes the header by which a proxy says whose connection it relays: the PROXY protocol, versions 1 and 2, as
// HAProxy's doc/proxy-protocol.txt has it.
//
// Whether the peer may say so is for the caller to decide, before it reads.
package proxyproto

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Header is what a proxy says of a connection: that it comes from Source, or from a unix socket, or nothing. Then the connection's own addresses
// are those that count: it is the proxy's own, for a look at our health, or the proxy does not know.
type Header struct {
	Version             int            // 1 or 2
	Source, Destination netip.AddrPort // both of IPv4 or both of IPv6; or invalid, both
	Unix                bool           // the client came by a unix socket, which has no such address. Version 2 only
}

// Says whether the header tells where the client is.
func (h Header) Says() bool { return h.Source.IsValid() || h.Unix }

// ErrNone is a connection that begins with something else.
var ErrNone = errors.New("there is no PROXY header")

// prefix is as many bytes as every header has, and as tell the version: the shortest one is "PROXY UNKNOWN\r\n".
const prefix = 12

// Read reads a header: exactly its bytes, and not one of what follows. It reads at most 107 bytes of version 1, and 16 + 4096 of version 2. What is
// not just as it must be is an error, after which nobody knows what the next byte means: close the connection. The caller sets the deadline.
func Read(r io.Reader) (Header, error) {
	var b [most1]byte
	if _, err := io.ReadFull(r, b[:prefix]); err != nil {
		return Header{}, cut(err)
	}
	switch {
	case string(b[:prefix]) == signature:
		return read2(r, b[:head2])
	case string(b[:len(begin1)]) == begin1:
		return read1(r, b[:])
	}
	return Header{}, ErrNone
}

// cut is the error of a connection that ends within a header.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the PROXY header is cut short: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// Append appends the header as bytes. A Header with addresses of two families, which has no form of its own, gets both as IPv6.
func (h Header) Append(b []byte) []byte {
	if h.Source.Addr().Is4() != h.Destination.Addr().Is4() {
		h.Source, h.Destination = six(h.Source), six(h.Destination)
	}
	if h.Version == 1 {
		return h.append1(b)
	}
	return h.append2(b)
}

func six(a netip.AddrPort) netip.AddrPort {
	if !a.IsValid() {
		return a
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
}
