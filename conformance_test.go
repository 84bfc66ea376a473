package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// sample is a line of edge/h1/testdata/requests.jsonl: a request, and what becomes of it.
type sample struct {
	Name, Class, Raw string
	Verdict          string // accept, reject
	Status           int    // of a reject; 0: the request is not complete, and there is no answer
	Keep             bool   // the connection can be used for another request
	Sees             *string
}

func (s *sample) String() string { return s.Class + "/" + s.Name }
func (s *sample) accepted() bool { return s.Verdict == "accept" }

// says is what an upstream sees of an accepted request: method, host, target and body. The table leaves it out of a HEAD.
func (s *sample) says() string {
	if s.Sees == nil {
		return "HEAD a.test / "
	}
	return *s.Sees
}

func (s *sample) words() (method, host, target, body string) {
	w := strings.SplitN(s.says(), " ", 4)
	return w[0], w[1], w[2], w[3]
}

// asterisk is a target that is no path: edge answers itself.
func (s *sample) asterisk() bool {
	_, _, target, _ := s.words()
	return target == "*"
}

// hasBody says whether a body comes with it, if only an empty one.
func (s *sample) hasBody() bool {
	head := strings.ToLower(s.Raw)
	return strings.Contains(head, "content-length:") || strings.Contains(head, "\ntransfer-encoding:")
}

// inBody says of a request that its head has no fault: who does not read the body finds none. It is the recorder's word, not edge's.
func (s *sample) inBody() bool {
	h, err := hear(bufio.NewReader(strings.NewReader(s.Raw)))
	return h.headed && h.inHead == 0 && (err != nil || len(h.faults) > 0)
}

// samples gives the table. Each rune of a raw request is one byte.
func samples(t *testing.T) (all []*sample) {
	t.Helper()
	f, err := os.Open("edge/h1/testdata/requests.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); d.More(); {
		s := new(sample)
		if err := d.Decode(s); err != nil {
			t.Fatal(err)
		}
		s.Raw = latin1(s.Raw)
		if s.Sees != nil {
			*s.Sees = latin1(*s.Sees)
		}
		all = append(all, s)
	}
	return all
}

