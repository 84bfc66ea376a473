package static

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unique"

	"edge/conf"
	"edge/edge/serve"
	"edge/edge/wire"
)

// engine serves h as the product does, over TLS or not, and gives a way to connect. Above a connection there is no TLS yet.
func engine(t testing.TB, h wire.Handler, secure bool) (dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve.New(slog.New(slog.DiscardHandler))
	settings := &serve.Settings{
		Listener: "test", Handler: h, MaxHeader: 8 << 10,
		Timeouts: conf.ListenerTimeouts{Header: time.Minute, Body: time.Minute, Write: time.Minute, Idle: time.Minute},
	}
	if secure {
		config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2", "http/1.1"}}
		settings.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) {
			return config, unique.Handle[string]{}
		}
	}
	var accepts sync.WaitGroup
	accepts.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.Handle(c, settings, func() {})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepts.Wait()
		s.Cut(serve.Stopped)
		s.Stop(t.Context())
	})
	return func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// secured puts TLS above a client's connection.
func secured(c net.Conn, protocol string) (*tls.Conn, error) {
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
	return s, s.Handshake()
}

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"site.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// asker gives what asks for a path over a kept connection and reads the answer.
func asker(t testing.TB, c net.Conn, path string, more ...string) func() {
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: site.example\r\nUser-Agent: test\r\nAccept: */*\r\n%s\r\n", path, strings.Join(append(more, ""), "\r\n"))
	buf, size := make([]byte, 256<<10), 0
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf)
		if size == 0 && err == nil { // the first answer tells how long all are
			head, _, _ := bytes.Cut(buf[:n], []byte("\r\n\r\n"))
			_, length, _ := bytes.Cut(head, []byte("Content-Length: "))
			fmt.Sscan(string(length), &size)
			size += len(head) + 4
		}
		for err == nil && n < size {
			var more int
			more, err = c.Read(buf[n:])
			n += more
		}
		if err != nil || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 OK\r\n")) {
			t.Fatalf("%v: %q", err, buf[:n])
		}
	}
}

// connect gives a connection that h answers on by HTTP/1.1.
func connect(t testing.TB, h wire.Handler, secure bool) net.Conn {
	t.Helper()
	c := engine(t, h, secure)()
	if !secure {
		return c
	}
	s, err := secured(c, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// BenchmarkFile is a file through the engine over loopback, the client's share included.
func BenchmarkFile(b *testing.B) {
	root := b.TempDir()
	for name, size := range map[string]int{"1k.txt": 1 << 10, "64k.txt": 64 << 10} {
		if err := os.WriteFile(filepath.Join(root, name), bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for _, secure := range []bool{true, false} {
		for _, name := range []string{"1k.txt", "64k.txt"} {
			b.Run(fmt.Sprintf("tls=%v/%s", secure, name), func(b *testing.B) {
				ask := asker(b, connect(b, &Files{Root: root, Prefix: "/"}, secure), "/"+name)
				ask()
				b.ReportAllocs()
				for b.Loop() {
					ask()
				}
			})
		}
	}
}
