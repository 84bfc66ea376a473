package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// v2 is a header of version 2: the byte of the command, that of the family, and what follows.
func v2(command, family byte, rest string) string {
	return signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

// tlv is an addition.
func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// summed adds its own checksum to a header of IPv4.
func summed(more string) string {
	s := []byte(v2(proxied, tcp4, four+tlv(checksum, "\x00\x00\x00\x00")+more))
	binary.BigEndian.PutUint32(s[head2+12+3:], crc32.Checksum(s, crc32.MakeTable(crc32.Castagnoli)))
	return string(s)
}

const (
	four = "\xc0\x00\x02\x01" + "\x7f\x00\x00\x01" + "\x30\x39" + "\x01\xbb"
	six6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x30\x39" + "\x01\xbb"
)

var (
	of4 = Header{Version: 2, Source: at("192.0.2.1:12345"), Destination: at("127.0.0.1:443")}
	of6 = Header{Version: 2, Source: at("[2001:db8::1]:12345"), Destination: at("[::1]:443")}
)

var good = map[string]struct {
	text string
	want Header
}{
	"v1 TCP4":             {"PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r\n", Header{1, of4.Source, of4.Destination, false}},
	"v1 TCP6":             {"PROXY TCP6 2001:DB8::1 ::1 12345 443\r\n", Header{1, of6.Source, of6.Destination, false}},
	"v1 shortest TCP4":    {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Header{1, at("0.0.0.0:0"), at("0.0.0.0:0"), false}},
	"v1 shortest TCP6":    {"PROXY TCP6 :: :: 0 0\r\n", Header{1, at("[::]:0"), at("[::]:0"), false}},
	"v1 longest TCP4":     {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Header{1, at("255.255.255.255:65535"), at("255.255.255.255:65535"), false}},
	"v1 longest":          {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", Header{1, at("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"), at("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"), false}},
	"v1 IPv4 in IPv6":     {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", Header{1, at("[::ffff:192.0.2.1]:1"), at("[::1]:2"), false}},
	"v1 unknown":          {"PROXY UNKNOWN\r\n", Header{Version: 1}},
	"v1 unknown and more": {"PROXY UNKNOWN " + strings.Repeat("f", most1-16) + "\r\n", Header{Version: 1}},
	"v2 TCP4":             {v2(proxied, tcp4, four), of4},
	"v2 TCP6":             {v2(proxied, tcp6, six6), of6},
	"v2 TCP4 and more":    {v2(proxied, tcp4, four+tlv(4, "padding")+tlv(2, "")), of4},
	"v2 TCP4 with a sum":  {summed(tlv(4, "more")), of4},
	"v2 unix":             {v2(proxied, unixStream, strings.Repeat("\x00", 216)), Header{Version: 2, Unix: true}},
	"v2 unspecified":      {v2(proxied, unspecified, ""), Header{Version: 2}},
	"v2 unspecified, and": {v2(proxied, unspecified, "whatever"), Header{Version: 2}},
	"v2 local":            {v2(local, unspecified, ""), Header{Version: 2}},
	"v2 local, addresses": {v2(local, tcp4, four), Header{Version: 2}},
	"v2 local, nonsense":  {v2(local, 0x77, "x"), Header{Version: 2}},
	"v2 longest":          {v2(proxied, tcp4, four+tlv(4, strings.Repeat("x", mostRest-12-3))), of4},
}

// A header is read as it was meant, and not a byte of what stands behind it, however its bytes arrive.
func TestGood(t *testing.T) {
	for name, c := range good {
		for how, arrive := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "one by one": iotest.OneByteReader, "in halves": iotest.HalfReader, "with the end": iotest.DataErrReader,
		} {
			for _, behind := range []string{"", "\r\n", "GET / HTTP/1.1\r\n", "PROXY UNKNOWN\r\n"} {
				in := strings.NewReader(c.text + behind)
				h, err := Read(arrive(in))
				rest, _ := io.ReadAll(in)
				if h != c.want || err != nil {
					t.Errorf("%s %s: %+v, %v; want %+v", name, how, h, err, c.want)
				} else if string(rest) != behind && how != "with the end" { // that reader looks ahead
					t.Errorf("%s %s: %q is left, want %q", name, how, rest, behind)
				}
			}
		}
	}
}

var bad = map[string]struct{ text, want string }{
	"nothing":               {"", "cut short"},
	"HTTP":                  {"GET / HTTP/1.1\r\n\r\n", "there is no PROXY header"},
	"TLS":                   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03...", "there is no PROXY header"},
	"half a signature":      {signature[:7] + "xxxxxxx", "there is no PROXY header"},
	"lower case":            {"proxy tcp4 1.1.1.1 1.1.1.1 1 1\r\n", "there is no PROXY header"},
	"two spaces":            {"PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n", "names no protocol"},
	"UDP4":                  {"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", "names no protocol"},
	"TCP5":                  {"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n", "names no protocol"},
	"a longer TCP4":         {"PROXY TCP44 1.1.1.1 1.1.1.1 1 1\r\n", "is no address of TCP44"},
	"a longer UNKNOWN":      {"PROXY UNKNOWNS 1.1.1.1 1.1.1.1 1 1\r\n", "is no address of UNKNOWNS"},
	"another UNKNOWN":       {"PROXY UNKNOWS\r\n", "two addresses"},
	"no CR":                 {"PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\n", "CRLF"},
	"no LF":                 {"PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r" + strings.Repeat("x", 200), "no end in 107 bytes"},
	"a CR within":           {"PROXY TCP4 192.0.2.1 127.0.0.1\r 12345 443\r\n", "CRLF"},
	"an LF too early":       {"PROXY TCP4 0.0.0.0\n0.0.0.0 0 0 \r\n", "CRLF"},
	"108 bytes":             {"PROXY UNKNOWN " + strings.Repeat("f", most1-15) + "\r\n", "no end in 107 bytes"},
	"no end":                {"PROXY UNKNOWN " + strings.Repeat("f", 4096), "no end in 107 bytes"},
	"IPv6 for TCP4":         {"PROXY TCP4 2001:db8::1 127.0.0.1 1 1\r\n", `"2001:db8::1" is no address of TCP4`},
	"IPv4 for TCP6":         {"PROXY TCP6 ::1 192.0.2.1 1 1\r\n", `"192.0.2.1" is no address of TCP6`},
	"a name":                {"PROXY TCP4 client.example 127.0.0.1 1 1\r\n", `"client.example" is no address`},
	"leading zeros":         {"PROXY TCP4 192.0.02.1 127.0.0.1 1 1\r\n", `"192.0.02.1" is no address`},
	"a zone":                {"PROXY TCP6 fe80::1%eth0 ::1 12345 443\r\n", `is no address`},
	"a large port":          {"PROXY TCP4 192.0.2.1 127.0.0.1 65536 1\r\n", `"65536" is no port`},
	"a negative port":       {"PROXY TCP4 192.0.2.1 127.0.0.1 1 -1\r\n", `"-1" is no port`},
	"a signed port":         {"PROXY TCP4 192.0.2.1 127.0.0.1 +1 1\r\n", `"+1" is no port`},
	"a long port":           {"PROXY TCP4 192.0.2.1 127.0.0.1 01 1\r\n", `"01" is no port`},
	"a space at the end":    {"PROXY TCP4 192.0.2.1 127.0.0.1 1 1 \r\n", "two addresses"},
	"two spaces within":     {"PROXY TCP4 192.0.2.1  127.0.0.1 1 1\r\n", "two addresses"},
	"a tab":                 {"PROXY TCP4 192.0.2.1\t127.0.0.1 1 1\r\n", "two addresses"},
	"only one port":         {"PROXY TCP4 192.0.2.1 127.0.0.1 11\r\n", "two addresses"},
	"cut short":             {"PROXY TCP4 192.0.2.1 127.0", "cut short"},
	"version 1 in binary":   {v2(0x11, tcp4, four), "version and command are 0x11"},
	"version 3":             {v2(0x31, tcp4, four), "version and command are 0x31"},
	"command 2":             {v2(0x22, tcp4, four), "version and command are 0x22"},
	"IPv4 datagrams":        {v2(proxied, 0x12, four), "family 0x12 is no stream's"},
	"unix datagrams":        {v2(proxied, 0x32, strings.Repeat("x", 216)), "family 0x32 is no stream's"},
	"an unknown family":     {v2(proxied, 0x41, four), "family 0x41"},
	"IPv4, too short":       {v2(proxied, tcp4, four[:11]), "11 bytes, not 12"},
	"IPv6, too short":       {v2(proxied, tcp6, four), "12 bytes, not 36"},
	"unix, too short":       {v2(proxied, unixStream, six6), "36 bytes, not 216"},
	"too long":              {v2(proxied, tcp4, four+tlv(4, strings.Repeat("x", mostRest-12-2))), "4097 bytes follow, more than 4096"},
	"an addition cut":       {v2(proxied, tcp4, four+tlv(4, "padding")[:9]), "adds is cut short"},
	"a head of an addition": {v2(proxied, tcp4, four+"\x04\x00"), "adds is cut short"},
	"a wrong sum":           {v2(proxied, tcp4, four+tlv(checksum, "\x01\x02\x03\x04")), "checksum is wrong"},
	"a short sum":           {v2(proxied, tcp4, four+tlv(checksum, "\x01\x02\x03")), "checksum is wrong"},
	"v2, cut in the head":   {signature + "\x21", "cut short"},
	"v2, cut":               {v2(proxied, tcp4, four)[:20], "cut short"},
}

// What is not just as it must be is refused, and no more is read than a header may have.
func TestBad(t *testing.T) {
	for name, c := range bad {
		in := &counted{Reader: iotest.OneByteReader(strings.NewReader(c.text))}
		h, err := Read(in)
		if err == nil || h != (Header{}) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %s", name, h, err, c.want)
		}
		if most := map[bool]int{true: most2, false: most1}[strings.HasPrefix(c.text, signature)]; in.n > most {
			t.Errorf("%s: %d bytes were read", name, in.n)
		}
		if errors.Is(err, ErrNone) && in.n > prefix {
			t.Errorf("%s: %d bytes were read of what is none", name, in.n)
		}
	}
}

// counted counts what is read.
type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// Each part of a header, cut anywhere, is an error that says so; another error of the connection comes through.
func TestCut(t *testing.T) {
	for name, c := range good {
		for n := range len(c.text) {
			if n > 300 {
				break
			}
			if _, err := Read(strings.NewReader(c.text[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %d bytes: %v", name, n, err)
			}
			if _, err := Read(io.MultiReader(strings.NewReader(c.text[:n]), iotest.ErrReader(os.ErrDeadlineExceeded))); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %d bytes and a timeout: %v", name, n, err)
			}
		}
	}
}

// What is written is, byte for byte, what the specification has.
func TestAppend(t *testing.T) {
	for name, c := range map[string]struct {
		h    Header
		want string
	}{
		"v1 TCP4":           {Header{1, of4.Source, of4.Destination, false}, "PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r\n"},
		"v1 TCP6":           {Header{1, of6.Source, of6.Destination, false}, "PROXY TCP6 2001:db8::1 ::1 12345 443\r\n"},
		"v1 both":           {Header{1, of6.Source, of4.Destination, false}, "PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 12345 443\r\n"},
		"v1 unknown":        {Header{Version: 1}, "PROXY UNKNOWN\r\n"},
		"v1 unix":           {Header{Version: 1, Unix: true}, "PROXY UNKNOWN\r\n"},
		"v1 one address":    {Header{Version: 1, Source: of4.Source}, "PROXY UNKNOWN\r\n"},
		"v1 zone":           {Header{1, at("[fe80::1%eth0]:1"), at("[fe80::2%eth0]:2"), false}, "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
		"v2 TCP4":           {of4, v2(proxied, tcp4, four)},
		"v2 TCP6":           {of6, v2(proxied, tcp6, six6)},
		"v2 both":           {Header{2, of4.Source, of6.Destination, false}, v2(proxied, tcp6, strings.Repeat("\x00", 10)+"\xff\xff\xc0\x00\x02\x01"+six6[16:])},
		"v2 unknown":        {Header{Version: 2}, v2(proxied, unspecified, "")},
		"v2 one address":    {Header{Version: 2, Source: of4.Source}, v2(proxied, unspecified, "")},
		"v2 unix":           {Header{Version: 2, Unix: true}, v2(proxied, unixStream, strings.Repeat("\x00", 216))},
		"behind other text": {of4, v2(proxied, tcp4, four)},
	} {
		if got := c.h.Append([]byte("before")); string(got) != "before"+c.want {
			t.Errorf("%s: %q\nwant %q", name, got, c.want)
		}
	}
}

// FuzzHeader looks for bytes that are read as a header and written as another one, and for a Read that goes too far or panics.
func FuzzHeader(f *testing.F) {
	for _, c := range good {
		f.Add([]byte(c.text))
	}
	for _, c := range bad {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := bytes.NewReader(text)
		h, err := Read(in)
		used := len(text) - in.Len()
		if used > most2 || used > most1 && !bytes.HasPrefix(text, []byte(signature)) {
			t.Fatalf("%d bytes were read", used)
		}
		if err != nil {
			if h != (Header{}) {
				t.Fatalf("with an error, %+v", h)
			}
			return
		}
		if h.Source.IsValid() != h.Destination.IsValid() || h.Source.Addr().Is4() != h.Destination.Addr().Is4() || h.Source.IsValid() && h.Unix || h.Version != 1 && h.Version != 2 {
			t.Fatalf("such a header there cannot be: %+v", h)
		}
		for version := 1; version <= 2; version++ {
			want := h
			want.Version = version
			want.Unix = h.Unix && version == 2
			out := want.Append(nil)
			again, err := Read(io.MultiReader(bytes.NewReader(out), iotest.ErrReader(fmt.Errorf("it reads on behind %q", out))))
			if again != want || err != nil {
				t.Fatalf("%+v is written %q, and read %+v, %v", want, out, again, err)
			}
			if cut, err := Read(bytes.NewReader(out[:len(out)-1])); err == nil {
				t.Fatalf("without its last byte %q is read %+v", out, cut)
			}
		}
	})
}
