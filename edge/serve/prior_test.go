package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unique"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// block is the header block of a GET.
func block(path string) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.test"}, {":path", path}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return b.Bytes()
}

// A client that knows that a listener without TLS speaks HTTP/2 begins with it, in whatever pieces, and is counted as such (RFC 9113 section 3.3).
func TestPrior(t *testing.T) {
	w := newWorld(t, nil)
	var first bytes.Buffer
	first.WriteString(http2.ClientPreface)
	out := http2.NewFramer(&first, nil)
	out.WriteSettings()
	out.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("/"), EndHeaders: true, EndStream: true})
	for _, size := range []int{1, 7, 16, 18, 19, 24, 30, first.Len()} {
		c := w.dial()
		for p := first.Bytes(); len(p) > 0; p = p[min(size, len(p)):] {
			c.send(string(p[:min(size, len(p))]))
		}
		fr := http2.NewFramer(c, c)
		if got := nextFrame[*http2.DataFrame](t, fr); string(got.Data()) != "hello\n" {
			t.Errorf("%q in pieces of %d", got.Data(), size)
		}
		if n := w.Stats().Open[Kind{"test", "h2", "idle"}]; n != 1 {
			until(t, func() bool { return w.Stats().Open[Kind{"test", "h2", "idle"}] == 1 })
		}
		c.Close()
		until(t, func() bool { return w.Open() == 0 })
	}
}

// The clients that can do so get their answers.
func TestPriorClients(t *testing.T) {
	w := newWorld(t, nil)
	dial := func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp", w.ln.Addr().String()) }
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: dial}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get("http://a.test/")
	if err != nil || res.ProtoMajor != 2 {
		t.Fatal(res, err)
	}
	if got, _ := io.ReadAll(res.Body); string(got) != "hello\n" {
		t.Errorf("%q", got)
	}
	res.Body.Close()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	for arg, want := range map[string]string{"--http2-prior-knowledge": "hello\n2 200", "--http1.1": "hello\n1.1 200", "--http2": "hello\n1.1 200"} {
		out, err := exec.Command("curl", "-sS", "-m", "10", arg, "-w", "%{http_version} %{http_code}", "http://"+w.ln.Addr().String()+"/").Output()
		if err != nil || string(out) != want {
			t.Errorf("curl %s: %q, %v", arg, out, err)
		}
	}
}

// It drains as HTTP/2 does, with nothing lost, also where the connection comes late.
func TestPriorDrains(t *testing.T) {
	w := newWorld(t, nil)
	for _, late := range []bool{false, true} {
		c := w.dial()
		if late { // it was accepted in the drain, and nothing of it is here
			until(t, func() bool { return w.Open() == 1 })
		}
		c.send(http2.ClientPreface)
		fr := http2.NewFramer(c, c)
		fr.WriteSettings()
		if !late {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("/held"), EndHeaders: true, EndStream: true})
			until(t, func() bool { return w.served.Load() == 1 })
			w.Drain(0)
		}
		if first := nextFrame[*http2.GoAwayFrame](t, fr); first.LastStreamID != 1<<31-1 {
			t.Errorf("the first GOAWAY names stream %d", first.LastStreamID)
		}
		ping := nextFrame[*http2.PingFrame](t, fr).Data
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block("/"), EndHeaders: true, EndStream: true})
		if got := nextFrame[*http2.DataFrame](t, fr); got.StreamID != 3 {
			t.Errorf("data of %d", got.StreamID)
		}
		fr.WritePing(true, ping)
		if last := nextFrame[*http2.GoAwayFrame](t, fr); last.LastStreamID != 3 {
			t.Errorf("the last GOAWAY names stream %d", last.LastStreamID)
		}
		if !late {
			close(w.hold)
			if got := nextFrame[*http2.DataFrame](t, fr); got.StreamID != 1 {
				t.Errorf("data of %d", got.StreamID)
			}
		}
		if _, err := fr.ReadFrame(); err != io.EOF {
			t.Errorf("in place of the end: %v", err)
		}
		c.Close()
		until(t, func() bool { return w.Open() == 0 })
	}
}

// Neither a beginning of the preface nor all of it holds a connection for longer than a head may take.
func TestPriorTimeout(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Timeouts.Header = time.Second })
	for _, begins := range []string{"PRI * HT", http2.ClientPreface[:18], http2.ClientPreface[:20], http2.ClientPreface} {
		c := w.dial()
		c.send(begins)
		io.Copy(io.Discard, c) // up to the end
		c.Close()
	}
}

// What only looks like the preface is HTTP/1, and no request; so it is over TLS, where ALPN says what is spoken, and as a second request.
func TestNoPrior(t *testing.T) {
	conf := selfSigned(t)
	w := newWorld(t, nil)
	secure := newWorld(t, func(s *Settings) {
		s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return conf, unique.Handle[string]{} }
	})
	over := tls.Client(secure.dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	for name, c := range map[string]net.Conn{"lower case": w.dial(), "with a field": w.dial(), "second": w.dial(), "TLS": over} {
		text, want := http2.ClientPreface, " 505 "
		switch name {
		case "lower case":
			text, want = "pri * HTTP/2.0\r\n\r\nSM\r\n\r\n", " 505 "
		case "with a field":
			text, want = "PRI * HTTP/2.0\r\nHost: a.test\r\n\r\nSM\r\n\r\n", " 505 "
		case "second":
			text = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n" + text
		}
		io.WriteString(c, text)
		if got, err := io.ReadAll(c); err != nil || !strings.Contains(string(got), "HTTP/1.1"+want) || strings.Contains(string(got), "\x00\x00") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		c.Close()
	}
}
