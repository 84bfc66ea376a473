package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/edge/record"
	"edge/edge/socket"
	"edge/edge/tunnel"
	"edge/edge/upstream"
	"edge/edge/wire"
)

const upgrade = "GET /ws HTTP/1.1\nHost: a.test\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Key: k\n\n"

// switches is an upstream that switches protocols, echoes, and has a last word when its client ends.
func switches(up net.Conn, in *bufio.Reader, head string) {
	if !strings.Contains(head, "\r\nConnection: Upgrade\r\n") || !strings.Contains(head, "\r\nUpgrade: websocket\r\n") || !strings.Contains(head, "\r\nsec-websocket-key: k\r\n") {
		io.WriteString(up, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		return
	}
	// with its first bytes right behind the head
	io.WriteString(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: a\r\n\r\nhello")
	io.Copy(up, in)
	io.WriteString(up, "bye")
}

// everySide runs a test of an upgrade in front of an upstream: by net/http, and by the engine with and without TLS on either side.
func everySide(t *testing.T, up func(net.Conn, *bufio.Reader, string), f func(t *testing.T, dial dialer, records <-chan record.Record)) {
	t.Run("net/http", func(t *testing.T) {
		front := relay(t, 1, rawOrigin(t, up))
		f(t, func(request string) (tunnel.Conn, *bufio.Reader) { c, in := front.dial(t, request); return c, in }, front.records)
	})
	for name, over := range map[string]struct{ client, up bool }{"plain": {}, "TLS": {true, false}, "TLS upstream": {false, true}, "TLS both": {true, true}} {
		t.Run(name, func(t *testing.T) {
			conf, ca := certificate(t)
			p := rawOrigin(t, up)
			if over.up {
				p = secureOrigin(t, conf, ca, up)
			}
			if !over.client {
				conf = nil
			}
			dial, records := engineOver(t, p, conf)
			f(t, dial, records)
		})
	}
}

// Bytes right behind the request and right behind the answer come first, then all that follows; the end of each side ends its direction only.
func TestUpgrade(t *testing.T) {
	everySide(t, switches, func(t *testing.T, dial dialer, records <-chan record.Record) {
		c, in := dial(upgrade + "right behind")
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "a" || resp.Header.Get("Upgrade") == "" {
			t.Fatalf("got %v, %v", resp, err)
		}
		expect(t, in, "helloright behind")
		large := strings.Repeat("0123456789", 100<<10)
		var wg sync.WaitGroup
		wg.Go(func() { io.WriteString(c, large) })
		expect(t, in, large)
		wg.Wait()
		c.CloseWrite() // half-close: the upstream's last word comes after it
		expect(t, in, "bye")
		expectEnd(t, in)
		r := wait(t, "the record", records)
		if r.Status != 101 || !r.Tunnel || r.BytesIn != int64(len("right behind")+len(large)) || r.BytesOut != int64(len("hellobyeright behind")+len(large)) ||
			r.Reason != "client closed" || r.Err != nil {
			t.Errorf("the record has %+v", r)
		}
	})
}

// A half-close of the upstream's reaches the client, which may go on.
func TestUpstreamHalfCloses(t *testing.T) {
	got := make(chan string, 1)
	halves := func(up net.Conn, in *bufio.Reader, _ string) {
		io.WriteString(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nall")
		up.(tunnel.Conn).CloseWrite()
		b, err := io.ReadAll(in)
		got <- fmt.Sprint(string(b), err)
	}
	everySide(t, halves, func(t *testing.T, dial dialer, records <-chan record.Record) {
		c, in := dial(upgrade)
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
			t.Fatalf("got %v, %v", resp, err)
		}
		expect(t, in, "all")
		expectEnd(t, in)
		io.WriteString(c, "late")
		c.CloseWrite()
		if g := wait(t, "upstream's read", got); g != "late<nil>" {
			t.Errorf("upstream got %q", g)
		}
		if r := wait(t, "the record", records); r.Reason != "upstream closed" || r.Err != nil || r.BytesIn != 4 || r.BytesOut != 3 {
			t.Errorf("the record has %+v", r)
		}
	})
}

// A request's tunnel is known while it is open.
func TestUpgradeIsKnown(t *testing.T) {
	var tunnels tunnel.Registry
	p := rawOrigin(t, switches)
	p.Tunnels = &tunnels
	dial, records := engine(t, p)
	c, in := dial(upgrade)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	expect(t, in, "hello")
	list := tunnels.List()
	want := tunnel.Facts{Kind: tunnel.Upgrade, Protocol: "websocket", Client: netip.MustParseAddrPort("192.0.2.1:5"), Target: p.Upstream.Targets()[0].Name}
	if len(list) != 1 || list[0].Facts != want {
		t.Errorf("known are %+v", list)
	}
	c.Close()
	wait(t, "the record", records)
	if list := tunnels.List(); len(list) != 0 {
		t.Errorf("known are still %+v", list)
	}
}

// What an upstream answers in place of a switch is an answer.
func TestUpgradeRefused(t *testing.T) {
	up, p := origin(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not you", http.StatusForbidden) })
	f := relay(t, 1, p)
	c, in := f.dial(t, upgrade)
	for range 2 { // and the connection lives on
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 403 || resp.Close {
			t.Fatalf("got %v, %v", resp, err)
		}
		expect(t, resp.Body, "not you\n")
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	h2c := spec("h2c://" + strings.TrimPrefix(up.URL, "http://"))
	f = relay(t, 1, &Proxy{Upstream: pool(t, h2c)})
	_, in = f.dial(t, upgrade)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 502 {
		t.Errorf("over h2c: %v, %v", resp, err)
	}
}

// Nobody gets a tunnel who did not ask for it, nor another protocol than was asked for.
func TestSwitchUnasked(t *testing.T) {
	p := rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		io.WriteString(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(io.Discard, in)
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		for _, body := range []io.Reader{nil, strings.NewReader("body")} {
			if resp, _, err := f.ask(t, "POST", "/", nil, body); err != nil || resp.StatusCode != 502 {
				t.Errorf("got %v, %v", resp, err)
			}
		}
	})
	f := relay(t, 1, p)
	for _, head := range []string{"Upgrade: other\nConnection: Upgrade\n", "Upgrade: websocket\n", "Upgrade: websocket\nConnection: Upgrade\nContent-Length: 0\nTransfer-Encoding: chunked\n"} {
		_, in := f.dial(t, "GET / HTTP/1.1\nHost: a\n"+head+"\n0\n\n")
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 502 {
			t.Errorf("%q: got %v, %v", head, resp, err)
		}
	}
}

// arrived is a client of a tcp or tls listener.
type arrived struct {
	wire.Stream
	info *wire.Conn
}

func (a arrived) Info() *wire.Conn { return a.info }

// relayTo relays c, and gives what that ends with; nil for c will do where no target can be reached.
func relayTo(ctx context.Context, u *upstream.Upstream, c net.Conn) error {
	a := arrived{info: &wire.Conn{Tunnel: patience}}
	if c != nil {
		a.Stream = stream{socket.New(c)}
		defer c.Close()
	}
	var r record.Record
	Relay(ctx, u, nil, a, &r, func() {})
	return r.Err
}

// relayed gives the two ends of a Relay, what it has noted at its opening, and at its end.
func relayed(t *testing.T, over *tls.Config) (client, up tunnel.Conn, opened, ended <-chan record.Record) {
	t.Helper()
	ups, clients := make(chan net.Conn, 1), make(chan net.Conn, 1)
	done := make(chan struct{})
	keep := func(conns chan net.Conn) func(net.Conn) {
		return func(c net.Conn) { conns <- c; <-done }
	}
	l, front := listen(t, keep(ups)), listen(t, keep(clients))
	t.Cleanup(func() { close(done) })
	u := pool(t, spec("tcp://"+refused(t), "tcp://"+l.Addr().String(), "tcp://"+refused(t)))
	nc, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	under := socket.New(wait(t, "the client", clients))
	a := arrived{stream{under}, &wire.Conn{Tunnel: patience}}
	if client = nc.(*net.TCPConn); over != nil {
		client = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		a.info.TLS = &tls.ConnectionState{}
		a.Stream = secured{tls.Server(under, over), under}
	}
	starts, ends := make(chan record.Record, 1), make(chan record.Record, 1)
	go func() {
		r := &record.Record{Listener: "db"}
		Relay(context.Background(), u, nil, a, r, func() { starts <- *r })
		a.Close()
		ends <- *r
	}()
	return client, wait(t, "the upstream", ups).(tunnel.Conn), starts, ends
}

func TestRelay(t *testing.T) {
	front, _ := certificate(t)
	for name, over := range map[string]*tls.Config{"plain": nil, "TLS": front} {
		t.Run(name, func(t *testing.T) {
			client, up, opened, ended := relayed(t, over)
			io.WriteString(client, "ping")
			expect(t, up, "ping")
			if r := wait(t, "it opens", opened); r.Upstream != up.LocalAddr().String() || r.Reason != "" {
				t.Errorf("at its opening the record has %+v", r)
			}
			io.WriteString(up, "pong!")
			expect(t, client, "pong!")
			client.CloseWrite()
			expectEnd(t, up)
			io.WriteString(up, "late")
			expect(t, client, "late")
			up.CloseWrite()
			expectEnd(t, client)
			if r := wait(t, "it ends", ended); r.BytesIn != 4 || r.BytesOut != 9 || r.Reason != "client closed" || r.Err != nil {
				t.Errorf("at its end the record has %+v", r)
			}
		})
	}
}

func TestRelayUnreachable(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	last := refused(t)
	for _, alive := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		if !alive {
			cancel()
		}
		var r record.Record
		Relay(ctx, pool(t, spec("tcp://"+last)), nil, arrived{}, &r, func() { t.Error("it is open") })
		if r.Upstream != last || r.Err == nil || r.Reason != "" {
			t.Errorf("the record has %+v", r)
		}
		cancel()
	}
}

// TestUpgradeTLS is a tunnel whose client's side is TLS: the end of a direction is a close_notify.
func TestUpgradeTLS(t *testing.T) {
	p := rawOrigin(t, switches)
	c := &wire.Conn{TLS: &tls.ConnectionState{}, Body: patience, Write: patience, Tunnel: patience}
	s := newTLS(t, wire.ServeHTTP(p, c, nil))
	nc, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, strings.ReplaceAll(upgrade, "\n", "\r\n"))
	in := bufio.NewReader(nc)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("got %v, %v", resp, err)
	}
	expect(t, in, "hello")
	io.WriteString(nc, "ping")
	expect(t, in, "ping")
	nc.CloseWrite()
	expect(t, in, "bye")
	expectEnd(t, in)
}
