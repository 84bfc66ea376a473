package h2

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/edge/wire"
)

// answerSample is a line of testdata/answers.jsonl: what a server sends to the request on stream 1, and what must come of it.
type answerSample struct {
	Name, Class string
	Method      string // GET; POST: with a body that does not end; LAZY: a GET whose client reads nothing
	Send        []part
	Want        string // "ok"; "stream CODE", "connection CODE": the exchange fails, and the server is told so; "reset": it fails
	RFC         string
}

func answerSamples(t testing.TB) (all []answerSample) {
	t.Helper()
	f, err := os.Open("testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var s answerSample
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func (s *answerSample) bytes(t testing.TB) (all []byte) {
	if s.Class != "beginning" {
		all = appendHead(all, 0, frameSettings, 0, 0)
	}
	for i := range s.Send {
		all = append(all, s.Send[i].bytes(t)...)
	}
	return all
}

// good is an answer.
func good(stream uint32) []byte {
	return append(appendHead(nil, 1, frameHeaders, flagEndHeaders|flagEndStream, stream), 0x88)
}

// play sends the sample to who asks, and says what he says to it. The next request gets a good answer.
func (s *answerSample) play(t *testing.T, nc net.Conn, fr *http2.Framer, bytewise bool) (said string) {
	all := s.bytes(t)
	send := func(b []byte) {
		if !bytewise || len(b) > 1000 {
			nc.Write(b)
			return
		}
		for i := range b {
			nc.Write(b[i : i+1])
		}
	}
	if s.Class == "beginning" {
		go send(all)
		all = nil
	} else {
		nc.Write(all[:headLen])
		all = all[headLen:]
	}
	said = "ok"
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return said
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if f.StreamID > 1 {
				nc.Write(good(f.StreamID))
				return said
			}
			go send(all)
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeCancel {
				said = fmt.Sprint("stream ", uint32(f.ErrCode))
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != 0 {
				return fmt.Sprint("connection ", uint32(f.ErrCode))
			}
		}
	}
}

// Every sequence of the table has the end that it says, in one write and byte by byte: a malformed answer is an error and ends its stream, no other;
// who breaks the connection's rules is told so.
func TestAnswersTable(t *testing.T) {
	all := answerSamples(t)
	if len(all) < 100 {
		t.Errorf("only %d sequences", len(all))
	}
	for _, s := range all {
		for _, bytewise := range []bool{false, true} {
			t.Run(s.Class+"/"+s.Name, func(t *testing.T) {
				t.Parallel()
				s.run(t, bytewise)
			})
		}
	}
}

func (s *answerSample) run(t *testing.T, bytewise bool) {
	said := make(chan string, 1)
	up := played(t, func(nc net.Conn, fr *http2.Framer) { said <- s.play(t, nc, fr, bytewise) })
	want := s.Want
	if want == "reset" {
		want = "ok"
	}
	c := up.start(longClient)
	if s.Class == "beginning" {
		wait(t, "the connection ends", c.Over())
		if got := wait(t, "the server is told", said); got != want {
			t.Errorf("it is told %s, not %s", got, want)
		}
		return
	}
	wait(t, "the server's SETTINGS", c.Ready())
	a, err := s.ask(c)
	if (err == nil) != (s.Want == "ok") {
		t.Errorf("the exchange ends with %s, %v", a, err)
	}
	if !strings.HasPrefix(s.Want, "connection") {
		if a, err := c.ask(requestBy("GET", "/"), nil); err != nil || a.Status != 200 {
			t.Errorf("the next one gets %s, %v", a, err)
		}
	}
	if got := wait(t, "the server is told", said); got != want {
		t.Errorf("it is told %s, not %s", got, want)
	}
}

// ask makes the first exchange.
func (s *answerSample) ask(c *ClientConn) (*told, error) {
	method := s.Method
	switch method {
	case "POST":
		r, w := io.Pipe()
		defer w.Close()
		call := c.Begin()
		defer call.Done()
		go func() { w.Write([]byte("x")) }()
		req := requestBy("POST", "/")
		req.Length = wire.Unknown
		if _, err := call.Send(req); err != nil {
			return nil, err
		}
		sent := make(chan struct{})
		go func() { defer close(sent); call.SendBody(r, wire.Unknown, func() wire.Fields { return nil }) }()
		defer func() { call.Abort(); w.Close(); <-sent }()
		return call.whole()
	case "LAZY":
		call := c.Begin()
		defer call.Done()
		if _, err := call.Send(requestBy("GET", "/")); err != nil {
			return nil, err
		}
		for range 1000 {
			if call.c.mu.Lock(); call.err != nil {
				call.c.mu.Unlock()
				break
			}
			call.c.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
		}
		return call.whole()
	case "":
		method = "GET"
	}
	call := c.Begin()
	defer call.Done()
	a, err := call.ask(requestBy(method, "/"), nil)
	if err == nil && s.Want != "ok" { // the mistake comes behind the answer
		wait(c.testing(), "the connection ends", c.Over())
		return a, c.Err()
	}
	return a, err
}

func (c *ClientConn) testing() testing.TB { return silent{} }

// silent fails by a panic.
type silent struct{ testing.TB }

func (silent) Helper()           {}
func (silent) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// whole reads an answer.
func (s *Call) whole() (*told, error) {
	a, err := new(told), error(nil)
	if a.Answer, err = s.ReadHead(a); err != nil {
		return a, err
	}
	for {
		b, err := s.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return a, err
		}
		a.body = append(a.body, b...)
	}
}

