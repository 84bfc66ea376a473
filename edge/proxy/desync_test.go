package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/conf"
)

const fine, poison = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nPOISONED"

// answerEach answers each request of a connection by its head.
func answerEach(c net.Conn, answer func(head string)) {
	in := bufio.NewReader(c)
	for {
		var head strings.Builder
		for !strings.HasSuffix(head.String(), "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
		}
		answer(head.String())
	}
}

// Bytes that a target sends behind a complete answer are nobody's: the next request on the connection must not take them for its own.
func TestSurplusIsNobodysAnswer(t *testing.T) {
	sent := make(chan struct{}, 1)
	l := listen(t, func(c net.Conn) {
		answerEach(c, func(head string) {
			if !strings.HasPrefix(head, "HEAD") {
				io.WriteString(c, fine)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(poison))
			time.AfterFunc(20*time.Millisecond, func() { io.WriteString(c, poison); sent <- struct{}{} }) // once the connection rests
		})
	})
	f := relay(t, 1, &Proxy{Upstream: pool(t, spec("http://"+l.Addr().String()))})
	f.ask(t, "HEAD", "/", nil, nil)
	<-sent
	if _, text, err := f.ask(t, "GET", "/victim", nil, nil); text != "ok" || err != nil {
		t.Errorf("the next request got %q, %v", text, err)
	}
}

// The same in a TLS record that came with the answer's, of which the socket knows nothing any more.
func TestSurplusInsideTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	cert := s.TLS.Certificates[0]
	ca := filepath.Join(t.TempDir(), "ca.pem")
	os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600)
	s.Close()
	l := listen(t, func(raw net.Conn) {
		j := &joiner{Conn: raw}
		c := tls.Server(j, &tls.Config{Certificates: []tls.Certificate{cert}})
		answerEach(c, func(head string) {
			j.hold = strings.Contains(head, "/evil")
			io.WriteString(c, fine)
			if j.hold {
				io.WriteString(c, poison)
				j.hold = false
				raw.Write(j.held.Bytes())
			}
		})
	})
	sp := spec("https://" + l.Addr().String())
	sp.TLSServerName, sp.CA = "example.com", conf.File{Path: ca}
	f := relay(t, 1, &Proxy{Upstream: pool(t, sp)})
	for _, path := range []string{"/", "/evil", "/victim"} {
		if _, text, err := f.ask(t, "GET", path, nil, nil); text != "ok" || err != nil {
			t.Errorf("%s got %q, %v", path, text, err)
		}
	}
}

// joiner keeps what is written back while hold is set.
type joiner struct {
	net.Conn
	hold bool
	held bytes.Buffer
}

func (j *joiner) Write(p []byte) (int, error) {
	if j.hold {
		return j.held.Write(p)
	}
	return j.Conn.Write(p)
}

// A method with a space in it, which HTTP/2 can carry, would be another request line.
func TestMethodIsOneToken(t *testing.T) {
	p := rawOrigin(t, func(c net.Conn, in *bufio.Reader, head string) {
		t.Errorf("the upstream got %q", head)
		io.WriteString(c, fine)
	})
	f := relay(t, 2, p)
	c, err := tls.Dial("tcp", f.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET /admin HTTP/1.1\tx"}, {":scheme", "https"}, {":path", "/public"}, {":authority", "a.test"}} {
		e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(frame.HeaderBlockFragment())
			if err != nil || fields[0].Value != "400" {
				t.Errorf("answered %v, %v", fields, err)
			}
			return
		case *http2.RSTStreamFrame:
			return
		}
	}
}
