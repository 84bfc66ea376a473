package edge

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"
)

// everything is a configuration with all that keeps something open, or runs beside requests.
const everything = base + `
[[listener]]
name = "metrics"
address = "127.0.0.2:0"
protocol = "metrics"
pprof = true
[[listener]]
name = "tcp"
address = "127.0.0.3:0"
protocol = "tcp"
proxy = "tcp://APP"
max_connections = 100
[[listener]]
name = "unix"
address = "unix:DIR/edge.sock"
protocol = "http"
[login]
host = "login.localhost"
[[upstream]]
name = "app"
targets = ["http://APP", "http://127.0.0.1:1"]
health = { interval = "5ms", timeout = "1s", path = "/health" }
retries = {}
sticky = {}
slow_start = "1s"
max_in_flight = 10
queue = {}
[[upstream]]
name = "h2c"
targets = ["h2c://H2C"]
health = { interval = "5ms", path = "/health" }
[[vhost]]
hosts = ["a.localhost"]
listeners = ["https", "http", "unix"]
access = "public"
rate_limit = { requests = 1000 }
proxy = "app"
error_pages = { "404" = "DIR/page.html" }
  [[vhost.route]]
  path = "/files/"
  files = "DIR/site"
  compress = true
  browse = true
  [[vhost.route]]
  path = "/h2c/"
  proxy = "h2c"
[[vhost]]
hosts = ["b.localhost"]
tls = { min_version = "1.3" }
basic_auth = { file = "DIR/htpasswd" }
access = "public"
echo = true
[log]
access = "DIR/access.log"
hide = ["token"]
`

// less is one that keeps little of everything: its upstreams, listeners and log are others.
const less = base + `
[[upstream]]
name = "app"
targets = ["http://APP"]
health = { interval = "5ms" }
[[vhost]]
hosts = ["a.localhost"]
listeners = ["https", "http"]
proxy = "app"
  [[vhost.route]]
  path = "/files/"
  files = "DIR/other"
  [[vhost.route]]
  path = "/h2c/"
  proxy = "h2c://H2C"
[log]
access = "DIR/other.log"
format = "combined"
`

// world is the targets, files and clients of a test of reloads.
type world struct {
	t      *testing.T
	s      *Server
	dir    string
	names  *strings.Replacer
	client http.Client
}

// startWorld serves everything.
func startWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"site/x.txt": strings.Repeat("x", 4096), "other/x.txt": strings.Repeat("y", 4096), "page.html": "nothing", "htpasswd": "alice:" + string(hash) + "\n",
	} {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	up := app(t)
	w := &world{t: t, dir: dir, names: strings.NewReplacer("DIR", dir, "APP", up, "H2C", strings.TrimPrefix(h2c.URL, "http://"))}
	w.s = newServer(t, dir, up, w.names.Replace(everything))
	w.s.start(w.s.table.Sockets())
	w.client.Transport = &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			port, _, _ := strings.Cut(addr[strings.LastIndexByte(addr, ':')+1:], "/")
			name := map[string]string{"80": "http", "443": "https", "1": "metrics", "2": "unix"}[port]
			at := w.addr(name)
			return new(net.Dialer).DialContext(ctx, at.Network(), at.String())
		},
	}
	return w
}

// addr is where a listener listens; nil: there is none of this name.
func (w *world) addr(name string) net.Addr {
	for _, socket := range w.s.table.Sockets() {
		if socket.Name() == name {
			return socket.Addr()
		}
	}
	return nil
}

// get asks for a URL, and gives the status and the body.
func (w *world) get(url string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.SetBasicAuth("alice", "secret")
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// use has requests go through whatever the configuration in force has.
func (w *world) use(all bool) {
	w.t.Helper()
	urls := []string{"https://a.localhost/", "http://a.localhost/", "https://a.localhost/files/x.txt", "https://a.localhost/h2c/"}
	if all {
		if _, metrics := w.get("http://m.localhost:1/metrics"); !strings.Contains(metrics, "edge_upstream_waiting{upstream=\"app\"} 0\n") {
			w.t.Errorf("the metrics tell nothing of the queue:\n%s", metrics)
		}
		urls = append(urls, "https://b.localhost/", "http://a.localhost:2/", "http://a.localhost/files/")
		at := w.addr("tcp")
		c, err := net.Dial(at.Network(), at.String())
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), "app /") {
			w.t.Fatalf("tunnel: %q, %v", answer, err)
		}
		c.Close()
	}
	for _, url := range urls {
		if status, body := w.get(url); status != http.StatusOK {
			w.t.Fatalf("%s: %d %s", url, status, body)
		}
	}
}

