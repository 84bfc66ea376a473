package h1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"edge/edge/socket"
	"edge/edge/wire"
)

// noted is who is informed: it keeps what it is told.
type noted struct{ told string }

func (n *noted) Inform(status int, f wire.Fields) error {
	n.told += fmt.Sprint(" ", status, " ", lineOf(f))
	return nil
}

func lineOf(f wire.Fields) (s string) {
	for _, x := range f {
		s += string(x.Name) + "=" + string(x.Value) + ";"
	}
	return s
}

// dialled is a client's connection and its server's end.
func dialled(t *testing.T, l ClientLimits) (*ClientConn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	up, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	below := socket.New(nc)
	c := NewClientConn(below, below, l)
	t.Cleanup(func() { c.Close(); up.Close() })
	up.SetDeadline(time.Now().Add(patience))
	return c, up.(*net.TCPConn)
}

var longLimits = ClientLimits{Response: patience, Body: patience}

func requestBy(method string) *Request {
	return &Request{Method: []byte(method), Path: []byte("/"), Host: []byte("a")}
}

// told gives all that an answer says: "status length fields "body" reusable seconds trailers interim".
func told(c *ClientConn) (string, error) {
	n := new(noted)
	a, err := c.ReadHead(n)
	if err != nil {
		return "", err
	}
	s := fmt.Sprint(a.Status, " ", a.Length, " ", lineOf(a.Fields))
	var body []byte
	for err == nil {
		var b []byte
		b, err = c.Next()
		body = append(body, b...)
	}
	if err != io.EOF {
		return "", err
	}
	trailers := lineOf(c.Trailers())
	return fmt.Sprintf("%s %q %v %d %s%s", s, body, c.Reusable(), c.Rest(), trailers, n.told), nil
}

// Answers that are taken: what they say, and whether the connection may be used again.
func TestClientAnswers(t *testing.T) {
	large, long := strings.Repeat("x", 300000), strings.Repeat("a", 40000)
	for sends, want := range map[string]string{
		"GET HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nok":                                                                 `200 2 x-a=1; "ok" true 0 `,
		"GET HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n":                                                                               `200 0  "" true 0 `,
		"GET HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n":                                                                                `200 0  "" true 0 `,
		"GET HTTP/1.1 404 Pas trouv\xe9 \t!\r\nContent-Length: 0\r\n\r\n":                                                              `404 0  "" true 0 `,
		"GET HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n":                                                                              `999 0  "" true 0 `,
		"GET HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;a=\"b\"\r\no\r\n001\r\nk\r\n0\r\nX-Sum: 1\r\n\r\n":                 `200 -1  "ok" true 0 x-sum=1;`,
		"GET HTTP/1.1 200 OK\r\n\r\nok":                                                                                                `200 -1  "ok" false 0 `,
		"GET HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":                                                                           `200 2  "ok" false 0 `,
		"GET HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok":                                                 `200 2  "ok" true 0 `,
		"GET HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok":                                                      `200 2  "ok" false 0 `,
		"GET HTTP/1.1 200 OK\r\nKeep-Alive: max=7, timeout=5\r\nContent-Length: 2\r\n\r\nok":                                           `200 2  "ok" true 5 `,
		"HEAD HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n":                                                                            `200 2  "" true 0 `,
		"HEAD HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":                                                                   `200 -1  "" true 0 `,
		"HEAD HTTP/1.1 200 OK\r\n\r\n":                                                                                                 `200 -1  "" true 0 `,
		"GET HTTP/1.1 204 No Content\r\n\r\n":                                                                                          `204 -1  "" true 0 `,
		"GET HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n":                                                                     `204 -1  "" true 0 `,
		"GET HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n":                                                                   `304 7  "" true 0 `,
		"GET HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n":                                                          `304 -1  "" true 0 `,
		"GET HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n": `200 0  "" true 0  103 link=a; 199 `,
		"GET HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nConnection: x-a\r\nDate: x\r\nTrailer: y\r\nContent-Length: 0\r\n\r\n":             `200 0 x-b=2; "" true 0 `,
		"GET HTTP/1.1 200 OK\r\nX-A:\t 1 2 \t\r\nX-B:\r\nContent-Length: 0\r\n\r\n":                                                    `200 0 x-a=1 2;x-b=; "" true 0 `,
		"GET HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nX-A: " + long + "\r\n\r\n" + large:                                           "200 300000 x-a=" + long + `; "` + large + `" true 0 `,
		"GET HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + large + "\r\n0\r\n\r\n":                                 `200 -1  "` + large + `" true 0 `,
		"GET HTTP/1.1 200 OK\r\nX-A: " + long + "\r\n\r\n" + large:                                                                     "200 -1 x-a=" + long + `; "` + large + `" false 0 `,
	} {
		method, answer, _ := strings.Cut(sends, " ")
		c, up := dialled(t, longLimits)
		for step := 1; step <= 2; step++ { // byte by byte, then whole
			if step == 1 && len(answer) > 1000 {
				continue
			}
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				up.Read(make([]byte, 4096)) // the request: an answer before that would be one that nobody asked for
				for i := 0; step == 1 && i < len(answer); i++ {
					io.WriteString(up, answer[i:i+1])
				}
				if step == 2 {
					io.WriteString(up, answer)
				}
				if strings.Contains(want, "false") {
					up.CloseWrite()
				}
			}()
			if err := c.Send(requestBy(method)); err != nil {
				t.Fatal(err)
			}
			if got, err := told(c); err != nil || got != want {
				t.Errorf("%.200q, step %d:\ngot  %.300q, %v\nwant %.300q", sends, step, got, err, want)
			}
			<-sent
			if strings.Contains(want, "false") {
				break
			}
		}
	}
}

