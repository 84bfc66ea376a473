package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unique"

	"golang.org/x/sys/unix"

	"edge/edge/wire"
	"edge/listeners/proxyproto"
)

// notes are what a server logs.
type notes struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.Write(p)
}

// has says whether the log tells this.
func (n *notes) has(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Contains(n.out.String(), text)
}

// loopback is a list that has the clients of these tests.
func loopback() *Announcers {
	return &Announcers{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}}
}

// tellsWho has a listener's answer be whose connection it is, behind a line's end where it relays bytes.
func tellsWho(s *Settings) {
	s.Announcers = loopback()
	s.Handler = wire.HandlerFunc(func(x *wire.Exchange) { wire.Reply(x, 200, "text/plain", "client "+x.Conn.Remote.String()+"\n") })
	s.Tunnel = func(_ context.Context, c *Conn) {
		b := make([]byte, 1)
		for b[0] != '\n' {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
		fmt.Fprintf(c, "client %v\n", c.Info().Remote)
	}
}

// first writes something right before the first bytes, so that both arrive together.
type first struct {
	net.Conn
	before []byte
}

func (f *first) Write(p []byte) (int, error) {
	_, err := f.Conn.Write(append(f.before, p...))
	f.before = nil
	return len(p), err
}

// who asks who the client is, by a request, which is a line for a tunnel too.
func who(c net.Conn) (string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	_, answer, ok := strings.Cut(string(text), "client ")
	if !ok {
		return "", fmt.Errorf("%q, %w", text, errors.Join(io.ErrUnexpectedEOF, err))
	}
	return strings.TrimSpace(answer), nil
}

// The client is who the header says, to http, https, tcp and tls listeners, and what arrives with the header is not lost.
func TestAnnounced(t *testing.T) {
	conf := selfSigned(t)
	conf.NextProtos = nil
	over := func(s *Settings) {
		s.TLS = func(*tls.ClientHelloInfo) (*tls.Config, unique.Handle[string]) { return conf, unique.Handle[string]{} }
	}
	bytesOnly := func(s *Settings) { s.Handler = nil }
	ip := netip.MustParseAddrPort
	for name, change := range map[string]func(*Settings){
		"http": func(*Settings) {}, "https": over, "tcp": bytesOnly, "tls": func(s *Settings) { over(s); bytesOnly(s) },
	} {
		w := newWorld(t, func(s *Settings) { tellsWho(s); change(s) })
		for _, h := range []struct {
			header proxyproto.Header
			want   string // "": the connection's own
		}{
			{proxyproto.Header{Version: 1, Source: ip("192.0.2.7:1000"), Destination: ip("192.0.2.8:443")}, "192.0.2.7:1000"},
			{proxyproto.Header{Version: 1, Source: ip("[2001:db8::7]:1000"), Destination: ip("[2001:db8::8]:443")}, "[2001:db8::7]:1000"},
			{proxyproto.Header{Version: 1}, ""},
			{proxyproto.Header{Version: 2, Source: ip("192.0.2.7:1000"), Destination: ip("192.0.2.8:443")}, "192.0.2.7:1000"},
			{proxyproto.Header{Version: 2, Source: ip("[::ffff:192.0.2.7]:1000"), Destination: ip("[::1]:443")}, "192.0.2.7:1000"},
			{proxyproto.Header{Version: 2}, ""},
			{proxyproto.Header{Version: 2, Unix: true}, "invalid AddrPort"},
		} {
			raw := w.dial()
			if h.want == "" {
				h.want = raw.LocalAddr().String()
			}
			c := net.Conn(&first{raw.Conn, h.header.Append(nil)})
			if w.settings.TLS != nil {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
			}
			if got, err := who(c); got != h.want || err != nil {
				t.Errorf("%s: after %+v the client is %s, %v; want %s", name, h.header, got, err, h.want)
			}
			raw.Close()
		}
	}
}

// Who must send a header and does not, or a bad one, is refused; so is whoever is not listed, with or without one. Nothing of theirs is executed.
func TestNotAnnounced(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	good := "PROXY TCP4 192.0.2.7 192.0.2.8 1000 443\r\n"
	others := &Announcers{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")}, Unix: true}
	for name, c := range map[string]struct {
		list *Announcers
		text string
		log  string
	}{
		"none":             {loopback(), request, "there is no PROXY header"},
		"bad":              {loopback(), "PROXY TCP4 192.0.2.7 192.0.2.8 1000 443\n" + request, "CRLF"},
		"a zero in front":  {loopback(), "PROXY TCP4 192.0.2.7 192.0.2.8 01000 443\r\n" + request, "is no port"},
		"two":              {loopback(), good + good + request, ""},
		"not listed":       {others, good + request, "none that proxy_protocol lists"},
		"not listed, none": {others, request, "none that proxy_protocol lists"},
		"nobody is listed": {&Announcers{}, good + request, "none that proxy_protocol lists"},
	} {
		w := newWorld(t, func(s *Settings) { s.Announcers = c.list })
		client := w.dial()
		client.send(c.text)
		if answer, _ := io.ReadAll(client.in); strings.Contains(string(answer), "200") {
			t.Errorf("%s: answered %q", name, answer)
		}
		client.Close()
		until(t, func() bool { return w.Open() == 0 })
		if n := w.served.Load(); n != 0 || !w.said.has(c.log) || c.log != "" && !w.said.has("level=DEBUG") {
			t.Errorf("%s: %d requests were executed; the log has %s", name, n, w.said.out.String())
		}
	}
}

// A peer is looked for by its address: a link-local one has a zone too.
func TestAnnouncers(t *testing.T) {
	list := &Announcers{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("192.0.2.1/32")}}
	for peer, want := range map[string]bool{
		"10.1.2.3:4": true, "11.1.2.3:4": false, "[fe80::1]:4": true, "[fe80::1%eth0]:4": true, "[2001:db8::1]:4": false, "192.0.2.1:4": true, "192.0.2.2:4": false,
	} {
		if got := list.has(netip.MustParseAddrPort(peer)); got != want {
			t.Errorf("%s: %v", peer, got)
		}
	}
	if list.has(netip.AddrPort{}) || !(&Announcers{Unix: true}).has(netip.AddrPort{}) {
		t.Error("who comes by a unix socket is not looked for as the list says")
	}
}

// A header that does not come, or not to its end, is waited for as long as any head.
func TestSlowHeader(t *testing.T) {
	w := newWorld(t, func(s *Settings) { tellsWho(s); s.Timeouts.Header = 100 * time.Millisecond })
	for _, begin := range []string{"", "PROXY TCP4 1", "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x0f\x00abc"} {
		c := w.dial()
		c.send(begin)
		if _, err := io.Copy(io.Discard, c.in); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection is still open", begin)
		}
	}
}

