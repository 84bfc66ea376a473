package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// rulesBase begins the configurations of these tests: clients come from 127.0.0.x, to "behind" as proxies too.
const rulesBase = `
state_dir = "DIR/state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[listener]]
name = "http"
address = ["127.0.0.2:0", "unix:DIR/http.sock"]
protocol = "http"
[[listener]]
name = "behind"
address = ["127.0.0.3:0", "unix:DIR/behind.sock"]
protocol = "http"
trusted_proxies = ["127.0.0.8/31", "10.0.0.0/8", "unix"]
[[certificate]]
hosts = ["localhost", "*.localhost"]
issuer = "dev"
`

// front is a server that really listens.
type front struct {
	t       *testing.T
	s       *Server
	dir, up string
}

func newFront(t *testing.T, dir, up, text string) *front {
	t.Helper()
	w := &front{t, newServer(t, dir, up, rulesBase+text), dir, up}
	w.s.primary = true
	w.s.start(w.s.table.Sockets())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		w.s.conns.Stop(ctx)
	})
	return w
}

// reload puts another text in force.
func (w *front) reload(text string) {
	w.t.Helper()
	load(w.t, w.dir, w.up, rulesBase+text)
	if err := w.s.reload(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// dial connects to a listener from an address; "unix" is its unix socket.
func (w *front) dial(listener, from string) net.Conn {
	w.t.Helper()
	var c net.Conn
	var err error
	for _, socket := range w.s.table.Sockets() {
		if socket.Name() != listener || (socket.Addr().Network() == "unix") != (from == "unix") {
			continue
		}
		d := net.Dialer{}
		if from != "unix" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
		}
		c, err = d.Dial(socket.Addr().Network(), socket.Addr().String())
	}
	if err != nil || c == nil {
		w.t.Fatalf("%s from %s: %v", listener, from, err)
	}
	if listener == "https" {
		c = tls.Client(c, &tls.Config{ServerName: "a.localhost", InsecureSkipVerify: true})
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// answer is what came back.
type answer struct {
	*http.Response
	body string
}

// ask sends a request, "GET /x" and fields, on a connection of its own, and reads to the end: the log has its line then.
func (w *front) ask(listener, from, request string, fields ...string) answer {
	w.t.Helper()
	c := w.dial(listener, from)
	head, body, _ := strings.Cut(request, "\n")
	method, target, _ := strings.Cut(head, " ")
	if !slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, "Host: ") }) {
		fields = append(fields, "Host: a.localhost")
	}
	if body != "" {
		fields = append(fields, "Content-Length: "+strconv.Itoa(len(body)))
	}
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n%s", method, target, strings.Join(fields, "\r\n"), body)
	r, _ := http.NewRequest(method, "/", nil)
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, r)
	if err != nil {
		w.t.Fatalf("%s from %s: %v", request, from, err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		w.t.Fatalf("behind the answer: %q, %v", rest, err)
	}
	return answer{resp, string(text)}
}

// wants fails unless the answer has this status and these parts, in its body or as "Name: value".
func (w *front) wants(what string, a answer, status int, parts ...string) {
	w.t.Helper()
	var head strings.Builder
	a.Header.Write(&head)
	all := strings.ReplaceAll(head.String(), "\r\n", "\n") + "\n" + a.body
	if a.StatusCode != status {
		w.t.Errorf("%s: %d, want %d: %s", what, a.StatusCode, status, all)
	}
	for _, part := range parts {
		not := strings.HasPrefix(part, "!")
		if strings.Contains(all, strings.TrimPrefix(part, "!")) == not {
			w.t.Errorf("%s: %q in:\n%s", what, part, all)
		}
	}
}

// lastLog is the log's last line.
func (w *front) lastLog() (line map[string]any) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "state", "access.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &line); err != nil {
		w.t.Fatal(err)
	}
	return line
}

// mirror is an upstream that says what it was asked, with the status, the Retry-After and the body size that the query wants.
func mirror(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		rw.Header().Set("X-From", "upstream")
		rw.Header().Set("Location", "/from/upstream")
		if s := r.URL.Query().Get("retry"); s != "" {
			rw.Header().Set("Retry-After", s)
		}
		if s, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
			rw.WriteHeader(s)
		}
		fmt.Fprintf(rw, "%s %s host=%s\n", r.Method, r.RequestURI, r.Host)
		r.Header.Write(rw)
		for k, v := range r.Trailer {
			fmt.Fprintf(rw, "trailer %s: %v\n", k, v)
		}
		if n, err := strconv.Atoi(r.URL.Query().Get("size")); err == nil {
			rw.Write(make([]byte, n))
		}
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

