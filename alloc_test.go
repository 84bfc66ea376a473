package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"edge/edge"
	"edge/reload/upgrade"
)

// relaySite has what every relayed request passes: TLS, routing, a log.
const relaySite = `
state_dir = "DIR/state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[listener]]
name = "http"
address = "[::1]:0"
protocol = "http"
[[certificate]]
hosts = ["app.localhost"]
issuer = "dev"
dir = "DIR/certs"
[[vhost]]
hosts = ["app.localhost"]
listeners = ["https", "http"]
access = "public"
proxy = "http://UP"
[log]
access = "DIR/access.log"
`

var relayRequest = []byte("GET /a/b?c=d HTTP/1.1\r\nHost: app.localhost\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n")

var relayAnswer = append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"), make([]byte, 1024)...)

// here runs edge in the test's own process, and gives the addresses of its listeners.
func here(t testing.TB, dir, config string) map[string]string {
	t.Helper()
	file := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := upgrade.ThisProgram()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	level := new(slog.LevelVar)
	go func() {
		_, err := edge.Run(t.Context(), edge.Options{File: file, Program: program, Signals: signals, Log: slog.New(slog.NewTextHandler(w, nil)), Level: level})
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	addrs := map[string]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			addrs[m[1]] = m[2]
		}
		if strings.Contains(lines.Text(), "msg=open") { // it is the last that is said
			break
		}
	}
	if len(addrs) == 0 {
		t.Fatal("edge does not serve")
	}
	go io.Copy(io.Discard, r)
	return addrs
}

// answerer is an upstream that allocates nothing: whatever comes is a request, at which look may look.
func answerer(t testing.TB, answer []byte, look func(request []byte)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					look(buf[:n])
					c.Write(answer)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// asker gives what asks one question over a kept connection, and reads the answer.
func asker(t testing.TB, c net.Conn, request []byte) func() {
	buf := make([]byte, 64<<10)
	size := 0 // of the answer, as soon as there was one
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf)
		for err == nil && n < size {
			var more int
			more, err = c.Read(buf)
			n += more
		}
		if err != nil || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 OK\r\n")) {
			t.Fatalf("%v: %q", err, buf[:n])
		}
		size = n
	}
}

// relay gives what asks edge over HTTPS and over HTTP.
func relay(t testing.TB) (overTLS, plain func()) {
	dir := t.TempDir()
	up := answerer(t, relayAnswer, func([]byte) {})
	addrs := here(t, dir, strings.NewReplacer("DIR", dir, "UP", up).Replace(relaySite))
	c := dialHere(t, dir, addrs["https"], "app.localhost")
	p, err := net.Dial("tcp", addrs["http"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return asker(t, c, relayRequest), asker(t, p, relayRequest)
}

// dialHere connects to an edge that runs here with certificates of its own.
func dialHere(t testing.TB, dir, addr, name string) net.Conn {
	t.Helper()
	return dialWith(t, dir, addr, &tls.Config{ServerName: name})
}

// dialWith is dialHere, with more to say in the handshake.
func dialWith(t testing.TB, dir, addr string, with *tls.Config) net.Conn {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(dir, "certs", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	with.RootCAs = roots
	c, err := tls.Dial("tcp", addr, with)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// allocations is how many so many calls make.
func allocations(n int, ask func()) uint64 {
	for range n / 10 {
		ask()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		ask()
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// A relayed request allocates nothing, with all that a product does for it: TLS on loopback, routing, the access log. What little is counted
// is the sweeper's and the log's, which write once in a while. That crypto/tls allocates nothing either when it begins to read is
// the doing of default.pgo: see docs/ARCHITECTURE.md.
func TestAllocRelay(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	const n, limit = 10_000, 100
	overTLS, plain := relay(t)
	for name, ask := range map[string]func(){"TLS": overTLS, "plain": plain} {
		got := allocations(n, ask)
		t.Logf("%s: %d relayed requests made %d allocations", name, n, got)
		if got >= limit {
			t.Errorf("%s: these are too many", name)
		}
	}
}

// BenchmarkRelay is what default.pgo is made from: see the Makefile.
func BenchmarkRelay(b *testing.B) {
	overTLS, plain := relay(b)
	for b.Loop() {
		overTLS()
		plain()
	}
}
