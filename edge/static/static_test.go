package static

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"edge/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// changed is when every file of site was.
var changed = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// site makes a folder to serve, next to a file that must not be.
func site(t *testing.T) (root string) {
	t.Helper()
	top := t.TempDir()
	root = filepath.Join(top, "site")
	for name, content := range map[string]string{
		"../secret.txt":           "secret",
		"index.html":              "<!doctype html>start",
		"a.txt":                   "0123456789",
		"two words.txt":           "a space",
		"100%.txt":                "a percent sign",
		"é.txt":                   "an accent",
		"a:b/index.html":          "a colon",
		"style.css":               "body {}",
		"app.js":                  "1",
		"data.json":               "{}",
		"logo.svg":                "<svg/>",
		"unknown":                 "\x00\x01",
		"empty.txt":               "",
		"folder/index.html":       "folder",
		"folder/deep/x.txt":       "deep",
		"folder/.hidden":          "secret",
		"bare/x.txt":              "x",
		"odd/index.html/x.txt":    "x",
		"evil.example/index.html": "evil",
		".env":                    "secret",
		".git/config":             "secret",
		".well-known/x":           "known",
		".well-known/.y":          "secret",
		"folder/.well-known/x":    "secret",
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"in.txt":     "folder/deep/x.txt",
		"inside":     "folder",
		"out.txt":    "../secret.txt",
		"abs.txt":    filepath.Join(top, "secret.txt"),
		"outside":    "..",
		"broken.txt": "nothing",
		"loop":       "loop",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(root, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	return root
}

// reply is an answer, and what went on record.
type reply struct {
	*http.Response
	body string
	err  error
}

// ask serves f on a socket and sends it one request, its target as it is. Each of more is a header line.
func ask(t *testing.T, f *Files, method, target string, more ...string) reply {
	t.Helper()
	recorded := make(chan error, 1)
	srv := httptest.NewServer(wire.ServeHTTP(wire.HandlerFunc(func(x *wire.Exchange) {
		f.Serve(x)
		recorded <- x.Record.Err
	}), &wire.Conn{Body: time.Minute, Write: time.Minute}, nil))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n%s\r\n", method, target, strings.Join(append(more, ""), "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	srv.Close() // waits for the handler
	a := reply{Response: resp, body: string(body)}
	select {
	case a.err = <-recorded:
	default: // refused before it reached the handler
	}
	return a
}

// walled runs a test with the kernel's wall, and with that of os.Root, which stands where the kernel has none.
func walled(t *testing.T, test func(*testing.T)) {
	t.Run("openat2", func(t *testing.T) {
		if !kernelWalls() {
			t.Skip("this kernel has no openat2, or does not let us call it")
		}
		test(t)
	})
	t.Run("os.Root", func(t *testing.T) {
		kernel := kernelWalls
		kernelWalls = func() bool { return false }
		defer func() { kernelWalls = kernel }()
		test(t)
	})
}

func TestFound(t *testing.T) { walled(t, testFound) }

func testFound(t *testing.T) {
	root := site(t)
	for _, c := range []struct{ prefix, target, body, ctype string }{
		{"/", "/", "<!doctype html>start", "text/html; charset=utf-8"},
		{"/", "/index.html", "<!doctype html>start", "text/html; charset=utf-8"},
		{"/", "/a.txt", "0123456789", "text/plain; charset=utf-8"},
		{"/", "/a.txt?v=1", "0123456789", "text/plain; charset=utf-8"},
		{"/", "/%61.txt", "0123456789", "text/plain; charset=utf-8"},
		{"/", "http://site.example/a.txt", "0123456789", "text/plain; charset=utf-8"},
		{"/", "/two%20words.txt", "a space", "text/plain; charset=utf-8"},
		{"/", "/100%25.txt", "a percent sign", "text/plain; charset=utf-8"},
		{"/", "/%C3%A9.txt", "an accent", "text/plain; charset=utf-8"},
		{"/", "/é.txt", "an accent", "text/plain; charset=utf-8"},
		{"/", "/empty.txt", "", "text/plain; charset=utf-8"},
		{"/", "/style.css", "body {}", "text/css; charset=utf-8"},
		{"/", "/app.js", "1", "text/javascript; charset=utf-8"},
		{"/", "/data.json", "{}", "application/json"},
		{"/", "/logo.svg", "<svg/>", "image/svg+xml"},
		{"/", "/unknown", "\x00\x01", "application/octet-stream"},
		{"/", "/folder/", "folder", "text/html; charset=utf-8"},
		{"/", "/folder/deep/x.txt", "deep", "text/plain; charset=utf-8"},
		{"/", "/.well-known/x", "known", ""},
		{"/", "/in.txt", "deep", "text/plain; charset=utf-8"},
		{"/", "/inside/", "folder", "text/html; charset=utf-8"},
		{"/", "/inside/deep/x.txt", "deep", "text/plain; charset=utf-8"},
		{"/assets/", "/assets/", "<!doctype html>start", "text/html; charset=utf-8"},
		{"/assets/", "/assets/a.txt", "0123456789", "text/plain; charset=utf-8"},
		{"/assets/", "/assets/folder/deep/x.txt", "deep", "text/plain; charset=utf-8"},
	} {
		f := &Files{Root: root, Prefix: c.prefix}
		for _, method := range []string{"GET", "HEAD"} {
			a := ask(t, f, method, c.target)
			want := c.body
			if method == "HEAD" {
				want = ""
			}
			if a.StatusCode != 200 || a.body != want || a.ContentLength != int64(len(c.body)) {
				t.Errorf("%s %s: %d, length %d, %q", method, c.target, a.StatusCode, a.ContentLength, a.body)
			}
			if got := a.Header.Get("Content-Type"); c.ctype != "" && got != c.ctype {
				t.Errorf("%s %s: Content-Type %q, want %q", method, c.target, got, c.ctype)
			}
			if got := a.Header.Get("Last-Modified"); got != changed.Format(http.TimeFormat) {
				t.Errorf("%s %s: Last-Modified %q", method, c.target, got)
			}
			if a.err != nil {
				t.Errorf("%s %s: on record: %v", method, c.target, a.err)
			}
		}
	}
}

func TestNotFound(t *testing.T) { walled(t, testNotFound) }

func testNotFound(t *testing.T) {
	root := site(t)
	for _, c := range []struct {
		prefix, target string
		status         int
		recorded       bool // the operator is told why
	}{
		{"/", "/nothing", 404, false},
		{"/", "/nothing/", 404, false},
		{"/", "/bare/", 404, false}, // no listing
		{"/", "/odd/", 404, false},
		{"/", "/a.txt/", 404, true}, // no folder
		{"/", "/" + strings.Repeat("n", 300), 404, true},
		{"/", "/.env", 404, false},
		{"/", "/%2eenv", 404, false},
		{"/", "/.git/config", 404, false},
		{"/", "/.git/", 404, false},
		{"/", "/.git", 404, false},
		{"/", "/folder/.hidden", 404, false},
		{"/", "/folder%2f.hidden", 404, false},
		{"/", "/folder/.well-known/x", 404, false}, // only at the root
		{"/", "/.well-known/.y", 404, false},
		{"/", "/...", 404, false},
		{"/", "/folder//deep/x.txt", 404, false},
		{"/", "/folder/%2fdeep/x.txt", 404, false},
		{"/", "//a.txt", 404, false},
		{"/", "//", 404, false},
		{"/assets/", "/assets//a.txt", 404, false},
		{"/", "/out.txt", 404, true},
		{"/", "/abs.txt", 404, true},
		{"/", "/outside/secret.txt", 404, true},
		{"/", "/broken.txt", 404, false},
		{"/", "/loop", 404, true},
		{"/", "/pipe", 404, false},
		{"/", "/../secret.txt", 400, false}, // these never get as far as here
		{"/", "/%2e%2e/secret.txt", 400, false},
		{"/", "/folder%2f..%2f..%2fsecret.txt", 400, false},
		{"/", "/a.txt%00", 400, false},
		{"/", `/folder\deep`, 400, false},
		{"/", "/%5c", 400, false},
	} {
		a := ask(t, &Files{Root: root, Prefix: c.prefix}, "GET", c.target)
		if a.StatusCode != c.status || strings.Contains(a.body, "secret") || strings.Contains(a.body, "x.txt") {
			t.Errorf("%s: %d %q, want %d", c.target, a.StatusCode, a.body, c.status)
		}
		if (a.err != nil) != c.recorded {
			t.Errorf("%s: on record: %v", c.target, a.err)
		}
	}
}

// A folder's relative links need its last slash; whatever the path looks like, the browser stays on the host.
func TestRedirect(t *testing.T) {
	root := site(t)
	for _, c := range []struct{ prefix, target, lands string }{
		{"/", "/folder", "/folder/"},
		{"/", "/folder?", "/folder/?"},
		{"/", "/folder?a=b&c=//d", "/folder/?a=b&c=//d"},
		{"/", "/folder/deep", "/folder/deep/"},
		{"/", "/inside", "/inside/"},
		{"/", "/.well-known", "/.well-known/"},
		{"/", "/a:b", "/a:b/"}, // no scheme
		{"/", "/a%3Ab", "/a%3Ab/"},
		{"/", "/folder%2fdeep", "/folder%2fdeep/"},
		{"/assets/", "/assets/folder", "/assets/folder/"},
		{"//", "//evil.example", "//evil.example/"}, // no host
		{"/", "http://site.example/folder", "/folder/"},
	} {
		a := ask(t, &Files{Root: root, Prefix: c.prefix}, "GET", c.target)
		base, err := url.Parse("https://site.example" + strings.TrimPrefix(c.target, "http://site.example"))
		if err != nil {
			t.Fatal(err)
		}
		to, err := base.Parse(a.Header.Get("Location"))
		if a.StatusCode != 308 || err != nil || to.String() != "https://site.example"+c.lands {
			t.Errorf("%s: %d, Location %q, lands at %v %v", c.target, a.StatusCode, a.Header.Get("Location"), to, err)
		}
	}
}

func TestConditions(t *testing.T) {
	f := &Files{Root: site(t), Prefix: "/"}
	date := changed.Format(http.TimeFormat)
	for _, c := range []struct {
		method, line string
		status       int
		body, header string // and "name: value" that the answer must have
	}{
		{"GET", "Range: bytes=2-4", 206, "234", "Content-Range: bytes 2-4/10"},
		{"GET", "Range: bytes=-3", 206, "789", "Content-Range: bytes 7-9/10"},
		{"GET", "Range: bytes=20-", 416, "", "Content-Range: bytes */10"},
		{"GET", "Range: bytes=2-4\r\nIf-Range: " + date, 206, "234", "Content-Length: 3"},
		{"GET", "Range: bytes=2-4\r\nIf-Range: Mon, 01 Jan 2024 00:00:00 GMT", 200, "0123456789", "Content-Length: 10"},
		{"GET", "If-Modified-Since: " + date, 304, "", "Etag: \"17ccd493b5ff3a00-a\""},
		{"HEAD", "If-Modified-Since: " + date, 304, "", "Etag: \"17ccd493b5ff3a00-a\""},
		{"GET", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 200, "0123456789", "Content-Length: 10"},
		{"GET", "If-Unmodified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 412, "", ""},
		{"HEAD", "Accept: */*", 200, "", "Content-Length: 10"},
		{"GET", "Accept: */*", 200, "0123456789", "Accept-Ranges: bytes"},
	} {
		a := ask(t, f, c.method, "/a.txt", c.line)
		name, value, _ := strings.Cut(c.header, ": ")
		if a.StatusCode != c.status || a.StatusCode < 400 && a.body != c.body || a.Header.Get(name) != value {
			t.Errorf("%s %q: %d %q %v", c.method, c.line, a.StatusCode, a.body, a.Header)
		}
	}
}

func TestMethods(t *testing.T) {
	f := &Files{Root: site(t), Prefix: "/", Fallback: "/index.html"}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "get"} {
		a := ask(t, f, method, "/a.txt", "Content-Length: 0")
		if a.StatusCode != 405 || a.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, Allow %q", method, a.StatusCode, a.Header.Get("Allow"))
		}
	}
}

func TestFallback(t *testing.T) { walled(t, testFallback) }

func testFallback(t *testing.T) {
	root := site(t)
	for _, c := range []struct {
		prefix, fallback, target string
		status                   int
		body                     string
	}{
		{"/", "/index.html", "/some/page", 200, "<!doctype html>start"},
		{"/", "/index.html", "/some/page/", 200, "<!doctype html>start"},
		{"/", "/index.html", "/bare/", 200, "<!doctype html>start"},
		{"/", "/index.html", "/.env", 200, "<!doctype html>start"},
		{"/", "/index.html", "/out.txt", 200, "<!doctype html>start"},
		{"/", "/index.html", "/a.txt/page", 200, "<!doctype html>start"}, // below a file
		{"/", "/index.html", "/" + strings.Repeat("n", 300), 200, "<!doctype html>start"},
		{"/", "/index.html", "/a.txt", 200, "0123456789"},
		{"/assets/", "/folder/index.html", "/assets/x", 200, "folder"},
		{"/", "/missing.html", "/x", 404, "There is nothing here.\n"},
		{"/", "/folder", "/x", 404, "There is nothing here.\n"},
		{"/", "/.env", "/x", 404, "There is nothing here.\n"},
	} {
		f := &Files{Root: root, Prefix: c.prefix, Fallback: c.fallback}
		if a := ask(t, f, "GET", c.target); a.StatusCode != c.status || a.body != c.body {
			t.Errorf("%s, else %s: %d %q", c.target, c.fallback, a.StatusCode, a.body)
		}
	}
	if a := ask(t, &Files{Root: root, Prefix: "/", Fallback: "/index.html"}, "GET", "/folder"); a.StatusCode != 308 {
		t.Errorf("a folder that is there: %d", a.StatusCode)
	}
}

// A folder that is not there is the server's mistake, not the client's.
func TestRootMissing(t *testing.T) {
	for _, root := range []string{filepath.Join(t.TempDir(), "nothing"), filepath.Join(site(t), "a.txt")} {
		f := &Files{Root: root, Prefix: "/", Fallback: "/index.html"}
		if a := ask(t, f, "GET", "/a.txt"); a.StatusCode != 500 || a.err == nil || strings.Contains(a.body, root) {
			t.Errorf("%s: %d %q, on record: %v", root, a.StatusCode, a.body, a.err)
		}
	}
}

func TestStatus(t *testing.T) {
	for err, want := range map[error]int{
		unix.EMFILE:  503,
		unix.ENFILE:  503,
		unix.EIO:     500,
		unix.EACCES:  403,
		unix.EPERM:   403,
		unix.ENOENT:  404,
		unix.ENOTDIR: 404,
	} {
		if got := status(&fs.PathError{Err: err}); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if got := status(fmt.Errorf("%w: %w", errRoot, unix.EMFILE)); got != 503 {
		t.Errorf("no descriptor for the root: %d", got)
	}
}

// More than what is written in one piece.
func TestLarge(t *testing.T) {
	root := site(t)
	content := make([]byte, 5<<20+7)
	rand.Read(content)
	if err := os.WriteFile(filepath.Join(root, "large.bin"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	f := &Files{Root: root, Prefix: "/"}
	if a := ask(t, f, "GET", "/large.bin"); !bytes.Equal([]byte(a.body), content) || a.ContentLength != int64(len(content)) {
		t.Errorf("%d, length %d, %d bytes", a.StatusCode, a.ContentLength, len(a.body))
	}
	if a := ask(t, f, "GET", "/large.bin", "Range: bytes=1000000-"); !bytes.Equal([]byte(a.body), content[1000000:]) {
		t.Errorf("from the middle: %d, length %d, %d bytes", a.StatusCode, a.ContentLength, len(a.body))
	}
}

// Root may read everything: as root the test runs once more as nobody.
func TestForbidden(t *testing.T) {
	if os.Geteuid() == 0 {
		self := exec.Command("/proc/self/exe", "-test.run=^TestForbidden$", "-test.v")
		self.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		self.Env = []string{"TMPDIR=/tmp"}
		if out, err := self.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestForbidden")) {
			t.Fatalf("as nobody: %v\n%s", err, out)
		}
		return
	}
	root := site(t)
	os.Chmod(filepath.Join(root, "a.txt"), 0)
	os.Chmod(filepath.Join(root, "folder"), 0)
	defer os.Chmod(filepath.Join(root, "folder"), 0o755) // for whoever removes it
	for _, target := range []string{"/a.txt", "/folder/", "/folder/deep/x.txt"} {
		for _, fallback := range []string{"", "/index.html"} {
			a := ask(t, &Files{Root: root, Prefix: "/", Fallback: fallback}, "GET", target)
			if a.StatusCode != 403 || a.err == nil {
				t.Errorf("%s, else %q: %d, on record: %v", target, fallback, a.StatusCode, a.err)
			}
		}
	}
	os.Chmod(filepath.Join(root, "bare"), 0o111) // what lies in it may be read, a list of it not
	defer os.Chmod(filepath.Join(root, "bare"), 0o755)
	for target, want := range map[string]int{"/bare/": 403, "/bare/x.txt": 200} {
		a := ask(t, &Files{Root: root, Prefix: "/", Browse: true, Fallback: "/index.html"}, "GET", target)
		if a.StatusCode != want || (a.err != nil) != (want == 403) {
			t.Errorf("%s: %d, on record: %v", target, a.StatusCode, a.err)
		}
	}
	os.Chmod(root, 0)
	defer os.Chmod(root, 0o755)
	if a := ask(t, &Files{Root: root, Prefix: "/"}, "GET", "/a.txt"); a.StatusCode != 500 || a.err == nil {
		t.Errorf("a root without permission: %d, on record: %v", a.StatusCode, a.err)
	}
}
