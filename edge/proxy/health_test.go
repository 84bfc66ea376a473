package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/edge/upstream"
	"edge/edge/wire"
)

// notes are what an upstream logs.
type notes struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.Write(p)
}

// has says whether the log tells this.
func (n *notes) has(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Contains(n.out.String(), text)
}

// aside says whether a target was set aside.
func (n *notes) aside() bool { return n.has("set aside") }

// brittle gives the same target twice, each of which is set aside by its first failure; and whether one was.
func brittle(t *testing.T, target string, response time.Duration) (*upstream.Upstream, *notes) {
	t.Helper()
	s, logged := spec(target, target), new(notes)
	s.MaxFails, s.FailTimeout, s.Timeouts.Response = 1, time.Hour, response
	s.Timeouts.Connect = response
	return poolThatLogs(t, s, slog.New(slog.NewTextHandler(logged, nil))), logged
}

// says is a target that reads a request and answers with these bytes.
func says(t *testing.T, text string) string {
	return "http://" + rawOrigin(t, func(up net.Conn, in *bufio.Reader, head string) {
		for line := ""; strings.Contains(head, "chunked") && line != "0\r\n"; {
			line, _ = in.ReadString('\n')
		}
		io.WriteString(up, text)
	}).Upstream.Targets()[0].Name
}

// silent is a target that takes a connection, and then neither reads nor writes until its peer has ended.
func silent(t *testing.T, scheme string) string {
	return scheme + "://" + listen(t, func(c net.Conn) { io.Copy(io.Discard, c) }).Addr().String()
}

// What is a target's fault sets it aside, and nothing else does.
func TestFailures(t *testing.T) {
	const short = 100 * time.Millisecond
	m := newMany(t)
	h2c := "h2c" + strings.TrimPrefix(m.URL, "http")
	for name, c := range map[string]struct {
		target string
		path   string
		aside  bool
	}{
		"refused":             {"http://" + refused(t), "/", true},
		"refused, h2c":        {"h2c://" + refused(t), "/", true},
		"no name":             {"http://does-not-exist.invalid:1", "/", true},
		"no TLS":              {"https" + strings.TrimPrefix(m.URL, "http"), "/", true},
		"TLS, in time":        {silent(t, "https"), "/", true},
		"no answer":           {silent(t, "http"), "/", true},
		"no answer, h2c":      {silent(t, "h2c"), "/", true},
		"dies":                {m.URL, "/dies", true},
		"dies, h2c":           {h2c, "/dies", true},
		"half a head":         {says(t, "HTTP/1.1 200 OK\r\nX-A"), "/", true},
		"no HTTP":             {says(t, "220 smtp ready\r\n\r\n"), "/", true},
		"no HTTP, h2c":        {"h2c" + strings.TrimPrefix(says(t, "220 smtp ready\r\n\r\n"), "http"), "/", true},
		"only a hint":         {says(t, "HTTP/1.1 103 Early Hints\r\n\r\n"), "/", true},
		"200":                 {m.URL, "/", false},
		"200, h2c":            {h2c, "/", false},
		"503":                 {says(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), "/", false},
		"a body cut short":    {m.URL, "/cut", false},
		"cut short, h2c":      {h2c, "/cut", false},
		"an unsendable path":  {m.URL, "/unsendable", false},
		"takes no hint":       {says(t, "HTTP/1.1 103 Early Hints\r\n\r\n"), "/deaf", false},
		"our panic":           {m.URL, "/panics", false},
		"an upgrade over h2c": {h2c, "/upgrade", false},
	} {
		t.Run(name, func(t *testing.T) {
			response := patience
			if strings.HasPrefix(name, "no answer") || name == "TLS, in time" {
				response = short
			}
			t.Parallel()
			var u *upstream.Upstream
			f := serve(t, 1, func(x *wire.Exchange) {
				switch string(x.Path) {
				case "/panics":
					x.Responder = panics{x.Responder}
				case "/deaf":
					x.Responder = failing{x.Responder, io.ErrClosedPipe}
				case "/unsendable":
					x.Path = []byte("/a b")
				case "/upgrade":
					x.Upgrade = []byte("websocket")
				}
				(&Proxy{Upstream: u}).Serve(x)
			})
			f.Client().Transport.(*http.Transport).DisableKeepAlives = true
			for _, method := range []string{"GET", "POST"} {
				var body io.Reader
				if method == "POST" {
					body = io.MultiReader(strings.NewReader("a body"))
				}
				if body != nil && name == "no HTTP, h2c" { // that may end before the body does
					continue
				}
				var logged *notes
				u, logged = brittle(t, c.target, response)
				f.ask(t, method, c.path, nil, body)
				<-f.records
				if got := logged.aside(); got != c.aside {
					t.Errorf("%s: set aside is %v", method, got)
				}
			}
		})
	}
}

