package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const metricsListener = `
[[listener]]
name = "metrics"
address = "127.0.0.7:0"
protocol = "metrics"
`

// ownPage asks a metrics listener over a new connection.
func (p *proc) ownPage(path string) (status int, body string) {
	p.t.Helper()
	c := p.connect("metrics", nil)
	defer c.Close()
	return askPage(p.t, c, path)
}

func askPage(t *testing.T, c net.Conn, path string) (status int, body string) {
	t.Helper()
	c.SetDeadline(time.Now().Add(soon))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: metrics\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// metric gives the value of a series; nothing: there is none.
func (p *proc) metric(series string) (value string) {
	p.t.Helper()
	_, text := p.ownPage("/metrics")
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// wantMetrics waits for values: a request counts a moment after its answer.
func (p *proc) wantMetrics(want map[string]string) {
	p.t.Helper()
	for series, value := range want {
		got := ""
		for limit := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if got = p.metric(series); got == value {
				break
			}
			if time.Now().After(limit) {
				p.t.Errorf("%s is %q, want %q", series, got, value)
				break
			}
		}
	}
}

// A metrics listener answers for edge itself. What was counted stays over a reload, but for what is gone; its socket is handed on at an
// upgrade, and the process that drains says that it is not ready.
func TestMetrics(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	text += metricsListener
	p := startIn(t, dir, "edge", text)
	kept := p.connect("metrics", nil)
	for path, want := range map[string]string{"/healthz": "200 alive\n", "/readyz": "200 ready\n", "/": "404", "/debug/pprof/": "404", "/debug/pprof/cmdline": "404"} {
		if status, body := p.ownPage(path); !strings.HasPrefix(fmt.Sprint(status, " ", body), want) {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
	if status, body := askPage(t, kept, "/readyz"); status != 200 {
		t.Errorf("/readyz: %d %q", status, body)
	}
	p.curl("http", "app.localhost", "/a")
	p.curl("https", "app.localhost", "/b", "--http2")
	p.curl("https", "site.localhost", "/ping", "-X", "BREW")
	p.curl("http", "unknown.localhost", "/", "-H", "Host: made.up")
	ws := p.webSocket()
	talk(t, ws)
	tcp := p.connect("tcp", nil)
	talk(t, tcp)
	p.connect("https", nil) // and says nothing
	if _, err := p.tryCurl("https", "unknown.test", "/"); err == nil {
		t.Error("a handshake that was to fail has not")
	}
	p.wantMetrics(map[string]string{
		`edge_http_requests_total{code="2xx",method="GET",vhost="app.localhost"}`:                        "2",
		`edge_http_requests_total{code="1xx",method="GET",vhost="app.localhost"}`:                        "1",
		`edge_http_requests_total{code="2xx",method="other",vhost="site.localhost"}`:                     "1",
		`edge_http_requests_total{code="4xx",method="GET",vhost="-"}`:                                    "1",
		`edge_http_request_duration_seconds_count{vhost="app.localhost"}`:                                "2",
		`edge_tunnels{kind="upgrade",listener="https"}`:                                                  "1",
		`edge_http_requests_in_flight{listener="https"}`:                                                 "1",
		`edge_connections{listener="https",protocol="http/1.1",state="active"}`:                          "1",
		`edge_connections{listener="metrics",protocol="http/1.1",state="idle"}`:                          "1",
		`edge_tls_handshakes_total{resumed="false",version="1.3"}`:                                       "3",
		`edge_upstream_requests_total{target="` + p.target() + `",upstream="http://` + p.target() + `"}`: "3",
		`edge_tunnels{kind="tcp",listener="tcp"}`:                                                        "1",
		`edge_connections{listener="tcp",protocol="tcp",state="tunnel"}`:                                 "1",
		`edge_connections{listener="https",protocol="tls",state="handshake"}`:                            "1",
		`edge_tls_handshake_failures_total`:                                                              "1",
		`edge_connections_accepted_total{listener="tcp"}`:                                                "1",
		`edge_generation`: "1", `edge_draining`: "0", `edge_access_log_lines_dropped_total`: "0",
	})
	if _, text := p.ownPage("/metrics"); strings.Contains(text, "BREW") || strings.Contains(text, "made.up") || strings.Contains(text, "unknown") {
		t.Error("what clients make up is in the metrics")
	}

	p.fails("\nnonsense = 1\n", text)
	write(t, dir, strings.ReplaceAll(text, `hosts = ["site.localhost"]`, `hosts = ["other.localhost"]`)+"pprof = true\n")
	p.reload()
	p.wantMetrics(map[string]string{
		`edge_http_requests_total{code="2xx",method="GET",vhost="app.localhost"}`:                        "2",
		`edge_http_requests_total{code="2xx",method="GET",vhost="other.localhost"}`:                      "0",
		`edge_http_requests_total{code="2xx",method="other",vhost="site.localhost"}`:                     "",
		`edge_http_request_duration_seconds_count{vhost="site.localhost"}`:                               "",
		`edge_reloads_total{result="ok"}`:                                                                "1",
		`edge_reloads_total{result="failed"}`:                                                            "1",
		`edge_reload_last_success`:                                                                       "1",
		`edge_upstream_requests_total{target="` + p.target() + `",upstream="http://` + p.target() + `"}`: "3",
	})
	if status, body := p.ownPage("/debug/pprof/cmdline"); status != 200 || !strings.Contains(body, "edge.toml") {
		t.Errorf("pprof: %d %q", status, body)
	}

	p.upgrade()
	p.waitLog("msg=draining")
	if status, body := askPage(t, kept, "/readyz"); status != 503 || body != "draining\n" {
		t.Errorf("the old process: %d %q", status, body)
	}
	p.wantMetrics(map[string]string{`edge_generation`: "2", `edge_draining`: "0"})
	if status, _ := p.ownPage("/readyz"); status != 200 {
		t.Errorf("the new process: %d", status)
	}
}

// fails has a reload of a bad configuration refused.
func (p *proc) fails(bad, text string) {
	p.t.Helper()
	write(p.t, p.dir, text+bad)
	p.signal(syscall.SIGHUP)
	p.waitLog("reload refused")
	write(p.t, p.dir, text)
}

// target is the address of the app that the configuration relays to.
func (p *proc) target() string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "edge.toml"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `proxy = "http://`)
	addr, _, _ := strings.Cut(rest, `"`)
	return addr
}

// accessLines gives the access log's lines.
func accessLines(t *testing.T, file string) (list []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var l map[string]any
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, l)
	}
	return list
}

