package h1

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/edge/wire"
)

// restless answers in one of many ways, with a second goroutine at the body as the proxy has it. A client gets its own bytes or none.
func restless(x *wire.Exchange) {
	var wg sync.WaitGroup
	defer wg.Wait()
	switch way := rand.IntN(5); way {
	case 0: // never looks at the body
		path(x)
	case 1: // both ways at once
		x.Head(200, nil, wire.Unknown)
		wg.Go(func() {
			io.Copy(struct{ io.Writer }{x}, x.Body)
			x.Finish(nil)
		})
		x.Gone()
		x.Flush()
	case 2: // an early answer ends the reader
		wg.Go(func() { io.Copy(io.Discard, x.Body) })
		path(x)
	case 3: // an abort from elsewhere ends the writer
		x.Head(200, nil, wire.Unknown)
		wg.Go(func() { x.Abort(errors.New("why")) })
		io.Copy(struct{ io.Writer }{x}, x.Body)
	default:
		x.Context()
		echo(x)
	}
}

// Many clients at once that send in pieces and leave when they like: nothing races, nothing leaks, and nobody sees another's bytes.
func TestStress(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		s := newSite(t, "h1", overTLS, settings{body: time.Second}, restless)
		var wg sync.WaitGroup
		for id := range 8 {
			wg.Go(func() {
				for end := time.Now().Add(700 * time.Millisecond); time.Now().Before(end); {
					s.visit(t, byte('0'+id))
				}
			})
		}
		wg.Wait()
	}
}

// visit sends some requests whose bodies are of one digit, and leaves in between, or not.
func (s *site) visit(t *testing.T, digit byte) {
	c := s.dial(t)
	var raw strings.Builder
	for range rand.IntN(5) {
		body := strings.Repeat(string(digit), rand.IntN(1+rand.IntN(60000)))
		if rand.IntN(2) == 0 {
			raw.WriteString("POST /" + string(digit) + " HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
			if len(body) > 0 {
				raw.WriteString(fmt.Sprintf("%x", len(body)) + "\r\n" + body + "\r\n")
			}
			raw.WriteString("0\r\n\r\n")
		} else {
			raw.WriteString("POST /" + string(digit) + " HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
		}
	}
	sent := make(chan struct{})
	go c.pieces(raw.String(), 1+rand.IntN(40000), sent)
	if rand.IntN(3) == 0 {
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		c.Close()
		<-sent
		return
	}
	for {
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		resp, body, err := c.read("POST")
		foreign := func(r rune) bool { return '0' <= r && r <= '9' && byte(r) != digit }
		if resp != nil && resp.StatusCode == 200 && strings.IndexFunc(body, foreign) >= 0 {
			t.Errorf("%c sees %q", digit, clip(body[strings.IndexFunc(body, foreign):]))
		}
		if err != nil {
			break
		}
	}
	c.Close()
	<-sent
}