func latin1(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// kind is how a virtual host answers what is no fault.
type kind struct {
	name, action string
	reads        bool // the whole request: a fault of its body is found before the answer
	status       func(s *sample) int
	wrong        func(s *sample, a *answered) error // what is wrong with a 200
}

// answered is an answer.
type answered struct {
	*http.Response
	text string
}

// kinds are the virtual hosts that the table is sent to.
func kinds(r *recorder, c *claimed) []kind {
	ok := func(*sample) int { return 200 }
	return []kind{
		{"echo", "echo = true", false, ok, echoed},
		{"relayed", `proxy = "http://` + r.addr() + `"`, true, ok, c.relayed},
		{"files", `files = "site"`, false, found, read},
	}
}

// echoed looks at what edge's own echo says.
func echoed(s *sample, a *answered) error {
	method, host, target, _ := s.words()
	first, rest, _ := strings.Cut(a.text, "\n")
	line, _, _ := strings.Cut(rest, "\n")
	if method != http.MethodHead && (!strings.HasPrefix(first, method+" "+target+" HTTP/1.") || hostOf(strings.TrimPrefix(line, "host: ")) != host) {
		return fmt.Errorf("it was seen as %.80q", a.text)
	}
	return nil
}

// claimed are the recorded requests that were answered to who had sent them.
type claimed struct {
	mu  sync.Mutex
	ids map[int]*sample
}

// relayed looks at what the upstream says, and notes that it was asked for.
func (c *claimed) relayed(s *sample, a *answered) error {
	id, err := strconv.Atoi(a.Header.Get("X-Heard"))
	if err != nil {
		return fmt.Errorf("no upstream has answered this: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.ids[id]; other != nil {
		return fmt.Errorf("its answer is that to %v", other)
	}
	c.ids[id] = s
	if s.Sees != nil && a.text != s.says() {
		return fmt.Errorf("the upstream saw %.80q", a.text)
	}
	return nil
}

// files are what the files vhost has, by path; each holds its own path.
var files = []string{"/index.html", "/next", "/a", "/v", "/x", "/a;b", "/a b", "/ä", "/A", "/[a]"}

// found is the status by which the files vhost answers.
func found(s *sample) int {
	method, _, target, _ := s.words()
	if method != http.MethodGet && method != http.MethodHead {
		return 405
	}
	if file(target) == "" {
		return 404
	}
	return 200
}

// file is which of files a target means, "" none.
func file(target string) string {
	path, _, _ := strings.Cut(target, "?")
	path = strings.NewReplacer("%20", " ", "%41", "A", "%e4", "\xe4").Replace(path)
	if path == "/" {
		path = "/index.html"
	}
	for _, f := range files {
		if path == latin1(f) {
			return path
		}
	}
	return ""
}

func read(s *sample, a *answered) error {
	method, _, target, _ := s.words()
	if want := file(target); method == http.MethodGet && a.text != want {
		return fmt.Errorf("the file is %.80q", a.text)
	}
	return nil
}

// following is the request that is sent behind each one of the table.
var following = func() *sample {
	sees := "GET next.test /next "
	return &sample{Name: "the next", Class: "keep", Raw: "GET /next HTTP/1.1\r\nHost: next.test\r\n\r\n", Verdict: "accept", Keep: true, Sees: &sees}
}()

// conformConfig has two listeners for each kind, plain and with TLS. Any host of the table is served on both.
func conformConfig(ks []kind) string {
	b := new(strings.Builder)
	b.WriteString("state_dir = \"DIR/state\"\n[[certificate]]\ncert = \"DIR/cert.pem\"\nkey = \"DIR/cert.pem\"\n[log]\naccess = \"off\"\n")
	for i, k := range ks {
		fmt.Fprintf(b, "[[listener]]\nname = \"%[1]s\"\naddress = \"127.0.1.%[4]d:0\"\nprotocol = \"http\"\n"+
			"[[listener]]\nname = \"%[1]s-tls\"\naddress = \"127.0.2.%[4]d:0\"\nprotocol = \"https\"\n"+
			"[[vhost]]\nlisteners = [\"%[1]s\", \"%[1]s-tls\"]\nhosts = [\"*.test\", \"127.0.0.1\", \"::1\", \"2001:db8::1\", \"localhost\", \"%[2]s\"]\n%[3]s\n",
			k.name, strings.Repeat(strings.Repeat("a", 49)+".", 5)+"te", k.action, i+1)
	}
	return b.String()
}

// Every request of the table is answered as it says: on a virtual host of each kind, plain and over TLS, whole with another one behind it and
// byte by byte. What the upstream gets of them nobody can read in two ways; it gets each that is accepted once, and of those that are refused only
// what came before a fault of the body, without an end.
func TestConformance(t *testing.T) {
	rec, c := newRecorder(t), &claimed{ids: map[int]*sample{}}
	ks := kinds(rec, c)
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "cert.pem"), "a.test")
	site := filepath.Join(dir, "site")
	os.Mkdir(site, 0o755)
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(site, latin1(name)), []byte(latin1(name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := startIn(t, dir, "edge", conformConfig(ks))
	all := samples(t)
	t.Run("edge", func(t *testing.T) {
		for _, k := range ks {
			for _, overTLS := range []bool{false, true} {
				for _, bytewise := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, TLS %v, byte by byte %v", k.name, overTLS, bytewise), func(t *testing.T) {
						t.Parallel()
						x := &trial{kind: k, addr: p.addr(k.name), bytewise: bytewise}
						if overTLS {
							x.addr, x.tls = p.addr(k.name+"-tls"), &tls.Config{InsecureSkipVerify: true}
						}
						for _, s := range all {
							if s.Name == "the HTTP/2 preface" && !overTLS {
								continue // it is one: HTTP/2 by prior knowledge, edge/serve's prior_test.go
							}
							if err := x.try(s); err != nil {
								t.Errorf("%v: %v", s, err)
							}
						}
					})
				}
			}
		}
	})
	p.end()
	rec.wait()
	c.check(t, rec, all)
}

// check makes sure that the upstream got just what was accepted, and in a form that has one meaning.
func (c *claimed) check(t *testing.T, rec *recorder, all []*sample) {
	want, mayCut := 0, 0
	for _, s := range all {
		if !s.accepted() && s.inBody() {
			mayCut += 4
		}
		if s.accepted() && !s.asterisk() {
			want += 4
		}
		if s.Keep {
			want += 4 // the next one
		}
	}
	whole := 0
	for _, h := range rec.since(0) {
		for _, fault := range h.faults {
			t.Errorf("the upstream got something ambiguous of %v: %s", c.ids[h.id], fault)
		}
		if !h.whole {
			continue
		}
		whole++
		if c.ids[h.id] == nil {
			t.Errorf("nobody who was accepted sent this: %.200q", h.raw)
		}
		if err := h.again(); err != nil {
			t.Errorf("of %v: %v", c.ids[h.id], err)
		}
	}
	if whole != want || len(c.ids) != want {
		t.Errorf("the upstream got %d requests, of which %d were answered; want %d", whole, len(c.ids), want)
	}
	if cut := len(rec.since(0)) - whole; cut > mayCut {
		t.Errorf("the upstream got %d requests that were cut, but only %d have their fault in the body", cut, mayCut)
	}
}