const proxied = `
[[vhost]]
hosts = "a.localhost"
listeners = ["https", "http", "behind"]
proxy = "http://APP"
`

// The client is who a trusted peer says, for the log and for upstreams; what anybody else says is dropped. Nothing of it routes.
func TestTrustedProxies(t *testing.T) {
	w := newFront(t, t.TempDir(), mirror(t), proxied+`
[[vhost]]
hosts = "evil.localhost"
listeners = ["behind"]
respond = { body = "evil" }
`)
	says := []string{"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.localhost", "X-Real-Ip: 6.6.6.6"}
	for _, c := range []struct {
		listener, from string
		fields         []string
		client         string
		parts          []string
	}{
		{"http", "127.0.0.8", says, "127.0.0.8:", []string{"X-Forwarded-For: 127.0.0.8\r\n", "X-Forwarded-Host: a.localhost\r\n", "X-Forwarded-Proto: http\r\n", "!6.6.6.6", "!X-Real-Ip"}},
		{"behind", "127.0.0.7", says, "127.0.0.7:", []string{"X-Forwarded-For: 127.0.0.7\r\n", "X-Forwarded-Host: a.localhost\r\n", "X-Forwarded-Proto: http\r\n", "!6.6.6.6"}},
		{"behind", "127.0.0.8", says, "192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1, 10.0.0.2, 127.0.0.8\r\n", "X-Forwarded-Host: evil.localhost\r\n", "X-Forwarded-Proto: https\r\n", "!6.6.6.6", "!X-Real-Ip"}},
		{"behind", "127.0.0.9", []string{"X-Forwarded-For: 192.0.2.1, what"}, "127.0.0.9:", []string{"X-Forwarded-For: 127.0.0.9\r\n"}},
		{"behind", "127.0.0.9", []string{`Forwarded: for=6.6.6.6, for="[2001:db8::1]:80";proto=https;host=b.localhost`}, "2001:db8::1", []string{"X-Forwarded-For: 2001:db8::1, 127.0.0.9\r\n", "X-Forwarded-Host: b.localhost\r\n", "X-Forwarded-Proto: https\r\n", "!Forwarded: for"}},
		{"behind", "unix", says, "192.0.2.1", []string{"X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\n", "X-Forwarded-Proto: https\r\n"}},
		{"behind", "unix", nil, "", []string{"!X-Forwarded-For"}},
		{"http", "unix", says, "", []string{"!X-Forwarded-For", "X-Forwarded-Proto: http\r\n", "!6.6.6.6"}},
	} {
		a := w.ask(c.listener, c.from, "GET /x", c.fields...)
		w.wants(c.listener+" from "+c.from, a, 200, append(c.parts, "GET /x host=a.localhost")...)
		client, _ := w.lastLog()["client"].(string)
		if client != c.client && (c.client == "" || !strings.HasSuffix(c.client, ":") || !strings.HasPrefix(client, c.client)) {
			t.Errorf("%s from %s: the log says %q, want %q", c.listener, c.from, client, c.client)
		}
	}
}

// Forwarded goes upstream where it is wanted, and never a client's.
func TestForwarded(t *testing.T) {
	w := newFront(t, t.TempDir(), mirror(t), proxied+`
	[[vhost.route]]
	path = "/route/"
	proxy = "http://APP"
	forwarded = true
	[[vhost.route]]
	path = "/upstream/"
	proxy = "named"
[[upstream]]
name = "named"
targets = "http://APP"
forwarded = true
`)
	evil := "Forwarded: for=6.6.6.6"
	w.wants("off", w.ask("http", "127.0.0.7", "GET /", evil), 200, "!Forwarded: ")
	for _, path := range []string{"/route/", "/upstream/"} {
		w.wants(path, w.ask("http", "127.0.0.7", "GET "+path, evil), 200, "Forwarded: for=127.0.0.7;host=\"a.localhost\";proto=http\r\n", "!6.6.6.6")
		w.wants(path, w.ask("behind", "127.0.0.8", "GET "+path, evil+", for=\"[2001:db8::1]\";proto=https;host=\"b:1\", for=10.0.0.2"), 200,
			"Forwarded: for=\"[2001:db8::1]\";host=\"b:1\";proto=https, for=10.0.0.2, for=127.0.0.8\r\n", "!6.6.6.6")
		w.wants(path, w.ask("http", "unix", "GET "+path), 200, "Forwarded: for=unknown;host=\"a.localhost\";proto=http\r\n")
	}
}