// Each request has an id, which its upstream gets in place of what the client sent, and its line has. The client is told where that is configured.
func TestRequestID(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	var app struct{ Header http.Header }
	for _, protocol := range []string{"--http1.1", "--http2"} {
		out := p.curl("https", "app.localhost", "/x?a=1&token=s3cret", protocol, "-D", filepath.Join(dir, "head"), "-H", "X-Request-Id: s3cret")
		if err := json.Unmarshal([]byte(out), &app); err != nil {
			t.Fatal(err)
		}
		id := app.Header["X-Request-Id"]
		if len(id) != 1 || len(id[0]) != 36 {
			t.Fatalf("%s: the app got the id %q", protocol, id)
		}
		until(t, "a line with the id that the app got", func() bool {
			lines := accessLines(t, filepath.Join(dir, "state", "access.log"))
			if len(lines) == 0 {
				return false
			}
			last := lines[len(lines)-1]
			return last["id"] == id[0] && last["query"] == "a=1&token=-" && last["upstream_us"].(float64) > 0
		})
		head, _ := os.ReadFile(filepath.Join(dir, "head"))
		if strings.Contains(strings.ToLower(string(head)), "x-request-id") {
			t.Errorf("%s: the client is told: %s", protocol, head)
		}
	}
	write(t, dir, text+"[log]\nreturn_id = true\n")
	p.reload()
	wants(t, strings.ToLower(p.curl("https", "app.localhost", "/", "-i", "--http1.1")), "\nx-request-id: 0")
	wants(t, strings.ToLower(p.curl("https", "site.localhost", "/nothing", "-i")), " 404", "\nx-request-id: 0")
}

// The combined format, put in force by a reload: its lines follow the others in the same file.
func TestCombinedLog(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	p.curl("http", "app.localhost", "/first")
	write(t, dir, text+"[log]\nformat = \"combined\"\nhide = [\"pin\"]\n")
	p.reload()
	for i, protocol := range []string{"--http1.1", "--http2"} {
		p.curl("https", "app.localhost", "/a?pin=1234&b=c", protocol, "-e", "https://from.test/?PIN=1234&d=e", "-A", "a \"quoted\" agent")
		want := regexp.MustCompile(`^127\.0\.0\.1 - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4}\] "GET /a\?pin=-&b=c HTTP/(1\.1|2\.0)" 200 \d+ ` +
			`"https://from\.test/\?PIN=-&d=e" "a \\x22quoted\\x22 agent"$`)
		until(t, "the line of the request", func() bool {
			all, err := os.ReadFile(filepath.Join(dir, "state", "access.log"))
			lines := strings.Split(strings.TrimSuffix(string(all), "\n"), "\n")
			return err == nil && len(lines) == 2+i && json.Valid([]byte(lines[0])) && want.MatchString(lines[1+i])
		})
	}
}

