package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/edge/wire"
)

// mortal is an upstream that answers the first request of its first connection, and then dies in some phase of the next one; all further
// connections live. It counts the requests that it has got in full, or executed as soon as it saw their head.
type mortal struct {
	mu       sync.Mutex
	conns    int
	executed []string // method and body of each request behind the first
	die      func(c *net.TCPConn, in *bufio.Reader, executed func(string))
}

const lives = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func (m *mortal) serve(c net.Conn) {
	m.mu.Lock()
	m.conns++
	first := m.conns == 1
	m.mu.Unlock()
	in := bufio.NewReader(c)
	if first {
		http.ReadRequest(in)
		io.WriteString(c, lives)
		m.die(c.(*net.TCPConn), in, m.note)
		return
	}
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		b, _ := io.ReadAll(r.Body)
		m.note(r.Method + " " + string(b))
		io.WriteString(c, lives)
	}
}

func (m *mortal) note(s string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.executed = append(m.executed, s)
}

// An upstream that dies in every phase: a request goes out a second time only if it was not sent, or if that does no harm and nothing was
// answered.
func TestRetry(t *testing.T) {
	read := func(in *bufio.Reader, executed func(string)) {
		if r, err := http.ReadRequest(in); err == nil {
			b, _ := io.ReadAll(r.Body)
			executed(r.Method + " " + string(b))
		}
	}
	phases := map[string]struct {
		die     func(c *net.TCPConn, in *bufio.Reader, executed func(string))
		rests   time.Duration
		unsafe  int // how often a request that must not be repeated is executed
		safe    int
		answers bool // it says something before it dies: no second time
	}{
		"at rest": {die: func(c *net.TCPConn, _ *bufio.Reader, _ func(string)) { c.Close() }, rests: 1300 * time.Millisecond, unsafe: 1, safe: 1},
		"at rest, with a word": {die: func(c *net.TCPConn, in *bufio.Reader, _ func(string)) {
			io.WriteString(c, "HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n")
			in.Peek(1)
		}, rests: 1300 * time.Millisecond, unsafe: 1, safe: 1},
		"at rest, by a reset":    {die: func(c *net.TCPConn, _ *bufio.Reader, _ func(string)) { c.SetLinger(0) }, rests: 100 * time.Millisecond, unsafe: 1, safe: 1},
		"behind a byte":          {die: func(_ *net.TCPConn, in *bufio.Reader, _ func(string)) { in.Peek(1) }, safe: 1},
		"behind the request":     {die: func(_ *net.TCPConn, in *bufio.Reader, ex func(string)) { read(in, ex) }, unsafe: 1, safe: 2},
		"behind it, by a reset":  {die: func(c *net.TCPConn, in *bufio.Reader, ex func(string)) { read(in, ex); c.SetLinger(0) }, unsafe: 1, safe: 2},
		"behind a byte of words": {die: func(c *net.TCPConn, in *bufio.Reader, ex func(string)) { read(in, ex); io.WriteString(c, "H") }, unsafe: 1, safe: 1, answers: true},
		"behind an early hint": {die: func(c *net.TCPConn, in *bufio.Reader, ex func(string)) {
			read(in, ex)
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
		}, unsafe: 1, safe: 1, answers: true},
		"in its head": {die: func(c *net.TCPConn, in *bufio.Reader, ex func(string)) {
			read(in, ex)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A")
		}, unsafe: 1, safe: 1, answers: true},
		"in its body": {die: func(c *net.TCPConn, in *bufio.Reader, ex func(string)) {
			read(in, ex)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		}, unsafe: 1, safe: 1, answers: true},
	}
	for name, c := range phases {
		for _, request := range []string{"GET ", "HEAD ", "DELETE ", "PUT body", "POST ", "POST body", "PATCH body", "PUT stream", "POST stream"} {
			t.Run(name+"/"+request, func(t *testing.T) {
				t.Parallel()
				method, body, _ := strings.Cut(request, " ")
				if c.rests > time.Second && (method == "HEAD" || method == "DELETE" || request == "POST ") {
					t.Skip("it takes its time, and is like others")
				}
				m := &mortal{die: c.die}
				p := &Proxy{Upstream: pool(t, spec("http://"+listen(t, m.serve).Addr().String()))}
				f := serve(t, 1, func(x *wire.Exchange) {
					if body == "body" {
						x.Body = &bufferedBody{x.Body, []byte("body")}
					}
					p.Serve(x)
				})
				f.Client().Transport.(*http.Transport).DisableKeepAlives = true // it would try again itself
				if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != 200 {
					t.Fatalf("the first request: %v, %v", resp, err)
				}
				time.Sleep(c.rests)
				var sent io.Reader
				if body != "" {
					sent = strings.NewReader(body)
				}
				if body == "stream" {
					sent = io.MultiReader(sent)
				}
				resp, _, err := f.ask(t, method, "/", nil, sent)
				m.mu.Lock()
				got := len(m.executed)
				m.mu.Unlock()
				repeats := (method == "GET" || method == "HEAD" || method == "DELETE" || method == "PUT") && body != "stream"
				want := c.unsafe
				if repeats {
					want = c.safe
				}
				lives := want > 0 && !c.answers && (repeats || c.rests > 0)
				if c.rests == 100*time.Millisecond && !repeats { // a reset may be seen only behind the first bytes
					lives, want = got == 1, got
				}
				if got != want || got > 1 && !repeats {
					t.Errorf("executed %d times, want %d: %q", got, want, m.executed)
				}
				if ok := err == nil && resp.StatusCode == 200; ok != lives && name != "in its body" {
					t.Errorf("got %v, %v", resp, err)
				}
			})
		}
	}
}

