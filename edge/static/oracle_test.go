package static

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/edge/wire"
)

// oracle serves one file as net/http does, told only what it cannot know: the tag and the media type.
func oracle(name, tag string) wire.Handler {
	return wire.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("ETag", tag)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		http.ServeContent(w, r, info.Name(), info.ModTime(), f)
	}))
}

// same gives what two answers to a request must agree about, as a text.
func same(t *testing.T, g got) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", g.StatusCode, g.field("Content-Range"))
	if g.StatusCode >= 400 { // the words are everybody's own, and so are the fields that describe them
		return b.String()
	}
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Encoding"} {
		fmt.Fprintf(&b, "\n%s: %s", name, g.field(name))
	}
	if !strings.HasPrefix(g.field("Content-Type"), "multipart/") {
		fmt.Fprintf(&b, "\nContent-Type: %s\nContent-Length: %s\n%s", g.field("Content-Type"), g.field("Content-Length"), g.body)
		return b.String()
	}
	for _, part := range g.parted(t) {
		fmt.Fprintf(&b, "\n%s", part)
	}
	return b.String()
}

// What net/http says to the same request, we say, but where there is a reason.
func TestOracle(t *testing.T) {
	root := site(t)
	const tag, other = `"17ccd493b5ff3a00-a"`, `"17ccd493b5ff3a00-b"`
	const date, before, after = "Mon, 06 May 2024 07:08:09 GMT", "Mon, 06 May 2024 07:08:08 GMT", "Mon, 06 May 2024 07:08:10 GMT"
	var cases = []struct {
		method, fields string // the lines of the latter with | between them
		differs        string // why ours is another answer
	}{
		{"GET", "", ""}, {"HEAD", "", ""},
		// One range.
		{"GET", "Range: bytes=0-0", ""}, {"GET", "Range: bytes=2-4", ""}, {"GET", "Range: bytes=9-9", ""}, {"GET", "Range: bytes=0-9", ""}, {"GET", "Range: bytes=5-", ""},
		{"GET", "Range: bytes=0-", ""}, {"GET", "Range: bytes=-1", ""}, {"GET", "Range: bytes=-10", ""}, {"GET", "Range: bytes=-100", ""}, {"GET", "Range: bytes=8-100", ""},
		{"GET", "Range: bytes= 2-4", ""}, {"GET", "Range: bytes=2 - 4", ""}, {"GET", "Range: bytes=02-04", ""}, {"GET", "Range: bytes=", ""}, {"GET", "Range: bytes=,", ""},
		{"GET", "Range: bytes=10-", ""}, {"GET", "Range: bytes=10-12", ""}, {"GET", "Range: bytes=100-200", ""},
		{"GET", "Range: bytes=4-2", "416 without Content-Range"}, {"GET", "Range: bytes=a-b", "416 without Content-Range"}, {"GET", "Range: bytes=5", "416 without Content-Range"},
		{"GET", "Range: bytes=--5", "416 without Content-Range"}, {"GET", "Range: bytes=-", "416 without Content-Range"},
		{"GET", "Range: bytes=+2-4", "a sign is no digit"},
		{"GET", "Range: bytes=2-99999999999999999999", "the number is large, not malformed"},
		{"GET", "Range: bytes=-0", "no byte is in the range: net/http sends bytes 10-9/10"},
		{"GET", "Range: BYTES=2-4", "a unit is so in any case"},
		{"GET", "Range: items=2-4", "an unknown unit MUST be ignored"}, {"GET", "Range: 2-4", "no unit at all, likewise"},
		// Several.
		{"GET", "Range: bytes=0-1,4-5", ""}, {"GET", "Range: bytes=4-5,0-1", ""}, {"GET", "Range: bytes=0-1, ,8-", ""}, {"GET", "Range: bytes=0-1,-2", ""},
		{"GET", "Range: bytes=0-1,2-3", ""}, {"GET", "Range: bytes=0-1,20-30", ""}, {"GET", "Range: bytes=20-30,40-", ""},
		{"GET", "Range: bytes=0-2,a", "416 without Content-Range"},
		{"GET", "Range: bytes=0-2,2-4", "what overlaps is put together"}, {"GET", "Range: bytes=3-5,0-3,5-8", "what overlaps is put together"},
		{"GET", "Range: bytes=0-9,0-9", "what overlaps is put together"},
		{"GET", "Range: bytes=0-2|Range: bytes=4-5", ""},
		// Not for HEAD: RFC 9110 section 14.2.
		{"HEAD", "Range: bytes=2-4", "a range is for GET alone"}, {"HEAD", "Range: bytes=20-", "a range is for GET alone"},
		// If-Range.
		{"GET", "Range: bytes=2-4|If-Range: " + tag, ""}, {"GET", "Range: bytes=2-4|If-Range: " + other, ""}, {"GET", "Range: bytes=2-4|If-Range: W/" + tag, ""},
		{"GET", "Range: bytes=2-4|If-Range: " + date, ""}, {"GET", "Range: bytes=2-4|If-Range: " + before, ""}, {"GET", "Range: bytes=2-4|If-Range: " + after, ""},
		{"GET", "Range: bytes=2-4|If-Range: nonsense", ""}, {"GET", "Range: bytes=20-|If-Range: " + other, ""}, {"GET", "If-Range: " + other, ""},
		{"GET", `Range: bytes=2-4|If-Range: ` + tag + `, ` + other, "this is no list"},
		// If-Match.
		{"GET", "If-Match: " + tag, ""}, {"GET", "If-Match: " + other, ""}, {"GET", "If-Match: *", ""}, {"GET", "If-Match: W/" + tag, ""}, {"HEAD", "If-Match: " + other, ""},
		{"GET", "If-Match: " + other + ", " + tag, ""}, {"GET", "If-Match: ,, " + other + " ,W/" + tag, ""}, {"GET", "If-Match: nonsense", ""}, {"GET", `If-Match: "`, ""},
		{"GET", "If-Match: " + other + "|If-Match: " + tag, "a list may stand on several lines"},
		// If-Unmodified-Since.
		{"GET", "If-Unmodified-Since: " + date, ""}, {"GET", "If-Unmodified-Since: " + before, ""}, {"GET", "If-Unmodified-Since: " + after, ""},
		{"GET", "If-Unmodified-Since: nonsense", ""}, {"HEAD", "If-Unmodified-Since: " + before, ""},
		// If-None-Match.
		{"GET", "If-None-Match: " + tag, ""}, {"GET", "If-None-Match: W/" + tag, ""}, {"GET", "If-None-Match: " + other, ""}, {"GET", "If-None-Match: *", ""},
		{"HEAD", "If-None-Match: " + tag, ""}, {"GET", "If-None-Match: " + other + ",W/" + tag, ""}, {"GET", "If-None-Match: nonsense", ""},
		{"GET", "If-None-Match: " + other + "|If-None-Match: " + tag, "a list may stand on several lines"},
		// If-Modified-Since.
		{"GET", "If-Modified-Since: " + date, ""}, {"GET", "If-Modified-Since: " + before, ""}, {"GET", "If-Modified-Since: " + after, ""}, {"HEAD", "If-Modified-Since: " + date, ""},
		{"GET", "If-Modified-Since: Monday, 06-May-24 07:08:09 GMT", ""}, {"GET", "If-Modified-Since: Mon May  6 07:08:09 2024", ""}, {"GET", "If-Modified-Since: nonsense", ""},
		// Their order.
		{"GET", "If-Match: " + tag + "|If-Unmodified-Since: " + before, ""}, {"GET", "If-Match: " + other + "|If-Unmodified-Since: " + after, ""},
		{"GET", "If-Match: " + other + "|If-None-Match: " + tag, ""}, {"GET", "If-Match: " + tag + "|If-None-Match: " + tag, ""},
		{"GET", "If-None-Match: " + other + "|If-Modified-Since: " + after, ""}, {"GET", "If-None-Match: " + tag + "|If-Modified-Since: " + before, ""},
		{"GET", "If-Unmodified-Since: " + before + "|If-Modified-Since: " + after, ""}, {"GET", "If-Unmodified-Since: " + after + "|If-Modified-Since: " + after, ""},
		{"GET", "If-None-Match: " + tag + "|Range: bytes=20-", ""}, {"GET", "If-Match: " + other + "|Range: bytes=2-4", ""}, {"GET", "If-Match: " + tag + "|Range: bytes=2-4", ""},
		{"GET", "If-None-Match: " + tag + "|Range: bytes=2-4|If-Range: " + tag, ""},
		// Not asked for: no Accept-Encoding changes anything.
		{"GET", "Accept-Encoding: gzip, br, zstd, identity;q=0", ""},
	}
	ours, theirs := &Files{Root: root, Prefix: "/"}, oracle(filepath.Join(root, "a.txt"), tag)
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			askUs, askThem := client(t, ours, mode), client(t, theirs, mode)
			for _, c := range cases {
				var fields []string
				if c.fields != "" {
					fields = strings.Split(c.fields, "|")
				}
				we, they := same(t, askUs(c.method, "/a.txt", fields...)), same(t, askThem(c.method, "/a.txt", fields...))
				if (we != they) != (c.differs != "") {
					t.Errorf("%s %s (%s)\nours:\n%s\nnet/http's:\n%s", c.method, c.fields, c.differs, we, they)
				}
			}
		})
	}
}

