package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a connection of HTTP/2 on which a test says what it likes.
type frames struct {
	t   *testing.T
	fr  *http2.Framer
	enc *hpack.Encoder
	out bytes.Buffer
	id  uint32 // of the last stream
}

// frames opens one, and waits until the server has said that it takes WebSockets (RFC 8441 section 3).
func (p *proc) frames(host string) *frames {
	p.t.Helper()
	nc := p.connect("https", p.clientTLS(host, "h2"))
	p.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(soon))
	f := &frames{t: p.t, fr: http2.NewFramer(nc, nc)}
	f.enc, f.fr.ReadMetaHeaders = hpack.NewEncoder(&f.out), hpack.NewDecoder(4096, nil)
	io.WriteString(nc, http2.ClientPreface)
	f.fr.WriteSettings()
	first, err := f.fr.ReadFrame()
	settings, is := first.(*http2.SettingsFrame)
	if err != nil || !is {
		p.t.Fatalf("the first frame is %v, %v", first, err)
	}
	if v, ok := settings.Value(http2.SettingEnableConnectProtocol); !ok || v != 1 {
		p.t.Fatalf("SETTINGS_ENABLE_CONNECT_PROTOCOL is %d, %v", v, ok)
	}
	f.fr.WriteSettingsAck()
	return f
}

// open begins a stream by a head, which is its end as well where nothing is to follow.
func (f *frames) open(ends bool, head [][2]string) {
	f.out.Reset()
	for _, field := range head {
		f.enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	f.id = max(f.id+2, 1) | 1
	f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.id, BlockFragment: f.out.Bytes(), EndHeaders: true, EndStream: ends})
}

// webSocket asks for one by an extended CONNECT (RFC 8441 section 4) and gives the status, the answer's fields and whether it is all. more: "name: value" lines.
func (f *frames) webSocket(authority, more string) (status string, fields http.Header, ended bool) {
	f.t.Helper()
	head := [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":path", "/ws"}, {":authority", authority}, {"sec-websocket-version", "13"},
	}
	for line := range strings.Lines(more) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		head = append(head, [2]string{strings.ToLower(name), value})
	}
	f.open(false, head)
	for {
		switch got := f.next(f.id).(type) {
		case *http2.MetaHeadersFrame:
			fields = http.Header{}
			for _, field := range got.RegularFields() {
				fields.Add(field.Name, field.Value)
			}
			return got.PseudoValue("status"), fields, got.StreamEnded()
		case *http2.RSTStreamFrame:
			return "reset", nil, true
		}
	}
}

// next is the next frame of a stream.
func (f *frames) next(id uint32) http2.Frame {
	f.t.Helper()
	for {
		got, err := f.fr.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		if got.Header().StreamID == id {
			return got
		}
	}
}

// echoes sends a message through a stream's WebSocket, masked by zeros, and wants it back.
func (f *frames) echoes(id uint32) {
	f.t.Helper()
	f.fr.WriteData(id, false, []byte("\x81\x84\x00\x00\x00\x00ping"))
	const want = "\x81\x04ping"
	for got := ""; got != want; {
		data, is := f.next(id).(*http2.DataFrame)
		if !is || data.StreamEnded() || len(got) > len(want) {
			f.t.Fatalf("stream %d ends, after %q", id, got)
		}
		got += string(data.Data())
	}
}

// end waits for the end of a stream.
func (f *frames) end(id uint32) {
	f.t.Helper()
	for {
		switch got := f.next(id).(type) {
		case *http2.RSTStreamFrame:
			return
		case *http2.DataFrame:
			if got.StreamEnded() {
				return
			}
		}
	}
}

