package conf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxSocketPath is the longest path that Linux takes for a unix socket (sun_path, without its NUL).
const maxSocketPath = 107

// address reads where a listener listens.
func (l *loader) address(v value) (Address, bool) {
	s := v.str()
	if s == "" {
		return Address{}, false
	}
	a := Address{Pos: v.pos(), Network: "tcp"}
	var err error
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		a.Network = "unix"
		a.Address, err = v.socketPath(path)
	} else {
		a.Address, err = tcpAddress(s)
	}
	if err != nil {
		v.mistake("address %q %v", s, err)
	}
	return a, err == nil
}

// socketPath makes a unix socket's path absolute; "@name" (abstract) stays as it is.
func (v value) socketPath(path string) (string, error) {
	if path == "" || path == "@" {
		return "", errors.New(`has no path after "unix:"`)
	}
	if path[0] != '@' {
		path = v.abs(path)
	}
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("is too long for a unix socket: %d bytes, at most %d", len(path), maxSocketPath)
	}
	if strings.Contains(path, "\x00") {
		return "", errors.New("holds a NUL byte")
	}
	return path, nil
}

// tcpAddress gives an IP address and port their one canonical form; every address ("*") is the empty host.
func tcpAddress(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New(`must be "IP:port", "[IPv6]:port", ":port" or "unix:/path"`)
	}
	n, err := parsePort(port, 0)
	if err != nil {
		return "", err
	}
	if host == "" || host == "*" {
		return ":" + n, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "", errors.New("must have an IP address as its host, not a name")
	}
	return net.JoinHostPort(ip.Unmap().String(), n), nil
}

// parsePort checks a port and gives it without leading zeros. To a listener 0 means any free one.
func parsePort(s string, least uint64) (string, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < least {
		return "", errors.New("must have a port from 1 to 65535")
	}
	return strconv.FormatUint(n, 10), nil
}

// uniqueAddresses reports addresses that cannot be bound beside an earlier one. Sockets are kept by their address over reloads and
// upgrades, so even port 0 may stand only once for each host.
func (l *loader) uniqueAddresses() {
	earlier := map[string][]bound{} // by port, or by path: others cannot be in the way
	for _, ln := range l.config.Listeners {
		for _, a := range ln.Addresses {
			b := bound{a, "", a.Address}
			if a.Network == "tcp" {
				b.host, b.port, _ = net.SplitHostPort(a.Address)
			}
			l.uniqueAddress(b, earlier[b.port])
			earlier[b.port] = append(earlier[b.port], b)
		}
	}
}

// bound is an address in its parts; the port of a unix socket is its path.
type bound struct {
	Address
	host, port string
}

func (l *loader) uniqueAddress(a bound, earlier []bound) {
	for _, e := range earlier {
		switch {
		case a.Network != e.Network:
		case a.host == e.host:
			l.mistake(a.Pos, "address %q is already at %v", a.Address.Address, e.Pos)
			return
		case a.port != "0" && (covers(a.host, e.host) || covers(e.host, a.host)):
			l.mistake(a.Pos, `address %q overlaps %q at %v; ":port" alone is every address`, a.Address.Address, e.Address.Address, e.Pos)
			return
		}
	}
}

// covers says whether one host means every address, the other included. "::" takes the IPv4 addresses too.
func covers(wild, host string) bool {
	return wild == "" || wild == "::" || wild == "0.0.0.0" && !strings.Contains(host, ":")
}