// Request rules set and remove fields, whatever a client sends under such names; response rules of a route stand beside its vhost's.
func TestHeaderRules(t *testing.T) {
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { r.Header.Write(rw) }))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	w := newFront(t, t.TempDir(), mirror(t), proxied+`
headers = { "X-Site" = "vhost", "X-Both" = "vhost", "X-From" = "" }
request_headers = { "X-Env" = "prod", "Cookie" = "", "Authorization" = "Basic c2VydmljZTpzZWNyZXQ=" }
	[[vhost.route]]
	path = "/route/"
	proxy = "http://APP"
	headers = { "X-Both" = "route", "X-Route" = "1" }
	request_headers = { "X-Env" = "test", "X_Under" = "ours" }
	[[vhost.route]]
	path = "/h2c/"
	proxy = "h2c://`+h2c.Listener.Addr().String()+`"
	[[vhost.route]]
	path = "/fixed"
	respond = { status = 404, body = "fixed" }
`)
	claims := []string{"X-Env: dev", "X_Env: dev", "x-env: dev", "Cookie: a=b", "Authorization: Bearer mine", "X-Mine: kept", "X-Under: dev"}
	const secret = "Authorization: Basic c2VydmljZTpzZWNyZXQ=\r\n"
	w.wants("vhost", w.ask("http", "127.0.0.7", "GET /", claims...), 200, "X-Env: prod\r\n", secret, "X-Mine: kept", "X-Under: dev", "!X-Env: dev", "!X_Env: dev", "!a=b", "!mine", "X-Site: vhost", "X-Both: vhost", "!X-From")
	w.wants("route", w.ask("http", "127.0.0.7", "GET /route/", claims...), 200, "X-Env: test\r\n", secret, "X_under: ours\r\n", "!dev", "!a=b", "!mine", "X-Site: vhost", "X-Both: route", "X-Route: 1", "!X-From")
	w.wants("h2c", w.ask("http", "127.0.0.7", "GET /h2c/", claims...), 200, "X-Env: prod\r\n", secret, "X-Mine: kept", "!X-Env: dev", "!X_Env: dev", "!a=b", "!mine")
	w.wants("edge's own answer", w.ask("http", "127.0.0.7", "GET /fixed"), 404, "X-Site: vhost")

	w.wants("a trailer", w.trailer("x_env: dev\r\nx-other: kept\r\n"), 200, "X-Env: prod\r\n", "trailer X-Other: [kept]", "!dev")
}

// trailer sends a body that ends with these fields, as soon as edge asks for it.
func (w *front) trailer(fields string) answer {
	w.t.Helper()
	c := w.dial("http", "127.0.0.7")
	in := bufio.NewReader(c)
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a.localhost\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusContinue {
		w.t.Fatal(resp, err)
	}
	fmt.Fprintf(c, "1\r\na\r\n0\r\n%s\r\n", fields)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp, string(text)}
}

// The upstream gets the path without the route's own, byte for byte; Location is not rewritten.
func TestStripPrefix(t *testing.T) {
	w := newFront(t, t.TempDir(), mirror(t), proxied+`
	[[vhost.route]]
	path = "/app/v1/"
	proxy = "http://APP"
	strip_prefix = true
	[[vhost.route]]
	path = "/secret"
	respond = { status = 403 }
`)
	for path, want := range map[string]string{
		"/app/v1/":            "GET / host",
		"/app/v1/x%2Fy?q=%2":  "",
		"/app/v1/x%2Fy?q=%20": "GET /x%2Fy?q=%20 host",
		"/app/v1//x":          "GET //x host",
		"/app/v1/secret":      "GET /secret host",
		"/app/v1/?":           "GET /? host",
	} {
		a := w.ask("http", "127.0.0.7", "GET "+path)
		if want == "" {
			w.wants(path, a, 400)
			continue
		}
		w.wants(path, a, 200, want, "X-Forwarded-Prefix: /app/v1\r\n", "Location: /from/upstream")
	}
	for _, path := range []string{"/app/v1/../secret", "/app/v1/%2e%2e/secret", "/app/v1/..%2fsecret", "/app%2fv1/x", "/app//v1/x", "//app/v1/x", "/%61pp/v1/x", "/app;x/v1/y", "//host/app/v1/x", "//host/secret"} {
		w.wants(path, w.ask("http", "127.0.0.7", "GET "+path), 400)
	}
	w.wants("the slash", w.ask("http", "127.0.0.7", "GET /app/v1"), 308, "Location: /app/v1/")
	w.wants("elsewhere", w.ask("http", "127.0.0.7", "GET /app/", "X-Forwarded-Prefix: /evil"), 200, "GET /app/ host", "!X-Forwarded-Prefix")
}