// Floods of frames that ask for nothing end the connection, with the word for it, and cost no more memory than the connection has.
func TestServerFloods(t *testing.T) {
	fields := func(pairs ...string) []byte { // by no table but the static one, as no other block came before
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		enc.SetMaxDynamicTableSize(0)
		for i := 0; i < len(pairs); i += 2 {
			enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
		}
		return bytes.TrimPrefix(block.Bytes(), []byte{0x20})
	}
	head := func(fr *http2.Framer, ends bool) error {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: ends})
	}
	for name, send := range map[string]func(fr *http2.Framer, i int) error{
		"PING":           func(fr *http2.Framer, i int) error { return fr.WritePing(false, [8]byte{}) },
		"PING, answered": func(fr *http2.Framer, i int) error { return fr.WritePing(true, [8]byte{}) },
		"SETTINGS":       func(fr *http2.Framer, i int) error { return fr.WriteSettings() },
		"windows in SETTINGS": func(fr *http2.Framer, i int) error {
			return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
		},
		"SETTINGS, answered": func(fr *http2.Framer, i int) error { return fr.WriteSettingsAck() },
		"PRIORITY":           func(fr *http2.Framer, i int) error { return fr.WritePriority(1, http2.PriorityParam{StreamDep: 3}) },
		"unknown frames":     func(fr *http2.Framer, i int) error { return fr.WriteRawFrame(99, 0, 0, nil) },
		"WINDOW_UPDATE":      func(fr *http2.Framer, i int) error { return fr.WriteWindowUpdate(0, 1) },
		"WINDOW_UPDATE, 1":   func(fr *http2.Framer, i int) error { return fr.WriteWindowUpdate(1, 1) },
		"GOAWAY":             func(fr *http2.Framer, i int) error { return fr.WriteGoAway(1, 0, nil) },
		"interim answers": func(fr *http2.Framer, i int) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields(":status", "103"), EndHeaders: true})
		},
		"empty DATA": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return head(fr, true)
			}
			return fr.WriteData(1, false, nil)
		},
		"empty CONTINUATION": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return head(fr, false)
			}
			return fr.WriteContinuation(1, false, nil)
		},
		"CONTINUATION": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return head(fr, false)
			}
			return fr.WriteContinuation(1, false, fields("x-a", strings.Repeat("a", 10000)))
		},
		"resets": func(fr *http2.Framer, i int) error { return fr.WriteRSTStream(1, http2.ErrCodeCancel) },
		"trailers of the dead": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return fr.WriteRSTStream(1, http2.ErrCodeCancel)
			}
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: fields("x-a", "b"), EndHeaders: true})
		},
		"DATA of the dead": func(fr *http2.Framer, i int) error {
			if i == 0 {
				return fr.WriteRSTStream(1, http2.ErrCodeCancel)
			}
			return fr.WriteData(1, false, []byte("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan http2.ErrCode, 1)
			up := played(t, func(nc net.Conn, fr *http2.Framer) {
				fr.WriteSettings()
				for {
					f, err := fr.ReadFrame()
					if err != nil {
						return
					}
					if _, is := f.(*http2.HeadersFrame); is {
						break
					}
				}
				go func() {
					why := http2.ErrCode(0)
					for {
						f, err := fr.ReadFrame()
						if err != nil {
							ended <- why
							return
						}
						if g, is := f.(*http2.GoAwayFrame); is {
							why = g.ErrCode
						}
					}
				}()
				for i := 0; i < 200_000 && send(fr, i) == nil; i++ {
				}
				wait(t, "our end", ended)
				ended <- 99
			})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			c := up.connect()
			c.ask(requestBy("GET", "/"), nil)
			wait(t, "the connection ends", c.Over())
			var why *connError
			if err := c.Err(); !errors.As(err, &why) || why.code != codeCalm {
				t.Errorf("it ends with %v", err)
			}
			runtime.GC()
			if runtime.ReadMemStats(&after); after.HeapAlloc > before.HeapAlloc+8<<20 {
				t.Errorf("%d bytes more", after.HeapAlloc-before.HeapAlloc)
			}
		})
	}
}

