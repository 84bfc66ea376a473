package wire

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// lines gives fields as "name: value", sorted.
func lines(f Fields) string {
	var list []string
	for _, x := range f {
		list = append(list, fmt.Sprintf("%s: %s", x.Name, x.Value))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

func TestFields(t *testing.T) {
	f := Fields(nil).Add("a", "1").Add("b", "2").Add("a", "3")
	if v, n := f.Get("a"); string(v) != "1" || n != 2 {
		t.Errorf("a is %q, %d times", v, n)
	}
	if v, n := f.Get("c"); v != nil || n != 0 {
		t.Errorf("c is %q, %d times", v, n)
	}
	c := f.Clone()
	if got := lines(f.Del("a")); got != "b: 2" {
		t.Errorf("without a: %q", got)
	}
	c[0].Value[0] = 'x'
	if got := lines(c); got != "a: 3\na: x\nb: 2" {
		t.Errorf("the copy: %q", got)
	}
	if got := lines(c.DelFunc(func(name []byte) bool { return name[0] == 'b' })); got != "a: 3\na: x" {
		t.Errorf("without b: %q", got)
	}
}

var framing = []string{
	"Host", "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Content-Length", "Upgrade", "Expect", "Date", "Http2-Settings",
}

func TestFromHeader(t *testing.T) {
	all := http.Header{"Accept": {"*/*"}}
	for _, name := range framing {
		all[name] = []string{"x"}
	}
	for name, c := range map[string]struct {
		h    http.Header
		want string
	}{
		"empty":                    {nil, ""},
		"framing":                  {all, "accept: */*"},
		"lower case":               {http.Header{"X-A": {"B"}, "content-length": {"5"}}, "x-a: B"},
		"several values":           {http.Header{"X-A": {"1", "2"}}, "x-a: 1\nx-a: 2"},
		"cookie crumbs":            {http.Header{"Cookie": {"a=1", "b=2", "c=3"}}, "cookie: a=1; b=2; c=3"},
		"no cookie":                {http.Header{"Cookie": nil}, ""},
		"named":                    {http.Header{"Connection": {"close, X-A ,x-b", "X-C"}, "X-A": {"1"}, "X-B": {"1"}, "X-C": {"1"}, "X-D": {"1"}}, "x-d: 1"},
		"trailer prefix":           {http.Header{http.TrailerPrefix + "X-A": {"1"}, "X-B": {"2"}}, "x-b: 2"},
		"an end-to-end one, named": {http.Header{"Authorization": {"x"}, "Connection": {"authorization"}}, ""},
	} {
		if got := lines(FromHeader(c.h)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A head that names much in Connection is refused, and costs no more than its size where it is not.
func TestConnectionOptions(t *testing.T) {
	name := func(n int) http.Header {
		h := http.Header{"X-End": {"1"}}
		for i := range n {
			field := fmt.Sprintf("X-%d", i)
			h["Connection"] = append(h["Connection"], field+", x-y"+field)
			h[field] = []string{"1"}
		}
		return h
	}
	for n, want := range map[int]bool{0: true, 1: true, maxOptions / 2: true, maxOptions/2 + 1: false, 100: false} {
		if err := CheckConnection(name(n)); (err == nil) != want {
			t.Errorf("%d options: %v", 2*n, err)
		}
		s := serveTLS(t, 1, testConn(), ok) // HTTP/2 has no Connection, RFC 9113 section 8.2.2
		r, _ := http.NewRequest("GET", s.URL, nil)
		r.Header = name(n)
		if resp, _, err := do(s, r); err != nil || resp.StatusCode != map[bool]int{true: 200, false: 400}[want] {
			t.Errorf("%d options: %v, %v", 2*n, resp, err)
		}
	}
	h, begin := name(30000), time.Now()
	if got := lines(FromHeader(h)); got != "x-end: 1" {
		t.Errorf("what is named passes: %.100q", got)
	}
	if d := time.Since(begin); d > 5*time.Second { // a look at each for each would take a minute
		t.Errorf("it took %v", d)
	}
}

// No handler can forge framing, whatever the way in.
func TestAddTo(t *testing.T) {
	f := Fields(nil).Add("x-a", "1").Add("x-a", "2")
	for _, name := range framing {
		f = f.Add(strings.ToLower(name), "x")
	}
	h := http.Header{}
	f.AddTo(h)
	if len(h) != 1 || !slices.Equal(h["X-A"], []string{"1", "2"}) {
		t.Errorf("got %v", h)
	}
}

// Date is never a second away from the time of day, and its seconds begin where those do.
func TestDate(t *testing.T) {
	for end := time.Now().Add(1200 * time.Millisecond); time.Now().Before(end); {
		before := time.Now().Truncate(time.Second)
		said, err := http.ParseTime(string(Date()))
		if err != nil {
			t.Fatal(err)
		}
		const slip = 5 * time.Millisecond // between two looks at two clocks
		if after := time.Now(); said.Before(before.Add(-slip).Truncate(time.Second)) || said.After(after.Add(slip)) {
			t.Fatalf("%v, between %v and %v", said, before, after)
		}
	}
}

// Clean says of each byte, at each place and beside each other one, what one look at it says.
func TestClean(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				for _, fill := range []byte{' ', '!', '~', 0x80, 0xff, '\t'} {
					text := bytes.Repeat([]byte{fill}, n)
					text[at] = byte(c)
					want := c >= ' ' && c != 0x7f || c == '\t'
					if Clean(text) != want || Clean(string(text)) != want {
						t.Fatalf("%q: %v", text, !want)
					}
				}
			}
		}
	}
}

func BenchmarkClean(b *testing.B) {
	text := []byte("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36")
	for b.Loop() {
		if !Clean(text) {
			b.Fatal()
		}
	}
}
