package proxyproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
)

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n"
	head2     = 16               // bytes before the addresses
	mostRest  = 4096             // bytes of the addresses and of what is added to them
	most2     = head2 + mostRest // of all
)

// The byte behind the signature: the version, and what the header is for.
const (
	local   = 0x20 // the proxy's own connection
	proxied = 0x21
)

// The byte behind that: the family, and that it is a stream.
const (
	unspecified = 0x00
	tcp4        = 0x11
	tcp6        = 0x21
	unixStream  = 0x31
)

// sizes holds how many bytes the addresses of each family have.
var sizes = map[byte]int{unspecified: 0, tcp4: 2*4 + 2*2, tcp6: 2*16 + 2*2, unixStream: 2 * 108}

// read2 reads the rest of a header of version 2, of which head has the signature.
func read2(r io.Reader, head []byte) (Header, error) {
	if _, err := io.ReadFull(r, head[prefix:]); err != nil {
		return Header{}, cut(err)
	}
	n := int(binary.BigEndian.Uint16(head[14:]))
	if n > mostRest {
		return Header{}, fmt.Errorf("the PROXY header says that %d bytes follow, more than %d", n, mostRest)
	}
	b := append(make([]byte, 0, head2+n), head...)[:head2+n]
	if _, err := io.ReadFull(r, b[head2:]); err != nil {
		return Header{}, cut(err)
	}
	return parse2(b)
}

// parse2 reads a whole header of version 2.
func parse2(b []byte) (Header, error) {
	h, rest := Header{Version: 2}, b[head2:]
	switch b[12] {
	case local: // with whatever addresses: they are to be ignored
		return h, nil
	case proxied:
	default:
		return Header{}, fmt.Errorf("the PROXY header's version and command are %#02x", b[12])
	}
	size, ok := sizes[b[13]]
	switch {
	case !ok:
		return Header{}, fmt.Errorf("the PROXY header's family %#02x is no stream's", b[13])
	case len(rest) < size:
		return Header{}, fmt.Errorf("the PROXY header's addresses have %d bytes, not %d", len(rest), size)
	}
	switch b[13] {
	case tcp4:
		h.Source, h.Destination = addresses(rest, 4)
	case tcp6:
		h.Source, h.Destination = addresses(rest, 16)
	case unixStream:
		h.Unix = true
	case unspecified: // how long its addresses would be, nobody can tell
		return h, nil
	}
	if err := checkAdded(b, head2+size); err != nil {
		return Header{}, err
	}
	return h, nil
}

// addresses reads two addresses of n bytes, then two ports.
func addresses(b []byte, n int) (source, destination netip.AddrPort) {
	from, _ := netip.AddrFromSlice(b[:n])
	to, _ := netip.AddrFromSlice(b[n : 2*n])
	return netip.AddrPortFrom(from, binary.BigEndian.Uint16(b[2*n:])), netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2*n+2:]))
}

const checksum = 0x03 // the type of an addition that holds the CRC-32C of the whole header

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkAdded looks at what is added behind the addresses, from offset on: type, length, value, one after the other. A checksum must be right.
func checkAdded(b []byte, offset int) error {
	for offset < len(b) {
		if len(b)-offset < 3 || len(b)-offset-3 < int(binary.BigEndian.Uint16(b[offset+1:])) {
			return errors.New("what the PROXY header adds is cut short")
		}
		value := b[offset+3:][:binary.BigEndian.Uint16(b[offset+1:])]
		if b[offset] == checksum && !right(b, value) {
			return errors.New("the PROXY header's checksum is wrong")
		}
		offset += 3 + len(value)
	}
	return nil
}

// right says whether a checksum within b is that of b. It is counted as zeros.
func right(b, sum []byte) bool {
	if len(sum) != 4 {
		return false
	}
	want := binary.BigEndian.Uint32(sum)
	clear(sum)
	return crc32.Checksum(b, castagnoli) == want
}

func (h Header) append2(b []byte) []byte {
	begin := len(b)
	b = append(append(b, signature...), proxied, unspecified, 0, 0)
	switch {
	case h.Source.IsValid() && h.Destination.IsValid():
		b = append(append(b, h.Source.Addr().AsSlice()...), h.Destination.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, h.Source.Port())
		b = binary.BigEndian.AppendUint16(b, h.Destination.Port())
		b[begin+13] = tcp6
		if h.Source.Addr().Is4() {
			b[begin+13] = tcp4
		}
	case h.Unix: // of no name
		b = append(b, make([]byte, sizes[unixStream])...)
		b[begin+13] = unixStream
	}
	binary.BigEndian.PutUint16(b[begin+14:], uint16(len(b)-begin-head2))
	return b
}
