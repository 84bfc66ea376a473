package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unique"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/conf"
	"edge/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server on a loopback socket.
type world struct {
	*Server
	t        *testing.T
	ln       net.Listener
	settings *Settings
	served   atomic.Int64 // requests that the handler began
	hold     chan struct{}
	said     notes // what it logs
}

// newWorld serves "hello"; a request for /held waits until hold is closed.
func newWorld(t *testing.T, change func(*Settings)) *world {
	w := &world{t: t, hold: make(chan struct{})}
	w.Server = New(slog.New(slog.NewTextHandler(&w.said, &slog.HandlerOptions{Level: slog.LevelDebug})))
	w.settings = &Settings{
		Listener:  "test",
		Timeouts:  conf.ListenerTimeouts{Header: 5 * time.Second, Body: 5 * time.Second, Write: 5 * time.Second, Idle: time.Minute},
		MaxHeader: 8 << 10,
		Handler: wire.HandlerFunc(func(x *wire.Exchange) {
			w.served.Add(1)
			if string(x.Path) == "/held" {
				<-w.hold
			}
			wire.ReplyText(x, 200, "hello")
		}),
	}
	if change != nil {
		change(w.settings)
	}
	var err error
	if w.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := w.ln.Accept()
			if err != nil {
				return
			}
			w.Handle(c, w.settings, func() {})
		}
	}()
	t.Cleanup(func() {
		w.ln.Close()
		<-accepted
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		w.Stop(ctx)
	})
	return w
}

// client is a raw connection.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (w *world) dial() *client {
	w.t.Helper()
	c, err := net.Dial("tcp", w.ln.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{w.t, c, bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// get asks for a path.
func (c *client) get(path string) { c.send("GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n") }

// answer reads an answer.
func (c *client) answer() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello\n" {
		c.t.Fatalf("the answer is %q, %v", body, err)
	}
	return resp
}

// ended waits for the server's FIN.
func (c *client) ended() {
	c.t.Helper()
	if n, err := io.Copy(io.Discard, c.in); n != 0 || err != nil {
		c.t.Errorf("in place of the end: %d bytes, %v", n, err)
	}
}

// A drain closes nothing: the next answer says so, and then the connection ends (R44). One that comes later is served first (R47).
func TestLameDuck(t *testing.T) {
	w := newWorld(t, nil)
	used, fresh, held := w.dial(), w.dial(), w.dial()
	used.get("/")
	if used.answer().Close {
		t.Error("told to close before any drain")
	}
	held.get("/held")
	until(t, func() bool { return w.served.Load() == 2 && w.Open() == 3 })
	empty := w.Drain(0)
	late := w.dial()
	close(w.hold)
	if !held.answer().Close {
		t.Error("the answer of a request that ran when the drain began does not say close")
	}
	for _, c := range []*client{used, fresh, late} {
		c.get("/")
		if !c.answer().Close {
			t.Error("an answer in the drain does not say close")
		}
		c.ended()
	}
	held.ended()
	for _, c := range []*client{used, fresh, late, held} {
		c.Close()
	}
	<-empty
}

// until waits for what nobody tells of.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it does not come")
		}
	}
}

// The spread gives each connection a moment of its own: before it, answers do not say close (R52).
func TestSpread(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial()
	c.get("/")
	c.answer()
	w.Drain(1000 * time.Hour)
	c.get("/")
	if c.answer().Close {
		t.Error("told to close at once, out of a thousand hours")
	}
}