// trial sends requests to one listener.
type trial struct {
	kind
	addr     string
	tls      *tls.Config
	bytewise bool
}

// patience ends what hangs.
const patience = 20 * time.Second

// caller is a client's connection, over which it writes its bytes itself.
type caller struct {
	net.Conn
	in *bufio.Reader
}

func (x *trial) dial() (*caller, error) {
	c, err := net.Dial("tcp", x.addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	if x.tls != nil {
		c = tls.Client(c, x.tls)
	}
	return &caller{c, bufio.NewReader(c)}, nil
}

// try sends a request and says what is wrong with its answer and what follows.
func (x *trial) try(s *sample) error {
	c, err := x.dial()
	if err != nil {
		return err
	}
	followed := !x.bytewise && s.Class != "incomplete" // which would take it for its missing rest
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		x.send(c, s, followed)
	}()
	defer func() { c.Close(); <-sent }()
	switch {
	case s.accepted():
		return x.accepted(c, s, followed, sent)
	case s.inBody() && !x.reads:
		return x.unread(c, s)
	}
	return refused(c, s)
}

// send writes the request, until the server ends the connection.
func (x *trial) send(c *caller, s *sample, followed bool) {
	raw := s.Raw
	if followed {
		raw += following.Raw
	}
	step := len(raw)
	if x.bytewise {
		step = 1 + len(raw)/4000 // the longest in pieces
	}
	for len(raw) > 0 {
		n := min(step, len(raw))
		if _, err := io.WriteString(c, raw[:n]); err != nil {
			return
		}
		raw = raw[n:]
	}
	if s.Class == "incomplete" {
		if t, ok := c.Conn.(*tls.Conn); ok {
			t.Handshake() // there may have been nothing to write
		}
		c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// accepted wants the kind's answer, and then the next one's or the end. A body that nobody reads may end the connection, if the answer says so.
func (x *trial) accepted(c *caller, s *sample, followed bool, sent <-chan struct{}) error {
	method, _, _, _ := s.words()
	a, err := c.read(method)
	if err != nil {
		return err
	}
	want := x.status(s)
	if s.asterisk() {
		want = 204
	}
	if a.StatusCode != want {
		return fmt.Errorf("status %d in place of %d, %.80q", a.StatusCode, want, a.text)
	}
	if want == 200 {
		if err := x.wrong(s, a); err != nil {
			return err
		}
	}
	mayClose := !s.Keep || !x.reads && s.hasBody()
	switch {
	case a.Close && !mayClose, !a.Close && !s.Keep:
		return fmt.Errorf("Connection: close is %v", a.Close)
	case a.Close:
		return c.over()
	}
	if <-sent; !followed {
		io.WriteString(c, following.Raw)
	}
	if a, err = c.read("GET"); err != nil || a.StatusCode != 200 {
		return fmt.Errorf("the next one: %v, %v", err, a)
	}
	if err := x.wrong(following, a); err != nil {
		return fmt.Errorf("the next one: %w", err)
	}
	return nil
}

// unread wants the answer to a request of whose body nobody reads the fault: the kind's own. Nothing behind that body is served.
func (x *trial) unread(c *caller, s *sample) error {
	a, err := c.read("POST")
	if err == nil && a.StatusCode != x.status(&sample{Sees: new("POST a.test / ")}) {
		err = fmt.Errorf("status %d, %.80q", a.StatusCode, a.text)
	}
	if err != nil {
		return err
	}
	return c.over()
}

// refused wants the request refused, and what is behind it not served.
func refused(c *caller, s *sample) error {
	if s.Status == 0 {
		return c.over()
	}
	a, err := c.read("GET") // a refusal has a body whatever the method is
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && s.Class == "incomplete": // to whoever relays, a client that closes its side within a body has left
		return nil
	case err != nil:
		return err
	case a.StatusCode != s.Status:
		return fmt.Errorf("status %d in place of %d, %.80q", a.StatusCode, s.Status, a.text)
	case !a.Close:
		return errors.New("the connection is to go on")
	}
	return c.over()
}

// read reads an answer, and skips those in between.
func (c *caller) read(method string) (*answered, error) {
	for {
		resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 200 {
			return &answered{resp, string(body)}, err
		}
	}
}

// over says what comes in place of the connection's end.
func (c *caller) over() error {
	b, err := io.ReadAll(c.in)
	var timeout net.Error
	if len(b) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("in place of the end: %.80q, %v", b, err)
	}
	return nil
}