// USR1 reaches all generations: a process that drains writes to the new file too (R59).
func TestReopenOfAllGenerations(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	ws := p.webSocket()
	talk(t, ws)
	p.upgrade()
	p.waitLog("msg=draining")
	file := filepath.Join(dir, "state", "access.log")
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGUSR1)
	p.waitLogs(`msg="logs reopened"`, 2)
	ws.Close()
	p.tunnelLine("tunnel ended", "https") // in the new file
	until(t, "the old process has ended", func() bool { return len(p.alive()) == 1 })
	if n := p.count(`msg="logs reopened"`); n != 2 {
		t.Errorf("logs were reopened %d times by two processes", n)
	}
}

// A log whose reader is stuck, and then gone, holds up nobody and ends nothing; each request is a line that was written, or one that is counted as lost.
func TestStuckLog(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "run")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec edge \"$@\" >"+fifo+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := startIn(t, dir, program, config+metricsListener+`
[[vhost]]
hosts = ["app.localhost"]
listeners = ["http"]
respond = { status = 200, body = "ok" }
[log]
access = "stdout"
`)
	const n = 8000
	ask := func() {
		t.Helper()
		c := p.connect("http", nil)
		defer c.Close()
		c.SetDeadline(time.Now().Add(soon))
		in := bufio.NewReader(c)
		for range n {
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
		}
	}
	ask()
	lost, err := strconv.ParseFloat(p.metric("edge_access_log_lines_dropped_total"), 64)
	if err != nil || lost == 0 || lost > n {
		t.Errorf("%v lines are lost, %v", lost, err)
	}
	p.waitLog("lines of the access log are lost")
	reader.Close()
	ask()
	until(t, "all are accounted for", func() bool {
		lost, _ := strconv.ParseFloat(p.metric("edge_access_log_lines_dropped_total"), 64)
		written, _ := strconv.ParseFloat(p.metric("edge_access_log_lines_total"), 64)
		return lost+written >= 2*n
	})
	p.wantMetrics(map[string]string{`edge_http_requests_total{code="2xx",method="GET",vhost="app.localhost"}`: strconv.Itoa(2 * n)})
}

// Whoever kills edge loses no line but that of the request that is in flight.
func TestKilled(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text)
	c := p.connect("http", nil)
	in := bufio.NewReader(c)
	const n = 500
	for range n {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
	if got := len(accessLines(t, filepath.Join(dir, "state", "access.log"))); got < n-1 || got > n {
		t.Errorf("%d lines of %d requests", got, n)
	}
}

// What is no request has a line of its own and is counted, over both engines: requests are lines.
func TestRefusedIsLogged(t *testing.T) {
	dir, text := sites(t, webApp(t), echoServer(t))
	p := startIn(t, dir, "edge", text+metricsListener)
	c := p.connect("http", nil)
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nX : y\r\n\r\n")
	if a, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || a.StatusCode != 400 {
		t.Fatal(a, err)
	}
	wants(t, p.curl("https", "app.localhost", "/", "--http2", "-i", "-H", "Host: app..localhost"), "HTTP/2 400")
	p.wantMetrics(map[string]string{
		`edge_http_requests_total{code="4xx",method="other",vhost="-"}`: "1",
		`edge_http_requests_total{code="4xx",method="GET",vhost="-"}`:   "1",
	})
	log, err := os.ReadFile(filepath.Join(dir, "state", "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"event":"request","id":"[^"]+","listener":"http","client":"[^"]+","proto":"HTTP/1.1","status":400,.*"error":"h1: `,
		`"event":"request","id":"[^"]+","listener":"https","client":"[^"]+","method":"GET","proto":"HTTP/2.0","tls":"TLS 1.3","status":400,.*"error":"`,
	} {
		if !regexp.MustCompile(want).Match(log) {
			t.Errorf("no line like %s in:\n%s", want, log)
		}
	}
}