// files writes small files.
func files(t *testing.T, dir string, texts ...string) {
	t.Helper()
	for i := 0; i < len(texts); i += 2 {
		path := filepath.Join(dir, texts[i])
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(texts[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const errorSite = `
[[vhost]]
hosts = "a.localhost"
listeners = ["http"]
headers = { "X-Site" = "1" }
error_pages = { "404" = "errors/404.html", "403" = "errors/404.html", "400-403" = "errors/4xx.html", "413" = "errors/4xx.html", "429" = "errors/4xx.html", "502-504" = "errors/down.html" }
proxy = "http://APP"
	[[vhost.route]]
	path = "/files/"
	files = "site"
	[[vhost.route]]
	path = "/small/"
	proxy = "http://APP"
	max_body = 3
	[[vhost.route]]
	path = "/down/"
	proxy = "http://127.0.0.1:1"
	[[vhost.route]]
	path = "/denied/"
	proxy = "http://APP"
	deny = "127.0.0.0/8"
	[[vhost.route]]
	path = "/often/"
	proxy = "http://APP"
	rate_limit = { requests = 1, per = "1m" }
	[[vhost.route]]
	path = "/respond"
	respond = { status = 404, body = "as configured" }
	[[vhost.route]]
	path = "/intercept/"
	proxy = "http://APP"
	intercept_errors = true
`

// Error pages stand for the answers that edge makes, with their status and fields, and for no other's unless it is said.
func TestErrorPages(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "errors/404.html", "<h1>gone</h1>", "errors/4xx.html", "<h1>no</h1>", "errors/down.html", "<h1>down</h1>", "site/x", "x")
	text := strings.Replace(errorSite, `"403" = "errors/404.html", `, "", 1)
	w := newFront(t, dir, mirror(t), text)
	html := "Content-Type: text/html; charset=utf-8"
	w.wants("static 404", w.ask("http", "127.0.0.7", "GET /files/nothing"), 404, "<h1>gone</h1>", html, "X-Site: 1", "nosniff")
	w.wants("static", w.ask("http", "127.0.0.7", "GET /files/x"), 200, "x", "!<h1>")
	w.wants("413", w.ask("http", "127.0.0.7", "POST /small/\n1234"), 413, "<h1>no</h1>")
	w.wants("502", w.ask("http", "127.0.0.7", "GET /down/"), 502, "<h1>down</h1>", html)
	w.wants("403", w.ask("http", "127.0.0.7", "GET /denied/"), 403, "<h1>no</h1>")
	w.wants("400", w.ask("http", "127.0.0.7", "GET //denied/"), 400, "<h1>no</h1>")
	w.wants("the first", w.ask("http", "127.0.0.7", "GET /often/"), 200)
	w.wants("429", w.ask("http", "127.0.0.7", "GET /often/"), 429, "<h1>no</h1>", "Retry-After: 60")
	head := w.ask("http", "127.0.0.7", "HEAD /files/nothing")
	w.wants("HEAD", head, 404, "!<h1>", html)
	if head.ContentLength != int64(len("<h1>gone</h1>")) {
		t.Errorf("HEAD says %d bytes", head.ContentLength)
	}
	w.wants("an upstream's", w.ask("http", "127.0.0.7", "GET /?status=404"), 404, "!<h1>", "GET /?status=404")
	w.wants("an action's", w.ask("http", "127.0.0.7", "GET /respond"), 404, "as configured", "!<h1>")
	w.wants("no page", w.ask("http", "127.0.0.7", "POST /files/x\na"), 405, "!<h1>", "Allow: GET")

	w.wants("intercepted", w.ask("http", "127.0.0.7", "GET /intercept/?status=503&retry=7&size=300000"), 503, "<h1>down</h1>", html, "Retry-After: 7", "!X-From", "!GET ", "X-Site: 1")
	if why := w.lastLog()["error"]; why != nil {
		t.Errorf("intercepted, and the log says %v", why)
	}
	w.wants("intercepted HEAD", w.ask("http", "127.0.0.7", "HEAD /intercept/?status=404"), 404, "!X-From", html)
	w.wants("not intercepted", w.ask("http", "127.0.0.7", "GET /intercept/?status=500&size=3000"), 500, "X-From", "GET /intercept/")
	w.wants("nothing to intercept", w.ask("http", "127.0.0.7", "GET /intercept/"), 200, "X-From", "GET /intercept/")

	files(t, dir, "errors/404.html", "<h1>moved</h1>")
	w.wants("before the reload", w.ask("http", "127.0.0.7", "GET /files/nothing"), 404, "<h1>gone</h1>")
	w.reload(text)
	w.wants("after the reload", w.ask("http", "127.0.0.7", "GET /files/nothing"), 404, "<h1>moved</h1>")
}

// What rules name is read when a configuration is drafted and by a check; what is missing changes nothing.
func TestRuleFiles(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "ok.html", "x", "large.html", strings.Repeat("x", maxPage+1), "users", "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
	w := newFront(t, dir, mirror(t), proxied)
	before := w.s.live.Load()
	vhost := "[[vhost]]\nhosts = \"a.localhost\"\necho = true\n"
	for text, want := range map[string]string{
		`error_pages = { "404" = "no.html" }`:    "edge.toml:22:25: page: open " + dir + "/no.html: no such file",
		`error_pages = { "404" = "large.html" }`: "edge.toml:22:25: page: read " + dir + "/large.html: is larger than 1048576 bytes",
		`maintenance = { page = "no.html" }`:     "edge.toml:22:24: page: open",
		`basic_auth = { file = "no" }`:           "edge.toml:22:23: file: open",
		`basic_auth = { file = "users" }`:        dir + `/users:1:1: the password of "alice" is hashed with SHA-1`,
	} {
		cfg := load(t, dir, w.up, rulesBase+vhost+text+"\n")
		for what, err := range map[string]error{"check": Check(cfg), "reload": func() error { _, err := w.s.draft(cfg); return err }()} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %v, want %s", what, text, err, want)
			}
		}
	}
	if w.s.reload(t.Context()) == nil || w.s.live.Load() != before {
		t.Error("a reload with a missing file changed something")
	}
}

// A vhost under maintenance is closed to all but those who may see it, its login pages included, and no other vhost is.
func TestMaintenance(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "down.html", "<h1>back soon</h1>", "503.html", "<h1>503</h1>")
	const vhosts = `
[[vhost]]
hosts = "a.localhost"
listeners = ["http", "behind"]
proxy = "http://APP"
MAINTENANCE
	[[vhost.route]]
	path = "/x/"
	respond = { body = "x" }
[[vhost]]
hosts = "b.localhost"
listeners = ["http"]
respond = { body = "b" }
`
	with := func(line string) string { return strings.Replace(vhosts, "MAINTENANCE", line, 1) }
	w := newFront(t, dir, mirror(t), with("maintenance = false"))
	w.wants("open", w.ask("http", "127.0.0.7", "GET /x/"), 200, "x")
	w.reload(with(`maintenance = { page = "down.html", retry_after = "90s", allow = ["127.0.0.9", "192.0.2.0/24"] }`))
	for _, path := range []string{"/", "/x/", "/nothing", "/.edge/auth/callback", "/x"} {
		w.wants(path, w.ask("http", "127.0.0.7", "GET "+path), 503, "<h1>back soon</h1>", "Retry-After: 90\n", "text/html", "Cache-Control: no-store")
	}
	w.wants("HEAD", w.ask("http", "127.0.0.7", "HEAD /"), 503, "!<h1>")
	w.wants("allowed", w.ask("http", "127.0.0.9", "GET /x/"), 200, "x")
	w.wants("allowed, says a proxy", w.ask("behind", "127.0.0.8", "GET /x/", "X-Forwarded-For: 192.0.2.7"), 200, "x")
	w.wants("not allowed, says a proxy", w.ask("behind", "127.0.0.9", "GET /x/", "X-Forwarded-For: 192.0.3.7"), 503)
	w.wants("a claim", w.ask("http", "127.0.0.7", "GET /x/", "X-Forwarded-For: 192.0.2.7"), 503)
	w.wants("no address", w.ask("http", "unix", "GET /x/"), 503)
	w.wants("another vhost", w.ask("http", "127.0.0.7", "GET /", "Host: b.localhost"), 200, "b")
	w.reload(with("maintenance = true"))
	w.wants("the switch", w.ask("http", "127.0.0.9", "GET /x/"), 503, "Retry-After: 600\n", "text/plain")
	w.reload(with("maintenance = true\nerror_pages = { \"503\" = \"503.html\" }"))
	w.wants("the error page", w.ask("http", "127.0.0.9", "GET /x/"), 503, "Retry-After: 600\n", "<h1>503</h1>")
}

