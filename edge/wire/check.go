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
	errMethod      = errors.New("a malformed method")
)

// Check says whether a path and query are canonical, so that routing, policy and every upstream read the same thing out of the same
// bytes: no control byte, space, '#' or '\', no malformed %xx, no %00 and %5c in any case, and no dot segment, plain or encoded, with
// %2f counted as a slash. A segment ends at its first ';' here: servlet containers drop what follows, and "/..;/" is their "/../".
func Check[T string | []byte](path, query T) error {
	if len(path) == 0 || path[0] != '/' {
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

// CheckMethod says whether a method is one token, and not one that an upstream may take for another: HEAD and CONNECT frame what
// follows, so nothing that is only like them passes.
func CheckMethod[T string | []byte](method T) error {
	for i := range len(method) {
		if c := method[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return errMethod
		}
	}
	if s := string(method); s == "" || s != "HEAD" && strings.EqualFold(s, "HEAD") || s != "CONNECT" && strings.EqualFold(s, "CONNECT") {
		return errMethod
	}
	return nil
}

// checkBytes looks at each byte. In a query a decoded byte never routes, so only its syntax counts.
func checkBytes[T string | []byte](s T, path bool) error {
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

// checkDots looks at each segment, decoded once.
func checkDots[T string | []byte](path T) error {
	const other = 3
	dots := 0 // all that the segment has so far; other: it is no dot segment
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			c, _ = unhex(path[i+1:])
			i += 2
		}
		switch {
		case (c == '/' || c == ';') && (dots == 1 || dots == 2):
			return errPathDots
		case c == '/':
			dots = 0
		case c == '.' && dots < other:
			dots++
		default:
			dots = other
		}
	}
	if dots == 1 || dots == 2 {
		return errPathDots
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
func unhex[T string | []byte](s T) (byte, bool) {
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
	if strings.HasPrefix(lower, "[") {
		host, err = bracketed(lower)
		return lower, host, err
	}
	if lower, err = toASCII(lower); err != nil {
		return "", "", err
	}
	host, ok := PlainHost(lower)
	if !ok {
		return "", "", errHost
	}
	return lower, host, nil
}

// PlainHost gives the host of an authority that CanonicalHost would leave as it is: a name in lower case, maybe with a port. ok is false for
// all others, good or bad. It allocates nothing.
func PlainHost[T string | []byte](authority T) (host T, ok bool) {
	end := 0
	for end < len(authority) && authority[end] != ':' {
		end++
	}
	if end < len(authority) && !validPort(authority[end+1:]) {
		return host, false
	}
	if end > 0 && authority[end-1] == '.' {
		end--
	}
	if !isName(authority[:end]) {
		return host, false
	}
	return authority[:end], true
}

// bracketed gives the address of an authority that starts with a bracket.
func bracketed(lower string) (string, error) {
	literal, rest, ok := strings.Cut(lower[1:], "]")
	ip, err := netip.ParseAddr(literal)
	if !ok || err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", errHost
	}
	if port, ok := strings.CutPrefix(rest, ":"); rest != "" && (!ok || !validPort(port)) {
		return "", errHost
	}
	return ip.String(), nil
}

// toASCII gives an authority with its name in ASCII: an upstream might make another name of it.
func toASCII(lower string) (string, error) {
	if isASCII(lower) {
		return lower, nil
	}
	name, port, _ := strings.Cut(lower, ":")
	if len(name) > 254 { // before idna, whose time is the square of it
		return "", errHost
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
	if err != nil || !isName(ascii) {
		return "", errHost
	}
	if len(lower) > len(name) {
		ascii += ":" + port
	}
	return ascii, nil
}

// isName says whether s is a host name: labels of lower-case ASCII, without a last dot.
func isName[T string | []byte](s T) bool {
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		case c == '.' && label > 0:
			label = 0
		default:
			return false
		}
	}
	return label > 0 && len(s) <= 253
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

func validPort[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > 5 {
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
