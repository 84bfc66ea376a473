package proxy

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// hostile is an upstream's answer that is none, or is cut short, or has something behind it.
type hostile struct {
	Class, Name, Raw, RFC string
	Method                string // GET
	Repeat                int    // how often Of ("a") stands in place of a '%' in Raw
	Of                    string
	Want                  int // the status that the client gets; 0 is 502; -1: a failure that it sees
}

func hostiles(t *testing.T) (list []hostile) {
	t.Helper()
	f, err := os.Open("../h1/testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); d.More(); {
		h := hostile{Method: "GET", Of: "a"}
		if err := d.Decode(&h); err != nil {
			t.Fatal(err)
		}
		if h.Want == 0 {
			h.Want = http.StatusBadGateway
		}
		if h.Repeat > 0 {
			h.Raw = strings.Replace(h.Raw, "%", strings.Repeat(h.Of, h.Repeat), 1)
		}
		list = append(list, h)
	}
	return list
}

// A hostile answer is a 502 or a failure; nothing of it is passed on, and its connection ends, even where the upstream would go on. It comes
// whole, and byte by byte if it is short.
func TestHostileAnswers(t *testing.T) {
	list := hostiles(t)
	if len(list) < 60 {
		t.Errorf("only %d answers", len(list))
	}
	for _, h := range list {
		for _, whole := range []bool{true, false} {
			if len(h.Raw) > 1000 && !whole {
				continue
			}
			t.Run(h.Class+"/"+h.Name, func(t *testing.T) {
				t.Parallel()
				h.run(t, whole)
			})
		}
	}
}

func (h hostile) run(t *testing.T, whole bool) {
	closed := make(chan error, 10)
	p := rawOrigin(t, func(up net.Conn, in *bufio.Reader, _ string) {
		up.(*net.TCPConn).SetNoDelay(true)
		for raw := h.Raw; len(raw) > 0; {
			n := len(raw)
			if !whole {
				n = 1
			}
			io.WriteString(up, raw[:n])
			raw = raw[n:]
		}
		if h.cutShort() {
			up.(*net.TCPConn).CloseWrite()
		}
		up.SetReadDeadline(time.Now().Add(patience))
		_, err := in.ReadByte()
		closed <- err
	})
	f := relay(t, 1, p)
	resp, text, err := f.ask(t, h.Method, "/", nil, nil)
	switch {
	case h.Want < 0:
		if err == nil {
			t.Errorf("it looks whole: %v, %q", resp, text)
		}
	case err != nil || resp.StatusCode != h.Want:
		t.Fatalf("got %v, %v", resp, err)
	case strings.Contains(text, "evil"), resp.Header["X-A"] != nil:
		t.Errorf("something of it is passed on: %v, %q", resp, text)
	}
	if err := wait(t, "the connection ends", closed); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection to the upstream lives: %v", err)
	}
}

// cutShort says of an answer that its fault is its early end.
func (h hostile) cutShort() bool {
	switch h.Class + "/" + h.Name {
	case "status line/nothing", "status line/half a head", "status line/no empty line", "chunks/no last chunk", "chunks/no end of the trailers",
		"chunks/nothing", "length kept/short", "length kept/none", "interim/100 and no more", "status line/TLS alert", "chunks/shorter than its size":
		return true
	}
	return false
}