// reload puts a text into the file and has it read.
func (w *world) reload(text string) error {
	if err := os.WriteFile(w.s.File, []byte(w.names.Replace(text)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.s.reload(context.Background())
}

// held is what a process holds.
type held struct{ descriptors, goroutines, heap int }

func holds() held {
	runtime.GC() // twice: what closes a file runs after the first
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	list, _ := os.ReadDir("/proc/self/fd")
	return held{len(list), runtime.NumGoroutine(), int(m.HeapAlloc)}
}

// within says whether h is no more than was, but for what comes and goes: a health check may be on its way, and pools fill.
func (h held) within(was held) bool {
	return h.descriptors <= was.descriptors+4 && h.goroutines <= was.goroutines+8 && h.heap <= was.heap+was.heap/4+1<<20
}

// Whatever reloads make and leave, also those that are refused, is given back.
func TestReloadsGiveBack(t *testing.T) {
	w := startWorld(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	refused := strings.Replace(everything, "DIR/access.log", "DIR/third.log", 1) + `
[[listener]]
name = "fresh"
address = "127.0.0.4:0"
protocol = "http"
[[listener]]
name = "taken"
address = "` + taken.Addr().String() + `"
protocol = "http"
`
	turn := func() {
		if err := w.reload(less); err != nil {
			t.Fatal(err)
		}
		w.use(false)
		if w.reload(refused) == nil {
			t.Fatal("what cannot be bound was not refused")
		}
		if err := w.reload(everything); err != nil {
			t.Fatal(err)
		}
		w.use(true)
		if err := w.reload("# moved by a line\n" + everything); err != nil {
			t.Fatal(err)
		}
		w.use(true)
	}
	const turns, first = 50, 10 // of four reloads
	for range first {
		turn()
	}
	was := holds()
	for range turns - first {
		turn()
	}
	now := holds()
	for limit := time.Now().Add(10 * time.Second); !now.within(was) && time.Now().Before(limit); now = holds() {
		runtime.Gosched() // connections end on goroutines of their own
	}
	t.Logf("after %d reloads %+v, after %d %+v", 4*first, was, 4*turns, now)
	if !now.within(was) {
		t.Errorf("after %d reloads %+v is held, after %d %+v", 4*first, was, 4*turns, now)
	}
}

// A connection limit goes with the sockets, whatever their listeners are called: who is connected counts.
func TestLimitGoesWithSockets(t *testing.T) {
	dir := t.TempDir()
	limited := strings.Replace(base, "[[certificate]]", "max_connections = 7\n[[certificate]]", 1) +
		"[[listener]]\nname = \"two\"\naddress = \"127.0.0.2:0\"\nprotocol = \"http\"\nmax_connections = 7\n" +
		"[[vhost]]\nhosts = \"a.localhost\"\necho = true\n"
	s := newServer(t, dir, "", limited)
	was := s.live.Load().limits
	load(t, dir, "", strings.NewReplacer(`"http"`+"\naddress", `"two"`+"\naddress", `"two"`+"\naddress", `"three"`+"\naddress").Replace(limited))
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := s.live.Load().limits
	if now["two"] == nil || now["two"] != was["http"] || now["three"] != was["two"] {
		t.Errorf("after two listeners were renamed, the limits are %p, %p, and were %p, %p", now["two"], now["three"], was["http"], was["two"])
	}
	load(t, dir, "", strings.ReplaceAll(limited, "max_connections = 7", "max_connections = 8"))
	if err := s.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.live.Load().limits["http"] == was["http"] {
		t.Error("the limit of before is in force after it was changed")
	}
}

// A pipe where a file should be is a mistake: to wait for who writes to it would be to hear no signal any more.
func TestPipesAreNoFiles(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	const vhost = "[[vhost]]\nhosts = \"a.localhost\"\necho = true\n"
	s := newServer(t, dir, "", base+vhost)
	for _, text := range []string{
		"error_pages = { 404 = \"fifo\" }",
		"maintenance = { page = \"fifo\" }",
		"basic_auth = { file = \"fifo\" }",
		"tls = { client_auth = \"required\", client_ca = \"fifo\" }",
		"[[upstream]]\nname = \"u\"\ntargets = \"https://127.0.0.1\"\ntls = { ca = \"fifo\" }",
		"[[certificate]]\ncert = \"fifo\"\nkey = \"fifo\"",
	} {
		cfg := load(t, dir, "", base+vhost+text+"\n")
		for what, err := range map[string]error{"check": Check(cfg), "reload": func() error { _, err := s.draft(cfg); return err }()} {
			if err == nil || !strings.Contains(err.Error(), "is no regular file") {
				t.Errorf("%s of %s: %v", what, text, err)
			}
		}
	}
}

// Reloads that come faster than the garbage collector leave no more folders open than one does.
func TestReloadKeepsFolders(t *testing.T) {
	w := startWorld(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	open := func() (n int) {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range list {
			if name, _ := os.Readlink("/proc/self/fd/" + fd.Name()); name == filepath.Join(w.dir, "site") {
				n++
			}
		}
		return n
	}
	w.use(true)
	was := open()
	for n := range 10 {
		if err := w.reload(strings.Repeat("# moved by a line\n", n) + everything); err != nil {
			t.Fatal(err)
		}
		w.use(true)
	}
	if now := open(); was == 0 || now != was {
		t.Errorf("the folder was open %d times, after the reloads %d times", was, now)
	}
	if err := w.reload(strings.Replace(everything, "DIR/site", "DIR/other", 1)); err != nil {
		t.Fatal(err)
	}
	if status, body := w.get("https://a.localhost/files/x.txt"); status != http.StatusOK || body[0] != 'y' {
		t.Errorf("another folder: %d %.9q", status, body)
	}
}