// A small block that would be a large list of fields, made of one field of the table again and again, is refused, and costs nothing.
func TestBombs(t *testing.T) {
	up := played(t, func(nc net.Conn, fr *http2.Framer) {
		fr.WriteSettings()
		var block bytes.Buffer
		enc := hpack.NewEncoder(&block)
		enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		enc.WriteField(hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("a", 3900)})
		bomb := append(block.Bytes(), bytes.Repeat([]byte{0x80 | 62}, 12000)...)
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, is := f.(*http2.HeadersFrame); is {
				if h.StreamID > 1 {
					bomb = []byte{0x88}
				}
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, BlockFragment: bomb, EndHeaders: true, EndStream: true})
			}
		}
	})
	c := up.connect()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if a, err := c.ask(requestBy("GET", "/"), nil); err != errAnswerSize {
		t.Errorf("got %s, %v", a, err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc > before.TotalAlloc+4<<20 {
		t.Errorf("%d bytes", after.TotalAlloc-before.TotalAlloc)
	}
	if a, err := c.ask(requestBy("GET", "/"), nil); err != nil {
		t.Errorf("the next one gets %s, %v", a, err)
	}
}

// beside has an exchange stay open over the connection of others, and says what ends it.
func beside(t *testing.T, answer http.HandlerFunc) (c *ClientConn, ended <-chan error) {
	t.Helper()
	begun, other := make(chan struct{}), make(chan error, 1)
	up := standard(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			answer(w, r)
			return
		}
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		close(begun)
		<-r.Context().Done()
	}, 0)
	c = up.connect()
	go func() {
		_, err := c.ask(requestBy("GET", "/events"), nil)
		other <- err
	}()
	wait(t, "the other exchange", begun)
	return c, other
}

// What an ordinary server does, if often, costs the exchanges beside it nothing: it resets what it cannot answer, has small messages on their way
// when an exchange is given up, and tells of each 4 KiB that it has read.
func TestOrdinaryServers(t *testing.T) {
	t.Run("resets", func(t *testing.T) {
		c, ended := beside(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		for range 5 * mostCredit {
			c.ask(requestBy("GET", "/"), nil)
		}
		if c.Err() != nil || len(ended) > 0 {
			t.Error(c.Err())
		}
	})
	t.Run("small messages", func(t *testing.T) {
		c, ended := beside(t, func(w http.ResponseWriter, r *http.Request) {
			for b := make([]byte, 20); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
		})
		for range 200 {
			s := c.Begin()
			s.Send(requestBy("GET", "/"))
			s.ReadHead(new(told))
			for n := 0; n < 10_000; {
				b, err := s.Next()
				if err != nil {
					t.Fatal(err)
				}
				n += len(b)
			}
			s.Done()
		}
		if c.Err() != nil || len(ended) > 0 {
			t.Error(c.Err())
		}
	})
	t.Run("small reads", func(t *testing.T) {
		c, ended := beside(t, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r.Body}, make([]byte, 4<<10))
			fmt.Fprint(w, n, err)
		})
		const size = 30 << 20
		a, err := c.ask(requestBy("POST", "/"), io.LimitReader(zero{}, size))
		if want := fmt.Sprint(size, " <nil>"); err != nil || string(a.body) != want || len(ended) > 0 {
			t.Errorf("%q, %v; want %q", a.body, err, want)
		}
	})
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { return len(p), nil }
