package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/edge/h2"
	"edge/edge/socket"
	"edge/edge/wire"
)

// framed is a client's HTTP/2 connection, frame by frame.
type framed struct {
	t *testing.T
	*http2.Framer
}

func frames(t *testing.T, f *front) *framed {
	t.Helper()
	c, err := tls.Dial("tcp", f.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return newFramed(t, c)
}

func newFramed(t *testing.T, c net.Conn) *framed {
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.WriteSettings()
	return &framed{t, fr}
}

// engineFrames is frames over our own engine, without TLS.
func engineFrames(t *testing.T, p *Proxy) *framed {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { c.Close() })
	all.Go(func() {
		h2.New(stream{socket.New(served)}, h2.Options{
			Handler: wire.HandlerFunc(p.Serve), Info: &wire.Conn{Body: patience, Write: patience, Tunnel: patience},
			MaxHeader: 16 << 10, Streams: 100, Header: patience, Idle: patience, Last: func() bool { return false },
		}).Serve()
	})
	c.SetDeadline(time.Now().Add(patience))
	return newFramed(t, c)
}

// calls begins a gRPC call.
func (f *framed) calls(stream uint32, path string) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range [][2]string{
		{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "a.test"},
		{"content-type", "application/grpc"}, {"te", "trailers"}, {"grpc-timeout", "5S"},
	} {
		enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
}

// next gives the next frame of a stream in words. Other streams may have been reset: their answer came before their end.
func (f *framed) next(stream uint32) string {
	f.t.Helper()
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			return err.Error()
		}
		if id := fr.Header().StreamID; id != 0 && id != stream {
			continue
		}
		end := ""
		if fr.Header().Flags.Has(http2.FlagDataEndStream) {
			end = " end"
		}
		switch fr := fr.(type) {
		case *http2.MetaHeadersFrame:
			words := "HEADERS"
			for _, h := range fr.Fields {
				if h.Name == ":status" || strings.HasPrefix(h.Name, "grpc-") {
					words += fmt.Sprintf(" %s=%s", h.Name, h.Value)
				}
			}
			return words + end
		case *http2.DataFrame:
			if len(fr.Data()) > 0 || end != "" {
				return fmt.Sprintf("DATA %s%s", fr.Data(), end)
			}
		case *http2.RSTStreamFrame:
			return "RST_STREAM " + fr.ErrCode.String()
		case *http2.SettingsFrame:
			if !fr.IsAck() {
				f.WriteSettingsAck()
			}
		}
	}
}

// wants reads frames of a stream.
func (f *framed) wants(stream uint32, frames ...string) {
	f.t.Helper()
	for _, want := range frames {
		if got := f.next(stream); got != want {
			f.t.Errorf("got the frame %q, want %q", got, want)
		}
	}
}