// A target that takes nothing of a request's body has failed, though its client has not sent all.
func TestTakesNothing(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			stop := make(chan struct{})
			l := listen(t, func(c net.Conn) { <-stop })
			u, logged := brittle(t, scheme+"://"+l.Addr().String(), 200*time.Millisecond)
			f := relay(t, 1, &Proxy{Upstream: u})
			c, _ := f.dial(t, "POST / HTTP/1.1\nHost: a\nContent-Length: 1000000000\n\n")
			go io.Copy(c, endless{})
			if r := wait(t, "the record", f.records); r.Status != http.StatusGatewayTimeout || !logged.aside() {
				t.Errorf("it is not set aside; the record has %+v", r)
			}
			c.Close()
			close(stop)
		})
	}
}

// A client that leaves is no fault of the target's: while it is dialled, while it thinks, while the body is sent.
func TestClientIsNoFailure(t *testing.T) {
	m := newMany(t)
	for name, c := range map[string]struct {
		target, path string
		body         bool
	}{
		"handshake":    {silent(t, "https"), "/", false},
		"thinks":       {m.URL, "/waits", false},
		"thinks, h2c":  {"h2c" + strings.TrimPrefix(m.URL, "http"), "/waits", false},
		"uploads":      {m.URL, "/", true},
		"uploads, h2c": {"h2c" + strings.TrimPrefix(m.URL, "http"), "/", true},
	} {
		t.Run(name, func(t *testing.T) {
			u, logged := brittle(t, c.target, patience)
			reached := make(chan struct{})
			f := serve(t, 1, func(x *wire.Exchange) {
				close(reached)
				(&Proxy{Upstream: u}).Serve(x)
			})
			ctx, cancel := context.WithCancel(t.Context())
			r := f.request(t, "GET", c.path, nil, nil).WithContext(ctx)
			body, w := io.Pipe()
			if c.body {
				r = f.request(t, "POST", c.path, nil, body).WithContext(ctx)
				go w.Write([]byte("the begin"))
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				f.Client().Do(r)
			}()
			if c.path == "/waits" {
				wait(t, "the request", m.reached)
			}
			wait(t, "the request", reached)
			cancel()
			w.CloseWithError(context.Canceled) // net/http's client waits for its body
			<-ended
			if r := wait(t, "the record", f.records); r.Err == nil || logged.aside() {
				t.Errorf("a client that left set the target aside; the record has %+v", r)
			}
		})
	}
}