// Deny wins; who is not on a list of the allowed is not let in; a route has its vhost's lists unless it has its own, and a vhost's deny always.
func TestAllowDeny(t *testing.T) {
	w := newFront(t, t.TempDir(), mirror(t), `
[[vhost]]
hosts = "a.localhost"
listeners = ["http", "behind"]
respond = { body = "in" }
allow = ["127.0.0.0/28"]
deny = ["127.0.0.6"]
	[[vhost.route]]
	path = "/same/"
	respond = { body = "in" }
	[[vhost.route]]
	path = "/all/"
	respond = { body = "in" }
	allow = ["0.0.0.0/0", "::/0"]
	[[vhost.route]]
	path = "/less/"
	respond = { body = "in" }
	deny = ["127.0.0.7"]
[[vhost]]
hosts = "b.localhost"
listeners = ["http"]
deny = ["127.0.0.6"]
	[[vhost.route]]
	path = "/x/"
	respond = { body = "in" }
`)
	for _, c := range []struct {
		from, path string
		status     int
	}{
		{"127.0.0.7", "/", 200}, {"127.0.0.7", "/same/", 200}, {"127.0.0.7", "/all/", 200}, {"127.0.0.7", "/less/", 403}, {"127.0.0.8", "/less/", 200},
		{"127.0.0.6", "/", 403}, {"127.0.0.6", "/same/", 403}, {"127.0.0.6", "/all/", 403}, {"127.0.0.6", "/less/", 403},
		{"127.0.0.16", "/", 403}, {"127.0.0.16", "/same/", 403}, {"127.0.0.16", "/all/", 200}, {"127.0.0.16", "/less/", 403}, {"127.0.0.16", "/same", 403},
		{"127.0.0.16", "/.edge/x", 403}, {"127.0.0.7", "/.edge/x", 404}, {"unix", "/", 403}, {"unix", "/all/", 403},
	} {
		w.wants(c.path+" from "+c.from, w.ask("http", c.from, "GET "+c.path, "X-Forwarded-For: 127.0.0.7"), c.status)
	}
	w.wants("by a proxy", w.ask("behind", "127.0.0.8", "GET /", "X-Forwarded-For: 127.0.0.6"), 403)
	w.wants("by a proxy", w.ask("behind", "127.0.0.8", "GET /", "X-Forwarded-For: 127.0.0.6, 127.0.0.5"), 200)
	w.wants("nothing there", w.ask("http", "127.0.0.6", "GET /nothing", "Host: b.localhost"), 403)
	w.wants("nothing there", w.ask("http", "127.0.0.7", "GET /nothing", "Host: b.localhost"), 404)
	w.wants("no address, and none denied", w.ask("http", "unix", "GET /x/", "Host: b.localhost"), 200)
}

