package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/conf"
	"edge/edge/record"
	"edge/edge/upstream"
	"edge/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that hangs.
const patience = 10 * time.Second

func bothModes(t *testing.T, f func(t *testing.T, major int)) {
	t.Run("h1", func(t *testing.T) { f(t, 1) })
	t.Run("h2", func(t *testing.T) { f(t, 2) })
}

// front is a server that relays.
type front struct {
	*httptest.Server
	records chan record.Record // of each request, at its end
}

// relay serves by p, over TLS if that is HTTP/2.
func relay(t *testing.T, major int, p *Proxy) *front {
	t.Helper()
	return serve(t, major, p.Serve)
}

func serve(t *testing.T, major int, h func(*wire.Exchange)) *front {
	t.Helper()
	c := &wire.Conn{Remote: netip.MustParseAddrPort("[::ffff:192.0.2.1]:5"), Body: patience, Write: patience, Tunnel: patience}
	f := &front{records: make(chan record.Record, 1000)}
	f.Server = httptest.NewUnstartedServer(wire.ServeHTTP(wire.HandlerFunc(func(x *wire.Exchange) {
		defer func() { f.records <- *x.Record }()
		h(x)
	}), c, nil))
	f.Config.DisableGeneralOptionsHandler = true
	if f.EnableHTTP2 = major == 2; f.EnableHTTP2 {
		c.TLS = &tls.ConnectionState{}
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
	f.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return f
}

// spec describes an upstream; each target is a scheme, "://" and an address.
func spec(targets ...string) *conf.Upstream {
	s := &conf.Upstream{Name: "up", Timeouts: conf.UpstreamTimeouts{Connect: patience, Response: patience, Idle: patience}}
	for _, t := range targets {
		scheme, address, _ := strings.Cut(t, "://")
		s.Targets = append(s.Targets, conf.Target{Scheme: scheme, Address: address})
	}
	return s
}

func pool(t testing.TB, s *conf.Upstream) *upstream.Upstream {
	t.Helper()
	return poolThatLogs(t, s, slog.New(slog.DiscardHandler))
}

func poolThatLogs(t testing.TB, s *conf.Upstream, log *slog.Logger) *upstream.Upstream {
	t.Helper()
	set, wrong := upstream.Draft([]*conf.Upstream{s}, nil, log)
	if wrong != nil {
		t.Fatal(wrong)
	}
	t.Cleanup(set[s].Retire)
	return set[s]
}

// origin is a server behind a Proxy, which relays to it.
func origin(t *testing.T, h http.HandlerFunc) (*httptest.Server, *Proxy) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, &Proxy{Upstream: pool(t, spec(s.URL))}
}

// rawOrigin is an upstream whose every connection is served by f, which gets it behind its first request's head.
func rawOrigin(t *testing.T, f func(c net.Conn, in *bufio.Reader, head string)) *Proxy {
	t.Helper()
	l := listen(t, behindHead(f))
	return &Proxy{Upstream: pool(t, spec("http://"+l.Addr().String()))}
}

// secureOrigin is rawOrigin over TLS. ca is the file of who signed.
func secureOrigin(t *testing.T, conf *tls.Config, ca string, f func(c net.Conn, in *bufio.Reader, head string)) *Proxy {
	t.Helper()
	serve := behindHead(f)
	l := listen(t, func(c net.Conn) {
		over := tls.Server(c, conf)
		serve(over)
		over.CloseWrite()
	})
	s := spec("https://" + l.Addr().String())
	s.CA.Path = ca
	return &Proxy{Upstream: pool(t, s)}
}

// behindHead reads a request's head and gives the rest to f.
func behindHead(f func(c net.Conn, in *bufio.Reader, head string)) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		var head strings.Builder
		for !strings.HasSuffix(head.String(), "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
		}
		f(c, in, head.String())
	}
}

// listen serves each connection by f, and closes it then. The test waits for all of them.
func listen(t *testing.T, f func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks = make(chan struct{}, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n := 0
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			n++
			c.SetDeadline(time.Now().Add(patience))
			go func() {
				defer func() { c.Close(); tasks <- struct{}{} }()
				f(c)
			}()
		}
		for range n {
			<-tasks
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l
}

// refused gives an address where nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ask sends a request and reads all of its answer.
func (f *front) ask(t *testing.T, method, path string, h http.Header, body io.Reader) (resp *http.Response, text string, err error) {
	t.Helper()
	r := f.request(t, method, path, h, body)
	resp, err = f.Client().Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func (f *front) request(t *testing.T, method, path string, h http.Header, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, f.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "a.test"
	if h != nil {
		r.Header = h
	}
	return r
}

// dial opens a connection to the front, and writes to it: the "\n" leave as "\r\n".
func (f *front) dial(t *testing.T, request string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), bufio.NewReader(c)
}

// wait waits for what a channel gives.
func wait[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("in vain: " + what)
	}
	return v
}

// expect reads just these bytes.
func expect(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if n, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b[:n], err, want)
	}
}

// expectEnd reads the end, and nothing before it.
func expectEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatalf("in place of the end: %q, %v", b, err)
	}
}

// newTLS serves h over TLS and HTTP/1.1.
func newTLS(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s
}

// certificate gives a server's TLS configuration, and the file of the certificate that clients may trust.
func certificate(t *testing.T) (conf *tls.Config, ca string) {
	t.Helper()
	s := newTLS(t, nil)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: s.TLS.Certificates}, ca
}
