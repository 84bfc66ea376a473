package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// measureSocket names, in the environment of edge-measured, the unix socket at which it tells of its memory.
const measureSocket = "EDGE_TEST_MEASURE"

// measured is what edge-measured tells of itself, in bytes.
type measured struct {
	Heap, Stack int // in use
	Goroutines  int
}

// tellMemory answers each connection to the socket, once it has collected.
func tellMemory() {
	ln, err := net.Listen("unix", os.Getenv(measureSocket))
	if err != nil {
		panic(err)
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			panic(err)
		}
		runtime.GC() // what pools hold survives one
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		json.NewEncoder(c).Encode(measured{int(m.HeapAlloc), int(m.StackInuse), runtime.NumGoroutine()})
		c.Close()
	}
}

// look asks edge-measured.
func look(t *testing.T, socket string) (m measured) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := json.NewDecoder(c).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// What an idle connection may cost. nginx with OpenSSL 3.0 takes 15.9 KiB.
const (
	idleConns   = 3000
	idlePSS     = 11.9 // KiB of the process, with all that the runtime keeps for later
	idleMemory  = 8.2  // of heap and stack
	idleMemory2 = 9.4  // the same, for HTTP/2
)

// An idle TLS connection keeps no buffer, of ours or of TLS, and a goroutine with the smallest stack that there is; and what its handshake took goes
// back to the kernel though nobody asks the runtime to. Later it serves as before.
func TestIdleMemory(t *testing.T) {
	if raced {
		t.Skip("the race detector takes its own memory")
	}
	for proto, bound := range map[string]float64{"http/1.1": idleMemory, "h2": idleMemory2} {
		t.Run(proto, func(t *testing.T) { holdsLittle(t, proto, bound) })
	}
}

func holdsLittle(t *testing.T, proto string, bound float64) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "measure")
	t.Setenv(measureSocket, socket)
	up := answerer(t, relayAnswer, func([]byte) {})
	p := startIn(t, dir, "edge-measured", strings.NewReplacer("UP", up).Replace(relaySite))
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: "app.localhost", NextProtos: []string{proto}}
	openAndAsk(t, p.addr("https"), conf).Close()
	before, pss := look(t, socket), p.pss()
	conns := holdMany(t, p.addr("https"), conf)
	per := func(n int) float64 { return float64(n) / 1024 / idleConns }

	begin, all := time.Now(), 0.0
	for all = per(p.pss() - pss); all > idlePSS; all = per(p.pss() - pss) {
		if time.Since(begin) > soon {
			t.Fatalf("after %v the process holds %.1f KiB for each connection, and may %.1f", soon, all, idlePSS)
		}
		time.Sleep(100 * time.Millisecond) // between two looks at what nobody tells of
	}
	now := look(t, socket)
	heap, stack, goroutines := per(now.Heap-before.Heap), per(now.Stack-before.Stack), float64(now.Goroutines-before.Goroutines)/idleConns
	t.Logf("%d connections, after %v: %.2f KiB of the process for each, of it heap %.2f, stack %.2f; goroutines %.2f",
		idleConns, time.Since(begin).Round(time.Second/10), all, heap, stack, goroutines)
	if heap+stack > bound || goroutines > 1.1 {
		t.Errorf("these are too much: %.1f KiB of heap and stack are allowed, and one goroutine", bound)
	}
	for i := 0; i < len(conns); i += 100 {
		if err := askAgain(conns[i], proto); err != nil {
			t.Fatalf("connection %d, after its rest: %v", i, err)
		}
	}
}

// holdMany opens connections, each of which has had one answer.
func holdMany(t *testing.T, addr string, conf *tls.Config) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, idleConns)
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	var wg sync.WaitGroup
	const workers = 8
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(conns) && !t.Failed(); i += workers {
				conns[i] = openAndAsk(t, addr, conf)
			}
		})
	}
	if wg.Wait(); t.Failed() {
		t.FailNow()
	}
	return conns
}

func openAndAsk(t *testing.T, addr string, conf *tls.Config) net.Conn {
	c, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		t.Error(err)
		return nil
	}
	if conf.NextProtos[0] == "h2" {
		_, err = io.WriteString(c, http2.ClientPreface)
		err = cmp.Or(err, http2.NewFramer(c, c).WriteSettings(), askH2(c, 1))
	} else {
		err = askH1(c)
	}
	if err != nil {
		t.Error(err)
	}
	return c
}

// askAgain asks a second time.
func askAgain(c net.Conn, proto string) error {
	if proto == "h2" {
		return askH2(c, 3)
	}
	return askH1(c)
}

func askH1(c net.Conn) error {
	if _, err := c.Write(relayRequest); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// askH2 asks on a stream, and reads up to its end.
func askH2(c net.Conn, stream uint32) error {
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/a/b?c=d"}, {":authority", "app.localhost"}, {"user-agent", "test"}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	fr := http2.NewFramer(c, c)
	if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		return err
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			return fmt.Errorf("%v", f)
		case *http2.DataFrame:
			if f.StreamEnded() {
				return nil
			}
		}
	}
}

// pss is the process's memory, shared pages counted in parts, in bytes.
func (p *proc) pss() int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid()))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nPss:")
	var n int
	fmt.Sscan(rest, &n)
	return n << 10
}
