package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
	"unique"
)

// byNameWorld relays connections for a.test, with their TLS unopened, to a TLS server that says "passed on"; others get TLS here, and "ended here", if
// ends is set.
func byNameWorld(t *testing.T, ends bool) *world {
	behind := selfSigned(t)
	behind.NextProtos = nil
	here := selfSigned(t)
	here.NextProtos = nil
	return newWorld(t, func(s *Settings) {
		s.Handler = nil
		if ends {
			s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return here, unique.Handle[string]{} }
		}
		s.Tunnel = func(_ context.Context, c *Conn) { greet(c, "ended here "+c.Info().TLS.ServerName) }
		s.Passthrough = func(name string) Relay {
			if name != "a.test" {
				return nil
			}
			return func(_ context.Context, c *Conn) {
				if c.Info().TLS != nil || c.TCP() != nil {
					t.Error("there is TLS, or a bare socket, where the ClientHello is to be read")
				}
				over := tls.Server(c, behind)
				greet(over, "passed on")
				if c.TCP() == nil {
					t.Error("the socket is hidden when what was read ahead is read")
				}
			}
		}
	})
}

// greet reads a line, and answers with it and a word.
func greet(c net.Conn, word string) {
	b := make([]byte, 1)
	var line strings.Builder
	for b[0] != '\n' {
		if _, err := c.Read(b); err != nil {
			return
		}
		line.Write(b)
	}
	io.WriteString(c, word+" "+line.String())
	if over, ok := c.(*tls.Conn); ok {
		over.CloseWrite()
	}
}

// bytewise writes each byte on its own, in a record layer's eyes.
type bytewise struct{ net.Conn }

func (b bytewise) Write(p []byte) (int, error) {
	for i := range p {
		if n, err := b.Conn.Write(p[i : i+1]); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// hello says hello over TLS, and gives what comes back.
func hello(c net.Conn, name string, change func(*tls.Config)) (string, error) {
	conf := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	if change != nil {
		change(conf)
	}
	over := tls.Client(c, conf)
	if _, err := io.WriteString(over, "hello\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(over)
	return string(text), err
}

// A name with an entry is relayed unopened, whatever the client's TLS and however its ClientHello arrives; others end here.
func TestByName(t *testing.T) {
	w := byNameWorld(t, true)
	old := func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
	large := func(c *tls.Config) {
		for range 300 {
			c.NextProtos = append(c.NextProtos, strings.Repeat("p", 40))
		}
	}
	for name, want := range map[string]string{"a.test": "passed on hello\n", "A.Test": "passed on hello\n", "b.test": "ended here b.test hello\n", "": "ended here  hello\n"} {
		for how, change := range map[string]func(*tls.Config){"TLS 1.3": nil, "TLS 1.2": old, "12 KiB of ClientHello": large} {
			for _, slow := range []bool{false, true} {
				c := w.dial()
				nc := net.Conn(c.Conn)
				if slow {
					nc = bytewise{c.Conn}
				}
				if got, err := hello(nc, name, change); got != want || err != nil {
					t.Errorf("%q by %s: %q, %v; want %q", name, how, got, err, want)
				}
				c.Close()
			}
		}
	}
}

// Where no TLS is ended, who asks for another name, or none, is told that nobody knows it, and not cut off by a reset.
func TestUnrecognizedName(t *testing.T) {
	w := byNameWorld(t, false)
	for range 20 {
		for _, name := range []string{"b.test", ""} {
			if _, err := hello(w.dial(), name, nil); err == nil || !strings.Contains(err.Error(), "remote error: tls: unrecognized name") {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if got, err := hello(w.dial(), "a.test", nil); got != "passed on hello\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// When the ClientHello is there, its time is over: a tunnel may be silent for longer.
func TestSilenceAfterHello(t *testing.T) {
	const header = 200 * time.Millisecond
	behind := selfSigned(t)
	behind.NextProtos = nil
	w := newWorld(t, func(s *Settings) {
		s.Handler, s.Timeouts.Header = nil, header
		s.Passthrough = func(string) Relay {
			return func(_ context.Context, c *Conn) { greet(tls.Server(c, behind), "passed on") }
		}
	})
	over := tls.Client(w.dial(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	if err := over.Handshake(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * header) // the silence
	io.WriteString(over, "hello\n")
	if got, err := io.ReadAll(over); string(got) != "passed on hello\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What is no ClientHello, is too long, or does not come is given up, and nobody gets it.
func TestNoHello(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Handler, s.Timeouts.Header = nil, 200*time.Millisecond
		s.Passthrough = func(name string) Relay { t.Errorf("asked for %q", name); return nil }
	})
	record := func(kind byte, n int, body []byte) []byte {
		return append([]byte{kind, 3, 1, byte(n >> 8), byte(n)}, body...)
	}
	long := record(22, 16000, append([]byte{1, 0, 0x70, 0}, make([]byte, 16000-4)...)) // 28 KiB of ClientHello
	for name, text := range map[string][]byte{
		"nothing":       nil,
		"HTTP":          []byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
		"a bit":         record(22, 300, []byte{1, 0, 1}),
		"an alert":      record(21, 2, []byte{1, 0}),
		"a ServerHello": record(22, 4, []byte{2, 0, 0, 0}),
		"garbage":       record(22, 8, []byte{1, 0, 0, 4, 1, 2, 3, 4}),
		"too long":      append(long, record(22, 16000, make([]byte, 16000))...),
	} {
		c := w.dial()
		c.Write(text)
		if _, err := io.Copy(io.Discard, c.in); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is still open", name)
		}
		c.Close()
	}
}

// No more than its bound is read of a ClientHello, and all that was read is kept.
func TestHelloIsBounded(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		b.Write(append([]byte{22, 3, 1, 0x3e, 0x80, 1, 0, 0x70, 0}, make([]byte, 16000-4)...))
		b.Write(append([]byte{22, 3, 1, 0x3e, 0x80}, make([]byte, 16000)...))
		b.Close()
	}()
	if _, _, err := serverName(a); err == nil || !strings.Contains(err.Error(), "16384 bytes") {
		t.Error(err)
	}
	var sent bytes.Buffer
	c, d := net.Pipe()
	defer c.Close()
	defer d.Close()
	go tls.Client(recorded{d, &sent}, &tls.Config{ServerName: "a.test"}).Handshake()
	name, read, err := serverName(c)
	if name != "a.test" || err != nil || !bytes.Equal(read, sent.Bytes()) {
		t.Errorf("%q, %v; %d bytes read, %d sent", name, err, len(read), sent.Len())
	}
}

// A name that no host can have is none: what is matched by it, and logged, is a host.
func TestPlainName(t *testing.T) {
	for name, want := range map[string]string{
		"a.test": "a.test", "A.Test": "a.test", "xn--bcher-kva.test": "xn--bcher-kva.test", "": "", "a.test:443": "", "a\nb.test": "", "bücher.test": "",
		"[::1]": "", strings.Repeat("a.", 200) + "test": "", "a..test": "",
	} {
		if got := plain(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

// recorded keeps what is written.
type recorded struct {
	net.Conn
	out *bytes.Buffer
}

func (r recorded) Write(p []byte) (int, error) {
	r.out.Write(p)
	return r.Conn.Write(p)
}
