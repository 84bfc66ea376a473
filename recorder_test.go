package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// heard is one request as an upstream got it, read by a reader that has nothing in common with edge's.
type heard struct {
	id                   int // its place in the recorder's list
	raw                  []byte
	method, target, host string
	fields               []field
	body                 []byte
	headed, whole        bool     // its head, all of it has come; else the connection ended within it
	inHead               int      // how many of the faults are the head's
	faults               []string // what two readers might read differently
}

// field is a header field, as it came.
type field struct{ name, value string }

// says is what the request says, in the words of the table's "sees".
func (h *heard) says() string {
	return fmt.Sprintf("%s %s %s %s", h.method, hostOf(h.host), h.target, h.body)
}

// hostOf gives the host of an authority: no port, no brackets, no last dot.
func hostOf(authority string) string {
	if literal, _, ok := strings.Cut(strings.TrimPrefix(authority, "["), "]"); ok {
		ip, _ := netip.ParseAddr(literal)
		return ip.String()
	}
	name, _, _ := strings.Cut(authority, ":")
	return strings.TrimSuffix(name, ".")
}

// recorder is an upstream that keeps every byte that it gets. It answers each request with what it says, and its place in the list.
type recorder struct {
	ln    net.Listener
	conns sync.WaitGroup
	mu    sync.Mutex
	all   []*heard
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{ln: ln}
	r.conns.Go(r.accept)
	t.Cleanup(r.wait)
	return r
}

func (r *recorder) addr() string { return r.ln.Addr().String() }

// wait waits until whoever asks has closed every connection.
func (r *recorder) wait() {
	r.ln.Close()
	r.conns.Wait()
}

func (r *recorder) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.conns.Go(func() { r.serve(c) })
	}
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		h, err := hear(in)
		if len(h.raw) == 0 {
			return
		}
		r.keep(h)
		if err != nil && !h.whole {
			return
		}
		r.answer(c, h)
		if err != nil {
			return
		}
	}
}

// answer says what was heard. A HEAD gets no body.
func (r *recorder) answer(c net.Conn, h *heard) {
	text, last := h.says(), ""
	if len(h.faults) > 0 {
		last = "Connection: close\r\n"
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Heard: %d\r\nContent-Type: text/plain\r\n%sContent-Length: %d\r\n\r\n", h.id, last, len(text))
	if h.method == http.MethodHead {
		text = ""
	}
	io.WriteString(c, head+text)
}

func (r *recorder) keep(h *heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.id = len(r.all)
	r.all = append(r.all, h)
}

// since gives what was kept after the first n.
func (r *recorder) since(n int) []*heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all[n:])
}

// hear reads one request. It takes nothing on trust: what is not just as RFC 9112 has a sender write it is a fault, and a body of which it
// cannot be certain is an error. Without a byte there is no request.
func hear(in *bufio.Reader) (*heard, error) {
	h := &hearing{in: in, heard: new(heard)}
	err := h.request()
	h.whole = err == nil || errors.Is(err, errUnclear)
	return h.heard, err
}

// errUnclear is a request that is complete as far as anybody can tell; what follows it nobody can.
var errUnclear = errors.New("nobody can tell where it ends")

type hearing struct {
	in *bufio.Reader
	*heard
}

