package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/edge/h2"
	"edge/edge/socket"
	"edge/edge/wire"
)

// over2 is a client of HTTP/2 in front of a Proxy.
type over2 struct {
	t    *testing.T
	nc   net.Conn
	fr   *http2.Framer
	conn chan *h2.Conn
}

func newOver2(t *testing.T, p *Proxy) *over2 {
	t.Helper()
	conns := make(chan *h2.Conn, 1)
	l := listen(t, func(nc net.Conn) {
		nc.SetDeadline(time.Time{})
		c := h2.New(stream{socket.New(nc)}, h2.Options{
			Handler: wire.HandlerFunc(p.Serve), MaxHeader: 64 << 10, Streams: 10, Header: patience, Idle: patience, Last: func() bool { return false },
			Info: &wire.Conn{Remote: netip.MustParseAddrPort("192.0.2.1:5"), Body: patience, Write: patience, Tunnel: patience},
		})
		conns <- c
		c.Serve()
	})
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, http2.ClientPreface)
	c := &over2{t: t, nc: nc, fr: http2.NewFramer(nc, nc), conn: conns}
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fr.WriteSettings()
	return c
}

// connect asks for a WebSocket, RFC 8441 section 4, and gives the status and fields of the answer.
func (c *over2) connect(id uint32) *http2.MetaHeadersFrame {
	c.t.Helper()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":path", "/ws?a=b"}, {":authority", "a.test"}, {"sec-websocket-version", "13"},
	} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndHeaders: true})
	return nextOf[*http2.MetaHeadersFrame](c)
}

func nextOf[F http2.Frame](c *over2) F {
	c.t.Helper()
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		if f, is := f.(F); is {
			return f
		}
	}
}

// text reads DATA of this many bytes, and says whether the stream has ended.
func (c *over2) text(n int) (got string, ended bool) {
	c.t.Helper()
	for len(got) < n {
		d := nextOf[*http2.DataFrame](c)
		got, ended = got+string(d.Data()), d.StreamEnded()
	}
	return got, ended
}

// websocketOrigin accepts a WebSocket with proof, says hello, echoes, and has a last word when its client ends.
func websocketOrigin(proof func(key string) string) func(net.Conn, *bufio.Reader, string) {
	return func(up net.Conn, in *bufio.Reader, head string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n")))
		key, _ := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
		if err != nil || r.Method != "GET" || r.RequestURI != "/ws?a=b" || r.Header.Get("Upgrade") != "websocket" || len(key) != 16 || r.Header.Get("Sec-Websocket-Version") != "13" {
			io.WriteString(up, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprintf(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: b\r\n%s\r\nhello", proof(r.Header.Get("Sec-Websocket-Key")))
		io.Copy(up, in)
		io.WriteString(up, "bye")
	}
}

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
}

// A WebSocket over HTTP/2 becomes one over HTTP/1.1 to the upstream, with a key of our own; the end of each side ends its direction, and a
// connection that is told to go away keeps its tunnel.
func TestWebSocketOver2(t *testing.T) {
	c := newOver2(t, rawOrigin(t, websocketOrigin(accept)))
	head := c.connect(1)
	if head.PseudoValue("status") != "200" || head.StreamEnded() {
		t.Fatal(head)
	}
	for _, f := range head.RegularFields() {
		if f.Name == "sec-websocket-accept" || f.Name == "connection" || f.Name == "upgrade" {
			t.Errorf("%s reaches the client", f.Name)
		}
	}
	if got, _ := c.text(5); got != "hello" {
		t.Errorf("%q", got)
	}
	(<-c.conn).GoAway()
	c.fr.WritePing(true, nextOf[*http2.PingFrame](c).Data)
	if last := nextOf[*http2.GoAwayFrame](c); last.LastStreamID != 1 {
		t.Error(last)
	}
	large := strings.Repeat("0123456789", 3000)
	for p := large; len(p) > 0; p = p[10000:] {
		c.fr.WriteData(1, false, []byte(p[:10000]))
	}
	if got, _ := c.text(len(large)); got != large {
		t.Errorf("%d bytes of %d", len(got), len(large))
	}
	c.fr.WriteData(1, true, []byte("end"))
	got, ended := c.text(len("endbye"))
	if !ended {
		ended = nextOf[*http2.DataFrame](c).StreamEnded()
	}
	if got != "endbye" || !ended {
		t.Errorf("%q, ended %v", got, ended)
	}
	if f, err := c.fr.ReadFrame(); err != io.EOF {
		t.Errorf("the drained connection goes on: %v %v", f, err)
	}
}

// The upstream's end reaches the client, who may go on, and a client's reset the upstream.
func TestWebSocketOver2Ends(t *testing.T) {
	heard := make(chan error, 1)
	c := newOver2(t, rawOrigin(t, func(up net.Conn, in *bufio.Reader, head string) {
		r, _ := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n")))
		fmt.Fprintf(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n", accept(r.Header.Get("Sec-Websocket-Key")))
		up.(*net.TCPConn).CloseWrite()
		io.ReadFull(in, make([]byte, 4))
		heard <- nil
		_, err := in.ReadByte()
		heard <- err
	}))
	if head := c.connect(1); head.PseudoValue("status") != "200" {
		t.Fatal(head)
	}
	if d := nextOf[*http2.DataFrame](c); !d.StreamEnded() || len(d.Data()) > 0 {
		t.Error(d)
	}
	c.fr.WriteData(1, false, []byte("more"))
	wait(t, "what the client says later", heard)
	c.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	if err := wait(t, "the end", heard); err == nil {
		t.Error("the upstream heard no end")
	}
}

// What is no WebSocket is told with a status: a proof that is wrong, missing or given twice is 502; an answer that is no switch is passed on, but none that
// would tell the client that its tunnel stands.
func TestNoWebSocketOver2(t *testing.T) {
	plain := func(answer string) func(net.Conn, *bufio.Reader, string) {
		return func(up net.Conn, _ *bufio.Reader, _ string) { io.WriteString(up, answer) }
	}
	for name, c := range map[string]struct {
		up     func(net.Conn, *bufio.Reader, string)
		status string
	}{
		"wrong":      {websocketOrigin(func(string) string { return accept("another key") }), "502"},
		"missing":    {websocketOrigin(func(string) string { return "" }), "502"},
		"twice":      {websocketOrigin(func(key string) string { return accept(key) + accept(key) }), "502"},
		"a page":     {plain("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "501"},
		"no content": {plain("HTTP/1.1 204 No Content\r\n\r\n"), "501"},
		"forbidden":  {plain("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"), "403"},
		"no version": {plain("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"), "426"},
	} {
		t.Run(name, func(t *testing.T) {
			if head := newOver2(t, rawOrigin(t, c.up)).connect(1); head.PseudoValue("status") != c.status {
				t.Errorf("%v in place of %s", head, c.status)
			}
		})
	}
}
