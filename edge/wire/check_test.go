package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for target, want := range map[string]error{
		"/": nil, "/a/b": nil, "//x": nil, "/a%2Fb": nil, "/a;b=%41": nil, "/%7e": nil, "/é": nil, "/a%20b": nil, "/%c3%a9": nil, `/"<>^{|}`: nil,
		"/...": nil, "/.well-known/x": nil, "/..a": nil, "/a..": nil, "/a.": nil, "/%2e%2e%2e": nil, "/.%2ehidden": nil, "/a%2e": nil, "/%252e%252e/": nil,
		"/?": nil, "/?a=../..": nil, "/?a=%2e%2e/": nil, "/?%00%5c%0a": nil, "/??": nil, "/?é": nil,

		"": errPathStart, "a": errPathStart, "*": errPathStart, "http://a/": errPathStart, "?": errPathStart,
		"/a b": errPathByte, "/a\tb": errPathByte, "/\r\n": errPathByte, "/\x00": errPathByte, "/\x7f": errPathByte, "/admin#/public": errPathByte,
		`/\evil`: errPathByte, `/a\..\b`: errPathByte,
		"/? ": errPathByte, "/?#": errPathByte, `/?\`: errPathByte, "/?\n": errPathByte, "/?\x7f": errPathByte, "/?\x01": errPathByte,
		"/%": errPathPercent, "/%2": errPathPercent, "/%zz": errPathPercent, "/%2g": errPathPercent, "/%%41": errPathPercent, "/% 1": errPathPercent,
		"/%00": errPathPercent, "/%5c": errPathPercent, "/%5C": errPathPercent, "/%0a": errPathPercent, "/%1f": errPathPercent, "/%7f": errPathPercent,
		"/?%": errPathPercent, "/?%zz": errPathPercent, "/?a=%4": errPathPercent,
		"/.": errPathDots, "/..": errPathDots, "/./": errPathDots, "/../": errPathDots, "/a/../b": errPathDots, "/a/./b": errPathDots, "/a/..": errPathDots,
		"/%2e": errPathDots, "/%2E": errPathDots, "/%2e%2E": errPathDots, "/.%2e/": errPathDots, "/%2e./x": errPathDots, "/a/%2e%2e/b": errPathDots,
		"/a%2f..%2fb": errPathDots, "/a%2F%2e%2e": errPathDots, "/..%2f": errPathDots, "/public/..%2fadmin": errPathDots, "//..": errPathDots,
		"/a%2f.": errPathDots,
		// path parameters, which servlet containers drop
		"/;/": nil, "/;a=..": nil, "/a;..": nil, "/a..;": nil, "/...;": nil, "/..a;": nil, "/a;b/c;d": nil, "/..a/;.": nil, "/a%3b": nil, "/..%253b": nil,
		"/public/..;/admin": errPathDots, "/public/..;x=1/admin": errPathDots, "/public/%2e%2e;/admin": errPathDots, "/a/..%3b/b": errPathDots,
		"/.;/x": errPathDots, "/..;": errPathDots, "/a;b/..;c": errPathDots, "/a%2f.%2e%3B": errPathDots, "/..;;": errPathDots, "/a;/../b": errPathDots,
		"/.;.": errPathDots,
	} {
		path, query, _ := strings.Cut(target, "?")
		if err := Check(path, query); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", target, err, want)
		}
		if err := Check([]byte(path), []byte(query)); !errors.Is(err, want) {
			t.Errorf("%q as bytes: %v, want %v", target, err, want)
		}
	}
}

// The engines ask for each request.
func TestCheckAllocates(t *testing.T) {
	path, query, authority := []byte("/.well-known/"+strings.Repeat("a%20b;c/", 10)+"x.html"), []byte("a=%41"), []byte("www.a-b.a-long-name-of-a-site.example.test:8443")
	if n := testing.AllocsPerRun(100, func() {
		_, ok := PlainHost(authority)
		if err := Check(path, query); err != nil || !ok {
			t.Errorf("%v, %v", err, ok)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDecode(t *testing.T) {
	for path, want := range map[string]string{"/": "/", "/a%2fb": "/a/b", "/%25": "/%", "/%2541": "/%41", "/%c3%A9": "/é"} {
		if got := Decode(path); got != want {
			t.Errorf("%q becomes %q, want %q", path, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"/", "/a/..%3bx/b", "/a%2f..%2fb?x", "/%2e%2E/", "/.well-known?%00", "/...", "/%5c", `/\`, "*", "/a%", "//x#"} {
		f.Add(s)
	}
	for _, r := range requests(f) {
		if words := strings.Split(r, " "); len(words) > 2 {
			f.Add(words[1])
		}
	}
	f.Fuzz(func(t *testing.T, target string) {
		path, query, _ := strings.Cut(target, "?")
		if Check(path, query) != nil {
			return
		}
		if strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == '\\' }) {
			t.Errorf("%q holds a byte that must not stand there", target)
		}
		decoded := Decode(path)
		if !strings.HasPrefix(decoded, "/") || len(decoded) > len(path) {
			t.Errorf("%q becomes %q", path, decoded)
		}
		if strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
			t.Errorf("%q holds a control byte or a backslash once decoded", path)
		}
		for segment := range strings.SplitSeq(decoded, "/") {
			if segment, _, _ = strings.Cut(segment, ";"); segment == "." || segment == ".." {
				t.Errorf("%q holds a dot segment once decoded", path)
			}
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: a.test\r\n\r\n")))
		if err != nil || r.RequestURI != target || r.URL.Path != decoded || r.URL.RawQuery != query || r.Host != "a.test" {
			t.Errorf("net/http reads %+v, %v out of %q", r, err, target)
		}
	})
}

// requests gives those of the engine's table that are short, which seed the fuzz targets.
func requests(f *testing.F) (all []string) {
	f.Helper()
	file, err := os.Open("../h1/testdata/requests.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for d := json.NewDecoder(file); d.More(); {
		var r struct{ Raw string }
		if err := d.Decode(&r); err != nil {
			f.Fatal(err)
		}
		if len(r.Raw) < 4000 {
			all = append(all, r.Raw)
		}
	}
	return all
}

func TestCanonicalHost(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a" // 253
	for authority, want := range map[string][2]string{
		"a.test": {"a.test", "a.test"}, "A.Test": {"a.test", "a.test"}, "a.test:8443": {"a.test:8443", "a.test"}, "a.test:1": {"a.test:1", "a.test"},
		"a.test:65535": {"a.test:65535", "a.test"}, "a.test.": {"a.test.", "a.test"}, "A.TEST.:443": {"a.test.:443", "a.test"},
		"localhost": {"localhost", "localhost"}, "my_app": {"my_app", "my_app"}, "a-b.test": {"a-b.test", "a-b.test"},
		"127.0.0.1:80": {"127.0.0.1:80", "127.0.0.1"},
		"[::1]":        {"[::1]", "::1"}, "[::1]:443": {"[::1]:443", "::1"}, "[0:0::1]": {"[0:0::1]", "::1"}, "[2001:DB8::A]:1": {"[2001:db8::a]:1", "2001:db8::a"},
		"bücher.test": {"xn--bcher-kva.test", "xn--bcher-kva.test"}, "BÜCHER.test:8443": {"xn--bcher-kva.test:8443", "xn--bcher-kva.test"},
		"ａ.test": {"a.test", "a.test"}, "xn--bcher-kva.test": {"xn--bcher-kva.test", "xn--bcher-kva.test"},
		long: {long, long}, long + ".": {long + ".", long},
	} {
		lower, host, err := CanonicalHost(authority)
		if lower != want[0] || host != want[1] || err != nil {
			t.Errorf("%q: %q, %q, %v; want %q", authority, lower, host, err, want)
		}
		plain, ok := PlainHost([]byte(authority))
		if want := authority == lower && authority[0] != '['; ok != want || ok && string(plain) != host {
			t.Errorf("%q: plain is %q, %v; want %v", authority, plain, ok, want)
		}
	}
	for _, authority := range []string{
		"", ".", "..", ":", ":80", ".a.test", "a..test", "a.test..", "a.test:", "a.test:0", "a.test:65536", "a.test:000080", "a.test:-1", "a.test:+1",
		"a.test:http", "a.test:80:80", "a.test: 80", "a b", "a\tb", "a\x00b", "a/b", "a?b", "a#b", `a\b`, "a%41", "a,b", "*.test", "a@b", "user:pw@a.test",
		"user@a.test:80", "::1", "[::1", "::1]", "[]", "[::1]x", "[::1]:", "[::1]:0", "[::1]443", "[127.0.0.1]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[a.test]",
		"[::1].", "a[::1]", "\xff.test", "a\u200d.test", "bücher。", "bücher。。test", "ü..test", "ü_.test", long + "a", strings.Repeat("ü", 300),
	} {
		if lower, host, err := CanonicalHost(authority); err == nil {
			t.Errorf("%q passes as %q, %q", authority, lower, host)
		}
		if host, ok := PlainHost(authority); ok {
			t.Errorf("%q is plain, as %q", authority, host)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"A.Test.:8443", "[::1]:443", "bücher.test", "a.test..", "u@a", "ａ。test:1", "xn--a", "[0:0::1]"} {
		f.Add(s)
	}
	for _, r := range requests(f) {
		if _, rest, ok := strings.Cut(r, "\r\nHost:"); ok {
			authority, _, _ := strings.Cut(rest, "\r\n")
			f.Add(strings.TrimSpace(authority))
		}
	}
	f.Fuzz(func(t *testing.T, authority string) {
		lower, host, err := CanonicalHost(authority)
		if plain, ok := PlainHost([]byte(authority)); ok && (lower != authority || host != string(plain)) {
			t.Errorf("%q is plain, as %q; canonical: %q, %q, %v", authority, plain, lower, host, err)
		}
		if err != nil {
			return
		}
		if l, h, err := CanonicalHost(lower); l != lower || h != host || err != nil {
			t.Errorf("%q: %q, %q; once more: %q, %q, %v", authority, lower, host, l, h, err)
		}
		if strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._:") != "" || strings.HasSuffix(host, ".") || host == "" {
			t.Errorf("%q: the host is %q", authority, host)
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: " + lower + "\r\n\r\n")))
		if err != nil || r.Host != lower {
			t.Fatalf("net/http reads %+v, %v out of %q", r, err, lower)
		}
		u, err := url.Parse("http://" + lower + "/")
		if err != nil {
			t.Fatalf("%q is no authority to net/url: %v", lower, err)
		}
		theirs := strings.TrimSuffix(u.Hostname(), ".")
		if ip, err := netip.ParseAddr(theirs); err == nil && ip.Is6() {
			theirs = ip.String()
		}
		if theirs != host {
			t.Errorf("net/url reads the host %q out of %q, in place of %q", theirs, lower, host)
		}
		if strings.Contains(host, ":") { // an IPv6 address
			return
		}
		if _, again, err := CanonicalHost(host); again != host || err != nil {
			t.Errorf("%q: %q becomes %q, %v", authority, host, again, err)
		}
	})
}