// The very bytes of requests.
func TestClientRequests(t *testing.T) {
	fields := wire.Fields{}.Add("x-a", "1").Add("connection", "evil").Add("content-length", "9").Add("x-b", "evil\r\nx: y").Add("te", "evil").Add("bad name", "evil")
	for name, c := range map[string]struct {
		r    Request
		body io.Reader
		want string
	}{
		"GET":       {r: Request{Method: []byte("GET"), Path: []byte("/a%2f"), Query: []byte("b?c"), HasQuery: true, Fields: fields}, want: "GET /a%2f?b?c HTTP/1.1\r\nHost: a\r\nx-a: 1\r\n\r\n"},
		"asterisk":  {r: Request{Method: []byte("OPTIONS"), Path: []byte("*")}, want: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
		"empty":     {r: Request{Method: []byte("POST"), Path: []byte("/"), HasQuery: true}, want: "POST /? HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"},
		"body":      {r: Request{Method: []byte("PUT"), Path: []byte("/"), Length: 4, Body: []byte("body")}, want: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"},
		"upgrade":   {r: Request{Method: []byte("GET"), Path: []byte("/"), Upgrade: []byte("websocket")}, want: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		"streamed":  {r: Request{Method: []byte("PUT"), Path: []byte("/"), Length: 4}, body: strings.NewReader("body"), want: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"},
		"in chunks": {r: Request{Method: []byte("GET"), Path: []byte("/"), Length: wire.Unknown}, body: io.MultiReader(strings.NewReader("body"), strings.NewReader(strings.Repeat("x", 17))), want: "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n11\r\n" + strings.Repeat("x", 17) + "\r\n0\r\nx-sum: 1\r\n\r\n"},
		"short":     {r: Request{Method: []byte("PUT"), Path: []byte("/"), Length: 5}, body: strings.NewReader("body"), want: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbody"},
		"long":      {r: Request{Method: []byte("PUT"), Path: []byte("/"), Length: 3}, body: strings.NewReader("body"), want: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"},
	} {
		conn, up := dialled(t, longLimits)
		c.r.Host = []byte("a")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			if err := conn.Send(&c.r); err != nil {
				t.Error(err)
			}
			if c.body != nil {
				conn.SendBody(c.body, c.r.Length, func() wire.Fields { return wire.Fields{}.Add("x-sum", "1").Add("trailer", "evil") })
			}
		}()
		got := make([]byte, len(c.want))
		_, err := io.ReadFull(up, got)
		conn.Abort() // whoever waits for an answer
		<-sent
		conn.below.CloseWrite()
		if more, _ := io.ReadAll(up); string(got)+string(more) != c.want || err != nil {
			t.Errorf("%s: sent %q and %q, %v; want %q", name, got, more, err, c.want)
		}
		if read, late := conn.BodyFailure(); (read != nil) != (name == "short" || name == "long") || late {
			t.Errorf("%s: the body failed with %v, %v", name, read, late)
		}
	}
}

// A server that says nothing, or stops in the middle, or takes nothing, has its time, and no more.
func TestClientLimits(t *testing.T) {
	short := ClientLimits{Response: time.Second, Body: time.Second}
	for name, c := range map[string]struct {
		sends string
		want  error
	}{
		"silent":         {"", os.ErrDeadlineExceeded},
		"half a head":    {"HTTP/1.1 200 OK\r\nX", os.ErrDeadlineExceeded},
		"half a body":    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", os.ErrDeadlineExceeded},
		"half a chunk":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", os.ErrDeadlineExceeded},
		"no end of many": {"HTTP/1.1 200 OK\r\n\r\nhalf", os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, up := dialled(t, short)
			io.WriteString(up, c.sends)
			begin := time.Now()
			if err := conn.Send(requestBy("GET")); err != nil {
				t.Fatal(err)
			}
			if got, err := told(conn); !errors.Is(err, c.want) {
				t.Errorf("got %q, %v", got, err)
			}
			if d := time.Since(begin); d < time.Second || d > 4*time.Second {
				t.Errorf("it took %v", d)
			}
			if conn.Reusable() {
				t.Error("it may be used again")
			}
		})
	}
	t.Run("takes nothing", func(t *testing.T) {
		t.Parallel()
		conn, _ := dialled(t, short)
		r := requestBy("POST")
		r.Length = wire.Unknown
		if err := conn.Send(r); err != nil {
			t.Fatal(err)
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			conn.SendBody(endless{}, wire.Unknown, nil)
		}()
		if _, err := told(conn); !errors.Is(err, errClientAborted) {
			t.Errorf("got %v", err)
		}
		<-sent
		if read, late := conn.BodyFailure(); read != nil || !late {
			t.Errorf("the body failed with %v, %v", read, late)
		}
	})
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// Abort ends what waits, from any goroutine.
func TestClientAbort(t *testing.T) {
	for _, sends := range []string{"", "HTTP/1.1 200 OK\r\n\r\nhalf"} {
		c, up := dialled(t, longLimits)
		io.WriteString(up, sends)
		time.AfterFunc(20*time.Millisecond, func() { c.OnGone()(nil) })
		if err := c.Send(requestBy("GET")); err != nil {
			t.Fatal(err)
		}
		if got, err := told(c); !errors.Is(err, errClientAborted) {
			t.Errorf("got %q, %v", got, err)
		}
		if c.Reusable() {
			t.Error("it may be used again")
		}
	}
}

// What comes over a connection at rest is seen, its end too; and what cannot be sent is told from what was.
func TestClientQuiet(t *testing.T) {
	c, up := dialled(t, longLimits)
	if !c.Quiet() {
		t.Error("nothing came, and it is not quiet")
	}
	io.WriteString(up, "x")
	waitUntil(t, "the byte is seen", func() bool { return !c.Quiet() })
	c, up = dialled(t, longLimits)
	up.CloseWrite()
	waitUntil(t, "the end is seen", func() bool { return !c.Quiet() })
	c, up = dialled(t, longLimits)
	up.SetLinger(0)
	up.Close()
	waitUntil(t, "the reset is seen", func() bool { return !c.Quiet() })
	var no *NotSentError
	if err := c.Send(requestBy("GET")); !errors.As(err, &no) {
		t.Errorf("nothing was sent, and the error is %v", err)
	}
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: " + what)
		}
	}
}
