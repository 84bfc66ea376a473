package static

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"edge/edge/wire"
)

// compressedSite has files with and without what lies compressed beside them.
func compressedSite(t *testing.T) string {
	root := site(t)
	for name, c := range map[string]struct {
		content []byte
		age     time.Duration
	}{
		"all.txt": {prose(2000), 0}, "all.txt.br": {[]byte("BR"), 0}, "all.txt.zst": {[]byte("ZST"), 0}, "all.txt.gz": {[]byte("GZ"), 0},
		"gz.txt": {prose(2000), 0}, "gz.txt.gz": {[]byte("GZ"), -time.Hour}, // newer
		"old.txt": {prose(2000), 0}, "old.txt.gz": {[]byte("OLD"), 1},
		"photo.png": {prose(2000), 0}, "photo.png.gz": {[]byte("GZ"), 0},
		"text.txt": {prose(2000), 0}, "least.txt": {prose(leastCompressed), 0}, "less.txt": {prose(leastCompressed - 1), 0},
		"most.txt": {prose(mostCompressed), 0}, "more.txt": {prose(mostCompressed + 1), 0},
		"raw.png": {prose(2000), 0}, "font.woff2": {prose(2000), 0},
		"packed/index.html": {prose(2000), 0}, "packed/index.html.br": {[]byte("BR"), 0},
		"out.txt.gz": {[]byte("GZ"), 0},
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, name), c.content, changed.Add(-c.age))
	}
	return root
}

// decoded gives what an answer's body stands for, where it was made on the way.
func decoded(t *testing.T, g got) string {
	t.Helper()
	var r io.Reader = strings.NewReader(g.body)
	switch g.field("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(8<<20)) // RFC 9659: a browser may refuse more
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCompress(t *testing.T) {
	root := compressedSite(t)
	const ready, onWay = "ready", "on the way"
	cases := []struct {
		target, accepts string // the lines with | between them
		coding, from    string
	}{
		// What lies beside the file, by what the client likes best.
		{"/all.txt", "br", "br", ready}, {"/all.txt", "zstd", "zstd", ready}, {"/all.txt", "gzip", "gzip", ready}, {"/all.txt", "x-gzip", "gzip", ready},
		{"/all.txt", "gzip, deflate, br, zstd", "br", ready}, {"/all.txt", "gzip, zstd", "zstd", ready}, {"/all.txt", "GZip", "gzip", ready},
		{"/all.txt", "br;q=0.5, gzip", "gzip", ready}, {"/all.txt", "br;q=0.5, gzip;q=0.501", "gzip", ready}, {"/all.txt", "br;q=0, gzip", "gzip", ready},
		{"/all.txt", "br ; q=0.2 , gzip ; Q=0.3", "gzip", ready}, {"/all.txt", "*", "br", ready}, {"/all.txt", "*, br;q=0", "zstd", ready},
		{"/all.txt", "*;q=0.1, gzip", "gzip", ready}, {"/all.txt", "deflate|gzip", "gzip", ready}, {"/all.txt", "gzip|br", "br", ready},
		{"/packed/", "br", "br", ready}, {"/gz.txt", "gzip", "gzip", ready}, {"/photo.png", "gzip", "gzip", ready},
		{"/gz.txt", "zstd, gzip", "gzip", ready}, {"/gz.txt", "zstd, gzip;q=0.9", "zstd", onWay},
		// Text on the way.
		{"/text.txt", "gzip", "gzip", onWay}, {"/text.txt", "zstd", "zstd", onWay}, {"/text.txt", "gzip, zstd, br", "zstd", onWay}, {"/text.txt", "gzip, zstd;q=0.9", "gzip", onWay},
		{"/text.txt", "*", "zstd", onWay}, {"/least.txt", "gzip", "gzip", onWay}, {"/most.txt", "gzip", "gzip", onWay}, {"/most.txt", "zstd", "zstd", onWay},
		{"/old.txt", "gzip", "gzip", onWay}, // what lies beside it is older
		// As it is.
		{"/all.txt", "", "", ""}, {"/all.txt", "identity", "", ""}, {"/all.txt", "deflate", "", ""}, {"/all.txt", "gzip;q=0", "", ""}, {"/all.txt", "gzip;q=0.000", "", ""},
		{"/all.txt", "gzip;q=0.5, identity", "", ""}, {"/all.txt", "gzip;q=2", "", ""}, {"/all.txt", "gzip;q=-1", "", ""}, {"/all.txt", "gzip;q=", "", ""},
		{"/all.txt", "gzip;q=0.1234", "", ""}, {"/all.txt", "gzip;q=1.001", "", ""}, {"/all.txt", "gzip;level=9", "", ""}, {"/all.txt", "*;q=0.5, identity;q=0.6", "", ""},
		{"/text.txt", "br", "", ""}, {"/less.txt", "gzip", "", ""}, {"/more.txt", "gzip", "", ""}, {"/raw.png", "gzip", "", ""}, {"/font.woff2", "gzip", "", ""},
		// Who refuses it as it is gets it in any way that there is.
		{"/all.txt", "identity;q=0, br", "br", ready}, {"/less.txt", "gzip, identity;q=0", "gzip", onWay}, {"/raw.png", "gzip, *;q=0", "gzip", onWay},
		{"/empty.txt", "zstd, identity;q=0", "zstd", onWay},
		{"/all.txt", "identity;q=0", "406", ""}, {"/all.txt", "*;q=0", "406", ""}, {"/text.txt", "br, *;q=0", "406", ""}, {"/more.txt", "gzip, identity;q=0", "406", ""},
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			ask := client(t, &Files{Root: root, Prefix: "/", Compress: true}, mode)
			plain := client(t, &Files{Root: root, Prefix: "/"}, mode)
			for _, c := range cases {
				if mode != modes[0] && (c.target == "/most.txt" || c.target == "/more.txt") {
					continue // these take long
				}
				var fields []string
				for line := range strings.SplitSeq(c.accepts, "|") {
					if line != "" {
						fields = append(fields, "Accept-Encoding: "+line)
					}
				}
				g, head, raw := ask("GET", c.target, fields...), ask("HEAD", c.target, fields...), plain("GET", c.target)
				what := fmt.Sprintf("%s, which accepts %q: %d %v", c.target, c.accepts, g.StatusCode, g.Header)
				if g.field("Vary") != "Accept-Encoding" && g.field("Vary") != "accept-encoding" {
					t.Errorf("%s: no Vary", what)
				}
				for _, name := range []string{"Content-Type", "Content-Encoding", "Vary", "Etag", "Last-Modified", "Accept-Ranges", "Content-Length"} {
					if head.StatusCode != g.StatusCode || head.field(name) != g.field(name) && (name != "Content-Length" || c.from != onWay) {
						t.Errorf("%s: HEAD says %d %s %q", what, head.StatusCode, name, head.field(name))
					}
				}
				if c.coding == "406" {
					if g.StatusCode != 406 {
						t.Error(what)
					}
					continue
				}
				if g.StatusCode != 200 || g.field("Content-Encoding") != c.coding || g.field("Content-Type") != raw.field("Content-Type") {
					t.Errorf("%s, want %s", what, c.coding)
					continue
				}
				switch c.from {
				case ready:
					if want := map[string]string{"br": "BR", "zstd": "ZST", "gzip": "GZ"}[c.coding]; g.body != want || g.field("Accept-Ranges") != "bytes" {
						t.Errorf("%s: %.40q", what, g.body)
					}
				case onWay:
					if decoded(t, g) != raw.body || g.field("Accept-Ranges") != "" || head.field("Content-Length") != "" {
						t.Errorf("%s: %.40q", what, g.body)
					}
				default:
					if g.body != raw.body || g.field("Etag") != raw.field("Etag") {
						t.Errorf("%s: %.40q", what, g.body)
					}
				}
				if raw.field("Vary") != "" {
					t.Errorf("%s: without compress it says Vary", what)
				}
			}
		})
	}
}

