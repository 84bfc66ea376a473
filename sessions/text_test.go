package sessions

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// 22: wherever a login was begun, it returns to a path of the same host.
func TestReturnPath(t *testing.T) {
	for target, want := range map[string]string{
		"/":                                  "/",
		"/a?b=c&d=%2F%20":                    "/a?b=c&d=%2F%20",
		"/a//b/%2e?":                         "/a//b/%2e?",
		"/?next=https://evil/":               "/?next=https://evil/",
		"//evil.example":                     "/evil.example",
		"///evil.example/x":                  "/evil.example/x",
		`/\evil.example`:                     "/",
		`\/evil.example`:                     "/",
		"/%09/evil.example":                  "/%09/evil.example", // a browser does not decode it
		"/\t/evil.example":                   "/",
		"/a\r\nSet-Cookie: x=y":              "/",
		"/a#b":                               "/",
		"https:evil.example":                 "/",
		"https://evil.example/":              "/",
		"https://ok@evil.example/":           "/",
		"javascript:alert(1)":                "/",
		"@evil.example":                      "/",
		"":                                   "/",
		"*":                                  "/",
		"/\xc3\xa9":                          "/",
		"/.edge/auth/callback?x=y":           "/",
		"//.edge/logout":                     "/",
		"/" + strings.Repeat("a", maxReturn): "/",
	} {
		if got := returnPath(target); got != want {
			t.Errorf("%q returns to %q, want %q", target, got, want)
		}
	}
}

func FuzzReturnPath(f *testing.F) {
	f.Add("//evil.example/a?b")
	f.Fuzz(func(t *testing.T, target string) {
		got := returnPath(target)
		base, _ := url.Parse("https://wiki.example/x")
		u, err := base.Parse(got)
		if strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\#\r\n") || !strings.HasPrefix(got, "/") {
			t.Errorf("%q returns to %q", target, got)
		}
		if err == nil && u.Host != "wiki.example" {
			t.Errorf("%q leads to %s", target, u)
		}
		if returnPath(got) != got {
			t.Errorf("%q is not stable", got)
		}
	})
}

func TestSplitAuthority(t *testing.T) {
	for in, want := range map[string][2]string{
		"a.example":       {"a.example", ""},
		"a.example:8443":  {"a.example", ":8443"},
		"a.example:443":   {"a.example", ""},
		"a.example:":      {"a.example", ""},
		"a.example:x":     {"a.example", ""},
		"a.example:70000": {"a.example", ""},
		"127.0.0.1:8443":  {"127.0.0.1", ":8443"},
		"[::1]":           {"::1", ""},
		"[::1]:8443":      {"::1", ":8443"},
	} {
		host, port := splitAuthority(in)
		if host != want[0] || port != want[1] {
			t.Errorf("%q: %q %q", in, host, port)
		}
	}
	if got := httpsURL("::1", ":8443"); got != "https://[::1]:8443" {
		t.Error(got)
	}
}

func TestStripCookies(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"a=b":                          "a=b",
		"a=b;c=d":                      "a=b;c=d", // not ours to tidy up
		"__Host-edge=x":                "",
		"__Host-edge=x; ":              "",
		"a=b; __Host-edge=x":           "a=b",
		"__Host-edge-sso=x;a=b":        "a=b",
		"a=b; __Host-edge=x;  c=d ":    "a=b; c=d",
		"__Host-edge-flow-1=x; a=b":    "a=b",
		"a=b; __host-EDGE=x; c":        "a=b; c",
		"__Host-edge":                  "",
		"my__Host-edge=x":              "my__Host-edge=x",
		"a=__Host-edge=x":              "a=__Host-edge=x",
		"__Host-edge=1; __Host-edge=2": "",
		"\t__Host-edge=1;\ta=b":        "a=b",
	} {
		if got := StripCookies([]byte(in)); string(got) != want || want == "" && in != "" && got != nil {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	field := []byte("theme=dark; __Hos=1; session=0123456789abcdef")
	if n := testing.AllocsPerRun(100, func() { StripCookies(field) }); n != 0 {
		t.Errorf("%v allocations without a cookie of ours", n)
	}
}

func FuzzStripCookies(f *testing.F) {
	f.Add([]byte("a=b; __Host-edge=x; c=d"))
	f.Fuzz(func(t *testing.T, field []byte) {
		for rest := StripCookies(field); len(rest) > 0; {
			var pair []byte
			pair, rest = nextCookie(rest)
			if bytes.HasPrefix(pair, []byte(cookiePrefix)) {
				t.Errorf("%q keeps %q", field, pair)
			}
		}
	})
}

func FuzzParseHandle(f *testing.F) {
	h := tagger{}.tagged(uuid.New())
	f.Add([]byte(h.String()))
	f.Fuzz(func(t *testing.T, value []byte) {
		if h, ok := parseHandle(value); ok && h.String() != string(value) {
			t.Errorf("%q has a second spelling, %q", value, h)
		}
	})
}
