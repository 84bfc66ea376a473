package wire

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// echoTunnel answers an upgrade, then each byte with itself, and the client's end with a last word.
func echoTunnel(t *testing.T) HandlerFunc {
	return func(x *Exchange) {
		c, err := x.Tunnel(Fields(nil).Add("x-a", "1").Add("connection", "x").Add("content-length", "7").Add("x-b", "2\r\nx-c: 3"))
		if err != nil {
			ReplyText(x, http.StatusBadRequest, err.Error())
			return
		}
		if err := x.Head(200, nil, 0); err != errHeadSent {
			t.Errorf("a head behind the tunnel's: %v", err)
		}
		if _, err := io.Copy(c, c); err != nil {
			t.Errorf("copying: %v", err)
		}
		io.WriteString(c, "bye")
		if err := c.CloseWrite(); err != nil {
			t.Errorf("half-close: %v", err)
		}
	}
}

const upgradeHead = "GET /ws HTTP/1.1\nHost: a\nConnection: keep-alive, Upgrade\nUpgrade: websocket\n"

func TestTunnel(t *testing.T) {
	tunnel := echoTunnel(t)
	s := serveRaw(t, testConn(), nil, func(x *Exchange) {
		if string(x.Upgrade) != "websocket" {
			t.Errorf("the upgrade is %q", x.Upgrade)
		}
		if _, n := x.Fields.Get("upgrade"); n != 0 {
			t.Error("the upgrade is among the fields")
		}
		tunnel(x)
		if r := x.Record; r.Status != 101 || !r.Tunnel {
			t.Errorf("the record has %+v", r)
		}
	})
	r := dial(t, s)
	r.send(upgradeHead + "\nright behind") // in one piece: the server has read it too far
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h := resp.Header; resp.StatusCode != 101 || h.Get("Upgrade") != "websocket" || h.Get("Connection") != "Upgrade" || h.Get("X-A") != "1" ||
		h.Get("Content-Length") != "" || h.Get("X-C") != "" {
		t.Errorf("got %v", resp)
	}
	b := make([]byte, len("right behind"))
	if _, err := io.ReadFull(r.in, b); err != nil || string(b) != "right behind" {
		t.Fatalf("came back %q, %v", b, err)
	}
	r.send("more")
	if _, err := io.ReadFull(r.in, b[:4]); err != nil || string(b[:4]) != "more" {
		t.Fatalf("came back %q, %v", b, err)
	}
	r.Conn.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(r.in); string(rest) != "bye" || err != nil {
		t.Errorf("after the half-close: %q, %v", rest, err)
	}
}

// TCP is the socket only where nothing lies above it.
func TestTunnelTCP(t *testing.T) {
	for name, c := range map[string]struct {
		tls    bool
		behind string
		want   bool
	}{"plain": {false, "", true}, "TLS": {true, "", false}, "buffered bytes": {false, "x", false}} {
		t.Run(name, func(t *testing.T) {
			got := make(chan bool, 2)
			serve := func(x *Exchange) {
				c, err := x.Tunnel(nil)
				if err != nil {
					t.Error(err)
					return
				}
				got <- c.TCP() != nil
				io.Copy(c, c)
			}
			var s *httptest.Server
			var nc net.Conn
			if c.tls {
				s = serveTLS(t, 1, testConn(), serve)
				nc = tlsDial(t, s)
			} else {
				s = serveRaw(t, testConn(), nil, serve)
				nc = dial(t, s).Conn
			}
			io.WriteString(nc, strings.ReplaceAll(upgradeHead+"\n", "\n", "\r\n")+c.behind)
			if g := wait(t, "the tunnel", got); g != c.want {
				t.Errorf("there is a socket: %v", g)
			}
			nc.(interface{ CloseWrite() error }).CloseWrite()
			io.Copy(io.Discard, nc)
		})
	}
}

func TestNoUpgrade(t *testing.T) {
	s := serveRaw(t, testConn(), nil, echoTunnel(t))
	for _, head := range []string{
		"GET / HTTP/1.1\nHost: a\n", "GET / HTTP/1.1\nHost: a\nUpgrade: websocket\n", "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\n",
		"GET / HTTP/1.0\nHost: a\nConnection: Upgrade\nUpgrade: websocket\n", "GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: h2c\n",
		"GET / HTTP/1.1\nHost: a\nConnection: x-upgrade\nUpgrade: websocket\n",
		"POST / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nContent-Length: 1\n",
		"POST / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\nTransfer-Encoding: chunked\n",
	} {
		r := dial(t, s)
		r.send(head + "\n")
		if resp, text := r.answer("GET"); resp.StatusCode != 400 || text != errNoUpgrade.Error()+"\n" {
			t.Errorf("%q: %v, %q", head, resp, text)
		}
	}
	t.Run("h2", func(t *testing.T) {
		s := serveTLS(t, 2, testConn(), echoTunnel(t))
		if resp, _, err := get(t, s, "GET", "/", nil); err != nil || resp.StatusCode != 400 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

// A tunnel ends with Serve, whatever its handler left open.
func TestTunnelEndsWithServe(t *testing.T) {
	s := serveRaw(t, testConn(), nil, func(x *Exchange) {
		if _, err := x.Tunnel(nil); err != nil {
			t.Error(err)
		}
	})
	r := dial(t, s)
	r.send(upgradeHead + "\n")
	if resp, err := http.ReadResponse(r.in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	r.ends()
}

// A tunnel has no deadline, neither the request's nor the answer's.
func TestTunnelHasTime(t *testing.T) {
	c := testConn()
	c.Body, c.Write = 50*time.Millisecond, 50*time.Millisecond
	s := serveRaw(t, c, nil, func(x *Exchange) {
		c, err := x.Tunnel(nil)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.Copy(c, c); err != nil {
			t.Errorf("copying: %v", err)
		}
	})
	r := dial(t, s)
	r.send(upgradeHead + "\n")
	if resp, err := http.ReadResponse(r.in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	time.Sleep(3 * c.Write)
	r.send("late")
	b := make([]byte, 4)
	if _, err := io.ReadFull(r.in, b); err != nil || string(b) != "late" {
		t.Errorf("came back %q, %v", b, err)
	}
}