// 44, over HTTP/2: a WebSocket by extended CONNECT needs a session, and a page of this very site; it is never sent to the login, and what is refused is no tunnel.
// All of them come on one connection, as a browser would send them, so that none lives by what another was let do.
func TestAttackOnWebSocketsOver2(t *testing.T) {
	p := start(t, "edge", guarded(t))
	p.user("correct horse", "add", "alice", "--group", "staff")
	p.user("correct horse", "add", "mallory") // of no group
	alice, mallory := p.person(), p.person()
	u, _ := url.Parse(p.enter(alice, "app.gamma.localhost", "alice", "correct horse"))
	cookie := alice.Jar.Cookies(u)[0].String()
	files, _ := url.Parse(p.enter(mallory, "files.beta.localhost", "mallory", "correct horse"))
	elsewhere := mallory.Jar.Cookies(files)[0].String()
	session, own := "Cookie: "+cookie+"\n", "Origin: https://"+u.Host+"\n"
	f := p.frames("app.gamma.localhost")
	for _, c := range []struct{ fields, want string }{
		{session + own, "200"},
		{session + own + "Sec-Fetch-Site: same-origin\n", "200"},
		{"Cookie: a=b\nCookie: " + cookie + "\nCookie: c=d\n" + own, "200"}, // in pieces, as RFC 9113 section 8.2.3 lets them come
		{own, "401"},
		{"Cookie: a=b\n" + own, "401"},
		{"Cookie: " + elsewhere + "\n" + own, "401"}, // good, at another virtual host
		{session + session + own, "401"},             // two are none
		{own + "Accept: text/html\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document\n", "401"}, // never a way to the login
		{"Origin: https://evil.example\n", "401"},
		{session + "Origin: https://evil.example\n", "403"},
		{session + "Origin: null\n", "403"},
		{session + "Origin: http://" + u.Host + "\n", "403"},
		{session + "Origin: https://app.gamma.localhost\n", "403"}, // another port
		{session + "Origin: https://wiki.alpha.localhost:" + u.Port() + "\n", "403"},
		{session + "Origin: https://" + u.Host + "@evil.example\n", "403"},
		{session + own + "Origin: https://evil.example\n", "403"},
		{session + own + "Sec-Fetch-Site: cross-site\n", "403"},
		{session + own + "Sec-Fetch-Site: same-site\n", "403"},
	} {
		status, fields, ended := f.webSocket(u.Host, c.fields)
		if status != c.want || fields.Get("Location") != "" || fields.Get("Set-Cookie") != "" {
			t.Errorf("%q: %s %v, want %s", c.fields, status, fields, c.want)
		}
		if status == "200" {
			f.echoes(f.id)
			f.fr.WriteRSTStream(f.id, http2.ErrCodeCancel)
		} else if !ended {
			f.end(f.id)
		}
	}
	// Another :scheme than the connection's does not make a foreign origin the own one.
	f.open(false, [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", "/ws"}, {":authority", u.Host},
		{"sec-websocket-version", "13"}, {"cookie", cookie}, {"origin", "http://" + u.Host},
	})
	if got, is := f.next(f.id).(*http2.MetaHeadersFrame); is && got.PseudoValue("status") == "200" {
		t.Error("a page of plain HTTP opens a WebSocket over TLS")
	}
}

// The end of a session closes its WebSockets over HTTP/2 within a second, and nothing else of their connection: neither another's WebSocket nor requests.
func TestRevocationClosesWebSocketsOver2(t *testing.T) {
	p := start(t, "edge", guarded(t))
	fields := map[string]string{}
	var host string
	for _, name := range []string{"alice", "bob"} {
		p.user("correct horse", "add", name, "--group", "staff")
		c := p.person()
		u, _ := url.Parse(p.enter(c, "app.gamma.localhost", name, "correct horse"))
		host, fields[name] = u.Host, fmt.Sprintf("Cookie: %s\nOrigin: https://%s\n", c.Jar.Cookies(u)[0], u.Host)
	}
	f := p.frames("app.gamma.localhost")
	opened := map[string]uint32{}
	for _, name := range []string{"alice", "bob"} {
		if status, _, _ := f.webSocket(host, fields[name]); status != "200" {
			t.Fatalf("%s: %s", name, status)
		}
		opened[name] = f.id
		f.echoes(f.id)
	}
	p.session("revoke", "--user", "alice")
	began := time.Now()
	f.end(opened["alice"])
	if took := time.Since(began); took > time.Second {
		t.Errorf("it ended after %v, want at most a second", took)
	} else {
		t.Logf("it ended after %v", took)
	}
	f.echoes(opened["bob"])
	if status, _, _ := f.webSocket(host, fields["alice"]); status != "401" {
		t.Errorf("the revoked session opens another: %s", status)
	}
	if status, _, _ := f.webSocket(host, fields["bob"]); status != "200" {
		t.Errorf("bob's opens another: %s", status)
	}
}
