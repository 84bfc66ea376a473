package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/conf"
	"edge/edge/serve"
	"edge/edge/wire"
	"edge/listeners"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base begins the configurations of these tests. DIR is the test's folder, APP an upstream that says which path it was asked for.
const base = `
state_dir = "DIR/state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[listener]]
name = "http"
address = "[::1]:0"
protocol = "http"
[[certificate]]
hosts = ["localhost", "*.localhost"]
issuer = "dev"
`

// load parses a configuration of a test.
func load(t *testing.T, dir, app, text string) *conf.Config {
	t.Helper()
	text = strings.NewReplacer("DIR", dir, "APP", app).Replace(text)
	file := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := conf.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// newServer gives a server with this configuration in force, which accepts nothing.
func newServer(t *testing.T, dir, app, text string) *Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := &Server{Options: Options{Log: log, Level: new(slog.LevelVar), Now: time.Now}, log: log, table: &listeners.Table{}, conns: serve.New(log), drafting: make(chan struct{}, 1)}
	s.tasks, s.endTasks = context.WithCancel(context.Background())
	s.File = load(t, dir, app, text).File
	if err := s.first(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, socket := range s.table.Sockets() {
			socket.Close()
		}
		for _, u := range s.live.Load().upstreams {
			u.Retire()
		}
		s.close()
	})
	return s
}

// ask sends a raw request to what answers on the https listener, and gives the status and the rest.
func ask(t *testing.T, s *Server, request string) (status int, answer string) {
	t.Helper()
	st := s.live.Load()
	var settings *serve.Settings
	for _, x := range st.sockets {
		if x.Listener == "https" {
			settings = x
		}
	}
	srv := httptest.NewServer(wire.ServeHTTP(settings.Handler, &wire.Conn{Listener: "https", Body: 1e10, Write: 1e10}, nil))
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "%s\r\nConnection: close\r\n\r\n", strings.ReplaceAll(request, "\n", "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location") + "|" + string(body)
}

// app is an upstream.
func app(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "app "+r.RequestURI) }))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestRouting(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, app(t), base+`
[login]
host = "login.localhost"
[[vhost]]
hosts = ["a.localhost", "*.w.localhost"]
access = "public"
proxy = "http://APP"
max_body = "4"
  [[vhost.route]]
  path = "/fixed/"
  respond = { status = 203, body = "fixed" }
  [[vhost.route]]
  path = "/secret/"
  access = "login"
  proxy = "http://APP"
  [[vhost.route]]
  path = "/there"
  redirect = { to = "/here", status = 302 }
  [[vhost.route]]
  path = "/moved/"
  redirect = "https://b.localhost"
[[vhost]]
hosts = ["open.localhost"]
access = "public"
proxy = "http://APP"
`)
	for request, want := range map[string]string{
		"GET / HTTP/1.1\nHost: a.localhost":                                      "200 |app /",
		"GET /x%2Fy?q HTTP/1.1\nHost: A.LOCALHOST.:8443":                         "200 |app /x%2Fy?q",
		"GET /x HTTP/1.1\nHost: one.w.localhost":                                 "200 |app /x",
		"GET /x HTTP/1.1\nHost: two.one.w.localhost":                             "421 |",
		"GET /x HTTP/1.1\nHost: unknown.localhost":                               "421 |",
		"GET /fixed/x HTTP/1.1\nHost: a.localhost":                               "203 |fixed",
		"GET /fixed?q HTTP/1.1\nHost: a.localhost":                               "308 /fixed/?q|",
		"GET /%66ixed/x HTTP/1.1\nHost: a.localhost":                             "400 |",
		"GET //secret/x HTTP/1.1\nHost: a.localhost":                             "400 |",
		"GET /secret%2fx HTTP/1.1\nHost: a.localhost":                            "400 |",
		"GET /x/..%2fsecret/ HTTP/1.1\nHost: a.localhost":                        "400 |",
		"GET /secret/x HTTP/1.1\nHost: a.localhost":                              "401 |",
		"GET /secret/x HTTP/1.1\nHost: a.localhost\nX-Forwarded-Uri: /fixed/":    "401 |",
		"GET /secret/x HTTP/1.1\nHost: a.localhost\nAccept: text/html":           "302 https://login.localhost/login?f=",
		"POST /secret/x HTTP/1.1\nHost: a.localhost\nAccept: text/html":          "401 |",
		"GET /there HTTP/1.1\nHost: a.localhost":                                 "302 /here|",
		"GET /moved/x?y HTTP/1.1\nHost: a.localhost":                             "308 https://b.localhost/moved/x?y|",
		"POST / HTTP/1.1\nHost: a.localhost\nContent-Length: 5\n\n12345":         "413 |",
		"GET /.edge/auth/callback?code=x&flow=y HTTP/1.1\nHost: a.localhost":     "4",
		"GET /.edge/nothing HTTP/1.1\nHost: a.localhost":                         "404 |",
		"GET /.edge HTTP/1.1\nHost: open.localhost":                              "404 |",
		"GET /.edge/x HTTP/1.1\nHost: open.localhost":                            "404 |",
		"GET /%2eedge/x HTTP/1.1\nHost: open.localhost":                          "404 |",
		"GET //.edge/x HTTP/1.1\nHost: open.localhost":                           "404 |",
		"GET /.edgex HTTP/1.1\nHost: open.localhost":                             "200 |app /.edgex",
		"GET /login HTTP/1.1\nHost: login.localhost":                             "200 |",
		"GET / HTTP/1.1\nHost: login.localhost\nCookie: __Host-edge-sso=garbage": "200 |",
	} {
		status, answer := ask(t, s, request)
		if got := fmt.Sprint(status, " ", answer); !strings.HasPrefix(got, want) {
			t.Errorf("%q\ngot  %s\nwant %s", request, got, want)
		}
		if strings.Contains(request, ".edge/") && strings.Contains(answer, "app ") {
			t.Errorf("%q reached an upstream", request)
		}
	}
}