// bufferedBody is a body that came with the head.
type bufferedBody struct {
	wire.Body
	all []byte
}

func (b *bufferedBody) Buffered() ([]byte, bool) { return b.all, true }

// On a connection that was never used there is no second time: the target is not one that closes what rests.
func TestNoRetryAtFirst(t *testing.T) {
	asked := make(chan string, 10)
	p := rawOrigin(t, func(_ net.Conn, _ *bufio.Reader, head string) { asked <- head })
	f := relay(t, 1, p)
	if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != 502 {
		t.Errorf("got %v, %v", resp, err)
	}
	if <-asked; len(asked) > 0 {
		t.Error("asked twice")
	}
}

// One connection serves one exchange after the other, whatever frames their answers; it is not used again where an end is said.
func TestReuse(t *testing.T) {
	for answer, want := range map[string]int{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                                            1,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n": 1,
		"HTTP/1.1 204 No Content\r\n\r\n":                                                           1,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n":                                    1,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok":                  1,
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":              1,
		"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n":                     1,
		"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n":                     3,
		"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n":                     3,
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":                                            3,
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok":                       3,
		"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok":                    3,
	} {
		var mu sync.Mutex
		conns := 0
		l := listen(t, func(c net.Conn) {
			mu.Lock()
			conns++
			mu.Unlock()
			for in := bufio.NewReader(c); ; {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				io.Copy(io.Discard, r.Body)
				io.WriteString(c, answer)
			}
		})
		f := relay(t, 1, &Proxy{Upstream: pool(t, spec("http://"+l.Addr().String()))})
		for i, method := range []string{"GET", "POST", "PUT"} {
			var body io.Reader
			if i > 0 {
				body = strings.NewReader("body")
			}
			if resp, _, err := f.ask(t, method, "/", nil, body); err != nil || resp.StatusCode == 502 {
				t.Errorf("%q: %v, %v", answer, resp, err)
			}
			<-f.records
		}
		mu.Lock()
		if conns != want {
			t.Errorf("%q: %d connections, want %d", answer, conns, want)
		}
		mu.Unlock()
	}
}

// The connections that are not used are told from those that the upstream closed, without a request.
func TestIdleCloses(t *testing.T) {
	closed := make(chan time.Duration, 1)
	l := listen(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		http.ReadRequest(in)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n")
		begin := time.Now()
		in.Peek(1)
		closed <- time.Since(begin)
	})
	f := relay(t, 1, &Proxy{Upstream: pool(t, spec("http://"+l.Addr().String()))})
	if _, _, err := f.ask(t, "GET", "/", nil, nil); err != nil {
		t.Fatal(err)
	}
	if d := wait(t, "the connection is closed", closed); d < 900*time.Millisecond || d > 3*time.Second {
		t.Errorf("a connection that lasts two seconds is closed after %v", d)
	}
}