// When the header is there, its time is over: a tunnel may be silent for longer.
func TestSilenceAfterHeader(t *testing.T) {
	const header = 100 * time.Millisecond
	w := newWorld(t, func(s *Settings) { tellsWho(s); s.Handler, s.Timeouts.Header = nil, header })
	c := w.dial()
	c.send("PROXY UNKNOWN\r\n")
	time.Sleep(2 * header) // the silence
	if got, err := who(c); got != c.LocalAddr().String() || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// By a unix socket comes whoever its mode lets in, if the list says so, and nobody if it does not.
func TestAnnouncedByUnix(t *testing.T) {
	for _, listed := range []bool{true, false} {
		w := newWorld(t, func(s *Settings) { tellsWho(s); s.Announcers.Unix = listed })
		path := filepath.Join(t.TempDir(), "socket")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		w.Handle(accepted, w.settings, func() {})
		got, err := who(&first{c, []byte("PROXY TCP4 192.0.2.7 192.0.2.8 1000 443\r\n")})
		if listed && (got != "192.0.2.7:1000" || err != nil) || !listed && err == nil {
			t.Errorf("listed %v: %s, %v", listed, got, err)
		}
	}
}

// The kernel asks silent clients as the listener says: not at all, or after so long and as often.
func TestKeepAlive(t *testing.T) {
	for d, want := range map[time.Duration][3]int{0: {0, 15, 15}, 15 * time.Second: {1, 15, 15}, 40 * time.Second: {1, 40, 40}} {
		got := make(chan [3]int, 1)
		w := newWorld(t, func(s *Settings) {
			s.KeepAlive, s.Handler = d, nil
			s.Tunnel = func(_ context.Context, c *Conn) {
				var v [3]int
				c.under.Control(func(fd uintptr) {
					v[0], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
					v[1], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
					v[2], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)
				})
				got <- v
			}
		})
		w.dial()
		if v := <-got; v != want {
			t.Errorf("%v: on, idle, interval are %v, want %v", d, v, want)
		}
	}
}
