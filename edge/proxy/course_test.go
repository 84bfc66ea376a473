package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/conf"
	"edge/edge/upstream"
)

// bad is a target that gets each request as a whole, counts it, and then does what it is for.
type bad struct {
	got  atomic.Int32
	does string
}

func (b *bad) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		b.got.Add(1)
		switch b.does {
		case "ends":
			return
		case "resets":
			c.(*net.TCPConn).SetLinger(0)
			return
		case "a byte":
			io.WriteString(c, "H")
			return
		case "a hint":
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
			return
		case "half":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 %s Said\r\nContent-Length: 4\r\n\r\nmine", b.does)
	}
}

// ServeHTTP is serve, for HTTP/2.
func (b *bad) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	b.got.Add(1)
	switch b.does {
	case "a hint":
		w.WriteHeader(103)
		panic(http.ErrAbortHandler)
	case "half":
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "ends", "resets", "a byte":
		panic(http.ErrAbortHandler)
	}
	status := 0
	fmt.Sscan(b.does, &status)
	w.WriteHeader(status)
	io.WriteString(w, "mine")
}

// target starts it, and gives its URL.
func (b *bad) target(t *testing.T, scheme string) string {
	t.Helper()
	switch {
	case b.does == "refuses":
		return scheme + "://" + refused(t)
	case scheme == "h2c":
		return "h2c" + strings.TrimPrefix(h2cServer(t, b).URL, "http")
	}
	return "http://" + listen(t, b.serve).Addr().String()
}

// h2cServer serves HTTP/2 without TLS, and HTTP/1.1.
func h2cServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP1(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// good is a target that answers with a request's body.
func good(t *testing.T, scheme string) (target string, got *atomic.Int32) {
	t.Helper()
	got = new(atomic.Int32)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got.Add(1)
		w.Write(b)
	})
	if scheme == "h2c" {
		return "h2c" + strings.TrimPrefix(h2cServer(t, h).URL, "http"), got
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL, got
}

// all are the retries that the configuration has by default, without a bound to them.
func all() *conf.Retries {
	return &conf.Retries{Attempts: 2, Budget: 1, Connect: true, Reset: true, Statuses: []int{502, 503, 504}}
}

// sent gives a request as the engine gets it. A body in chunks is not all there.
func sent(method, body string) string {
	switch body {
	case "":
		return method + " / HTTP/1.1\nHost: a\n\n"
	case "chunks":
		return method + " / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n6\nchunks\n0\n\n"
	}
	return fmt.Sprintf("%s / HTTP/1.1\nHost: a\nContent-Length: %d\n\n%s", method, len(body), body)
}

// asks sends a request over a connection of its own, and gives the answer's status and body.
func asks(t *testing.T, dial func(string) (*net.TCPConn, *bufio.Reader), request string) (*http.Response, string) {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	c, in := dial(request)
	defer c.Close()
	var resp *http.Response
	for resp == nil || resp.StatusCode == 103 {
		var err error
		if resp, err = http.ReadResponse(in, &http.Request{Method: method}); err != nil {
			return &http.Response{}, ""
		}
	}
	b, _ := io.ReadAll(resp.Body)
	return resp, string(b)
}

