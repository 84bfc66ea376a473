package h2

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"edge/edge/wire"
)

// bothTargets runs f against net/http's server, over TLS and without.
func bothTargets(t *testing.T, h http.HandlerFunc, f func(*testing.T, *target)) {
	t.Run("plain", func(t *testing.T) { f(t, standard(t, false, h, 0)) })
	t.Run("TLS", func(t *testing.T) { f(t, standard(t, true, h, 0)) })
}

// mirror tells what it sees of a request.
func mirror(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/interim":
		w.Header().Set("Link", "a")
		w.WriteHeader(103)
		w.WriteHeader(102)
	case "/none":
		w.WriteHeader(204)
		return
	case "/unchanged":
		w.WriteHeader(304)
		return
	case "/early":
		w.WriteHeader(413)
		return
	case "/reset":
		panic(http.ErrAbortHandler)
	case "/trailers-only":
		w.Header().Set("Grpc-Status", "12")
		return
	}
	b, err := io.ReadAll(r.Body)
	w.Header().Set("Trailer", "X-Sum")
	fmt.Fprint(w, r.Method, " ", r.Host, " ", r.RequestURI, " ", r.Header.Get("Te"), " ", r.Header.Get("Cookie"), " ", r.ContentLength, " ", len(b), " ", err, " ", r.Trailer.Get("X-Sent"))
	w.Header().Set("X-Sum", "1")
}

// What is asked comes as it is meant, and so does the answer.
func TestClientExchanges(t *testing.T) {
	bothTargets(t, mirror, func(t *testing.T, up *target) {
		c := up.connect()
		body, long40 := strings.Repeat("x", 100), strings.Repeat("0123456789", 4000) // which takes three frames
		for name, e := range map[string]struct {
			change func(*Request)
			body   io.Reader
			want   string
		}{
			"GET":         {func(r *Request) {}, nil, `[] 200 "GET a.test / trailers  0 0 <nil> " x-sum: 1;`},
			"a query":     {func(r *Request) { r.HasQuery, r.Query = true, []byte("a=b") }, nil, `[] 200 "GET a.test /?a=b trailers  0 0 <nil> " x-sum: 1;`},
			"PURGE":       {func(r *Request) { r.Method = []byte("PURGE") }, nil, `[] 200 "PURGE a.test / trailers  0 0 <nil> " x-sum: 1;`},
			"a long one":  {func(r *Request) { r.HasQuery, r.Query = true, []byte(long40) }, nil, `[] 200 "GET a.test /?` + long40 + ` trailers  0 0 <nil> " x-sum: 1;`},
			"a cookie":    {func(r *Request) { r.Fields = wire.Fields{}.Add("cookie", "a=b").Add("te", "x").Add("host", "evil") }, nil, `[] 200 "GET a.test / trailers a=b 0 0 <nil> " x-sum: 1;`},
			"a body here": {func(r *Request) { r.Method, r.Length, r.Body = []byte("POST"), 100, []byte(body) }, nil, `[] 200 "POST a.test / trailers  100 100 <nil> " x-sum: 1;`},
			"a large one": {func(r *Request) { r.Method, r.Length, r.Body = []byte("POST"), 1<<20, make([]byte, 1<<20) }, nil, `[] 200 "POST a.test / trailers  1048576 1048576 <nil> " x-sum: 1;`},
			"streamed":    {func(r *Request) { r.Method = []byte("POST") }, strings.NewReader(body), `[] 200 "POST a.test / trailers  -1 100 <nil> " x-sum: 1;`},
			"of a length": {func(r *Request) { r.Method, r.Length = []byte("POST"), 100 }, strings.NewReader(body), `[] 200 "POST a.test / trailers  100 100 <nil> " x-sum: 1;`},
			"no body":     {func(r *Request) { r.Method = []byte("POST") }, nil, `[] 200 "POST a.test / trailers  0 0 <nil> " x-sum: 1;`},
			"HEAD":        {func(r *Request) { r.Method = []byte("HEAD") }, nil, `[] 200 "" `},
			"interim":     {func(r *Request) { r.Path = []byte("/interim") }, nil, `[103 102] 200 "GET a.test /interim trailers  0 0 <nil> " x-sum: 1;`},
			"204":         {func(r *Request) { r.Path = []byte("/none") }, nil, `[] 204 "" `},
			"304":         {func(r *Request) { r.Path = []byte("/unchanged") }, nil, `[] 304 "" `},
			"no trailers": {func(r *Request) { r.Path = []byte("/trailers-only") }, nil, `[] 200 "" `},
		} {
			t.Run(name, func(t *testing.T) {
				r := requestBy("GET", "/")
				e.change(r)
				a, err := c.ask(r, e.body)
				if got := a.String(); err != nil || got != e.want {
					t.Errorf("got %s, %v\nwant %s", got, err, e.want)
				}
			})
		}
		if a, err := c.ask(requestBy("GET", "/reset"), nil); err == nil {
			t.Errorf("a reset looks like %s", a)
		} else if _, ok := err.(*ResetError); !ok {
			t.Errorf("a reset is %v", err)
		}
		if a, err := c.ask(requestBy("POST", "/early"), endless{}); err != nil || a.Status != 413 {
			t.Errorf("an early answer is %s, %v", a, err)
		}
		for _, path := range []string{"", "/a b", "/a\r\nb", "/\x00"} {
			if _, err := c.ask(requestBy("GET", path), nil); !errors.Is(err, ErrUnsendable) {
				t.Errorf("the path %q: %v", path, err)
			}
		}
		for _, method := range []string{"", "G T", "G@T", "G\\T", "G\x01T", "G:T", "G\x7fT", "\x80"} {
			if _, err := c.ask(requestBy(method, "/"), nil); !errors.Is(err, ErrUnsendable) {
				t.Errorf("the method %q: %v", method, err)
			}
		}
		for _, method := range []string{"M-SEARCH", "a_b", "X!", "Z~9"} {
			if a, err := c.ask(requestBy(method, "/"), nil); err != nil || !strings.HasPrefix(string(a.body), method+" ") {
				t.Errorf("the method %q: %s, %v", method, a, err)
			}
		}
		if a, err := c.ask(requestBy("GET", "/"), nil); err != nil || a.Status != 200 {
			t.Errorf("behind all these: %s, %v", a, err)
		}
		c.nothingLeft(t)
	})
}

