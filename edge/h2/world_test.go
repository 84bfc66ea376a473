package h2

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/edge/record"
	"edge/edge/socket"
	"edge/edge/wire"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

// long ends a test that hangs.
const long = 20 * time.Second

// front is the engine over loopback sockets.
type front struct {
	t     testing.TB
	ln    net.Listener
	tls   bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []*Conn
	told  []*record.Record
	o     Options
	body  time.Duration
	write time.Duration
	early func(*Conn) // before it is served
}

func newFront(t testing.TB, overTLS bool, h wire.HandlerFunc, set func(*front)) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, ln: ln, tls: overTLS, body: long, write: long, o: Options{
		Handler: h, MaxHeader: 64 << 10, Streams: 250, Header: long, Idle: long, Last: func() bool { return false },
	}}
	if set != nil {
		set(f)
	}
	f.wg.Go(f.accept)
	t.Cleanup(func() {
		ln.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			c.nc.SetReadDeadline(past)
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *front) accept() {
	for {
		nc, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.serve(nc) })
	}
}

func (f *front) serve(nc net.Conn) {
	o := f.o
	o.Info = &wire.Conn{Listener: "test", Body: f.body, Write: f.write, Tunnel: long, Refused: func(r *record.Record) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told = append(f.told, r)
	}}
	below := socket.New(nc)
	st := &testStream{Conn: below, below: below}
	if f.tls {
		t := tls.Server(below, certificate())
		if t.Handshake() != nil {
			nc.Close()
			return
		}
		state := t.ConnectionState()
		st.Conn, o.Info.TLS = t, &state
	}
	c := New(st, o)
	if f.early != nil {
		f.early(c)
	}
	f.mu.Lock()
	f.conns = append(f.conns, c)
	f.mu.Unlock()
	c.Serve()
}

// testStream is a connection as edge/serve has them, in short.
type testStream struct {
	net.Conn
	below *socket.Conn
	once  sync.Once
}

func (s *testStream) Socket() *socket.Conn { return s.below }
func (s *testStream) TCP() *net.TCPConn    { return nil }
func (s *testStream) CloseWrite() error    { return s.Conn.(interface{ CloseWrite() error }).CloseWrite() }
func (s *testStream) Close() error {
	s.once.Do(func() {
		s.CloseWrite()
		s.below.SetReadDeadline(time.Now().Add(2 * time.Second))
		io.Copy(io.Discard, s.below)
		s.below.Close()
	})
	return nil
}

var certificate = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}
})

// client is x/net's, strict in its own way.
func (f *front) client() *http.Client {
	plain := func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", f.ln.Addr().String()) }
	secure := func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := plain(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		t := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		return t, t.HandshakeContext(ctx)
	}
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: plain, DialTLSContext: secure, DisableCompression: true}
	tr.Protocols.SetHTTP2(f.tls)
	tr.Protocols.SetUnencryptedHTTP2(!f.tls)
	f.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: long}
}

func (f *front) url(path string) string {
	if f.tls {
		return "https://a.test" + path
	}
	return "http://a.test" + path
}

// echo answers with the body that came, and its trailers.
func echo(x *wire.Exchange) {
	x.Head(200, wire.Fields{{Name: []byte("content-type"), Value: []byte("text/plain")}}, x.Length)
	if _, err := x.ReadFrom(x.Body); err != nil {
		x.Abort(err)
		return
	}
	x.Finish(x.Body.Trailers())
}
