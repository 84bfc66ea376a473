package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// curl runs Debian's curl against a running edge, for a name under .localhost, and gives what it printed.
func (p *proc) curl(listener, host, path string, args ...string) string {
	p.t.Helper()
	out, err := p.tryCurl(listener, host, path, args...)
	if err != nil {
		p.t.Fatalf("curl %s%s: %v\n%s", host, path, err, out)
	}
	return out
}

func (p *proc) tryCurl(listener, host, path string, args ...string) (string, error) {
	p.t.Helper()
	bin, err := exec.LookPath("curl")
	if err != nil {
		needs(p.t, "curl")
	}
	_, port, _ := net.SplitHostPort(p.addr(listener))
	scheme := "https"
	if listener != "https" {
		scheme = "http"
	}
	args = append([]string{"-sS", "--max-time", "20", "--cacert", filepath.Join(p.dir, "certs", "ca.pem"),
		"--connect-to", "::" + p.addr(listener)}, args...)
	out, err := exec.Command(bin, append(args, scheme+"://"+host+":"+port+path)...).CombinedOutput()
	return string(out), err
}

// needs ends a test that needs a Debian package that is not there: a failure where the tests are the judge, else left out, and said.
func needs(t *testing.T, pkg string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: apt-get install %s", pkg, pkg)
	}
	t.Skipf("left out, as %s is missing: apt-get install %s", pkg, pkg)
}

