package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Programs that others wrote to ask servers. They take minutes in all, so these tests are part of `make conformance` only.

// inConformance leaves a test out elsewhere, and gives the page that its findings belong in.
func inConformance(t *testing.T) (doc string) {
	t.Helper()
	if doc = os.Getenv("CONFORMANCE"); doc == "" {
		t.Skip("part of `make conformance`")
	}
	return doc
}

// clientSite relays to APP over HTTPS and HTTP, bytes to BYTES over TCP and TLS.
const clientSite = `
state_dir = "DIR/state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[listener]]
name = "http"
address = "127.0.0.3:0"
protocol = "http"
[[listener]]
name = "tcp"
address = "127.0.0.2:0"
protocol = "tcp"
proxy = "tcp://BYTES"
[[listener]]
name = "tls"
address = "[::1]:0"
protocol = "tls"
proxy = "tcp://BYTES"
[[certificate]]
hosts = ["localhost", "127.0.0.1", "::1"]
issuer = "dev"
dir = "DIR/certs"
[[vhost]]
hosts = ["localhost", "127.0.0.1", "127.0.0.3"]
listeners = ["https", "http"]
proxy = "APP"
`

func startClientSite(t *testing.T, app, bytes string) *proc {
	return start(t, "edge", strings.NewReplacer("APP", app, "BYTES", bytes).Replace(clientSite))
}

// onePage answers with something that has a body, and reads none.
var onePage = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("page ", 200)) })

// h2spec gives what h2spec finds wrong with a server, each by its chapter and what was sent.
func h2spec(t *testing.T, addr string) (failures []string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	report := filepath.Join(t.TempDir(), "report.xml")
	cmd := exec.Command(tool(t, "h2spec"), "--strict", "-t", "-k", "-h", host, "-p", port, "-j", report)
	out, _ := cmd.CombinedOutput() // it exits with 1 where it finds something
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	var got struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, s := range got.Suites {
		for _, c := range s.Cases {
			if cases++; c.Failure != nil || c.Error != nil {
				failures = append(failures, s.Name+" "+c.Name)
			}
		}
	}
	if cases < 140 {
		t.Fatalf("h2spec asked %d questions only:\n%s", cases, out)
	}
	return failures
}

// h2spec in strict mode finds nothing wrong with edge that it does not find with net/http's server.
func TestH2Spec(t *testing.T) {
	doc := inConformance(t)
	app := httptest.NewServer(onePage)
	defer app.Close()
	std := httptest.NewUnstartedServer(onePage)
	std.EnableHTTP2 = true
	std.Config.ErrorLog = log.New(io.Discard, "", 0)
	std.StartTLS()
	defer std.Close()
	theirs := h2spec(t, std.Listener.Addr().String())
	ours := h2spec(t, startClientSite(t, app.URL, "127.0.0.1:9").addr("https"))
	b := new(strings.Builder)
	fmt.Fprintf(b, "`h2spec --strict` over TLS: edge fails %d, net/http's server %d. Those of edge:\n\n", len(ours), len(theirs))
	for _, f := range ours {
		fmt.Fprintf(b, "- %s\n", f)
		if !slices.Contains(theirs, f) {
			t.Errorf("net/http does not fail: %s", f)
		}
	}
	put(t, doc, "h2spec", b.String())
}

// The clients that people measure and debug with get all their answers.
func TestClients(t *testing.T) {
	inConformance(t)
	app := httptest.NewServer(onePage)
	defer app.Close()
	p := startClientSite(t, app.URL, "127.0.0.1:9")
	https, plain := "https://"+p.addr("https")+"/", "http://"+p.addr("http")+"/"
	for _, c := range []struct {
		args []string
		want string // an expression that its output matches
	}{
		{[]string{"curl", "-ksS", "--http1.1", "-w", "%{http_version} %{http_code} %{size_download}", "-o", "/dev/null", https}, `^1\.1 200 1000$`},
		{[]string{"curl", "-ksS", "--http2", "-w", "%{http_version} %{http_code} %{size_download}", "-o", "/dev/null", https}, `^2 200 1000$`},
		{[]string{"curl", "-gsS", "-w", "%{http_version} %{http_code} %{size_download}", "-o", "/dev/null", plain}, `^1\.1 200 1000$`},
		{[]string{"wrk", "-t1", "-c16", "-d2s", https}, `(?s)^((?:[^SN]|S[^o]|N[^o])*)Requests/sec: +[1-9]`}, // neither "Socket errors" nor "Non-2xx"
		{[]string{"wrk", "-t1", "-c16", "-d2s", plain}, `(?s)^((?:[^SN]|S[^o]|N[^o])*)Requests/sec: +[1-9]`},
		{[]string{"h2load", "-n2000", "-c8", "-m16", https}, `requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored`},
		{[]string{"h2load", "--h1", "-n2000", "-c8", https}, `requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored`},
		{[]string{"hey", "-host", "localhost", "-n", "2000", "-c", "16", https}, `\[200\]\s+2000 responses`},
		{[]string{"hey", "-host", "localhost", "-n", "2000", "-c", "16", "-h2", https}, `\[200\]\s+2000 responses`},
		{[]string{"hey", "-host", "localhost", "-n", "2000", "-c", "16", plain}, `\[200\]\s+2000 responses`},
	} {
		cmd := exec.Command(tool(t, c.args[0]), c.args[1:]...)
		out, err := cmd.CombinedOutput()
		if err != nil || !regexp.MustCompile(c.want).Match(out) {
			t.Errorf("%s: %v\n%s", cmd, err, out)
		}
	}
}

// redis-cli talks to its server through a tcp and a tls listener: one value at a time, a pipeline, and 10 MB.
func TestRedisThroughTunnels(t *testing.T) {
	inConformance(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	ln.Close() // redis takes no port of the kernel's choice
	redis := exec.Command(tool(t, "redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir())
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { redis.Process.Kill(); redis.Wait() })
	until(t, "redis listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	p := startClientSite(t, "http://127.0.0.1:9", "127.0.0.1:"+port)
	for _, listener := range []string{"tcp", "tls"} {
		host, port, _ := net.SplitHostPort(p.addr(listener))
		base := []string{"-h", host, "-p", port}
		if listener == "tls" {
			base = append(base, "--tls", "--cacert", filepath.Join(p.dir, "certs", "ca.pem"))
		}
		ask := func(in string, args ...string) string {
			cmd := exec.Command(tool(t, "redis-cli"), append(slices.Clone(base), args...)...)
			cmd.Stdin = strings.NewReader(in)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", cmd, err, out)
			}
			return string(out)
		}
		large := strings.Repeat("0123456789", 1<<20)
		for _, c := range []struct{ got, want string }{
			{ask("", "SET", "a", "1"), "OK\n"},
			{ask("", "GET", "a"), "1\n"},
			{ask(strings.Repeat("SET b 2\r\n", 1000), "--pipe"), "errors: 0, replies: 1000\n"},
			{ask(large, "-x", "SET", "large"), "OK\n"},
			{ask("", "GET", "large"), large + "\n"},
		} {
			if !bytes.HasSuffix([]byte(c.got), []byte(c.want)) {
				t.Errorf("%s: got %.80q, want %.80q", listener, c.got, c.want)
			}
		}
	}
}