// A request goes to another target where one fails it, if it may be executed twice, all of it is here, and nothing was answered; and where the
// target does not take the connection. It is executed as often as the targets say.
func TestRetries(t *testing.T) {
	only := func(change func(*conf.Retries)) *conf.Retries {
		r := &conf.Retries{Attempts: 2, Budget: 1}
		change(r)
		return r
	}
	none := (*conf.Retries)(nil)
	justConnect := only(func(r *conf.Retries) { r.Connect = true })
	justReset := only(func(r *conf.Retries) { r.Reset = true })
	just503 := only(func(r *conf.Retries) { r.Statuses = []int{503} })
	for _, c := range []struct {
		does, method, body string
		retries            *conf.Retries
		bad, good, status  int
	}{
		{"ends", "GET", "", all(), 1, 1, 200},
		{"resets", "GET", "", all(), 1, 1, 200},
		{"ends", "HEAD", "", all(), 1, 1, 200},
		{"ends", "DELETE", "", all(), 1, 1, 200},
		{"ends", "PUT", "a body", all(), 1, 1, 200},
		{"ends", "PUT", "chunks", all(), 1, 0, 502},
		{"ends", "POST", "", all(), 1, 0, 502},
		{"ends", "POST", "a body", all(), 1, 0, 502},
		{"ends", "PATCH", "a body", all(), 1, 0, 502},
		{"ends", "PURGE", "", all(), 1, 0, 502},
		{"a byte", "GET", "", all(), 1, 0, 502},
		{"a hint", "GET", "", all(), 1, 0, 502},
		{"half", "GET", "", all(), 1, 0, 0},
		{"502", "GET", "", all(), 1, 1, 200},
		{"503", "GET", "", all(), 1, 1, 200},
		{"504", "GET", "", all(), 1, 1, 200},
		{"503", "PUT", "a body", all(), 1, 1, 200},
		{"503", "PUT", "chunks", all(), 1, 0, 503},
		{"503", "POST", "a body", all(), 1, 0, 503},
		{"503", "POST", "", all(), 1, 0, 503},
		{"500", "GET", "", all(), 1, 0, 500},
		{"404", "GET", "", all(), 1, 0, 404},
		{"refuses", "GET", "", all(), 0, 1, 200},
		{"refuses", "POST", "chunks", all(), 0, 1, 200},

		{"ends", "GET", "", none, 1, 0, 502},
		{"503", "GET", "", none, 1, 0, 503},
		{"refuses", "POST", "a body", none, 0, 1, 200},
		{"ends", "GET", "", justConnect, 1, 0, 502},
		{"503", "GET", "", justConnect, 1, 0, 503},
		{"refuses", "POST", "a body", justConnect, 0, 1, 200},
		{"ends", "GET", "", justReset, 1, 1, 200},
		{"503", "GET", "", justReset, 1, 0, 503},
		{"refuses", "GET", "", justReset, 0, 0, 502},
		{"ends", "GET", "", just503, 1, 0, 502},
		{"503", "GET", "", just503, 1, 1, 200},
		{"502", "GET", "", just503, 1, 0, 502},
	} {
		for _, scheme := range []string{"http", "h2c"} {
			name := fmt.Sprintf("%s/%s/%s/%s/%+v", scheme, c.does, c.method, c.body, c.retries)
			t.Run(name, func(t *testing.T) {
				if scheme == "h2c" && c.does == "a byte" {
					t.Skip("HTTP/2 has no such thing")
				}
				t.Parallel()
				b := &bad{does: c.does}
				second, got := good(t, scheme)
				s := spec(b.target(t, scheme), second)
				s.Retries = c.retries
				dial, records := engine(t, &Proxy{Upstream: pool(t, s)})
				resp, text := asks(t, dial, sent(c.method, c.body))
				if c.does == "half" { // whether its head leaves before the connection is cut is chance
					resp.StatusCode = 0
				}
				if int(b.got.Load()) != c.bad || int(got.Load()) != c.good || resp.StatusCode != c.status {
					t.Errorf("executed %d and %d times, want %d and %d; status %d, want %d", b.got.Load(), got.Load(), c.bad, c.good, resp.StatusCode, c.status)
				}
				if c.good == 1 && text != c.body {
					t.Errorf("the other target got %q, want %q", text, c.body)
				}
				r := wait(t, "the record", records)
				if want := c.good == 1; (r.Upstream == second[strings.Index(second, "://")+3:]) != want {
					t.Errorf("the record has %+v", r)
				}
				if r.BytesIn != int64(len(c.body)) && c.body != "chunks" {
					t.Errorf("the record has %d bytes in", r.BytesIn)
				}
			})
		}
	}
}

// A request is sent to so many targets at most, and what the last one answers is passed on. A connection to one that answered is used again.
func TestAttempts(t *testing.T) {
	for attempts := 2; attempts <= 5; attempts++ {
		bads, targets := make([]bad, 4), []string(nil)
		for i := range bads {
			bads[i].does = "503"
			targets = append(targets, bads[i].target(t, "http"))
		}
		s := spec(targets...)
		s.Retries = all()
		s.Retries.Attempts = attempts
		dial, _ := engine(t, &Proxy{Upstream: pool(t, s)})
		resp, text := asks(t, dial, sent("GET", ""))
		n := 0
		for i := range bads {
			n += int(bads[i].got.Load())
		}
		if n != min(attempts, 4) || resp.StatusCode != 503 || text != "mine" {
			t.Errorf("%d attempts: %d requests, and the answer %d %q", attempts, n, resp.StatusCode, text)
		}
	}
}

