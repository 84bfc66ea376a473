package proxyproto

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

const (
	begin1 = "PROXY "
	most1  = 107 // bytes of a header, its CRLF too
)

// least1 is how many bytes the shortest header of a protocol has: so many can be read at once. The rest is read byte by byte, as there is nothing
// else that tells where it ends.
var least1 = map[string]int{
	"PROXY TCP4": len("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"),
	"PROXY TCP6": len("PROXY TCP6 :: :: 0 0\r\n"),
	"PROXY UNKN": len("PROXY UNKNOWN\r\n"),
}

// read1 reads the rest of a header of version 1, of which b has the first bytes.
func read1(r io.Reader, b []byte) (Header, error) {
	n := least1[string(b[:10])]
	if n == 0 {
		return Header{}, errors.New("the PROXY header names no protocol that there is")
	}
	if _, err := io.ReadFull(r, b[prefix:n]); err != nil {
		return Header{}, cut(err)
	}
	for ; b[n-1] != '\n'; n++ {
		if n == len(b) {
			return Header{}, fmt.Errorf("the PROXY header has no end in %d bytes", most1)
		}
		if _, err := io.ReadFull(r, b[n:n+1]); err != nil {
			return Header{}, cut(err)
		}
	}
	line, ok := strings.CutSuffix(string(b[:n]), "\r\n")
	if !ok || strings.ContainsAny(line, "\r\n") {
		return Header{}, errors.New("the PROXY header does not end in CRLF")
	}
	return parse1(strings.TrimPrefix(line, begin1))
}

// parse1 reads what stands behind "PROXY ".
func parse1(s string) (Header, error) {
	protocol, rest, more := strings.Cut(s, " ")
	if protocol == "UNKNOWN" { // whatever follows is not for us
		return Header{Version: 1}, nil
	}
	fields := strings.Split(rest, " ")
	if !more || len(fields) != 4 {
		return Header{}, errors.New("the PROXY header must have two addresses and two ports")
	}
	source, err := addrPort(fields[0], fields[2], protocol)
	if err != nil {
		return Header{}, fmt.Errorf("the PROXY header's source: %w", err)
	}
	destination, err := addrPort(fields[1], fields[3], protocol)
	if err != nil {
		return Header{}, fmt.Errorf("the PROXY header's destination: %w", err)
	}
	return Header{Version: 1, Source: source, Destination: destination}, nil
}

// addrPort reads an address of the protocol's family, and a port.
func addrPort(address, port, protocol string) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" || ip.Is4() != (protocol == "TCP4") || protocol != "TCP4" && protocol != "TCP6" {
		return netip.AddrPort{}, fmt.Errorf("%q is no address of %s", address, protocol)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%q is no port", port)
	}
	return netip.AddrPortFrom(ip, uint16(n)), nil
}

func (h Header) append1(b []byte) []byte {
	if !h.Source.IsValid() || !h.Destination.IsValid() {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	protocol := "TCP6"
	if h.Source.Addr().Is4() {
		protocol = "TCP4"
	}
	return fmt.Appendf(b, "PROXY %s %s %s %d %d\r\n", protocol, h.Source.Addr().WithZone(""), h.Destination.Addr().WithZone(""), h.Source.Port(), h.Destination.Port())
}
