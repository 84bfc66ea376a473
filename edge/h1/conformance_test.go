package h1

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// sample is a line of testdata/requests.jsonl.
type sample struct {
	Name, Class, Raw string
	Verdict          string // accept, reject
	Status           int    // of a reject; 0: the request is not complete, and there is no answer
	Keep             bool   // the connection can be used for another request
	RFC              string
	Sees             *string // what echo says of it
}

func (s *sample) accepted() bool { return s.Verdict == "accept" }
func (s *sample) method() string {
	m, _, _ := strings.Cut(strings.TrimLeft(s.Raw, "\r\n"), " ")
	return m
}

// samples gives the table. Each rune of a raw request is one byte.
func samples(t testing.TB) []sample {
	t.Helper()
	f, err := os.Open("testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []sample
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var s sample
		err := d.Decode(&s)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Raw = latin1(s.Raw)
		if s.Sees != nil {
			*s.Sees = latin1(*s.Sees)
		}
		all = append(all, s)
	}
}

func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// The table is large enough to mean something.
func TestSamplesAreMany(t *testing.T) {
	classes, seen := map[string]bool{}, map[string]bool{}
	accepted, pairs := 0, 0
	for _, s := range samples(t) {
		if id := s.Class + "/" + s.Name; seen[id] {
			t.Errorf("%s stands there twice", id)
		} else {
			seen[id] = true
		}
		classes[s.Class] = true
		if s.accepted() {
			accepted++
		}
		if s.Keep {
			pairs++
		}
		if s.RFC == "" || s.accepted() != (s.Status == 0 && s.Verdict == "accept") || s.Keep && !s.accepted() {
			t.Errorf("%s/%s is not well-formed", s.Class, s.Name)
		}
	}
	if len(seen) < 250 || len(classes) < 20 || accepted < 50 || pairs < 20 {
		t.Errorf("%d requests of %d classes, %d accepted, %d pairs", len(seen), len(classes), accepted, pairs)
	}
}

// Every request of the table is answered as it says, plain and over TLS, whole with another one behind it and byte by byte.
func TestConformance(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		for _, bytewise := range []bool{false, true} {
			t.Run(fmt.Sprintf("TLS %v, byte by byte %v", overTLS, bytewise), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, "h1", overTLS, settings{}, echo)
				for _, sample := range samples(t) {
					if err := s.try(t, &sample, bytewise); err != nil {
						t.Errorf("%s/%s: %v", sample.Class, sample.Name, err)
					}
				}
			})
		}
	}
}

// What the oracle makes of the table. It is laxer in places, which is why there is an engine; what it says differently is listed.
func TestConformanceOfNetHTTP(t *testing.T) {
	s := newSite(t, "net/http", false, settings{header: 200 * time.Millisecond, body: 200 * time.Millisecond}, echo)
	wrong, all := 0, samples(t)
	for _, sample := range all {
		if err := s.try(t, &sample, false); err != nil {
			wrong++
			t.Logf("net/http, %s/%s: %v", sample.Class, sample.Name, err)
		}
	}
	t.Logf("net/http says something else of %d of %d requests", wrong, len(all))
}

// next is the request behind each one of the table.
const next = "GET /next HTTP/1.1\r\nHost: next.test\r\n\r\n"

// try sends a request, and says what is wrong with the answer and with what follows it.
func (s *site) try(t *testing.T, sample *sample, bytewise bool) error {
	c := s.dial(t)
	raw := sample.Raw
	followed := !bytewise && sample.Class != "incomplete" // which would take it for its missing rest
	step := len(raw) + len(next)
	if bytewise {
		step = 1 + len(raw)/4000 // the longest in pieces
	}
	if followed {
		raw += next
	}
	sent := make(chan struct{})
	go c.pieces(raw, step, sent) // the server may answer before it has read all
	defer func() { c.Close(); <-sent }()
	if sample.Class == "incomplete" {
		<-sent
		c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}
	if !sample.accepted() {
		return c.refused(sample)
	}
	resp, body, err := c.read(sample.method())
	switch {
	case err != nil:
		return err
	case resp.StatusCode != 200:
		return fmt.Errorf("status %d, %s", resp.StatusCode, clip(body))
	case sample.Sees != nil && body != *sample.Sees:
		return fmt.Errorf("it was seen as %q", clip(body))
	case resp.Close == sample.Keep:
		return fmt.Errorf("Connection: close is %v", resp.Close)
	case !sample.Keep:
		return c.over()
	}
	if !followed {
		io.WriteString(c, next)
	}
	if resp, body, err = c.read("GET"); err != nil || resp.StatusCode != 200 || body != "GET next.test /next " {
		return fmt.Errorf("the next one: %v, %q", err, clip(body))
	}
	return nil
}

// refused makes sure that the request is refused, and what is behind it not answered.
func (c *client) refused(sample *sample) error {
	if sample.Status == 0 {
		return c.over()
	}
	resp, body, err := c.read("GET") // a refusal has a body whatever the method is
	switch {
	case err != nil:
		return err
	case resp.StatusCode != sample.Status:
		return fmt.Errorf("status %d, %s", resp.StatusCode, clip(body))
	case !resp.Close:
		return errors.New("the connection is to go on")
	}
	return c.over()
}

// over says what comes in place of the connection's end.
func (c *client) over() error {
	b, err := io.ReadAll(c.in)
	var timeout net.Error
	if len(b) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("in place of the end: %q, %v", clip(string(b)), err)
	}
	return nil
}
