package static

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"edge/edge/wire"
)

// probe says how the body is handed to the engine.
type probe struct {
	wire.Responder
	handed []string
}

func (p *probe) Write(b []byte) (int, error) {
	p.handed = append(p.handed, fmt.Sprintf("%d bytes", len(b)))
	return p.Responder.Write(b)
}

func (p *probe) ReadFrom(r io.Reader) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if !ok {
		p.handed = append(p.handed, fmt.Sprintf("%T", r))
		return p.Responder.ReadFrom(r)
	}
	p.handed = append(p.handed, fmt.Sprintf("%d of %T", l.N, l.R))
	return p.Responder.ReadFrom(r)
}

// A small file is one read and one write; a large one is handed to the engine as what sendfile takes, a file and how much of it: edge/h1 does the rest,
// and its TestReadFrom tells of it. A HEAD hands over nothing.
func TestHanded(t *testing.T) {
	root := t.TempDir()
	for name, size := range map[string]int{"small": atOnce, "large": atOnce + 1, "none": 0} {
		put(t, filepath.Join(root, name), prose(size), changed)
	}
	f := &Files{Root: root, Prefix: "/"}
	for _, c := range []struct{ method, target, fields, handed string }{
		{"GET", "/small", "", fmt.Sprintf("[%d bytes]", atOnce)},
		{"GET", "/large", "", fmt.Sprintf("[%d of *os.File]", atOnce+1)},
		{"GET", "/large", "Range: bytes=5-", fmt.Sprintf("[%d bytes]", atOnce-4)},
		{"HEAD", "/large", "", "[]"},
		{"GET", "/large", "If-None-Match: *", "[]"},
	} {
		handed := make(chan []string, 1)
		ask := client(t, wire.HandlerFunc(func(x *wire.Exchange) {
			p := &probe{Responder: x.Responder}
			x.Responder = p
			f.Serve(x)
			handed <- p.handed
		}), modes[0])
		ask(c.method, c.target, c.fields)
		if got := fmt.Sprint(<-handed); got != c.handed {
			t.Errorf("%s %s %s: %s, want %s", c.method, c.target, c.fields, got, c.handed)
		}
	}
}

// A file allocates its name, and that for the kernel; nothing else, whatever is said about it.
func TestAllocFile(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	root := t.TempDir()
	put(t, filepath.Join(root, "1k.txt"), prose(1<<10), changed)
	put(t, filepath.Join(root, "zipped.txt"), prose(2<<10), changed)
	put(t, filepath.Join(root, "zipped.txt.gz"), prose(1<<10), changed)
	for _, c := range []struct {
		target, fields string
		each           int // allocations for each request
	}{
		{"/1k.txt", "", 2},
		{"/1k.txt", "If-None-Match: \"no\"\r\nIf-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\nAccept-Encoding: gzip, br", 2},
		{"/zipped.txt", "Accept-Encoding: gzip", 4}, // and those of the file beside it
	} {
		const n = 5000
		ask := asker(t, connect(t, &Files{Root: root, Prefix: "/", Compress: c.target != "/1k.txt"}, false), c.target, c.fields)
		for range 100 {
			ask()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			ask()
		}
		runtime.ReadMemStats(&after)
		got := after.Mallocs - before.Mallocs
		t.Logf("%s: %d requests made %d allocations", c.target, n, got)
		if got >= uint64(c.each*n+n/10) {
			t.Errorf("%s %s: these are too many", c.target, c.fields)
		}
	}
}

// What a file is does not depend on the machine.
func TestKinds(t *testing.T) {
	if err := mime.AddExtensionType(".css", "application/x-other"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a.html": "text/html; charset=utf-8", "a.htm": "text/html; charset=utf-8", "a.css": "text/css; charset=utf-8", "a.js": "text/javascript; charset=utf-8",
		"a.mjs": "text/javascript; charset=utf-8", "a.txt": "text/plain; charset=utf-8", "a.json": "application/json", "a.map": "application/json",
		"a.wasm": "application/wasm", "a.svg": "image/svg+xml", "a.woff2": "font/woff2", "a.webmanifest": "application/manifest+json", "a.avif": "image/avif",
		"a.webp": "image/webp", "a.png": "image/png", "A.JPG": "image/jpeg", "a.PDF": "application/pdf", "a.mp4": "video/mp4", "a.xml": "text/xml; charset=utf-8",
		"a.tar.gz": "application/gzip", "a": "application/octet-stream", "a.": "application/octet-stream", "a.exe": "application/octet-stream",
		"html": "application/octet-stream", "dir.html/a": "application/octet-stream",
	} {
		if got := string(mediaOf(name).ctype); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// What no file can be read from is a failure that the client sees, not an answer that is cut short.
func TestReadAt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	put(t, name, []byte("0123456789"), changed)
	h, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	f := &file{fd: int(h.Fd())}
	b := make([]byte, 4)
	if err := f.readAt(b, 6); err != nil || !bytes.Equal(b, []byte("6789")) {
		t.Errorf("%q, %v", b, err)
	}
	if err := f.readAt(b, 7); err != errCut {
		t.Errorf("past the end: %v", err)
	}
	h.Close()
	if err := (&file{fd: -1}).readAt(b, 0); err == nil || err == errCut {
		t.Errorf("of no file: %v", err)
	}
}