const limited = `
[[vhost]]
hosts = "a.localhost"
listeners = ["http", "behind"]
respond = { body = "in" }
rate_limit = { requests = 1, per = "1h", burst = 2 }
	[[vhost.route]]
	path = "/same/"
	respond = { body = "in" }
	[[vhost.route]]
	path = "/own/"
	respond = { body = "in" }
	rate_limit = { requests = 1, per = "90m" }
	[[vhost.route]]
	path = "/free/"
	respond = { body = "in" }
	rate_limit = false
`

// Each client has a limit, its vhost's or the route's own, and is told when to come back; a reload that does not change the limit forgets nothing.
func TestRateLimit(t *testing.T) {
	w := newFront(t, t.TempDir(), mirror(t), limited)
	get := func(from, path string, status int, parts ...string) {
		t.Helper()
		w.wants(path+" from "+from, w.ask("http", from, "GET "+path, "X-Forwarded-For: 1.2.3.4"), status, parts...)
	}
	get("127.0.0.7", "/", 200)
	get("127.0.0.7", "/same/", 200)
	get("127.0.0.7", "/same/", 429, "Retry-After: 3600\n")
	get("127.0.0.7", "/", 429)
	get("127.0.0.7", "/.edge/x", 429)
	get("127.0.0.8", "/", 200)
	get("127.0.0.7", "/own/", 200)
	get("127.0.0.7", "/own/", 429, "Retry-After: 5400\n")
	for range 5 {
		get("127.0.0.7", "/free/", 200)
	}
	get("unix", "/", 200)
	get("unix", "/", 200)
	get("unix", "/", 429) // all who come without an address are one
	by := func(client string, status int) {
		t.Helper()
		w.wants("by a proxy", w.ask("behind", "127.0.0.8", "GET /", "X-Forwarded-For: "+client), status)
	}
	by("192.0.2.1", 200)
	by("192.0.2.1", 200)
	by("192.0.2.1", 429)
	by("192.0.2.2", 200)
	by("2001:db8::1", 200)
	by("2001:db8::2", 200)
	by("2001:db8::3", 429)

	w.reload("# moved\n" + limited)
	get("127.0.0.7", "/", 429)
	get("127.0.0.7", "/own/", 429)
	w.reload(strings.Replace(limited, `"90m"`, `"91m"`, 1))
	get("127.0.0.7", "/", 429)
	get("127.0.0.7", "/own/", 200)
}

