package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// raw is an upstream that gives each request, of which it is told the path, to f with its connection.
func raw(t *testing.T, f func(c net.Conn, path string)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	serve := func(c net.Conn) {
		defer func() { ended <- struct{}{} }()
		defer c.Close()
		for in := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			f(c, r.URL.Path)
		}
	}
	go func() {
		defer close(ended)
		n := 0
		for ; ; n++ {
			c, err := l.Accept()
			if err != nil {
				break
			}
			go serve(c)
		}
		for range n {
			<-ended
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for range ended {
		}
	})
	return l.Addr().String()
}

// http2 gives a client that asks by HTTP/2.
func (w *front) http2() *http.Client {
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
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// An error page does not wait for the answer that it stands for, nor share its fate.
func TestInterceptDoesNotWait(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "down.html", "<h1>down</h1>")
	h2c := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusServiceUnavailable)
		http.NewResponseController(rw).Flush()
		if r.URL.Path == "/h2c/cut" {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	}))
	h2c.Config.Protocols = new(http.Protocols)
	h2c.Config.Protocols.SetUnencryptedHTTP2(true)
	h2c.Start()
	t.Cleanup(h2c.Close)
	up := raw(t, func(c net.Conn, path string) {
		switch path {
		case "/long":
			fmt.Fprint(c, "HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\na")
		case "/live":
			fmt.Fprint(c, "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		case "/cut":
			fmt.Fprint(c, "HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\na")
			c.Close()
		default:
			fmt.Fprint(c, "HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\na")
		}
	})
	w := newFront(t, dir, up, `
[[vhost]]
hosts = "a.localhost"
listeners = ["http", "https"]
proxy = "http://APP"
intercept_errors = true
error_pages = { "503" = "down.html" }
	[[vhost.route]]
	path = "/h2c/"
	proxy = "h2c://`+h2c.Listener.Addr().String()+`"
`)
	paths := []string{"/whole", "/long", "/live", "/cut", "/h2c/live", "/h2c/cut"}
	c := w.dial("http", "127.0.0.7")
	in := bufio.NewReader(c)
	for _, path := range paths { // on one connection: it is free for the next request at once
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.localhost\r\n\r\n", path)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		text, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 503 || string(text) != "<h1>down</h1>" || err != nil {
			t.Errorf("%s: %d %q, %v", path, resp.StatusCode, text, err)
		}
	}
	client := w.http2()
	for _, path := range paths {
		resp, err := client.Get("https://a.localhost" + path)
		if err != nil {
			t.Errorf("HTTP/2, %s: %v", path, err)
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 503 || string(text) != "<h1>down</h1>" || err != nil {
			t.Errorf("HTTP/2, %s: %d %q, %v", path, resp.StatusCode, text, err)
		}
	}
}

// An answer that was replaced and is here as a whole leaves its connection to the next request.
func TestInterceptKeepsUpstream(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "down.html", "<h1>down</h1>")
	answers := []string{"HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"}
	next, from := make(chan string, 1), make(chan net.Conn, 1)
	up := raw(t, func(c net.Conn, _ string) {
		from <- c
		fmt.Fprint(c, <-next)
	})
	w := newFront(t, dir, up, proxied+"intercept_errors = true\nerror_pages = { \"503\" = \"down.html\" }\n")
	var first net.Conn
	for _, answer := range append(answers, answers...) {
		next <- answer
		w.wants("intercepted", w.ask("http", "127.0.0.7", "GET /"), 503, "<h1>down</h1>")
		c := <-from
		if first == nil {
			first = c
		} else if c != first {
			t.Errorf("the request behind %q comes by another connection", answer)
		}
	}
}

// The page for 503 stands for all answers of edge's own that have this status.
func TestErrorPageWhereAllAreFull(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "full.html", "<h1>full</h1>")
	came, ends := make(chan struct{}), make(chan struct{})
	up := raw(t, func(c net.Conn, _ string) {
		came <- struct{}{}
		<-ends
		fmt.Fprint(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	w := newFront(t, dir, up, strings.Replace(proxied, `"http://APP"`, `"few"`, 1)+`error_pages = { "503" = "full.html" }
	[[vhost.route]]
	path = "/intercept/"
	proxy = "few"
	intercept_errors = true
[[upstream]]
name = "few"
targets = "http://APP"
max_in_flight = 1
`)
	c := w.dial("http", "127.0.0.7")
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
	<-came
	for _, path := range []string{"/", "/intercept/"} {
		w.wants(path, w.ask("http", "127.0.0.7", "GET "+path), 503, "<h1>full</h1>", "Retry-After: 1\n")
	}
	close(ends)
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 204 {
		t.Error(resp, err)
	}
}

// Response fields are set and removed where an upgrade is accepted, too, and the request's id is told.
func TestHeaderRulesOfUpgrade(t *testing.T) {
	up := raw(t, func(c net.Conn, _ string) {
		fmt.Fprint(c, "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-From: upstream\r\nX-Request-Id: theirs\r\n\r\n")
		c.Close()
	})
	w := newFront(t, t.TempDir(), up, proxied+"headers = { \"X-Site\" = \"1\", \"X-From\" = \"\" }\n[log]\nreturn_id = true\n")
	w.wants("the upgrade", w.upgrade("https://a.localhost", "Upgrade: websocket"), 101, "X-Site: 1", "!X-From", "Upgrade: websocket", "X-Request-Id: ", "!theirs")
}
