package static

import (
	"bytes"

	"edge/edge/wire"
)

// coding is a content coding, RFC 9110 section 8.4.1.
type coding int

const (
	identity coding = iota
	gzipped
	zstandard
	brotli
)

var codings = [...]struct {
	name   []byte // in the fields
	ending string // of the file that lies compressed beside another
}{
	identity:  {[]byte("identity"), ""},
	gzipped:   {[]byte("gzip"), ".gz"},
	zstandard: {[]byte("zstd"), ".zst"},
	brotli:    {[]byte("br"), ".br"},
}

// tastes is how much a client likes each coding, in thousandths; 0: not at all.
type tastes [len(codings)]int

// without is the taste of who says nothing: identity alone. It is liked least of all that is liked, unless the client names it: this is why it names
// others.
var without = tastes{identity: least}

const least = 1 // the least that a client can say is 2, as it is counted here

// read reads Accept-Encoding, RFC 9110 section 12.5.3. What is malformed is not liked.
func (t *tastes) read(f wire.Fields) {
	named, others := [len(codings)]bool{}, -1
	for i := range f {
		if string(f[i].Name) != "accept-encoding" {
			continue
		}
		for item := range bytes.SplitSeq(f[i].Value, []byte(",")) {
			name, q := cutQuality(item)
			if string(name) == "*" {
				others = q
			} else if c := codingOf(name); c >= 0 {
				named[c], t[c] = true, q
			}
		}
	}
	for c := range t {
		switch {
		case named[c]:
		case coding(c) != identity:
			t[c] = max(others, 0)
		case others == 0:
			t[c] = 0
		default:
			t[c] = least
		}
	}
}

// codingOf gives the coding of a name, in any case; -1: none of ours.
func codingOf(name []byte) coding {
	for c := range codings {
		if bytes.EqualFold(name, codings[c].name) {
			return coding(c)
		}
	}
	if bytes.EqualFold(name, []byte("x-gzip")) {
		return gzipped
	}
	return -1
}

// cutQuality takes one item of a list apart: its name, and its weight, which is 1 where it is not said and 0 where it is malformed.
func cutQuality(item []byte) (name []byte, q int) {
	name, weight, found := bytes.Cut(item, []byte(";"))
	name = bytes.TrimSpace(name)
	if !found {
		return name, 2 * 1000
	}
	key, number, _ := bytes.Cut(weight, []byte("="))
	if !bytes.EqualFold(bytes.TrimSpace(key), []byte("q")) {
		return name, 0
	}
	return name, 2 * thousandths(bytes.TrimSpace(number))
}

// thousandths reads a weight: 0 to 1, with up to three digits behind the point. 0: it is malformed.
func thousandths(s []byte) int {
	if len(s) == 0 || len(s) > len("0.000") || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0
	}
	n, unit := int(s[0]-'0')*1000, 100
	for _, c := range s[min(2, len(s)):] {
		if c < '0' || c > '9' {
			return 0
		}
		n, unit = n+int(c-'0')*unit, unit/10
	}
	if n > 1000 {
		return 0
	}
	return n
}

// offer is a way to send a file.
type offer struct {
	coding coding
	ready  bool // it lies compressed beside the file
}

// offers are all the ways: of those that a client likes equally, the first that there is will do. What is ready costs nothing.
var offers = [...]offer{{brotli, true}, {zstandard, true}, {gzipped, true}, {zstandard, false}, {gzipped, false}, {identity, true}}

// best gives the offers that a client takes, what it likes best in front.
func (t *tastes) best(into []offer) []offer {
	for {
		liked := 0
		for _, o := range offers {
			if q := t[o.coding]; q > liked && (len(into) == 0 || q < t[into[len(into)-1].coding]) {
				liked = q
			}
		}
		if liked == 0 {
			return into
		}
		for _, o := range offers {
			if t[o.coding] == liked {
				into = append(into, o)
			}
		}
	}
}
