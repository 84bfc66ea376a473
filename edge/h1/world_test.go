package h1

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/edge/socket"
	"edge/edge/wire"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

// patience ends a test that hangs.
const patience = 20 * time.Second

// settings are what the fronts of a test have in common. The zero value will do.
type settings struct {
	tls                bool
	header, idle, body time.Duration
	maxHeader          int
	last               func() bool
	waits              func(bool)
}

func (s settings) info() *wire.Conn {
	return &wire.Conn{Listener: "test", Body: or(s.body, patience), Write: patience}
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// fronts are who can serve a handler: the engine, and net/http, whose word is the oracle's. ln is served until it is closed; what is
// given waits for the connections.
var fronts = map[string]func(ln net.Listener, h wire.Handler, s settings) (wait func()){
	"h1":       serveH1,
	"net/http": serveNetHTTP,
}

func serveH1(ln net.Listener, h wire.Handler, s settings) func() {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				info := s.info()
				st, state := newStream(nc, s.tls)
				if info.TLS = state; s.tls && state == nil {
					nc.Close()
					return
				}
				never := func() bool { return false }
				nobody := func(bool) {}
				if s.last != nil {
					never = s.last
				}
				if s.waits != nil {
					nobody = s.waits
				}
				Serve(st, Options{
					Handler: h, Info: info, MaxHeader: or(s.maxHeader, 64<<10), Header: or(s.header, patience), Idle: or(s.idle, patience),
					Last: never, Waits: nobody,
				})
			})
		}
	})
	return wg.Wait
}

func serveNetHTTP(ln net.Listener, h wire.Handler, s settings) func() {
	info := s.info()
	if s.tls {
		ln = tls.NewListener(ln, certificate())
		info.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	}
	srv := &http.Server{
		Handler: wire.ServeHTTP(h, info, s.last), Protocols: new(http.Protocols), MaxHeaderBytes: or(s.maxHeader, 64<<10),
		ReadHeaderTimeout: or(s.header, patience), IdleTimeout: or(s.idle, patience), ErrorLog: log.New(io.Discard, "", 0),
		DisableGeneralOptionsHandler: true,
	}
	srv.Protocols.SetHTTP1(true)
	var wg sync.WaitGroup
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			wg.Add(1)
		case http.StateClosed, http.StateHijacked:
			wg.Done()
		}
	}
	wg.Go(func() { srv.Serve(ln) })
	return func() {
		srv.Close()
		wg.Wait()
	}
}

// stream is a connection as edge/serve has them, in short.
type stream struct {
	net.Conn
	below *socket.Conn
	reset bool
	once  sync.Once
}

// newStream makes a stream of a socket, with TLS above if that is wanted. No state: the handshake failed.
func newStream(nc net.Conn, overTLS bool) (*stream, *tls.ConnectionState) {
	below := socket.New(nc)
	if !overTLS {
		return &stream{Conn: below, below: below}, nil
	}
	t := tls.Server(below, certificate())
	if t.Handshake() != nil {
		return nil, nil
	}
	state := t.ConnectionState()
	return &stream{Conn: t, below: below}, &state
}

func (s *stream) Socket() *socket.Conn { return s.below }
func (s *stream) CloseWrite() error    { return s.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (s *stream) TCP() *net.TCPConn {
	if s.Conn == s.below {
		return s.below.TCP()
	}
	return nil
}

func (s *stream) Reset() {
	s.below.Reset()
	s.reset = true
}

// Close says FIN, reads to the client's, then closes.
func (s *stream) Close() error {
	s.once.Do(func() {
		if !s.reset {
			s.CloseWrite()
			s.below.SetReadDeadline(time.Now().Add(2 * time.Second))
			io.Copy(io.Discard, s.below)
		}
		s.below.Close()
	})
	return nil
}

// site is a front that serves a handler on a loopback socket.
type site struct {
	t     *testing.T
	front string
	tls   bool
	addr  string
}

// newSite serves h.
func newSite(t *testing.T, front string, overTLS bool, s settings, h wire.HandlerFunc) *site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	s.tls = overTLS
	wait := fronts[front](ln, h, s)
	t.Cleanup(func() {
		ln.Close()
		wait()
	})
	return &site{t, front, overTLS, addr}
}

// everywhere runs a test over both fronts, plain and TLS.
func everywhere(t *testing.T, s settings, h wire.HandlerFunc, f func(t *testing.T, s *site)) {
	t.Helper()
	for front := range fronts {
		for _, overTLS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", front, overTLS), func(t *testing.T) {
				t.Parallel()
				f(t, newSite(t, front, overTLS, s, h))
			})
		}
	}
}

// certificate is a server's TLS configuration, made once.
var certificate = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, DynamicRecordSizingDisabled: true}
})

// client writes its bytes itself.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (s *site) dial(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.tls {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	if c, ok := nc.(*tls.Conn); ok {
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
	}
	return &client{t: t, Conn: nc, in: bufio.NewReader(nc)}
}

// send writes lines, the "\n" of which leave as "\r\n".
func (c *client) send(lines string) { c.raw(strings.ReplaceAll(lines, "\n", "\r\n")) }

func (c *client) raw(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// pieces writes step bytes at a time, until the server ends the connection.
func (c *client) pieces(s string, step int, done chan<- struct{}) {
	defer close(done)
	for len(s) > 0 {
		n := min(step, len(s))
		if _, err := io.WriteString(c.Conn, s[:n]); err != nil {
			return
		}
		s = s[n:]
	}
}

// answer reads an answer to a request of that method, and skips those in between.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, body, err := c.read(method)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, body
}

func (c *client) read(method string) (*http.Response, string, error) {
	for {
		resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			return nil, "", err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, string(body), err
		}
	}
}

// expect reads an answer and compares.
func (c *client) expect(method string, status int, body string) *http.Response {
	c.t.Helper()
	resp, got := c.answer(method)
	if resp.StatusCode != status || got != body {
		c.t.Fatalf("the answer is %d %q in place of %d %q", resp.StatusCode, clip(got), status, clip(body))
	}
	return resp
}

// ends makes sure that the server closes the connection, without another byte.
func (c *client) ends() {
	c.t.Helper()
	if b, err := io.ReadAll(c.in); len(b) > 0 || err != nil {
		c.t.Errorf("in place of the connection's end: %q, %v", clip(string(b)), err)
	}
}

// works makes sure that the connection is still good for a request.
func (c *client) works() {
	c.t.Helper()
	c.send("GET /works HTTP/1.1\nHost: a.test\n\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 200 || !strings.Contains(body, "/works") {
		c.t.Errorf("the next answer is %d %q", resp.StatusCode, clip(body))
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// echo reads the whole request and answers what it was: "GET a.test /x body".
func echo(x *wire.Exchange) {
	body, err := io.ReadAll(x.Body)
	if err != nil {
		wire.ReplyText(x, http.StatusBadRequest, err.Error())
		return
	}
	said := fmt.Sprintf("%s %s %s %s", x.Method, x.Host, x.Target(), body)
	wire.Reply(x, http.StatusOK, "text/plain", said)
}

// path answers 200 with the request's target, and reads nothing.
func path(x *wire.Exchange) { wire.Reply(x, http.StatusOK, "text/plain", x.Target()) }

// wait waits for a condition that a channel tells.
func wait[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("in vain: " + what)
	}
	return v
}

// count counts the requests that reach h.
func count(n *atomic.Int64, h wire.HandlerFunc) wire.HandlerFunc {
	return func(x *wire.Exchange) {
		n.Add(1)
		h(x)
	}
}