// What a client sends behind its last request, whose answer has said so, is not executed, and does not destroy the answer (R45, R46).
func TestLinger(t *testing.T) {
	w := newWorld(t, nil)
	w.Drain(0)
	c := w.dial()
	c.send("POST /held HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n12345")
	until(t, func() bool { return w.served.Load() == 1 })
	close(w.hold)
	if _, err := c.in.Peek(1); err != nil { // the answer has left
		t.Fatal(err)
	}
	c.send("GET /again HTTP/1.1\r\nHost: a.test\r\n\r\n")
	c.send(string(bytes.Repeat([]byte("x"), 64<<10)))
	if !c.answer().Close {
		t.Error("not told to close")
	}
	c.ended() // and not by a reset
	if n := w.served.Load(); n != 1 {
		t.Errorf("%d requests were executed, want the one that was answered", n)
	}
}

// A client that sends megabytes before it looks finds the answer, and not a reset.
func TestLingerLong(t *testing.T) {
	w := newWorld(t, nil)
	w.Drain(0)
	c := w.dial()
	c.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20000000\r\n\r\n")
	piece := string(bytes.Repeat([]byte("x"), 100_000))
	for range 200 {
		c.send(piece)
	}
	if !c.answer().Close {
		t.Error("not told to close")
	}
	c.ended()
}

// A stop ends what is idle at once, lets requests end, and executes nothing that comes after its FIN (R45).
func TestStop(t *testing.T) {
	w := newWorld(t, nil)
	idle, fresh, held := w.dial(), w.dial(), w.dial()
	idle.get("/")
	idle.answer()
	held.get("/held")
	until(t, func() bool { return w.served.Load() == 2 && w.Open() == 3 })
	stopped := make(chan int64)
	go func() { stopped <- w.Stop(context.Background()) }()
	idle.ended()
	fresh.ended()
	idle.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"))
	close(w.hold)
	held.answer()
	held.ended()
	for _, c := range []*client{idle, fresh, held} {
		c.Close()
	}
	if cut := <-stopped; cut != 0 {
		t.Errorf("%d were cut, want none", cut)
	}
	if n := w.served.Load(); n != 2 {
		t.Errorf("%d requests were executed, want 2", n)
	}
}

// A stop whose time is over cuts what is left, and counts what was not idle.
func TestStopCuts(t *testing.T) {
	gone := make(chan struct{})
	w := newWorld(t, func(s *Settings) {
		handler := s.Handler
		s.Handler = wire.HandlerFunc(func(x *wire.Exchange) {
			go func() { <-x.Context().Done(); close(gone) }()
			handler.Serve(x)
		})
	})
	go func() { <-gone; close(w.hold) }()
	held := w.dial()
	held.get("/held")
	w.dial()
	until(t, func() bool { return w.served.Load() == 1 && w.Open() == 2 && busyOnes(w.Server) == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if cut := w.Stop(ctx); cut != 1 {
		t.Errorf("%d were cut, want 1", cut)
	}
	if _, err := http.ReadResponse(held.in, nil); err == nil {
		t.Error("what was cut has an answer")
	}
}

func busyOnes(s *Server) (n int) {
	for _, c := range s.list() {
		if c.busy() {
			n++
		}
	}
	return n
}

// A client that sends nothing, or its head too slowly, or no handshake, ends by the header timeout.
func TestHeaderTimeout(t *testing.T) {
	short := func(s *Settings) { s.Timeouts.Header = 100 * time.Millisecond }
	conf := selfSigned(t)
	for what, w := range map[string]*world{"plain": newWorld(t, short), "TLS": newWorld(t, func(s *Settings) {
		short(s)
		s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return conf, unique.Handle[string]{} }
	})} {
		for _, begin := range []string{"", "GET / HT", "\x16\x03\x01"} {
			c := w.dial()
			c.send(begin)
			if _, err := io.Copy(io.Discard, c.in); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, %q: the connection is still open", what, begin)
			}
			c.Close()
		}
		if n := w.served.Load(); n != 0 {
			t.Errorf("%s: %d requests were executed", what, n)
		}
	}
}

