package tunnel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that hangs.
const patience = 20 * time.Second

// pair gives the two ends of a connection, the dialled one first.
func pair(t *testing.T, network string) (dialled, accepted net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialled, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled, accepted
}

// ends are what a client and an upstream hold of a tunnel.
type ends struct {
	client, up Conn
	registry   Registry
	cancel     context.CancelFunc // of the client's connection
	ended      chan End
}

// modes are what lies below both sides.
var modes = map[string]func(t *testing.T) (client, front, back, up Conn){
	"plain": func(t *testing.T) (client, front, back, up Conn) {
		a, b := pair(t, "tcp")
		c, d := pair(t, "tcp")
		return a.(Conn), b.(Conn), c.(Conn), d.(Conn)
	},
	"TLS": func(t *testing.T) (client, front, back, up Conn) {
		a, b := pair(t, "tcp")
		c, d := pair(t, "tcp")
		client, front = secure(t, a, b)
		return client, front, c.(Conn), d.(Conn)
	},
	"TLS both": func(t *testing.T) (client, front, back, up Conn) {
		a, b := pair(t, "tcp")
		c, d := pair(t, "tcp")
		client, front = secure(t, a, b)
		back, up = secure(t, c, d)
		return client, front, back, up
	},
	"to a unix socket": func(t *testing.T) (client, front, back, up Conn) {
		a, b := pair(t, "tcp")
		c, d := pair(t, "unix")
		return a.(Conn), b.(Conn), c.(Conn), d.(Conn)
	},
}

// everywhere runs a test in every mode.
func everywhere(t *testing.T, f func(t *testing.T, mode string)) {
	for mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f(t, mode)
		})
	}
}

// open joins a client and an upstream. Each connection is closed when Join returns, as its owner would.
func open(t *testing.T, mode string, idle time.Duration) *ends {
	t.Helper()
	client, front, back, up := modes[mode](t)
	limit := time.Now().Add(patience)
	client.SetDeadline(limit)
	up.SetDeadline(limit)
	return join(t, Facts{Kind: TCP, Listener: "test"}, idle, client, front, back, up)
}

func join(t *testing.T, f Facts, idle time.Duration, client, front, back, up Conn) *ends {
	t.Helper()
	e := &ends{client: client, up: up, ended: make(chan End, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = func() { cancel(); front.Close() } // as serve.Conn does
	go func() {
		defer cancel()
		end := e.registry.Join(ctx, f, idle, front, back)
		back.Close()
		front.Close()
		e.ended <- end
	}()
	until(t, func() bool { return len(e.registry.List()) == 1 })
	return e
}

// ends waits for the tunnel's end.
func (e *ends) end(t *testing.T, want Reason) End {
	t.Helper()
	select {
	case end := <-e.ended:
		if end.Reason != want || (end.Err != nil) != (want == Error) {
			t.Errorf("it ended: %q, %v; want %q", end.Reason, end.Err, want)
		}
		if n := e.registry.List(); len(n) != 0 {
			t.Errorf("still in the registry: %v", n)
		}
		return end
	case <-time.After(patience):
		t.Fatal("the tunnel does not end")
	}
	return End{}
}

// until waits for what nobody tells of.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it does not come")
		}
	}
}

// says has one side say something, and the other hear it.
func says(t *testing.T, from, to Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("heard %q, %v; want %q", got, err, text)
	}
}

// hearsEnd has a side read the end, and nothing before it.
func hearsEnd(t *testing.T, c Conn) {
	t.Helper()
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("in place of the end: %q, %v", b, err)
	}
}

// secure lays TLS over both ends of a connection.
func secure(t *testing.T, dialled, accepted net.Conn) (client, server Conn) {
	t.Helper()
	c, s := tls.Client(dialled, &tls.Config{InsecureSkipVerify: true}), tls.Server(accepted, certificate())
	served := make(chan error, 1)
	go func() { served <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return c, s
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
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})