// wants fails unless text holds all of these.
func wants(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

// webApp is an upstream: it says what it was asked, and echoes WebSocket messages.
func webApp(t *testing.T) string {
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Handler(func(c *websocket.Conn) { io.Copy(c, c) }))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-App", "1")
		json.NewEncoder(w).Encode(map[string]any{"method": r.Method, "uri": r.RequestURI, "host": r.Host, "header": r.Header, "body": len(body)})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// echoServer is a TCP server that sends back what it gets, and ends when its client has.
func echoServer(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	return ln.Addr().String()
}

// sites is a configuration with every action.
func sites(t *testing.T, app, echo string) (dir, text string) {
	dir = t.TempDir()
	os.MkdirAll(filepath.Join(dir, "site", "folder"), 0o755)
	os.WriteFile(filepath.Join(dir, "site", "index.html"), []byte("<h1>home</h1>"), 0o644)
	os.WriteFile(filepath.Join(dir, "site", "folder", "a.txt"), []byte("a file"), 0o644)
	return dir, config + relayTo(app) + `
[[listener]]
name = "moved"
address = "127.0.0.5:0"
protocol = "http"
redirect_to = "https"
[[listener]]
name = "tcp"
address = "127.0.0.2:0"
protocol = "tcp"
proxy = "tcp://` + echo + `"
[[listener]]
name = "tls"
address = "127.0.0.3:0"
protocol = "tls"
proxy = "tcp://` + echo + `"
[[listener]]
name = "unix"
address = "unix:DIR/edge.sock"
protocol = "http"
[[vhost]]
hosts = ["site.localhost"]
files = "site"
headers = { "X-Rule" = "yes", "Last-Modified" = "" }
  [[vhost.route]]
  path = "/ping"
  respond = { status = 202, body = "pong" }
  [[vhost.route]]
  path = "/old/"
  redirect = "https://new.localhost"
[[vhost]]
hosts = ["echo.localhost"]
listeners = ["https", "unix"]
echo = true
`
}

func TestServes(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	for _, version := range []string{"--http1.1", "--http2"} {
		t.Run(version[2:], func(t *testing.T) {
			wants(t, p.curl("https", "site.localhost", "/", version, "-i"), " 200", "<h1>home</h1>", "ule: yes")
			wants(t, p.curl("https", "site.localhost", "/folder/a.txt", version, "-r", "2-"), "file")
			wants(t, p.curl("https", "site.localhost", "/folder", version, "-i"), " 308", "ocation: ./folder/")
			wants(t, p.curl("https", "site.localhost", "/nothing", version, "-i"), " 404")
			wants(t, p.curl("https", "site.localhost", "/ping", version, "-i"), " 202", "pong")
			wants(t, p.curl("https", "site.localhost", "/old/x?y", version, "-i"), " 308", "https://new.localhost/old/x?y")
			wants(t, p.curl("https", "site.localhost", "/", version, "-i", "-H", "Host: elsewhere.localhost"), " 421")
			wants(t, p.curl("https", "site.localhost", "/a/%2e%2e/b", version, "-i", "--path-as-is"), " 400")
			relayed := p.curl("https", "app.localhost", "/a%2Fb?c", version, "-H", "Remote-User: mallory", "-H", "X_Forwarded_For: 9.9.9.9", "-d", "12345")
			wants(t, relayed, `"uri":"/a%2Fb?c"`, `"method":"POST"`, `"body":5`, `"X-Forwarded-Proto":["https"]`, `"X-Forwarded-For":["127.0.0.1"]`)
			if strings.Contains(relayed, "mallory") || strings.Contains(relayed, "9.9.9.9") {
				t.Errorf("the upstream was told what the client claims: %s", relayed)
			}
			echoed := p.curl("https", "echo.localhost", "/", version, "-i", "-H", "Cookie: __Host-edge=secret; theirs=1", "-H", "Authorization: Basic eDp5")
			wants(t, echoed, "text/plain", "nosniff", "cookie: theirs=1")
			if strings.Contains(echoed, "secret") || strings.Contains(echoed, "eDp5") {
				t.Errorf("the echo tells a secret: %s", echoed)
			}
		})
	}
	_, port, _ := net.SplitHostPort(p.addr("https"))
	wants(t, p.curl("moved", "site.localhost", "/x?y", "-i"), " 308", "ocation: https://site.localhost:"+port+"/x?y")
	wants(t, p.curl("http", "app.localhost", "/plain"), `"uri":"/plain"`, `"X-Forwarded-Proto":["http"]`)
	unixOut, err := exec.Command("curl", "-sS", "--unix-socket", filepath.Join(dir, "edge.sock"), "http://echo.localhost/u").CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	wants(t, string(unixOut), "GET /u HTTP/1.1")
	if out, err := p.tryCurl("https", "unknown.test", "/"); err == nil || !strings.Contains(out, "unrecognized name") {
		t.Errorf("a name without a certificate: %v, %s", err, out)
	}
	log, err := os.ReadFile(filepath.Join(dir, "state", "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, string(log), `"vhost":"app.localhost"`, `"proto":"HTTP/2.0"`, `"status":308`)
	for line := range bytes.Lines(log) {
		if !json.Valid(line) {
			t.Errorf("the access log is not JSON: %s", line)
		}
	}
}

// A WebSocket and a tunnel stay with the process that they began with, over a reload and an upgrade; a new one is served by the new one (R51).
func TestTunnelsSurvive(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	ws := p.webSocket()
	talk(t, ws)
	tunnels := []net.Conn{p.connect("tcp", nil), p.connect("tls", p.clientTLS("tunnel.localhost"))}
	for _, c := range tunnels {
		talk(t, c)
	}
	p.reload()
	p.upgrade()
	p.waitLog(`tunnels="https 1, tcp 1, tls 1" "hard limit"=0s`)
	talk(t, ws)
	for _, c := range tunnels {
		talk(t, c)
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(c); len(rest) != 0 || err != nil {
			t.Errorf("after the half-close: %q, %v", rest, err)
		}
	}
	talk(t, p.connect("tcp", nil))
	talk(t, p.webSocket())
	if n := len(p.alive()); n != 2 {
		t.Errorf("%d processes are alive, want the old one with its WebSocket, and the new one", n)
	}
	ws.Close()
	until(t, "the old process has ended", func() bool { return len(p.alive()) == 1 })
	p.waitLog(`msg=drained cut=0`)
}

// A tunnel of any kind ends when no byte goes either way for as long as its listener's timeout: both sides are told, and the access log has
// a line of its opening and one of its end, which says why. Bytes one way are enough to keep one; a reload's timeout is for those that come.
func TestTunnelIdle(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	old := p.connect("tcp", nil)
	talk(t, old)
	write(t, dir, strings.ReplaceAll(text, "protocol =", "timeouts = { tunnel = \"2s\" }\nprotocol ="))
	p.reload()
	tunnels := map[string]net.Conn{
		"tcp": p.connect("tcp", nil), "tls": p.connect("tls", p.clientTLS("tunnel.localhost")), "https": p.webSocket(), "http": p.plainWebSocket(),
	}
	busy := p.connect("tcp", nil)
	for range 8 {
		for _, c := range tunnels {
			talk(t, c)
		}
		talk(t, busy)
		time.Sleep(200 * time.Millisecond) // a pace at which no tunnel is idle
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for name, c := range tunnels {
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: in place of the end: %d bytes, %v", name, n, err)
			}
			c.Close()
		}
	}()
	for waiting := true; waiting; {
		talk(t, busy)
		select {
		case <-ended:
			waiting = false
		case <-time.After(200 * time.Millisecond):
		}
	}
	talk(t, old)
	for name := range tunnels {
		opened, end := p.tunnelLine("tunnel opened", name), p.tunnelLine("tunnel ended", name)
		if opened["upstream"] == nil || opened["reason"] != nil {
			t.Errorf("%s: the line of its opening has %v", name, opened)
		}
		if end["reason"] != "idle" || end["in"].(float64) < 40 || end["out"].(float64) < 40 || end["us"].(float64) < 2e6 || end["upstream"] != opened["upstream"] {
			t.Errorf("%s: the line of its end has %v", name, end)
		}
	}
}

// tunnelLine waits for a line in the access log; of several the last counts.
func (p *proc) tunnelLine(event, listener string) (line map[string]any) {
	p.t.Helper()
	until(p.t, event+" is logged, of "+listener, func() bool {
		log, err := os.ReadFile(filepath.Join(p.dir, "state", "access.log"))
		for text := range bytes.Lines(log) {
			var l map[string]any
			if err := json.Unmarshal(text, &l); err == nil && l["event"] == event && l["listener"] == listener {
				line = l
			}
		}
		return err == nil && line != nil
	})
	return line
}

// A tunnel's two lines, for every kind and every end.
func TestTunnelLines(t *testing.T) {
	unreachable, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unreachable.Close()
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", strings.Replace(text, `stop = "5s"`, `stop = "1s"`, 1)+
		"[[listener]]\nname = \"nowhere\"\naddress = \"127.0.0.6:0\"\nprotocol = \"tcp\"\nproxy = \"tcp://"+unreachable.Addr().String()+"\"\n")
	check := func(listener, reason string) {
		t.Helper()
		if l := p.tunnelLine("tunnel opened", listener); l["upstream"] == nil || l["reason"] != nil || l["client"] == nil {
			t.Errorf("%s: the line of its opening has %v", listener, l)
		}
		if l := p.tunnelLine("tunnel ended", listener); l["reason"] != reason || l["upstream"] == nil || (l["error"] != nil) != (reason == "error") {
			t.Errorf("%s: the line of its end has %v, want %q", listener, l, reason)
		}
	}
	closed := p.connect("tls", p.clientTLS("tunnel.localhost"))
	talk(t, closed)
	closed.Close()
	check("tls", "client closed")
	reset := p.connect("tcp", nil).(*net.TCPConn)
	talk(t, reset)
	reset.SetLinger(0)
	reset.Close()
	check("tcp", "error")
	if n, err := p.connect("nowhere", nil).Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("where nobody is behind: %d bytes, %v", n, err)
	}
	if l := p.tunnelLine("tunnel failed", "nowhere"); l["error"] == nil || l["upstream"] == nil {
		t.Errorf("the line of a tunnel that failed has %v", l)
	}
	ws, plain, half := p.webSocket(), p.plainWebSocket(), p.connect("tls", p.clientTLS("tunnel.localhost"))
	talk(t, ws)
	talk(t, plain)
	talk(t, half)
	p.signal(syscall.SIGTERM)
	p.waitLog(`tunnels="http 1, https 1, tls 1" "at most"=1s`)
	<-p.exited
	check("https", "cut")
	check("http", "cut")
	check("tls", "cut")
	if got := p.cmd.ProcessState.ExitCode(); got != 3 {
		t.Errorf("exit status %d, want 3", got)
	}
}