// Where every target fails every request, the retries do not double what they get: three in each second come on top.
func TestRetriesInAnOutage(t *testing.T) {
	const requests = 60
	for _, does := range []string{"503", "ends"} {
		bads := []*bad{{does: does}, {does: does}}
		s := spec(bads[0].target(t, "http"), bads[1].target(t, "http"))
		s.Retries = all()
		s.Retries.Budget = 0.1
		dial, _ := engine(t, &Proxy{Upstream: pool(t, s)})
		begin := time.Now()
		for range requests {
			if resp, _ := asks(t, dial, sent("GET", "")); resp.StatusCode < 502 {
				t.Fatalf("got %v", resp)
			}
		}
		seconds := int(time.Since(begin)/time.Second) + 2 // begun
		got := int(bads[0].got.Load() + bads[1].got.Load())
		if got < requests+3 || got > requests+requests/10+3*seconds {
			t.Errorf("%s: %d requests became %d in %d seconds", does, requests, got, seconds)
		}
	}
}

// All targets together have the time to answer that one has.
func TestRetriesInTime(t *testing.T) {
	for _, c := range []struct {
		scheme          string
		response, holds time.Duration
		most            time.Duration // of which the sweepers have two seconds
	}{
		{"http", 4 * time.Second, 3900 * time.Millisecond, 7400 * time.Millisecond},
		{"h2c", 4 * time.Second, 3900 * time.Millisecond, 7400 * time.Millisecond},
	} {
		t.Run(c.scheme, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{}, 2)
			stop := make(chan struct{})
			var n atomic.Int32
			h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				if n.Add(1) == 1 {
					time.Sleep(c.holds)
					panic(http.ErrAbortHandler)
				}
				select {
				case <-stop:
				case <-r.Context().Done():
				}
			})
			s := httptest.NewServer(h)
			t.Cleanup(s.Close)
			address := s.URL
			if c.scheme == "h2c" {
				address = "h2c" + strings.TrimPrefix(h2cServer(t, h).URL, "http")
			}
			t.Cleanup(func() { close(stop) })
			u := spec(address, address)
			u.Retries, u.Timeouts.Response = all(), c.response
			dial, records := engine(t, &Proxy{Upstream: pool(t, u)})
			begin := time.Now()
			resp, _ := asks(t, dial, sent("GET", ""))
			if took := time.Since(begin); resp.StatusCode != 504 || took > c.most || took < c.holds {
				t.Errorf("status %d after %v", resp.StatusCode, took)
			}
			if len(asked) != 2 {
				t.Errorf("asked %d times", len(asked))
			}
			if r := wait(t, "the record", records); r.Err == nil {
				t.Errorf("the record has %+v", r)
			}
		})
	}
}

// An exchange that another target has counts there, and with nobody at its end, whatever that is.
func TestRetriesInFlight(t *testing.T) {
	m := newMany(t)
	b := &bad{does: "503"}
	s := spec(b.target(t, "http"), m.URL)
	s.Retries = all()
	u := pool(t, s)
	dial, records := engine(t, &Proxy{Upstream: u})
	c, _ := dial("GET /waits HTTP/1.1\nHost: a\n\n")
	wait(t, "the request", m.reached)
	if n := flights(u); n != [2]int{0, 1} {
		t.Errorf("%v in flight", n)
	}
	c.Close()
	if r := wait(t, "the record", records); r.Status != StatusClientClosed || flights(u) != [2]int{} {
		t.Errorf("%v in flight at the end; the record has %+v", flights(u), r)
	}
}

// crowded is an upstream of one target that has room for one exchange, and a queue.
func crowded(t *testing.T, queue *conf.Queue) (*many, *upstream.Upstream) {
	m := newMany(t)
	s := spec(m.URL)
	s.MaxInFlight, s.Queue = 1, queue
	return m, pool(t, s)
}

// goesOn has a request that waits be answered.
func (m *many) goesOn(t *testing.T) {
	t.Helper()
	select {
	case m.release <- struct{}{}:
	case <-time.After(patience):
		t.Fatal("in vain: no request waits")
	}
}