// What the oracle does not do, or does otherwise.
func TestRanges(t *testing.T) {
	root := site(t)
	large := prose(3 << 20)
	put(t, filepath.Join(root, "large.txt"), large, changed)
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("%d-%d", 3*i, 3*i))
		}
		return "Range: bytes=" + strings.Join(list, ",")
	}
	for _, mode := range modes {
		ask := client(t, &Files{Root: root, Prefix: "/"}, mode)
		for _, c := range []struct {
			target, fields, ranged string
			status                 int
			body                   string
		}{
			{"/a.txt", "Range: bytes=0-2,2-4", "bytes 0-4/10", 206, "01234"},
			{"/a.txt", "Range: bytes=5-6,4-8,0-4", "bytes 0-8/10", 206, "012345678"},
			{"/a.txt", "Range: bytes=0-9,0-9,0-9", "bytes 0-9/10", 206, "0123456789"},
			{"/a.txt", "Range: bytes=2-99999999999999999999", "bytes 2-9/10", 206, "23456789"},
			{"/a.txt", "Range: bytes=99999999999999999999-", "bytes */10", 416, ""},
			{"/a.txt", "Range: bytes=-99999999999999999999", "bytes 0-9/10", 206, "0123456789"},
			{"/a.txt", "Range: bytes=-0", "bytes */10", 416, ""},
			{"/a.txt", "Range: BYTES=2-4", "bytes 2-4/10", 206, "234"},
			{"/a.txt", "Range: items=2-4", "", 200, "0123456789"},
			{"/a.txt", "Range: bytes=x", "bytes */10", 416, ""},
			{"/empty.txt", "Range: bytes=0-", "", 200, ""},
			{"/empty.txt", "Range: bytes=-5", "", 200, ""},
			{"/large.txt", "Range: bytes=1000000-2999999", "bytes 1000000-2999999/3145728", 206, string(large[1000000:3000000])},
			{"/large.txt", many(maxSpans + 1), "", 200, string(large)},
		} {
			g := ask("GET", c.target, c.fields)
			if g.StatusCode != c.status || g.field("Content-Range") != c.ranged || c.status < 400 && g.body != c.body {
				t.Errorf("%s: %s %s: %d %q %.40q", mode, c.target, c.fields, g.StatusCode, g.field("Content-Range"), g.body)
			}
		}
		if parts := ask("GET", "/large.txt", many(maxSpans)).parted(t); len(parts) != maxSpans {
			t.Errorf("%s: %d parts", mode, len(parts))
		}
		g := ask("GET", "/large.txt", "Range: bytes=0-99999,2-5,200000-2999999")
		parts := g.parted(t)
		if len(parts) != 2 || parts[0] != "bytes 0-99999/3145728 text/plain; charset=utf-8 "+string(large[:100000]) ||
			parts[1] != "bytes 200000-2999999/3145728 text/plain; charset=utf-8 "+string(large[200000:3000000]) {
			t.Errorf("%s: the large parts are not what they should be", mode)
		}
		if g.ContentLength != int64(len(g.body)) {
			t.Errorf("%s: the length is %d of %d", mode, g.ContentLength, len(g.body))
		}
	}
}