// A listener that a reload removes keeps its tunnels, and the log says so.
func TestRemovedTunnels(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	c := p.connect("tcp", nil)
	talk(t, c)
	at := p.addr("tcp")
	before, after, _ := strings.Cut(text, "[[listener]]\nname = \"tcp\"")
	write(t, dir, before+after[strings.Index(after, "[[listener]]"):])
	p.reload()
	p.waitLog("msg=\"listener drains\" listener=tcp address=" + at + " open=1 tunnels=1")
	talk(t, c)
	c.Close()
	p.waitLog("msg=\"listener drained\" listener=tcp address=" + at)
}

func (p *proc) connect(listener string, conf *tls.Config) net.Conn {
	p.t.Helper()
	c, err := p.dialer(listener, conf)(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

func (p *proc) webSocket() *websocket.Conn {
	p.t.Helper()
	conf, err := websocket.NewConfig("wss://app.localhost/ws", "https://app.localhost")
	if err != nil {
		p.t.Fatal(err)
	}
	ws, err := websocket.NewClient(conf, p.connect("https", p.clientTLS("app.localhost", "http/1.1")))
	if err != nil {
		p.t.Fatal(err)
	}
	return ws
}

// plainWebSocket is webSocket without TLS.
func (p *proc) plainWebSocket() *websocket.Conn {
	p.t.Helper()
	conf, err := websocket.NewConfig("ws://app.localhost/ws", "http://app.localhost")
	if err != nil {
		p.t.Fatal(err)
	}
	ws, err := websocket.NewClient(conf, p.connect("http", nil))
	if err != nil {
		p.t.Fatal(err)
	}
	return ws
}

// talk says something and expects to hear it.
func talk(t *testing.T, c net.Conn) {
	t.Helper()
	got := make([]byte, 5)
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
		t.Errorf("said hello, heard %q, %v", got, err)
	}
}

// A file with mistakes changes nothing, and the log says where they are; a good one adds and removes listeners, and an open connection sees
// it with its next request (R36, R38).
func TestReload(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	client := &http.Client{Transport: &http.Transport{DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.dialer("https", p.clientTLS("site.localhost"))(ctx)
	}}}
	defer client.CloseIdleConnections()
	ping := func() string {
		t.Helper()
		resp, err := client.Get("https://site.localhost/ping")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	if got := ping(); got != "pong" {
		t.Fatalf("ping: %q", got)
	}

	write(t, dir, strings.Replace(text, `files = "site"`, `files = 1`, 1)+"\nnonsense = true\n")
	p.signal(syscall.SIGHUP)
	p.waitLog("reload refused")
	for _, want := range []string{"edge.toml:46:9 is=\"files must be a string", "nonsense"} {
		if p.count(want) == 0 {
			t.Errorf("the log does not say %q", want)
		}
	}
	if got := ping(); got != "pong" {
		t.Errorf("after a refused reload: %q", got)
	}

	changed := strings.Replace(text, `body = "pong"`, `body = "changed"`, 1)
	changed = strings.Replace(changed, "[[listener]]\nname = \"moved\"\naddress = \"127.0.0.5:0\"\nprotocol = \"http\"\nredirect_to = \"https\"\n",
		"[[listener]]\nname = \"added\"\naddress = \"127.0.0.4:0\"\nprotocol = \"http\"\nredirect_to = \"https\"\n", 1)
	removed := p.addr("moved")
	write(t, dir, changed)
	p.reload()
	if got := ping(); got != "changed" {
		t.Errorf("an open connection after a reload: %q", got)
	}
	wants(t, p.curl("added", "site.localhost", "/", "-i"), " 308")
	until(t, "the removed listener refuses", func() bool {
		c, err := net.Dial("tcp", removed)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// A connection of a listener that is gone ends on what was said of it last, not on what it began with: a rule that was made stricter since holds.
func TestRemovedListener(t *testing.T) {
	dir := t.TempDir()
	vhost := func(body string) string {
		return "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"https\", \"http\"]\nrespond = { body = \"" + body + "\" }\n"
	}
	p := startIn(t, dir, "edge", config+vhost("one"))
	c := p.connect("http", nil)
	in := bufio.NewReader(c)
	ask := func() (string, bool) {
		t.Helper()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		return string(body), resp.Close
	}
	if got, _ := ask(); got != "one" {
		t.Fatalf("got %q", got)
	}
	write(t, dir, config+vhost("two"))
	p.reload()
	without := strings.Replace(config+vhost("three"), "[[listener]]\nname = \"http\"\naddress = \"[::1]:0\"\nprotocol = \"http\"\n", "", 1)
	write(t, dir, strings.Replace(strings.Replace(without, `, "http"]`, `]`, 1), `spread = "500ms"`, `spread = "0s"`, 1))
	p.reload()
	if got, last := ask(); got != "two" || !last {
		t.Errorf("on the removed listener: %q, and last: %v; want two, and to be told to end", got, last)
	}
}

// A connection belongs to its socket: a listener's new name does not keep old rules alive.
func TestRenamedListener(t *testing.T) {
	dir := t.TempDir()
	text := func(name, body string) string {
		return strings.Replace(config, `name = "http"`, `name = "`+name+`"`, 1) +
			"[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"" + name + "\"]\nrespond = { body = \"" + body + "\" }\n"
	}
	p := startIn(t, dir, "edge", text("http", "one"))
	c := p.connect("http", nil)
	in := bufio.NewReader(c)
	for _, want := range []string{"one", "two"} {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(resp.Body); string(body) != want || resp.Close {
			t.Errorf("%q, and told to end: %v; want %q", body, resp.Close, want)
		}
		write(t, dir, text("renamed", "two"))
		p.reload()
	}
}

// Two of them would each take the other's pid file and sessions for their own.
func TestSecondStart(t *testing.T) {
	p := start(t, "edge", config)
	out, err := exec.Command("edge", "-c", filepath.Join(p.dir, "edge.toml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "edge already runs on it (process "+strconv.Itoa(p.pid())+")") {
		t.Errorf("a second start: %v, %s", err, out)
	}
}

// TERM lets a request end, closes what is idle at once, and exits with 0; what takes too long is cut, and it exits with 3.
func TestStop(t *testing.T) {
	for _, slow := range []bool{false, true} {
		entered, leave := make(chan struct{}), make(chan struct{})
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			select {
			case <-leave:
			case <-r.Context().Done():
			}
			io.WriteString(w, "done")
		}))
		p := start(t, "edge", strings.Replace(config, `stop = "5s"`, `stop = "1s"`, 1)+relayTo(strings.TrimPrefix(app.URL, "http://")))
		idle := p.connect("http", nil)
		answer := make(chan string, 1)
		go func() {
			out, _ := p.tryCurl("https", "app.localhost", "/slow")
			answer <- out
		}()
		<-entered
		p.signal(syscall.SIGTERM)
		if n, err := idle.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("an idle connection at TERM: %d bytes, %v", n, err)
		}
		if !slow {
			close(leave)
			if got := <-answer; got != "done" {
				t.Errorf("the request that ran at TERM: %q", got)
			}
		}
		<-p.exited
		if got, want := p.cmd.ProcessState.ExitCode(), map[bool]int{false: 0, true: 3}[slow]; got != want {
			t.Errorf("slow: %v: exit status %d, want %d", slow, got, want)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "state", "edge.pid")); err == nil {
			t.Error("the pid file is still there")
		}
		app.Close()
	}
}
