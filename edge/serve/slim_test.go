package serve

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"edge/edge/socket"
)

// tlsPair gives both ends of a TLS connection, and what lies below them. The client's writes may be halved.
func tlsPair(t *testing.T) (server, client *tls.Conn, below *socket.Conn, writes *halves) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	sc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	below, writes = socket.New(sc), &halves{Conn: nc, rest: make(chan []byte, 1)}
	server, client = tls.Server(below, selfSigned(t)), tls.Client(writes, &tls.Config{InsecureSkipVerify: true})
	t.Cleanup(func() { nc.Close(); sc.Close() })
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	return server, client, below, writes
}

// buffersOf gives what a tls.Conn keeps of what was read.
func buffersOf(t *tls.Conn) (raw, shake *bytes.Buffer) {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), rawInput)), (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t), hand))
}

// A tls.Conn gives its buffers back, however large the records were, and goes on. It fails where a new version of Go keeps them elsewhere.
func TestSlimTLS(t *testing.T) {
	server, client, _, _ := tlsPair(t)
	raw, shake := buffersOf(server)
	if rawInput == 0 || hand == 0 || input == 0 || shake.Cap() == 0 {
		t.Fatal("crypto/tls keeps its buffers elsewhere")
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	got := make([]byte, len(sent))
	for range 3 {
		go client.Write(sent)
		if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatal("what was read is not what was sent", err)
		}
		if raw.Cap() < len(sent)/4 { // of a client that begins with small records
			t.Fatalf("a record of %d bytes was read into %d", len(sent), raw.Cap())
		}
		if slimTLS(server); raw.Cap()+shake.Cap() > 0 {
			t.Fatalf("%d and %d bytes are kept", raw.Cap(), shake.Cap())
		}
	}
}

// What has come of a record, or was not read of one, stays.
func TestSlimTLSKeeps(t *testing.T) {
	server, client, _, _ := tlsPair(t)
	go client.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := server.Read(got[:2]); err != nil {
		t.Fatal(err)
	}
	slimTLS(server)
	if _, err := io.ReadFull(server, got[2:]); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
}

// Half a record that has come stays until its other half has.
func TestSlimTLSHalf(t *testing.T) {
	server, client, below, writes := tlsPair(t)
	writes.half.Store(true)
	go client.Write([]byte("hello"))
	raw, _ := buffersOf(server)
	got := make([]byte, 5)
	err := below.Wait(func() bool { // where a read that finds half a record is no error for good
		server.Read(got)
		slimTLS(server)
		return raw.Len() > 0
	})
	if err != nil {
		t.Fatal("no half of a record has come", err)
	}
	writes.Conn.Write(<-writes.rest)
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "hello" {
		t.Fatalf("%q, %v", got, err)
	}
}

// halves is a connection that writes half of what it is to write, and gives the rest.
type halves struct {
	net.Conn
	half atomic.Bool
	rest chan []byte
}

func (h *halves) Write(p []byte) (int, error) {
	if !h.half.Load() {
		return h.Conn.Write(p)
	}
	h.rest <- bytes.Clone(p[len(p)/2:])
	_, err := h.Conn.Write(p[:len(p)/2])
	return len(p), err
}