// A body that is too large, malformed or too slow is no fault of the target's, nor is that it loses patience with one that does not end.
func TestBodyIsNoFailure(t *testing.T) {
	m := newMany(t)
	impatient := rawOrigin(t, func(_ net.Conn, in *bufio.Reader, _ string) { in.ReadString('5') }).Upstream.Targets()[0].Name
	for name, target := range map[string]string{"http": m.URL, "h2c": "h2c" + strings.TrimPrefix(m.URL, "http"), "impatient": "http://" + impatient} {
		for body, want := range map[string]int{"too large": 413, "malformed": 400, "too slow": 408, "endless": 502} {
			if (name == "impatient") != (body == "endless") {
				continue
			}
			t.Run(name+"/"+body, func(t *testing.T) {
				u, logged := brittle(t, target, patience)
				f := serve(t, 1, func(x *wire.Exchange) {
					switch body {
					case "too large":
						x.Body = wire.Limit(x.Body, 4)
					case "too slow":
						x.Body = &slowBody{Body: x.Body}
					}
					(&Proxy{Upstream: u}).Serve(x)
				})
				chunk := "5\n12345\n"
				if body == "malformed" {
					chunk += "zzz\n"
				}
				f.dial(t, "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n"+chunk)
				if r := wait(t, "the record", f.records); r.Status != want || logged.aside() {
					t.Errorf("the body set the target aside; the record has %+v", r)
				}
			})
		}
	}
}

// slowBody is a body of which the second piece does not come in time.
type slowBody struct {
	wire.Body
	late bool
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.late {
		return 0, os.ErrDeadlineExceeded
	}
	b.late = true
	return b.Body.Read(p)
}

// A connection that was found dead at rest is no failure, as the request goes out again; an answer takes all failures back.
func TestRetryIsNoFailure(t *testing.T) {
	m := &mortal{die: func(_ *net.TCPConn, in *bufio.Reader, _ func(string)) { http.ReadRequest(in) }}
	target := "http://" + listen(t, m.serve).Addr().String()
	u, logged := brittle(t, target, patience)
	f := relay(t, 1, &Proxy{Upstream: u})
	for range 4 {
		if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	if logged.aside() {
		t.Error("a connection that is renewed set the target aside")
	}
}

// A dead target costs the first requests a try, and then none; when it lives again it gets its share.
func TestComesBack(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			dead, up := refused(t), newMany(t)
			s, logged := spec(scheme+"://"+dead, scheme+strings.TrimPrefix(up.URL, "http")), new(notes)
			s.MaxFails, s.FailTimeout = 2, 300*time.Millisecond
			f := relay(t, 1, &Proxy{Upstream: poolThatLogs(t, s, slog.New(slog.NewTextHandler(logged, nil)))})
			ask := func() string {
				if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != 200 {
					t.Fatalf("got %v, %v", resp, err)
				}
				return wait(t, "the record", f.records).Upstream
			}
			for range 4 {
				if target := ask(); target == dead {
					t.Error("a dead target answers")
				}
			}
			if !logged.has("set aside") {
				t.Fatal("a dead target is not set aside")
			}
			up.again(t, dead)
			for limit := time.Now().Add(patience); ask() != dead; {
				if time.Now().After(limit) {
					t.Fatal("it gets no request")
				}
			}
			if !logged.has("target is back") {
				t.Error("it is not back")
			}
			if one, other := ask(), ask(); one == other {
				t.Errorf("%s is asked twice", one)
			}
		})
	}
}

// A tunnel's target is set aside where it cannot be reached, but not because of a client that left.
func TestRelayFailures(t *testing.T) {
	u, logged := brittle(t, "tcp://"+refused(t), patience)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := relayTo(ctx, u, nil); err == nil || logged.aside() {
		t.Errorf("given up: %v", err)
	}
	if err := relayTo(t.Context(), u, nil); err == nil || !logged.aside() {
		t.Errorf("refused: %v", err)
	}
	l := listen(t, func(net.Conn) {})
	u, logged = brittle(t, "tcp://"+l.Addr().String(), patience)
	u.Targets()[0].Failed(io.EOF)
	u.Targets()[1].Failed(io.EOF)
	client, c := net.Pipe()
	client.Close()
	if relayTo(t.Context(), u, c); !logged.has("target is back") {
		t.Error("a target that accepts is not back")
	}
}