// Each coding of a file has a tag of its own, by which it is found unchanged and by no other; ranges are of what lies there.
func TestCodedConditions(t *testing.T) {
	ask := client(t, &Files{Root: compressedSite(t), Prefix: "/", Compress: true}, modes[0])
	tags := map[string]string{}
	for _, target := range []string{"/all.txt", "/text.txt"} {
		for _, coding := range []string{"identity", "gzip", "zstd", "br"} {
			accepts := "Accept-Encoding: " + coding
			g := ask("GET", target, accepts)
			tag := g.field("Etag")
			if got := strings.HasSuffix(tag, "-"+coding+`"`); got != (g.field("Content-Encoding") != "") {
				t.Errorf("%s %s: %s", target, coding, tag)
			}
			if g := ask("GET", target, accepts, "If-None-Match: "+tag); g.StatusCode != 304 || g.field("Etag") != tag || g.field("Vary") == "" {
				t.Errorf("%s %s: %d %v", target, coding, g.StatusCode, g.Header)
			}
			tags[target+tag] = coding
		}
	}
	if len(tags) != 4+3 { // nobody makes br on the way
		t.Errorf("the tags are %v", tags)
	}
	for _, c := range []struct {
		target, coding, body string
		status               int
	}{
		{"/all.txt", "gzip", "Z", 206}, {"/all.txt", "br", "R", 206}, {"/all.txt", "identity", "h", 206},
		{"/text.txt", "gzip", "", 200}, {"/text.txt", "identity", "h", 206},
	} {
		g := ask("GET", c.target, "Accept-Encoding: "+c.coding, "Range: bytes=1-1")
		if g.StatusCode != c.status || c.status == 206 && g.body != c.body || g.field("Vary") == "" || c.coding != "identity" && g.field("Content-Encoding") != c.coding {
			t.Errorf("%s %s: %d %.40q %v", c.target, c.coding, g.StatusCode, g.body, g.Header)
		}
	}
	if g := ask("GET", "/all.txt", "Accept-Encoding: gzip", "If-Match: \"1\""); g.StatusCode != 412 || g.field("Vary") == "" {
		t.Errorf("%d %v", g.StatusCode, g.Header)
	}
}