// A time that every file of an image has says nothing, so no answer is built on it.
func TestNoValidators(t *testing.T) {
	root := site(t)
	for _, second := range []int64{-1, 0, 1} {
		when := time.Unix(second, 5)
		put(t, filepath.Join(root, "a.txt"), []byte("0123456789"), when)
		ask := client(t, &Files{Root: root, Prefix: "/"}, modes[0])
		for fields, want := range map[string]int{
			"": 200,
			"If-Modified-Since: Sun, 06 May 2035 07:08:09 GMT":                200,
			"If-None-Match: \"" + fmt.Sprintf("%x", when.UnixNano()) + "-a\"": 200,
			"If-Unmodified-Since: Mon, 06 May 1960 07:08:09 GMT":              200,
			"If-Match: \"1\"":  412,
			"If-Match: *":      200,
			"Range: bytes=2-4": 206,
			"Range: bytes=2-4|If-Range: Thu, 01 Jan 1970 00:00:01 GMT": 200,
		} {
			var list []string
			if fields != "" {
				list = strings.Split(fields, "|")
			}
			if g := ask("GET", "/a.txt", list...); g.StatusCode != want || g.field("Etag") != "" || g.field("Last-Modified") != "" {
				t.Errorf("%d: %s: %d %v", second, fields, g.StatusCode, g.Header)
			}
		}
	}
}