// What has state is kept over a reload by the spec that made it; what is refused changes nothing (R36).
func TestReloadKeepsAndRefuses(t *testing.T) {
	dir := t.TempDir()
	up := app(t)
	vhost := "[[vhost]]\nhosts = [\"a.localhost\"]\nproxy = \"http://APP\"\n"
	s := newServer(t, dir, up, base+vhost)
	before := s.live.Load()
	load(t, dir, up, "# moved by a line\n"+base+vhost+"\n[drain]\nspread = \"1s\"\n")
	if err := s.reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	now := s.live.Load()
	if now == before || now.log != before.log || now.upstreams[now.conf.Upstreams[0]] != before.upstreams[before.conf.Upstreams[0]] {
		t.Error("the log or the upstream was made anew by an unrelated edit")
	}
	for socket := range before.sockets {
		if now.sockets[socket] == nil {
			t.Error("a socket was made anew by an unrelated edit")
		}
	}

	load(t, dir, up, base+strings.Replace(vhost, "a.localhost", "b.localhost", 1))
	if err := s.renew(context.Background()); err != nil {
		t.Fatal(err)
	}
	if host := s.live.Load().conf.Vhosts[0].ID; host != "a.localhost" {
		t.Errorf("a renewal put an edit in force that nobody released: %s", host)
	}
	now = s.live.Load()

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for what, text := range map[string]string{
		"edge.toml: cannot be read":        "",
		"state_dir cannot change":          strings.Replace(base+vhost, "DIR/state", "DIR/other", 1),
		"files: stat":                      base + strings.Replace(vhost, `proxy = "http://APP"`, `files = "nowhere"`, 1),
		"listens there":                    base + vhost + "[[listener]]\nname = \"new\"\nprotocol = \"http\"\naddress = \"" + taken.Addr().String() + "\"\n",
		"nowhere.pem: no such file":        base + "[[certificate]]\ncert = \"nowhere.pem\"\nkey = \"nowhere.key\"\n" + vhost,
		"nowhere/access.log: no such file": base + vhost + "[log]\naccess = \"nowhere/access.log\"\n",
		"nowhere.pem: no such":             base + vhost + "[[upstream]]\nname = \"u\"\ntargets = [\"https://127.0.0.1\"]\ntls = { ca = \"nowhere.pem\" }\n",
		"unknown key \"nonsense\"":         base + vhost + "nonsense = 1\n",
	} {
		if text == "" {
			os.Remove(filepath.Join(dir, "edge.toml"))
		} else {
			os.WriteFile(filepath.Join(dir, "edge.toml"), []byte(strings.NewReplacer("DIR", dir, "APP", up).Replace(text)), 0o600)
		}
		cfg, err := conf.Load(s.File)
		if err == nil {
			_, err = s.draft(cfg)
		}
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "edge.toml:") {
			t.Errorf("%s: %v", what, err)
		}
		if err := s.reload(context.Background()); err == nil || s.live.Load() != now {
			t.Errorf("%s: the reload changed something: %v", what, err)
		}
	}
}