// fault notes a fault: what kind it is, a colon, and its own words.
func (h *hearing) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// line reads a line, and gives it without its end.
func (h *hearing) line() (string, error) {
	b, err := h.in.ReadBytes('\n')
	h.raw = append(h.raw, b...)
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(string(b), "\r\n")
	if !ok {
		h.fault("bare LF: %.80q", b)
		text = strings.TrimSuffix(text, "\n")
	}
	if i := strings.IndexFunc(text, control); i >= 0 {
		h.fault("control byte: %#x in %.80q", text[i], text)
	}
	return text, nil
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func (h *hearing) request() error {
	line, err := h.line()
	if err != nil {
		return err
	}
	h.requestLine(line)
	if h.fields, err = h.section(); err != nil {
		return err
	}
	h.checkFields()
	readBody := h.framing()
	h.headed, h.inHead = true, len(h.faults)
	return readBody()
}

func (h *hearing) requestLine(line string) {
	words := strings.Split(line, " ")
	if len(words) != 3 || !isToken(words[0]) || words[2] != "HTTP/1.1" {
		h.fault("request line: %.80q", line)
		words = append(words, "", "", "")
	}
	h.method, h.target = words[0], words[1]
	if !strings.HasPrefix(h.target, "/") && (h.method != http.MethodOptions || h.target != "*") || strings.ContainsAny(h.target, "\t#\\") {
		h.fault("target: %.80q", h.target)
	}
}

func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// section reads field lines up to the empty one.
func (h *hearing) section() (fields []field, err error) {
	for {
		line, err := h.line()
		if err != nil || line == "" {
			return fields, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) { // white space before the colon, or a folded line
			h.fault("field line: %.80q", line)
		}
		fields = append(fields, field{strings.ToLower(name), strings.Trim(value, " \t")})
	}
}

// values gives what all the fields of a name say.
func (h *hearing) values(name string) (all []string) {
	for _, f := range h.fields {
		if f.name == name {
			all = append(all, f.value)
		}
	}
	return all
}

// singles are the fields that stand in a request once, or not at all.
var singles = []string{
	"host", "content-length", "transfer-encoding", "content-type", "content-encoding", "authorization", "cookie", "expect", "range", "user-agent", "referer",
	"origin", "max-forwards", "from", "upgrade", "connection", "if-modified-since", "if-unmodified-since", "if-range",
	"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "remote-user", "remote-groups",
}

// checkFields looks at the fields of the head together.
func (h *hearing) checkFields() {
	for _, name := range singles {
		if n := len(h.values(name)); n > 1 {
			h.fault("more than one: %d of %s", n, name)
		}
	}
	if hosts := h.values("host"); len(hosts) == 0 {
		h.fault("no Host")
	} else {
		h.host = hosts[0]
	}
	upgrades := strings.EqualFold(strings.Join(h.values("connection"), ","), "upgrade") && len(h.values("upgrade")) == 1
	for _, f := range h.fields {
		switch {
		case (f.name == "connection" || f.name == "upgrade") && upgrades:
		case f.name == "te" && f.value == "trailers":
		case hopByHop(f.name):
			h.fault("field of one hop: %s: %.80q", f.name, f.value)
		case alike(f.name):
			h.fault("look-alike: %s", f.name)
		}
	}
}

func hopByHop(name string) bool {
	return slices.Contains([]string{"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
		"upgrade", "http2-settings"}, name)
}

// alike says whether CGI would take a name for one of those by which an upstream is told who asks, or where a body ends.
func alike(name string) bool {
	plain := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, name)
	return plain != name && (strings.HasPrefix(plain, "x-forwarded-") || strings.HasPrefix(plain, "remote-") ||
		slices.Contains([]string{"x-real-ip", "forwarded", "transfer-encoding", "content-length", "connection", "host"}, plain))
}

// framing gives the body's reader, if there is only one way to tell its length.
func (h *hearing) framing() func() error {
	lengths, codings := h.values("content-length"), h.values("transfer-encoding")
	switch {
	case len(lengths) > 0 && len(codings) > 0:
		h.fault("two lengths: Content-Length and Transfer-Encoding")
	case len(codings) == 1 && codings[0] == "chunked":
		return h.chunks
	case len(codings) > 0:
		h.fault("Transfer-Encoding: %q", codings)
	case len(lengths) > 0:
		n, err := strconv.ParseUint(lengths[0], 10, 31)
		if len(lengths) == 1 && err == nil && strconv.FormatUint(n, 10) == lengths[0] {
			return func() error { return h.data(int(n)) }
		}
		h.fault("Content-Length: %q", lengths)
	default:
		return func() error { return nil }
	}
	return func() error { return errUnclear }
}

// data reads bytes of the body.
func (h *hearing) data(n int) error {
	b := make([]byte, n)
	n, err := io.ReadFull(h.in, b)
	h.raw, h.body = append(h.raw, b[:n]...), append(h.body, b[:n]...)
	return err
}

func (h *hearing) chunks() error {
	for {
		line, err := h.line()
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(line, 16, 31)
		if err != nil || strings.Trim(line, "0123456789abcdefABCDEF") != "" || len(line) > 8 {
			h.fault("chunk size: %.80q", line)
			return errUnclear
		}
		if n == 0 {
			return h.trailers()
		}
		if err := h.data(int(n)); err != nil {
			return err
		}
		end, err := h.line()
		if err != nil {
			return err
		}
		if end != "" {
			h.fault("behind a chunk: %.80q", end)
			return errUnclear
		}
	}
}

// trailers reads what is behind the last chunk, in which nothing may stand that a head is read by.
func (h *hearing) trailers() error {
	before := len(h.raw)
	fields, err := h.section()
	if n := len(h.raw) - before; n > 8<<10 {
		h.fault("trailers: %d bytes", n)
	}
	for _, f := range fields {
		if hopByHop(f.name) || slices.Contains(singles, f.name) || alike(f.name) {
			h.fault("trailers: %s", f.name)
		}
	}
	return err
}

// again has net/http read the bytes, and says what it reads differently.
func (h *heard) again() error {
	in := bufio.NewReader(bytes.NewReader(h.raw))
	r, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		return fmt.Errorf("behind it net/http finds %q", rest)
	}
	path, query, _ := strings.Cut(h.target, "?")
	if r.Method != h.method || r.RequestURI != h.target || r.Host != h.host || r.URL.RawQuery != query || r.URL.EscapedPath() != path && path != "*" && r.URL.Path != path || !bytes.Equal(body, h.body) {
		return fmt.Errorf("net/http reads %s %s, path %q, query %q, of %s, %q", r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery, r.Host, body)
	}
	return nil
}
