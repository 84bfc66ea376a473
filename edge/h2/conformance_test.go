package h2

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edge/edge/wire"
)

// sample is a line of testdata/malformed.jsonl: what a client sends behind the preface and its SETTINGS, and what must come of it.
type sample struct {
	Name, Class string
	Send        []part
	Want        string // "connection CODE", "stream ID CODE", or "status ID CODE"; codes of RFC 9113 by their numbers. "ok": nothing, and stream 101 is answered
	RFC         string
	Differs     string // what net/http's server does in place of it, one of several with " or "; "": the same
}

// part is a frame, or raw bytes.
type part struct {
	Kind   byte
	Flags  byte
	Stream uint32
	Fields []string // a header block: names and values in turn
	Hex    string   // the payload, behind Fields
	Pad    *int     // in front of the payload, its length, with no padding behind but what Hex has
	Fill   int      // more bytes of payload
	Length *int     // what the head says in place of the payload's length
	Raw    string   // in hex, in place of a frame
}

// bytes gives the part as it is sent. Header blocks use no table, so that each can be read alone.
func (p *part) bytes(t testing.TB) []byte {
	if p.Raw != "" {
		return unhex(t, p.Raw)
	}
	var b []byte
	if p.Pad != nil {
		b = append(b, byte(*p.Pad))
	}
	for i := 0; i+1 < len(p.Fields); i += 2 {
		b = append(b, 0)
		b = appendValue(b, latin1(p.Fields[i]))
		b = appendValue(b, latin1(p.Fields[i+1]))
	}
	b = append(b, unhex(t, p.Hex)...)
	b = append(b, make([]byte, p.Fill)...)
	n := len(b)
	if p.Length != nil {
		n = *p.Length
	}
	out := appendHead(nil, n, p.Kind, p.Flags, 0)
	binary.BigEndian.PutUint32(out[5:], p.Stream)
	return append(out, b...)
}

func latin1(s string) []byte {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func samples(t testing.TB) (all []sample) {
	t.Helper()
	f, err := os.Open("testdata/malformed.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var s sample
		err := d.Decode(&s)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

// The table is large enough to mean something.
func TestSamplesAreMany(t *testing.T) {
	seen, classes, kinds := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, s := range samples(t) {
		if id := s.Class + "/" + s.Name; seen[id] || s.RFC == "" || s.Want == "" {
			t.Errorf("%s stands there twice, or is not well-formed", id)
		} else {
			seen[id] = true
		}
		classes[s.Class] = true
		kind, _, _ := strings.Cut(s.Want, " ")
		kinds[kind]++
	}
	if len(seen) < 120 || len(classes) < 12 || kinds["connection"] < 30 || kinds["stream"] < 20 || kinds["status"] < 20 || kinds["ok"] < 10 {
		t.Errorf("%d sequences of %d classes: %v", len(seen), len(classes), kinds)
	}
}

// reads answers with what the handler sees, once it has read the body.
func reads(x *wire.Exchange) {
	_, err := io.Copy(io.Discard, x.Body)
	if err != nil {
		x.Abort(err)
		return
	}
	wire.Reply(x, 200, "text/plain", "read")
}

// Every sequence of the table has the end that it says, plain and over TLS, in one write and byte by byte.
func TestConformance(t *testing.T) {
	both(t, func(t *testing.T, overTLS bool) {
		for _, bytewise := range []bool{false, true} {
			t.Run(fmt.Sprint("byte by byte ", bytewise), func(t *testing.T) {
				f := newFront(t, overTLS, reads, func(f *front) { f.o.MaxHeader = 16 << 10 })
				for _, s := range samples(t) {
					if got := try(t, f.dial(), &s, s.Want, bytewise, long); got != s.Want {
						t.Errorf("%s/%s: %s in place of %s", s.Class, s.Name, got, s.Want)
					}
				}
			})
		}
	})
}

// What net/http's server makes of the table. Where it says something else, the table knows.
func TestConformanceOfNetHTTP(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Protocols: new(http.Protocols), MaxHeaderBytes: 16 << 10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "read")
	})}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go srv.Serve(ln)
	defer srv.Close()
	for _, s := range samples(t) {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		want := s.Want
		if s.Differs != "" {
			want = s.Differs
		}
		if got := try(t, nc, &s, want, false, 2*time.Second); !slices.Contains(strings.Split(want, " or "), got) {
			t.Errorf("%s/%s: net/http says %s in place of %s", s.Class, s.Name, got, want)
		}
	}
}

// final is a request that shows that the connection lives.
const final = 101

// try sends a sequence, and says what came of it in the table's words.
func try(t *testing.T, nc net.Conn, s *sample, want string, bytewise bool, wait time.Duration) string {
	t.Helper()
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(wait))
	all := []byte(preface)
	first := true
	for i := range s.Send {
		b := s.Send[i].bytes(t)
		if first && s.Class != "beginning" {
			all = appendHead(all, 0, frameSettings, 0, 0)
		}
		first = false
		all = append(all, b...)
	}
	var block []byte
	for i := 0; i < len(get); i += 2 {
		block = appendValue(appendValue(append(block, 0), []byte(get[i])), []byte(get[i+1]))
	}
	all = append(appendHead(all, len(block), frameHeaders, flagEndHeaders|flagEndStream, final), block...)
	go func() {
		if !bytewise {
			nc.Write(all)
			return
		}
		for i := range all {
			if _, err := nc.Write(all[i : i+1]); err != nil {
				return
			}
		}
	}()
	return outcome(nc, want == "ok")
}

// outcome reads up to the answer of the last request or the end, and says the first wrong thing that came. Answers have no order: where one is
// due, it is waited for.
func outcome(nc net.Conn, none bool) string {
	fr, said, answered := http2.NewFramer(nil, nc), "", false
	fr.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	for said == "" || !answered {
		f, err := fr.ReadFrame()
		if err != nil {
			switch {
			case said == "" && answered && errors.Is(err, os.ErrDeadlineExceeded):
				return "ok"
			case said == "":
				return "nothing"
			}
			return said
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != 0 {
				return fmt.Sprintf("connection %d", f.ErrCode)
			}
		case *http2.RSTStreamFrame:
			if said == "" && f.ErrCode != 0 {
				said = fmt.Sprintf("stream %d %d", f.StreamID, f.ErrCode)
			}
		case *http2.MetaHeadersFrame:
			status, _ := strconv.Atoi(f.PseudoValue("status"))
			if f.StreamID == final {
				answered = true
				wait := time.Second
				if none {
					wait = 30 * time.Millisecond
				}
				nc.SetReadDeadline(time.Now().Add(wait))
			}
			if said == "" && status >= 300 {
				said = fmt.Sprintf("status %d %d", f.StreamID, status)
			}
		}
	}
	return said
}

// dial connects, and says nothing.
func (f *front) dial() net.Conn {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.ln.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	if f.tls {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	return nc
}
