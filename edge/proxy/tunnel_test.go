package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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

func TestUpgrade(t *testing.T) {
	f := relay(t, 1, rawOrigin(t, switches))
	c, in := f.dial(t, upgrade+"right behind")
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
	r := wait(t, "the record", f.records)
	if r.Status != 101 || !r.Tunnel || r.BytesIn != int64(len("right behind")+len(large)) || r.BytesOut != int64(len("hellobyeright behind")+len(large)) || r.Err != nil {
		t.Errorf("the record has %+v", r)
	}
}

// A half-close of the upstream's reaches the client, which may go on.
func TestUpstreamHalfCloses(t *testing.T) {
	got := make(chan string, 1)
	f := relay(t, 1, rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		io.WriteString(up, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nall")
		up.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(in)
		got <- fmt.Sprint(string(b), err)
	}))
	c, in := f.dial(t, upgrade)
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
	<-f.records
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

// relayed gives the two ends of a Relay.
func relayed(t *testing.T) (client, up *net.TCPConn, sums <-chan [2]int64) {
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
	ended := make(chan [2]int64, 1)
	c := wait(t, "the client", clients)
	go func() {
		in, out, target, err := Relay(context.Background(), u, c)
		if err != nil || target != l.Addr().String() {
			t.Errorf("relayed to %q, %v", target, err)
		}
		ended <- [2]int64{in, out}
	}()
	return nc.(*net.TCPConn), wait(t, "the upstream", ups).(*net.TCPConn), ended
}

func TestRelay(t *testing.T) {
	client, up, sums := relayed(t)
	io.WriteString(client, "ping")
	expect(t, up, "ping")
	io.WriteString(up, "pong!")
	expect(t, client, "pong!")
	client.CloseWrite()
	expectEnd(t, up)
	io.WriteString(up, "late")
	expect(t, client, "late")
	up.CloseWrite()
	expectEnd(t, client)
	if s := wait(t, "the relay ends", sums); s != [2]int64{4, 9} {
		t.Errorf("the sums are %v", s)
	}
}

// An error on one side ends both.
func TestRelayReset(t *testing.T) {
	for _, side := range []string{"client", "upstream"} {
		t.Run(side, func(t *testing.T) {
			client, up, sums := relayed(t)
			io.WriteString(client, "ping")
			expect(t, up, "ping")
			dies, other := client, up
			if side == "upstream" {
				dies, other = up, client
			}
			dies.SetLinger(0)
			dies.Close()
			if _, err := io.Copy(io.Discard, other); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the other side: %v", err)
			}
			wait(t, "the relay ends", sums)
		})
	}
}

func TestRelayUnreachable(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	last := refused(t)
	in, out, target, err := Relay(t.Context(), pool(t, spec("tcp://"+last)), a)
	if in != 0 || out != 0 || target != last || err == nil {
		t.Errorf("got %d, %d, %q, %v", in, out, target, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := Relay(ctx, pool(t, spec("tcp://"+last)), a); err == nil {
		t.Error("a relay that was given up has no error")
	}
}

// pipe is an end of a net.Pipe, which has no half-close.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return p.Close() }

// A tunnel through which nothing goes ends, and one with a byte either way does not.
func TestJoinIdle(t *testing.T) {
	for name, hide := range map[string]func(net.Conn) halfCloser{
		"deadlines":               func(c net.Conn) halfCloser { return pipe{c} },
		"none on upstream's side": func(c net.Conn) halfCloser { return closer{c} }, // as net/http gives it
	} {
		for _, upstreamSpeaks := range []bool{false, true} {
			t.Run(fmt.Sprint(name, upstreamSpeaks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, a := net.Pipe()
					b, up := net.Pipe()
					ended := make(chan [2]int64, 1)
					go func() {
						in, out := Join(pipe{a}, hide(b))
						ended <- [2]int64{in, out}
					}()
					from, to, want := client, up, [2]int64{5, 0}
					if upstreamSpeaks {
						from, to, want = up, client, [2]int64{0, 5}
					}
					for range 5 {
						time.Sleep(tunnelIdle - tunnelTick)
						io.WriteString(from, "x")
						expect(t, to, "x")
					}
					last := time.Now()
					if sums := <-ended; sums != want {
						t.Errorf("the sums are %v", sums)
					}
					if d := time.Since(last); d < tunnelIdle || d > tunnelIdle+tunnelTick {
						t.Errorf("it ended %v after the last byte", d)
					}
					client.Close()
					up.Close()
				})
			})
		}
	}
}

// TestUpgradeTLS is a tunnel whose client's side is TLS: the end of a direction is a close_notify.
func TestUpgradeTLS(t *testing.T) {
	p := rawOrigin(t, switches)
	c := &wire.Conn{TLS: &tls.ConnectionState{}, Body: patience, Write: patience}
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
