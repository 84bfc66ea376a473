package wire

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The reasons why a request is not canonical. Each answers 400.
var (
	errPathStart   = errors.New("the path does not start with a slash")
	errPathByte    = errors.New("a byte in the request target that must not stand there")
	errPathPercent = errors.New("a malformed or forbidden percent-encoding in the request target")
	errPathDots    = errors.New("a dot segment in the path")
	errHost        = errors.New("a malformed host")
)

// Check says whether a path and query are canonical, so that routing, policy and every upstream read the same thing out of the same
// bytes: no control byte, space, '#' or '\', no malformed %xx, no %00 and %5c in any case, and no dot segment, plain or encoded, with
// %2f counted as a slash.
func Check(path, query string) error {
	if !strings.HasPrefix(path, "/") {
		return errPathStart
	}
	if err := checkBytes(path, true); err != nil {
		return err
	}
	if err := checkBytes(query, false); err != nil {
		return err
	}
	return checkDots(path)
}

// checkBytes looks at each byte. In a query a decoded byte never routes, so only its syntax counts.
func checkBytes(s string, path bool) error {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f || c == '#' || c == '\\':
			return errPathByte
		case c == '%':
			b, ok := unhex(s[i+1:])
			if !ok || path && (b < ' ' || b == 0x7f || b == '\\') {
				return errPathPercent
			}
			i += 2
		}
	}
	return nil
}

func checkDots(path string) error {
	if !strings.Contains(path, ".") && !strings.Contains(path, "%2") {
		return nil
	}
	for segment := range strings.SplitSeq(Decode(path), "/") {
		if segment == "." || segment == ".." {
			return errPathDots
		}
	}
	return nil
}

// Decode gives a checked path with each %xx decoded once.
func Decode(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			c, _ = unhex(path[i+1:])
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// unhex reads two hexadecimal digits.
func unhex(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, ok1 := nibble(s[0])
	lo, ok2 := nibble(s[1])
	return hi<<4 | lo, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// CanonicalHost splits an authority ("Host:", ":authority") into what goes upstream (lower case, port kept) and what is matched: no port, no
// brackets, no last dot, ASCII. Userinfo, a bad port or anything that is no name is an error.
func CanonicalHost(authority string) (lower, host string, err error) {
	lower = strings.ToLower(authority)
	host, port, hasPort := lower, "", false
	if strings.HasPrefix(lower, "[") {
		end := strings.IndexByte(lower, ']')
		if end < 0 {
			return "", "", errHost
		}
		ip, err := netip.ParseAddr(lower[1:end])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", "", errHost
		}
		host = ip.String()
		if rest := lower[end+1:]; rest != "" {
			port, hasPort = strings.CutPrefix(rest, ":")
			if !hasPort {
				return "", "", errHost
			}
		}
	} else {
		host, port, hasPort = strings.Cut(lower, ":")
		sent := host
		host, err = name(strings.TrimSuffix(host, "."))
		if err != nil {
			return "", "", err
		}
		if !isASCII(sent) { // an upstream might make another name of it
			lower = host + lower[len(sent):]
		}
	}
	if hasPort && !validPort(port) {
		return "", "", errHost
	}
	return lower, host, nil
}

// name checks a host name, and gives it in ASCII.
func name(s string) (string, error) {
	if len(s) > 253 { // before idna, whose time is the square of it
		return "", errHost
	}
	if !isASCII(s) {
		var err error
		if s, err = idna.Lookup.ToASCII(s); err != nil {
			return "", errHost
		}
	}
	if s == "" || len(s) > 253 || strings.Contains("."+s+".", "..") {
		return "", errHost
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return "", errHost
		}
	}
	return s, nil
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

func validPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return 0 < n && n <= 65535
}
