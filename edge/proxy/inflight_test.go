package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"edge/edge/record"
	"edge/edge/upstream"
	"edge/edge/wire"
)

// many is an upstream that does what the path says.
type many struct {
	*httptest.Server
	reached chan struct{} // by a request that waits
	release chan struct{}
}

func newMany(t *testing.T) *many {
	m := &many{reached: make(chan struct{}), release: make(chan struct{})}
	m.Server = httptest.NewUnstartedServer(m)
	m.Config.Protocols = new(http.Protocols)
	m.Config.Protocols.SetHTTP1(true)
	m.Config.Protocols.SetUnencryptedHTTP2(true)
	m.Start()
	t.Cleanup(m.Close)
	return m
}

// again has m listen at another address too.
func (m *many) again(t *testing.T, address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { m.Config.Serve(l); close(ended) }()
	t.Cleanup(func() { l.Close(); <-ended })
}

func (m *many) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	wait := func() {
		m.reached <- struct{}{}
		select {
		case <-m.release:
		case <-r.Context().Done():
		}
	}
	switch r.URL.Path {
	case "/waits":
		wait()
	case "/answers":
		w.(http.Flusher).Flush()
		wait()
	case "/dies":
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	case "/cut":
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "/ws":
		c, in, _ := http.NewResponseController(w).Hijack()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, in)
		c.Close()
	default:
		io.Copy(io.Discard, r.Body)
	}
}

// flights are the exchanges in flight, by target.
func flights(u *upstream.Upstream) (n [2]int) {
	for i, t := range u.Targets() {
		n[i] = t.InFlight()
	}
	return n
}

// panics is a Responder whose user panics.
type panics struct{ wire.Responder }

func (panics) Head(int, wire.Fields, int64) error { panic(http.ErrAbortHandler) }

// Each exchange counts with its target, and with no other one, from when it is picked to its end, whatever that is.
func TestInFlight(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			m := newMany(t)
			u := pool(t, spec(scheme+"://"+refused(t), scheme+strings.TrimPrefix(m.URL, "http")))
			p := &Proxy{Upstream: u}
			f := serve(t, 1, func(x *wire.Exchange) {
				switch string(x.Path) {
				case "/panics":
					x.Responder = panics{x.Responder}
				case "/limited":
					x.Body = wire.Limit(x.Body, 4)
				}
				p.Serve(x)
			})
			f.Client().Transport.(*http.Transport).DisableKeepAlives = true // it would try again itself
			ended := func(what string) record.Record {
				t.Helper()
				r := wait(t, what, f.records)
				if n := flights(u); n != [2]int{} {
					t.Fatalf("%s: %v in flight at the end", what, n)
				}
				return r
			}
			for path, want := range map[string]int{"/": 200, "/dies": 502, "/cut": 0, "/panics": 0, "/limited": 413} {
				for range 2 { // each target is the first one once
					resp, _, err := f.ask(t, "POST", path, nil, io.MultiReader(strings.NewReader("a body")))
					if want == 0 && err == nil || want != 0 && (err != nil || resp.StatusCode != want) {
						t.Errorf("%s: got %v, %v", path, resp, err)
					}
					ended(path)
				}
			}
			for _, path := range []string{"/waits", "/answers"} {
				for _, leaves := range []bool{false, true} {
					ctx, cancel := context.WithCancel(t.Context())
					r := f.request(t, "GET", path, nil, nil).WithContext(ctx)
					go func() {
						if resp, err := f.Client().Do(r); err == nil {
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
					}()
					wait(t, "the request", m.reached)
					if n := flights(u); n != [2]int{0, 1} {
						t.Errorf("%s: %v in flight", path, n)
					}
					if leaves {
						cancel()
					} else {
						m.release <- struct{}{}
					}
					if r := ended(path); (r.Err != nil) != leaves {
						t.Errorf("%s: the record has %+v", path, r)
					}
					cancel()
				}
			}
			c, in := f.dial(t, upgrade)
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != map[string]int{"http": 101, "h2c": 502}[scheme] {
				t.Fatalf("got %v, %v", resp, err)
			}
			if scheme == "http" {
				for range 2 {
					io.WriteString(c, "ping")
					expect(t, in, "ping")
					if n := flights(u); n != [2]int{0, 1} {
						t.Errorf("a WebSocket: %v in flight", n)
					}
				}
				c.CloseWrite()
				expectEnd(t, in)
			}
			ended("the WebSocket")
		})
	}
}

// An exchange that goes out a second time, on a new connection, is one.
func TestInFlightRetry(t *testing.T) {
	seen := make(chan [2]int, 1)
	var u *upstream.Upstream
	m := &mortal{die: func(_ *net.TCPConn, in *bufio.Reader, _ func(string)) {
		http.ReadRequest(in)
		seen <- flights(u)
	}}
	u = pool(t, spec("http://"+listen(t, m.serve).Addr().String()))
	f := relay(t, 1, &Proxy{Upstream: u})
	for range 2 {
		if resp, _, err := f.ask(t, "GET", "/", nil, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
		<-f.records
		if n := flights(u); n != [2]int{} {
			t.Errorf("%v in flight at the end", n)
		}
	}
	if n := wait(t, "the first connection ends", seen); n != [2]int{1} {
		t.Errorf("%v in flight", n)
	}
}

// A tunnel counts for its whole life, and one that reaches nobody does not.
func TestInFlightRelay(t *testing.T) {
	l := listen(t, func(c net.Conn) { io.Copy(c, c) })
	u := pool(t, spec("tcp://"+refused(t), "tcp://"+l.Addr().String()))
	for range 2 {
		client, c := net.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- relayTo(t.Context(), u, c)
		}()
		io.WriteString(client, "ping")
		expect(t, client, "ping")
		if n := flights(u); n != [2]int{0, 1} {
			t.Errorf("%v in flight", n)
		}
		client.Close()
		if wait(t, "the relay ends", ended); flights(u) != [2]int{} {
			t.Errorf("%v in flight at the end", flights(u))
		}
	}
	nobody := pool(t, spec("tcp://"+refused(t), "tcp://"+refused(t)))
	if err := relayTo(t.Context(), nobody, nil); err == nil || flights(nobody) != [2]int{} {
		t.Errorf("%v in flight, %v", flights(nobody), err)
	}
}
