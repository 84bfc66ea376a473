package h1

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"edge/edge/socket"
	"edge/edge/wire"
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

// taken is an answer as it was understood.
type taken struct {
	status   int
	fields   wire.Fields
	body     []byte
	trailers wire.Fields
}

// ours reads an answer to a GET; nil: it is none.
func ours(raw []byte) *taken {
	below := socket.New(replay{in: bytes.NewReader(raw)})
	c := NewClientConn(below, below, longLimits)
	defer c.Close()
	if c.Send(requestBy("GET")) != nil {
		return nil
	}
	a, err := c.ReadHead(new(noted))
	if err != nil || a.Status < 200 {
		return nil
	}
	x := &taken{status: a.Status, fields: a.Fields.Clone()}
	for {
		b, err := c.Next()
		if err == io.EOF {
			x.trailers = c.Trailers().Clone()
			return x
		}
		if err != nil {
			return nil
		}
		x.body = append(x.body, b...)
	}
}

// theirs is what net/http makes of it.
func theirs(raw []byte) (*taken, error) {
	in := bufio.NewReader(bytes.NewReader(raw))
	resp, err := http.ReadResponse(in, nil)
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(in, nil)
	}
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return &taken{resp.StatusCode, wire.FromHeader(resp.Header), body, fieldsOf(resp.Trailer)}, err
}

func (x *taken) String() string {
	return fmt.Sprintf("%d %s %q %s", x.status, sorted(x.fields), x.body, sorted(x.trailers))
}

// sent is the answer as a server's side writes it, in chunks where there are trailers.
func (x *taken) sent() []byte {
	b := appendFields(appendStatus(nil, x.status), x.fields)
	switch {
	case x.status == http.StatusNoContent || x.status == http.StatusNotModified:
		return append(b, "\r\n"...)
	case len(x.trailers) == 0:
		b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(x.body)), 10)
		return append(append(b, "\r\n\r\n"...), x.body...)
	}
	b = append(append(b, "Transfer-Encoding: chunked\r\n\r\n"...), rechunked(x.body)...)
	return append(appendFields(append(b, "0\r\n"...), x.trailers), "\r\n"...)
}

// FuzzAnswer: what is taken for an answer, net/http takes for the same status, fields, body and trailers, and so do both when it is sent on.
// The seeds are the hostile ones.
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
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: 1\r\nY: 1\r\nY: 2\r\n\r\n2\r\nok\r\n0\r\nZ: 1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		x := ours(raw)
		if x == nil {
			return
		}
		if std, err := theirs(raw); err != nil || std.String() != x.String() {
			t.Fatalf("%q is taken as\n%v, but net/http says\n%v, %v", raw, x, std, err)
		}
		sent := x.sent()
		if again := ours(sent); again == nil || again.String() != x.String() {
			t.Fatalf("%v, sent on as %q, becomes %v", x, sent, again)
		}
		if std, err := theirs(sent); err != nil || std.String() != x.String() {
			t.Fatalf("%v, sent on as %q, is %v to net/http, %v", x, sent, std, err)
		}
	})
}