// A tunnel listener gets the connection; a drain leaves it alone.
func TestTunnel(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Handler = nil
		s.Tunnel = func(_ context.Context, c *Conn) {
			if c.TCP() == nil {
				t.Error("a plain connection hides its socket")
			}
			io.Copy(c, c)
		}
	})
	c := w.dial()
	until(t, func() bool { return w.Open() == 1 })
	empty := w.Drain(0)
	c.send("hello")
	if got, err := c.in.Peek(5); err != nil || string(got) != "hello" {
		t.Errorf("the tunnel says %q, %v", got, err)
	}
	c.Close()
	<-empty
}

// Who speaks HTTP where a TLS handshake is due reads what is wrong; other bytes get no answer, and neither does a request where bytes are relayed.
func TestPlainHTTPForTLS(t *testing.T) {
	tests := []struct {
		listener string
		send     string
		plain    bool
	}{
		{"https", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", true},
		{"https", "POST /form HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nform", true},
		{"https", "SSH-2.0-OpenSSH_9.2\r\n", false},
		{"tls", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", false},
	}
	conf := selfSigned(t)
	for _, test := range tests {
		w := newWorld(t, func(s *Settings) {
			s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return conf, unique.Handle[string]{} }
			if test.listener == "tls" {
				s.Handler = nil
			}
		})
		c := w.dial()
		c.send(test.send)
		c.Conn.(*net.TCPConn).CloseWrite()
		got, err := io.ReadAll(c.in)
		if err != nil {
			t.Errorf("%s, %q: %v", test.listener, test.send, err)
		}
		const head = "HTTP/1.1 400 Bad Request\r\n"
		if plain := bytes.HasPrefix(got, []byte(head)) && bytes.Contains(got, []byte("https://")); plain != test.plain {
			t.Errorf("%s, %q: answered %q", test.listener, test.send, got)
		}
		if w.served.Load() != 0 {
			t.Errorf("%s, %q: it was served", test.listener, test.send)
		}
	}
}

// selfSigned is a server's TLS configuration that offers h2.
func selfSigned(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}
}

// HTTP/2 ends by two GOAWAYs: the first refuses no stream that is on its way, the second comes a round trip later and names the last (R48). A
// connection that comes in the drain gets both as well (R49).
func TestTwoGoaways(t *testing.T) {
	conf := selfSigned(t)
	w := newWorld(t, func(s *Settings) {
		s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return conf, unique.Handle[string]{} }
	})
	for _, late := range []bool{false, true} {
		c := tls.Client(w.dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		io.WriteString(c, http2.ClientPreface)
		fr := http2.NewFramer(c, c)
		fr.WriteSettings()
		ask := func(stream uint32) {
			var block bytes.Buffer
			enc := hpack.NewEncoder(&block)
			for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.test"}, {":path", "/"}} {
				enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
			}
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		}
		if !late {
			ask(1)
			nextFrame[*http2.DataFrame](t, fr)
			w.Drain(0)
		}
		if first := nextFrame[*http2.GoAwayFrame](t, fr); first.LastStreamID != 1<<31-1 {
			t.Fatalf("the first GOAWAY names stream %d", first.LastStreamID)
		}
		ask(3) // crosses the first one
		if f := nextFrame[*http2.DataFrame](t, fr); f.StreamID != 3 {
			t.Errorf("data of stream %d", f.StreamID)
		}
		if last := nextFrame[*http2.GoAwayFrame](t, fr); last.LastStreamID != 3 || last.ErrCode != http2.ErrCodeNo {
			t.Errorf("the last GOAWAY names stream %d, %v", last.LastStreamID, last.ErrCode)
		}
		c.Close()
	}
	until(t, func() bool { return w.Open() == 0 })
}

// nextFrame reads up to a frame of this kind.
func nextFrame[F http2.Frame](t *testing.T, fr *http2.Framer) F {
	t.Helper()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.(*http2.SettingsFrame); ok && !f.(*http2.SettingsFrame).IsAck() {
			fr.WriteSettingsAck()
		}
		if f, ok := f.(F); ok {
			return f
		}
	}
}
