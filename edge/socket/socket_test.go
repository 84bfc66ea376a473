package socket

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that hangs.
const patience = 10 * time.Second

// pair gives the two ends of a connection.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); peer.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	peer.SetDeadline(time.Now().Add(patience))
	return New(nc), peer.(*net.TCPConn)
}

// What comes while a step is at work wakes the next one, and the end does.
func TestWaitRemembers(t *testing.T) {
	c, peer := pair(t)
	steps, got, buf := 0, "", make([]byte, 100)
	err := c.Wait(func() bool {
		for steps++; ; {
			n, err := c.Read(buf)
			got += string(buf[:n])
			switch {
			case err == ErrDry && len(got) < 3:
				io.WriteString(peer, "x") // behind the last read of this step
				return false
			case err == ErrDry:
				peer.CloseWrite()
				return false
			case err != nil:
				got += err.Error()
				return true
			}
		}
	})
	if err != nil || got != "xxxEOF" || steps < 5 {
		t.Errorf("%d steps read %q, %v", steps, got, err)
	}
	if _, err := c.Read(buf); err != io.EOF {
		t.Errorf("behind the wait: %v", err)
	}
}

// A read deadline ends a wait, and not the next one once it is taken back.
func TestWaitDeadline(t *testing.T) {
	c, peer := pair(t)
	began := make(chan struct{})
	go func() { <-began; c.SetReadDeadline(time.Unix(1, 0)) }()
	first := true
	err := c.Wait(func() bool {
		if first {
			close(began)
			first = false
		}
		return false
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the deadline is told as %v", err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	io.WriteString(peer, "x")
	n := 0
	if err := c.Wait(func() bool { n, _ = c.Read(make([]byte, 9)); return n > 0 }); err != nil || n != 1 {
		t.Errorf("after the deadline: %d, %v", n, err)
	}
}

// Who closes the connection ends a wait, and waits for the step that runs.
func TestWaitClosed(t *testing.T) {
	c, _ := pair(t)
	in, on, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(closed)
		<-in
		c.Close()
	}()
	go func() {
		<-in
		for c.SetDeadline(time.Time{}) == nil { // until Close has begun
			time.Sleep(time.Millisecond)
		}
		close(on)
	}()
	first := true
	err := c.Wait(func() bool {
		if first {
			first = false
			close(in)
			<-on
			select {
			case <-closed:
				t.Error("Close did not wait for the step")
			default:
			}
		}
		return false
	})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("the end is told as %v", err)
	}
	<-closed
}

// crypto/tls goes on after ErrDry, in the middle of a record too.
func TestTLSGoesOn(t *testing.T) {
	c, peer := pair(t)
	server, client := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate(t)}}), tls.Client(&halving{Conn: peer}, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	half := client.NetConn().(*halving)
	half.hold = true
	io.WriteString(client, "hello")
	dry, got, buf := 0, "", make([]byte, 100)
	err := server.NetConn().(*Conn).Wait(func() bool {
		n, err := server.Read(buf)
		got += string(buf[:n])
		if err == ErrDry && half.hold && c.inHalf(half) {
			dry++
			half.release()
		}
		return n > 0 || err != nil && err != ErrDry
	})
	if err != nil || got != "hello" || dry != 1 {
		t.Errorf("read %q, %v; dry in the middle %d times", got, err, dry)
	}
}

// inHalf says whether the first half was read: the socket is dry, and it was written before.
func (c *Conn) inHalf(h *halving) bool { return c.dry && len(h.rest) > 0 }

// halving holds the second half of a write back.
type halving struct {
	net.Conn
	hold bool
	rest []byte
}

func (h *halving) Write(p []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(p)
	}
	h.rest = append([]byte(nil), p[len(p)/2:]...)
	_, err := h.Conn.Write(p[:len(p)/2])
	return len(p), err
}

func (h *halving) release() {
	h.hold = false
	h.Conn.Write(h.rest)
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