// credentials is an Authorization field.
func credentials(name, password string) string {
	r, _ := http.NewRequest("GET", "/", nil)
	r.SetBasicAuth(name, password)
	return "Authorization: " + r.Header.Get("Authorization")
}

func bcrypted(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// Who has no password gets 401; who has one is known to the log and the upstream, which never sees the password.
func TestBasicAuth(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "users", "alice:"+bcrypted(t, "secret")+"\n", "others", "bob:"+bcrypted(t, "secret2")+"\n")
	w := newFront(t, dir, mirror(t), `
[login]
host = "login.localhost"
[[vhost]]
hosts = "a.localhost"
access = "public"
proxy = "http://APP"
basic_auth = { file = "users", realm = "staff only" }
	[[vhost.route]]
	path = "/others/"
	proxy = "http://APP"
	basic_auth = { file = "others" }
	[[vhost.route]]
	path = "/free/"
	proxy = "http://APP"
	basic_auth = false
	[[vhost.route]]
	path = "/service/"
	proxy = "http://APP"
	request_headers = { "Authorization" = "Basic c2VydmljZTo=" }
	[[vhost.route]]
	path = "/login/"
	proxy = "http://APP"
	basic_auth = false
	access = "login"
`)
	alice := credentials("alice", "secret")
	ask := func(request string, fields ...string) answer {
		t.Helper()
		return w.ask("https", "127.0.0.7", request, append(fields, "Remote-User: root")...)
	}
	challenge := `Www-Authenticate: Basic realm="staff only", charset="UTF-8"`
	for what, field := range map[string]string{
		"nothing": "X: y", "a wrong password": credentials("alice", "Secret"), "an unknown user": credentials("bob", "secret2"), "another scheme": "Authorization: Bearer abc",
		"no base64": "Authorization: Basic !", "no colon": "Authorization: Basic YWxpY2U=", "no user": credentials("", ""), "a control byte": credentials("alice", "secret\x00"),
		"twice": alice + "\r\n" + alice, "empty": "Authorization: ",
	} {
		w.wants(what, ask("GET /", field), 401, challenge, "Cache-Control: no-store", "!GET /")
		if who := w.lastLog()["user"]; who != nil {
			t.Errorf("%s: the log knows %v", what, who)
		}
	}
	for range 2 { // the second time it is remembered
		w.wants("alice", ask("GET /x", alice), 200, "GET /x", "Remote-User: alice\r\n", "!Authorization", "!root", "Cache-Control: private")
		if who := w.lastLog()["user"]; who != "alice" {
			t.Errorf("the log knows %v", who)
		}
	}
	w.wants("any case", ask("GET /x", strings.Replace(alice, "Basic", "bASIC", 1)), 200)
	w.wants("the wrong file", ask("GET /others/", alice), 401, `realm="a.localhost"`)
	w.wants("the right file", ask("GET /others/", credentials("bob", "secret2")), 200, "Remote-User: bob\r\n")
	w.wants("taken off", ask("GET /free/", alice), 200, "!Remote-User", alice)
	w.wants("the service's own", ask("GET /service/", alice), 200, "Remote-User: alice\r\n", "Authorization: Basic c2VydmljZTo=\r\n")
	w.wants("no way round the login", ask("GET /login/", alice), 401, "!Www-Authenticate")
	socket := []string{alice, "Upgrade: websocket"}
	w.wants("a foreign page's WebSocket", w.upgrade("https://evil.test", socket...), 403)
	w.wants("a page's own", w.upgrade("https://a.localhost", socket...), 200)

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { w.wants("together", ask("GET /x", alice), 200) })
	}
	all.Wait()
}

// upgrade asks for a WebSocket, as a page of an origin does.
func (w *front) upgrade(origin string, fields ...string) answer {
	w.t.Helper()
	c := w.dial("https", "127.0.0.7")
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: upgrade\r\nOrigin: %s\r\n%s\r\n\r\n", origin, strings.Join(fields, "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	return answer{resp, ""}
}