// Where all targets are full, and the queue, a request is told to come again in a second; the target never sees it.
func TestFull(t *testing.T) {
	m, u := crowded(t, nil)
	dial, records := engine(t, &Proxy{Upstream: u})
	c, in := dial("GET /waits HTTP/1.1\nHost: a\n\n")
	wait(t, "the request", m.reached)
	resp, text := asks(t, dial, sent("GET", ""))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || strings.Contains(text, "127.0.0.1") {
		t.Errorf("got %v, %q", resp, text)
	}
	if r := wait(t, "the record", records); r.Err != upstream.ErrFull || r.Upstream != "" {
		t.Errorf("the record has %+v", r)
	}
	m.goesOn(t)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("got %v, %v", resp, err)
	}
	c.Close()
	wait(t, "the record", records)
	if resp, _ := asks(t, dial, sent("GET", "")); resp.StatusCode != 200 {
		t.Errorf("where one has ended: %v", resp)
	}
}

// Requests wait for a target in the order in which they came, as long as the queue says.
func TestQueue(t *testing.T) {
	m, u := crowded(t, &conf.Queue{Size: 2, Timeout: patience})
	dial, _ := engine(t, &Proxy{Upstream: u})
	dial("GET /waits HTTP/1.1\nHost: a\n\n")
	wait(t, "the request", m.reached)
	order := make(chan string, 2)
	var all sync.WaitGroup
	for i := range 2 {
		_, in := dial("GET /waits HTTP/1.1\nHost: a\n\n")
		for limit := time.Now().Add(patience); u.Waiting() != i+1; time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("%d wait", u.Waiting())
			}
		}
		all.Go(func() {
			if resp, err := http.ReadResponse(in, nil); err == nil && resp.StatusCode == 200 {
				order <- fmt.Sprint(i)
			}
		})
	}
	if resp, _ := asks(t, dial, sent("GET", "")); resp.StatusCode != 503 {
		t.Errorf("the queue is full: %v", resp)
	}
	m.goesOn(t)
	wait(t, "the next request", m.reached)
	m.goesOn(t)
	if got := wait(t, "an answer", order); got != "0" {
		t.Errorf("the first answer is for %s", got)
	}
	wait(t, "the next request", m.reached)
	m.goesOn(t)
	all.Wait()

	m, u = crowded(t, &conf.Queue{Size: 2, Timeout: 50 * time.Millisecond})
	dial, _ = engine(t, &Proxy{Upstream: u})
	dial("GET /waits HTTP/1.1\nHost: a\n\n")
	wait(t, "the request", m.reached)
	if resp, _ := asks(t, dial, sent("GET", "")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("in vain: %v", resp)
	}
	m.goesOn(t)
}

// A client that leaves gives up its place, over HTTP/1.1 and HTTP/2; the target never sees the request.
func TestQueueLeft(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		m, u := crowded(t, &conf.Queue{Size: 1, Timeout: patience})
		f := relay(t, major, &Proxy{Upstream: u})
		dial, _ := engine(t, &Proxy{Upstream: u})
		dial("GET /waits HTTP/1.1\nHost: a\n\n")
		wait(t, "the request", m.reached)
		if major == 1 {
			c, _ := dial("GET /waits HTTP/1.1\nHost: a\n\n")
			waitFor(t, "it waits", func() bool { return u.Waiting() == 1 })
			c.Close()
		} else {
			r := f.request(t, "GET", "/waits", nil, nil)
			ctx, leave := contextOf(r)
			ended := make(chan struct{})
			go func() { f.Client().Do(r.WithContext(ctx)); close(ended) }()
			waitFor(t, "it waits", func() bool { return u.Waiting() == 1 })
			leave()
			<-ended
		}
		waitFor(t, "it leaves", func() bool { return u.Waiting() == 0 })
		m.goesOn(t)
		if resp, _ := asks(t, dial, sent("GET", "")); resp.StatusCode != 200 {
			t.Errorf("got %v", resp)
		}
	})
}

// A tunnel has its place too, for its whole life.
func TestFullTunnels(t *testing.T) {
	l := listen(t, func(c net.Conn) { io.Copy(c, c) })
	s := spec("tcp://" + l.Addr().String())
	s.MaxInFlight = 1
	u := pool(t, s)
	client, c := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- relayTo(t.Context(), u, c) }()
	io.WriteString(client, "ping")
	expect(t, client, "ping")
	if err := relayTo(t.Context(), u, nil); err != upstream.ErrFull {
		t.Errorf("got %v", err)
	}
	client.Close()
	wait(t, "the relay ends", ended)
	if n := u.Targets()[0].InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}