// What is hidden, or leads out, lies beside nothing; nor does it where the file itself is not.
func TestBesideNothing(t *testing.T) {
	root := compressedSite(t)
	put(t, filepath.Join(root, "alone.txt.gz"), []byte("GZ"), changed)
	ask := client(t, &Files{Root: root, Prefix: "/", Compress: true}, modes[0])
	for _, target := range []string{"/alone.txt", "/out.txt", "/.env"} {
		if g := ask("GET", target, "Accept-Encoding: gzip"); g.StatusCode != 404 {
			t.Errorf("%s: %d", target, g.StatusCode)
		}
	}
	if g := ask("GET", "/alone.txt.gz"); g.StatusCode != 200 || g.field("Content-Encoding") != "" || g.field("Content-Type") != "application/gzip" {
		t.Errorf("asked for by its own name: %d %v", g.StatusCode, g.Header)
	}
}

// An encoder that has served is like a new one, also after its client has left in the middle.
func TestEncodersAreUsedAgain(t *testing.T) {
	for _, c := range []coding{gzipped, zstandard} {
		var sizes []int
		for i, text := range [][]byte{prose(300 << 10), prose(5000), nil, prose(300 << 10), prose(300 << 10)} {
			var b bytes.Buffer
			if i == 3 {
				if err := compress(failing{}, bytes.NewReader(text), c); err != io.ErrClosedPipe {
					t.Errorf("%s to nobody: %v", codings[c].name, err)
				}
			}
			if err := compress(&b, bytes.NewReader(text), c); err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, b.Len())
			g := got{&http.Response{Header: http.Header{"Content-Encoding": {string(codings[c].name)}}}, b.String()}
			if decoded(t, g) != string(text) {
				t.Errorf("%s, %d bytes: they come out as others", codings[c].name, len(text))
			}
		}
		if sizes[0] != sizes[3] || sizes[0] != sizes[4] || sizes[0] > 100<<10 {
			t.Errorf("%s: %v", codings[c].name, sizes)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// Clients that are slow to read have a bounded number of encoders between them. Who comes then gets the file as it is, until they
// are gone.
func TestEncodersAreBounded(t *testing.T) {
	root := compressedSite(t)
	noise := make([]byte, 4<<20) // nothing makes it smaller than what the sockets take
	rand.Read(noise)
	put(t, filepath.Join(root, "noise.txt"), noise, changed)
	f := &Files{Root: root, Prefix: "/", Compress: true}
	dial := engine(t, f, false)
	var slow []net.Conn
	for range cap(atWork) {
		c := dial()
		fmt.Fprint(c, "GET /noise.txt HTTP/1.1\r\nHost: site.example\r\nAccept-Encoding: gzip\r\n\r\n")
		slow = append(slow, c)
	}
	ask := func() string {
		return exchange(t, dial(), "GET", "/text.txt", "Accept-Encoding: gzip").field("Content-Encoding")
	}
	until(t, "all are at work", func() bool { return len(atWork) == cap(atWork) })
	if got := ask(); got != "" {
		t.Errorf("when all are at work: %q", got)
	}
	for _, c := range slow {
		c.Close()
	}
	until(t, "nobody is at work", func() bool { return len(atWork) == 0 })
	if got := ask(); got != "gzip" {
		t.Errorf("when nobody is at work: %q", got)
	}
}

// A file that gets shorter while it is sent ends in a failure that the client sees, compressed or not.
func TestCut(t *testing.T) {
	root := compressedSite(t)
	put(t, filepath.Join(root, "large.txt"), prose(1<<20), changed)
	for _, target := range []string{"/least.txt", "/large.txt"} {
		for _, accepts := range []string{"identity", "gzip", "zstd"} {
			recorded := make(chan error, 1)
			f := &Files{Root: root, Prefix: "/", Compress: true}
			h := wire.HandlerFunc(func(x *wire.Exchange) {
				x.Responder = longer{x.Responder, func() { put(t, filepath.Join(root, target), prose(500), changed) }}
				f.Serve(x)
				recorded <- x.Record.Err
			})
			before := prose(leastCompressed)
			if target == "/large.txt" {
				before = prose(1 << 20)
			}
			put(t, filepath.Join(root, target), before, changed)
			c := connect(t, h, false)
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: site.example\r\nAccept-Encoding: %s\r\n\r\n", target, accepts)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			if on := <-recorded; err == nil || on != errCut {
				t.Errorf("%s %s: the client sees %v, on record is %v", target, accepts, err, on)
			}
		}
	}
}

// longer has something happen between the head and the body.
type longer struct {
	wire.Responder
	then func()
}

func (l longer) Head(status int, f wire.Fields, length int64) error {
	err := l.Responder.Head(status, f, length)
	l.then()
	return err
}