// The order in which rules count: what comes first decides, whatever comes later would have said.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "users", "alice:"+bcrypted(t, "secret")+"\n")
	const vhost = `
[[vhost]]
hosts = "a.localhost"
proxy = "http://APP"
MAINTENANCE
deny = "127.0.0.6"
rate_limit = { requests = 1, per = "1h", burst = 2 }
basic_auth = { file = "users" }
max_body = 3
`
	w := newFront(t, dir, mirror(t), strings.Replace(vhost, "MAINTENANCE", "", 1))
	large := "POST /\n1234"
	w.wants("deny before the limit", w.ask("https", "127.0.0.6", large), 403)
	w.wants("deny before the limit", w.ask("https", "127.0.0.6", large), 403)
	w.wants("deny before the limit", w.ask("https", "127.0.0.6", large), 403)
	w.wants("password before the body", w.ask("https", "127.0.0.7", large), 401)
	w.wants("the body", w.ask("https", "127.0.0.7", large, credentials("alice", "secret")), 413)
	w.wants("the limit before the password", w.ask("https", "127.0.0.7", large), 429)
	w.reload(strings.Replace(vhost, "MAINTENANCE", "maintenance = true", 1))
	w.wants("maintenance before all", w.ask("https", "127.0.0.6", large), 503)
	w.wants("maintenance before all", w.ask("https", "127.0.0.7", large), 503)
}

// What the rules do, they do over HTTP/2 and towards h2c upstreams too.
func TestRulesHTTP2(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "users", "alice:"+bcrypted(t, "secret")+"\n", "down.html", "<h1>down</h1>", "no.html", "<h1>no</h1>")
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Trailer", "X-End")
		rw.WriteHeader(http.StatusBadGateway)
		rw.Write(make([]byte, 100_000))
		rw.Header().Set("X-End", "1")
	}))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	w := newFront(t, dir, mirror(t), `
[[vhost]]
hosts = "a.localhost"
proxy = "http://APP"
basic_auth = { file = "users" }
request_headers = { "X-Env" = "prod" }
error_pages = { "401" = "no.html", "502" = "down.html" }
	[[vhost.route]]
	path = "/once/"
	proxy = "http://APP"
	strip_prefix = true
	rate_limit = { requests = 1, per = "1m" }
	[[vhost.route]]
	path = "/h2c/"
	proxy = "h2c://`+h2c.Listener.Addr().String()+`"
	intercept_errors = true
`)
	var address string
	for _, socket := range w.s.table.Sockets() {
		if socket.Name() == "https" {
			address = socket.Addr().String()
		}
	}
	tr := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{ServerName: "a.localhost", InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	get := func(path, password string) answer {
		t.Helper()
		r, _ := http.NewRequest("GET", "https://a.localhost"+path, nil)
		r.Header.Set("X_Env", "dev")
		r.SetBasicAuth("alice", password)
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.ProtoMajor != 2 {
			t.Fatal(resp.Proto, err)
		}
		return answer{resp, string(text)}
	}
	w.wants("wrong", get("/", "wrong"), 401, "<h1>no</h1>", "Www-Authenticate: Basic")
	w.wants("right", get("/x", "secret"), 200, "GET /x host=a.localhost", "X-Env: prod\r\n", "Remote-User: alice", "!dev", "!Authorization")
	w.wants("once", get("/once/x", "secret"), 200, "GET /x host")
	w.wants("twice", get("/once/x", "secret"), 429, "Retry-After: 60")
	w.wants("intercepted", get("/h2c/", "secret"), 502, "<h1>down</h1>", "!X-End")
	w.wants("and then", get("/x", "secret"), 200)
}

// The login's own pages stay, whatever error pages there are.
func TestErrorPagesLeaveLogin(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "error.html", "<h1>error</h1>")
	w := newFront(t, dir, mirror(t), `
[login]
host = "login.localhost"
[[vhost]]
hosts = "a.localhost"
access = "login"
proxy = "http://APP"
error_pages = { "400-599" = "error.html" }
`)
	callback := w.ask("https", "127.0.0.7", "GET /.edge/auth/callback?code=x&flow=y", "Accept: text/html")
	if callback.StatusCode < 400 || strings.Contains(callback.body, "<h1>error</h1>") || !strings.Contains(callback.body, "<html") {
		t.Errorf("the callback without a code answers %d: %s", callback.StatusCode, callback.body)
	}
	w.wants("nothing of the login's", w.ask("https", "127.0.0.7", "GET /.edge/nothing"), 404)
	w.wants("a program", w.ask("https", "127.0.0.7", "GET /x"), 401, "<h1>error</h1>")
	w.wants("a person", w.ask("https", "127.0.0.7", "GET /x", "Accept: text/html"), 302, "Location: https://login.localhost", "!<h1>error")
}
