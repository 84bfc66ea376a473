package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that hangs.
const patience = 10 * time.Second

// testConn is a connection's facts for a server that has one handler.
func testConn() *Conn {
	return &Conn{Listener: "test", Remote: netip.MustParseAddrPort("192.0.2.1:5"), Body: patience, Write: patience}
}

// bothModes runs a test over HTTP/1.1 and HTTP/2.
func bothModes(t *testing.T, f func(t *testing.T, major int)) {
	t.Run("h1", func(t *testing.T) { f(t, 1) })
	t.Run("h2", func(t *testing.T) { f(t, 2) })
}

// serveTLS serves h over TLS, with the HTTP version.
func serveTLS(t *testing.T, major int, c *Conn, h HandlerFunc) *httptest.Server {
	t.Helper()
	c.TLS = &tls.ConnectionState{Version: tls.VersionTLS13}
	s := httptest.NewUnstartedServer(ServeHTTP(h, c, nil))
	s.EnableHTTP2 = major == 2
	s.StartTLS()
	t.Cleanup(s.Close)
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

// serveRaw serves h over TCP and HTTP/1.1.
func serveRaw(t *testing.T, c *Conn, last func() bool, h HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(ServeHTTP(h, c, last))
	s.Config.DisableGeneralOptionsHandler = true
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// get asks for a path and gives the answer with its body and what went wrong with it.
func get(t *testing.T, s *httptest.Server, method, path string, body io.Reader) (resp *http.Response, text string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return do(s, r)
}

func do(s *httptest.Server, r *http.Request) (resp *http.Response, text string, err error) {
	resp, err = s.Client().Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// raw is a client that writes its bytes itself.
type raw struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, s *httptest.Server) *raw {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &raw{t, c, bufio.NewReader(c)}
}

// send writes lines, the "\n" of which leave as "\r\n".
func (r *raw) send(s string) {
	r.t.Helper()
	if _, err := io.WriteString(r, strings.ReplaceAll(s, "\n", "\r\n")); err != nil {
		r.t.Fatal(err)
	}
}

// answer reads an answer to a request of that method.
func (r *raw) answer(method string) (*http.Response, string) {
	r.t.Helper()
	resp, err := http.ReadResponse(r.in, &http.Request{Method: method})
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("the answer's body: %v", err)
	}
	return resp, string(b)
}

// ends makes sure that the server closes the connection, without another byte.
func (r *raw) ends() {
	r.t.Helper()
	if b, err := io.ReadAll(r.in); len(b) > 0 || err != nil {
		r.t.Errorf("in place of the connection's end: %q, %v", b, err)
	}
}

// wait waits for a condition that a channel tells.
func wait[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("in vain: " + what)
	}
	return v
}

// ok answers 200 with a text, which is nothing that a test looks at.
func ok(x *Exchange) { ReplyText(x, http.StatusOK, "ok") }

func tlsDial(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}