// endless is a body without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// nothingLeft says whether all that belonged to exchanges was given back.
func (c *ClientConn) nothingLeft(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls)+c.open+len(c.queue)+len(c.full) > 0 {
		t.Errorf("left: %d streams, %d exchanges, %d and %d in lines", len(c.calls), c.open, len(c.queue), len(c.full))
	}
}

// A hundred mebibytes go both ways at once, and come as they were sent.
func TestClientLarge(t *testing.T) {
	const size = 100 << 20
	bothTargets(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.Copy(w, r.Body)
	}, func(t *testing.T, up *target) {
		s := up.connect().Begin()
		defer s.Done()
		r := requestBy("POST", "/")
		r.Length = wire.Unknown
		if _, err := s.Send(r); err != nil {
			t.Fatal(err)
		}
		in, out, sent := sha256.New(), sha256.New(), make(chan struct{})
		go func() {
			defer close(sent)
			s.SendBody(io.TeeReader(&pattern{left: size}, in), wire.Unknown, func() wire.Fields { return nil })
		}()
		if _, err := s.ReadHead(new(told)); err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			b, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n += len(b)
			out.Write(b)
		}
		<-sent
		if n != size || !bytes.Equal(in.Sum(nil), out.Sum(nil)) {
			t.Errorf("%d bytes, or other ones", n)
		}
	})
}

// pattern is bytes of which no two pieces are alike.
type pattern struct{ left, n int }

func (p *pattern) Read(b []byte) (int, error) {
	b = b[:min(len(b), p.left)]
	if len(b) == 0 {
		return 0, io.EOF
	}
	for i := range b {
		b[i] = byte(p.n ^ p.n>>8 ^ p.n>>16)
		p.n++
	}
	p.left -= len(b)
	return len(b), nil
}

// A thousand exchanges at once each get their answer; no more of them are with the server than it says.
func TestClientThousand(t *testing.T) {
	var now, most atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.URL.Path+string(b))
	}
	up := standard(t, false, h, 100)
	c := up.connect()
	if c.Most() != 100 {
		t.Errorf("it takes %d", c.Most())
	}
	var all sync.WaitGroup
	room := make(chan struct{}, 100)
	for i := range 1000 {
		all.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			path := fmt.Sprint("/", i)
			r := requestBy("POST", path)
			r.Body = bytes.Repeat([]byte("x"), i*10)
			r.Length = int64(len(r.Body))
			a, err := c.ask(r, nil)
			if err != nil || string(a.body) != path+string(r.Body) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	all.Wait()
	if most.Load() > 100 {
		t.Errorf("%d at a time", most.Load())
	}
	c.nothingLeft(t)
}