// What gRPC needs of a relay, frame by frame, from an h2c target to a client: trailers; an answer that is nothing but trailers; messages both
// ways at once; a reset in both directions.
func TestGRPC(t *testing.T) {
	gone := make(chan struct{}, 1)
	up := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		flush := w.(http.Flusher).Flush
		if r.Header.Get("Te") != "trailers" || r.Header.Get("Grpc-Timeout") != "5S" || r.ProtoMajor != 2 {
			t.Errorf("the target gets %v", r.Header)
		}
		w.Header().Set("Content-Type", "application/grpc")
		switch r.URL.Path {
		case "/unary":
			b, _ := io.ReadAll(r.Body)
			w.Write(b)
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
		case "/trailers-only":
			w.Header().Set("Grpc-Status", "12")
		case "/no-message":
			flush()
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "5")
		case "/echo":
			flush()
			b := make([]byte, 100)
			for {
				n, err := r.Body.Read(b)
				if w.Write(b[:n]); err != nil {
					break
				}
				flush()
			}
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		case "/waits":
			flush()
			<-r.Context().Done()
			gone <- struct{}{}
		case "/resets":
			flush()
			panic(http.ErrAbortHandler)
		case "/early":
			w.Header().Set("Grpc-Status", "7") // and the body is not read
		}
	}))
	f := relay(t, 2, &Proxy{Upstream: pool(t, spec("h2c"+strings.TrimPrefix(up.URL, "http")))})

	c := frames(t, f)
	c.calls(1, "/unary")
	c.WriteData(1, true, []byte("hello"))
	c.wants(1, "HEADERS :status=200", "DATA hello", "HEADERS grpc-message=fine grpc-status=0 end")

	c.calls(3, "/trailers-only")
	c.WriteData(3, true, nil)
	c.wants(3, "HEADERS :status=200 grpc-status=12 end")

	c.calls(5, "/no-message")
	c.WriteData(5, true, nil)
	c.wants(5, "HEADERS :status=200", "HEADERS grpc-status=5 end")

	c.calls(7, "/echo")
	c.wants(7, "HEADERS :status=200")
	for i := range 5 {
		c.WriteData(7, false, fmt.Append(nil, i))
		c.wants(7, fmt.Sprint("DATA ", i))
	}
	c.WriteData(7, true, nil)
	c.wants(7, "HEADERS grpc-status=0 end")

	c.calls(9, "/waits")
	c.wants(9, "HEADERS :status=200")
	c.WriteRSTStream(9, http2.ErrCodeCancel)
	wait(t, "the target sees that the client has left", gone)

	c = frames(t, f)
	c.calls(1, "/resets")
	c.wants(1, "HEADERS :status=200")
	if got := c.next(1); !strings.HasPrefix(got, "RST_STREAM") {
		t.Errorf("got the frame %q", got)
	}

	c = frames(t, f)
	c.calls(1, "/early")
	c.WriteData(1, false, []byte("some"))
	c.wants(1, "HEADERS :status=200 grpc-status=7 end")
}

// Messages that are larger than any window come through both ways.
func TestGRPCLarge(t *testing.T) {
	up := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		n, err := io.Copy(w, r.Body)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", fmt.Sprint(n, err))
	}))
	f := relay(t, 2, &Proxy{Upstream: pool(t, spec("h2c"+strings.TrimPrefix(up.URL, "http")))})
	const size = 5 << 20
	resp, text, err := f.ask(t, "POST", "/", nil, io.MultiReader(strings.NewReader(strings.Repeat("x", size))))
	if err != nil || len(text) != size || resp.Trailer.Get("Grpc-Status") != fmt.Sprint(size, " <nil>") {
		t.Errorf("%d bytes, %v, %v", len(text), resp.Trailer, err)
	}
}

// A target that gives a call up tells its client so: for gRPC's, whose own time may be over in the same moment, 502 is another thing. Of all other
// resets, and for a client of HTTP/1.1, it is the proxy that speaks.
func TestCancelledByTarget(t *testing.T) {
	target := frameOrigin(t, func(fr *framer) {
		fr.requests(nil, func(stream uint32, path string) bool {
			code := http2.ErrCodeInternal
			if path == "/cancelled" {
				code = http2.ErrCodeCancel
			}
			fr.WriteRSTStream(stream, code)
			return false
		})
	})
	p := &Proxy{Upstream: pool(t, spec(target))}
	c := engineFrames(t, p)
	c.calls(1, "/cancelled")
	c.WriteData(1, true, []byte("hello"))
	c.wants(1, "RST_STREAM CANCEL")
	c.calls(3, "/broken")
	c.WriteData(3, true, []byte("hello"))
	c.wants(3, "HEADERS :status=502")

	one := relay(t, 1, p)
	if resp, _, err := one.ask(t, "POST", "/cancelled", nil, strings.NewReader("hello")); err != nil || resp.StatusCode != 502 {
		t.Errorf("HTTP/1.1: %v, %v", resp, err)
	}
}
