package h1

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"edge/edge/socket"
)

// replay is a connection over which an answer comes that was written before anybody asked.
type replay struct {
	net.Conn
	in io.Reader
}

func (r replay) Read(p []byte) (int, error)     { return r.in.Read(p) }
func (replay) Write(p []byte) (int, error)      { return len(p), nil }
func (replay) Close() error                     { return nil }
func (replay) SetDeadline(time.Time) error      { return nil }
func (replay) SetReadDeadline(time.Time) error  { return nil }
func (replay) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswer: what is taken for an answer, net/http takes for the same status and body. The seeds are the hostile ones.
func FuzzAnswer(f *testing.F) {
	file, err := os.Open("testdata/answers.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for d := json.NewDecoder(file); d.More(); {
		var h struct{ Raw string }
		if err := d.Decode(&h); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(h.Raw))
	}
	f.Add([]byte("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		below := socket.New(replay{in: bytes.NewReader(raw)})
		c := NewClientConn(below, below, longLimits)
		defer c.Close()
		if err := c.Send(requestBy("GET")); err != nil {
			t.Fatal(err)
		}
		a, err := c.ReadHead(new(noted))
		var body, b []byte
		for err == nil {
			b, err = c.Next()
			body = append(body, b...)
		}
		if err != io.EOF || a.Status < 200 {
			return
		}
		in := bufio.NewReader(bytes.NewReader(raw))
		resp, err := http.ReadResponse(in, nil)
		for err == nil && resp.StatusCode < 200 {
			resp, err = http.ReadResponse(in, nil)
		}
		if err != nil {
			t.Fatalf("%q is taken as %d, but net/http says %v", raw, a.Status, err)
		}
		theirs, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != a.Status || !bytes.Equal(body, theirs) {
			t.Errorf("%q is taken as %d %q, but net/http says %d %q, %v", raw, a.Status, body, resp.StatusCode, theirs, err)
		}
	})
}
