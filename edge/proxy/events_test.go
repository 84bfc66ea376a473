package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// source sends events, each when it is told to, and ends when there is no more to tell.
type source struct {
	next chan string
}

func (s source) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	for event := range s.next {
		io.WriteString(w, event)
		w.(http.Flusher).Flush()
	}
}

// raw is the same, of which only the connection's end tells that it ends.
func (s source) raw(c net.Conn, _ *bufio.Reader, _ string) {
	io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
	for event := range s.next {
		io.WriteString(c, event)
	}
}

// Events are passed on as they come: the head before the first one, each one before the next is sent. That holds for each kind of target, and for
// each kind of client.
func TestServerSentEvents(t *testing.T) {
	for origin, target := range map[string]func(*testing.T, source) *Proxy{
		"chunks": func(t *testing.T, s source) *Proxy {
			return &Proxy{Upstream: pool(t, spec(h2cServer(t, s).URL))}
		},
		"to the end": func(t *testing.T, s source) *Proxy { return rawOrigin(t, s.raw) },
		"h2c": func(t *testing.T, s source) *Proxy {
			return &Proxy{Upstream: pool(t, spec("h2c"+strings.TrimPrefix(h2cServer(t, s).URL, "http")))}
		},
	} {
		for client, opens := range map[string]func(*testing.T, *Proxy) *http.Response{
			"engine": func(t *testing.T, p *Proxy) *http.Response {
				dial, _ := engine(t, p)
				_, in := dial("GET / HTTP/1.1\nHost: a\n\n")
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				return resp
			},
			"h1": func(t *testing.T, p *Proxy) *http.Response { return opened(t, 1, p) },
			"h2": func(t *testing.T, p *Proxy) *http.Response { return opened(t, 2, p) },
		} {
			t.Run(origin+" to "+client, func(t *testing.T) {
				s := source{make(chan string)}
				resp := opens(t, target(t, s))
				defer resp.Body.Close()
				if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
					t.Errorf("got %v", resp)
				}
				for i := range 5 {
					event := fmt.Sprintf("data: %d\n\n", i)
					s.next <- event
					expect(t, resp.Body, event)
				}
				close(s.next)
				expectEnd(t, resp.Body)
			})
		}
	}
}

// opened gives an answer whose head has come.
func opened(t *testing.T, major int, p *Proxy) *http.Response {
	t.Helper()
	f := relay(t, major, p)
	resp, err := f.Client().Do(f.request(t, "GET", "/", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
