package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer is a relay before a recorder of its own: edge, or one that others run.
type peer struct {
	name, version    string
	network, address string
	rec              *recorder
}

// relays gives all of them, running. A request's size is not what they are asked about, so they take what edge takes.
func relays(t *testing.T) []*peer {
	return []*peer{edgeRelay(t), stdRelay(t), nginxRelay(t), haproxyRelay(t)}
}

func edgeRelay(t *testing.T) *peer {
	rec := newRecorder(t)
	dir := t.TempDir()
	selfSigned(t, filepath.Join(dir, "cert.pem"), "a.test")
	p := startIn(t, dir, "edge", conformConfig([]kind{{name: "relayed", action: `proxy = "http://` + rec.addr() + `"`}}))
	return &peer{"edge", "", "tcp", p.addr("relayed"), rec}
}

// stdRelay is net/http's server with httputil's proxy.
func stdRelay(t *testing.T) *peer {
	rec := newRecorder(t)
	to := &url.URL{Scheme: "http", Host: rec.addr()}
	transport, nobody := new(http.Transport), log.New(io.Discard, "", 0)
	srv := httptest.NewUnstartedServer(&httputil.ReverseProxy{Transport: transport, ErrorLog: nobody, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}})
	srv.Config.ReadTimeout = patienceWithPeers
	srv.Config.ErrorLog = nobody
	srv.Start()
	t.Cleanup(func() { srv.Close(); transport.CloseIdleConnections() })
	return &peer{"net/http", runtime.Version(), "tcp", srv.Listener.Addr().String(), rec}
}

const nginxConfig = `
daemon off; master_process off; worker_processes 1; pid DIR/nginx.pid; error_log DIR/error.log;
events {}
http {
	access_log off; client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
	client_header_timeout 1s; client_body_timeout 1s; large_client_header_buffers 8 64k; client_max_body_size 0;
	upstream recorder { server UPSTREAM; keepalive 8; }
	server {
		listen unix:DIR/nginx.sock;
		location / { proxy_pass http://recorder; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }
	}
}
`

const haproxyConfig = `
global
	nbthread 1
	tune.bufsize 131072
	tune.http.maxhdr 1024
defaults
	mode http
	timeout connect 1s
	timeout client 1s
	timeout server 2s
	timeout http-request 1s
frontend in
	bind unix@DIR/haproxy.sock
	default_backend out
backend out
	server recorder UPSTREAM
`

func nginxRelay(t *testing.T) *peer {
	return program(t, "nginx", nginxConfig, "-v", func(config string) []string { return []string{"-e", "/dev/null", "-c", config} })
}

func haproxyRelay(t *testing.T) *peer {
	return program(t, "haproxy", haproxyConfig, "-v", func(config string) []string { return []string{"-db", "-f", config} })
}

// program runs a Debian package's program with a configuration, until the test ends.
func program(t *testing.T, name, config, version string, args func(config string) []string) *peer {
	t.Helper()
	bin := tool(t, name)
	rec := newRecorder(t)
	dir, err := os.MkdirTemp("", name) // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "conf")
	text := strings.NewReplacer("DIR", dir, "UPSTREAM", rec.addr()).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said, _ := exec.Command(bin, version).CombinedOutput()
	first, _, _ := strings.Cut(string(said), "\n")
	cmd := exec.Command(bin, args(file)...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		os.RemoveAll(dir)
		if t.Failed() {
			t.Logf("%s says: %s", name, out.String())
		}
	})
	p := &peer{name, first, "unix", filepath.Join(dir, name+".sock"), rec}
	until(t, name+" accepts", func() bool {
		c, err := net.Dial(p.network, p.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return p
}

// tool finds a program, also where only root looks.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if bin, err := exec.LookPath(path); err == nil {
			return bin
		}
	}
	needs(t, name)
	return ""
}

// patienceWithPeers is how long a peer may wait for what does not come, and the test for the peer.
const patienceWithPeers = time.Second

// outcome is what a peer did with a request, and with the one behind it.
type outcome struct {
	status int      // 0: no answer
	heard  []*heard // what the upstream got of it, whole
	next   bool     // the next one was answered
}

// ask sends a request with another one behind it.
func (p *peer) ask(s *sample) (o outcome, err error) {
	before := len(p.rec.since(0))
	c, err := net.Dial(p.network, p.address)
	if err != nil {
		return o, err
	}
	c.SetDeadline(time.Now().Add(3 * patienceWithPeers))
	x, sent := &trial{}, make(chan struct{})
	client := &caller{c, bufio.NewReader(c)}
	go func() {
		defer close(sent)
		x.send(client, s, s.Class != "incomplete")
	}()
	method, _, _ := strings.Cut(strings.TrimLeft(s.Raw, "\r\n"), " ")
	if a, err := client.read(method); err == nil {
		o.status = a.StatusCode
		a, err := client.read(http.MethodGet)
		o.next = err == nil && a.StatusCode == http.StatusOK
	}
	c.Close()
	<-sent
	if err := p.settle(); err != nil {
		return o, err
	}
	for _, h := range p.rec.since(before) {
		if h.whole && h.target != "/next" && h.target != "/settled" {
			o.heard = append(o.heard, h)
		}
	}
	return o, nil
}

// settle asks for something of its own: what the peer sent on before that has been heard when this is answered.
func (p *peer) settle() error {
	c, err := net.Dial(p.network, p.address)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	io.WriteString(c, "GET /settled HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	a, err := (&caller{c, bufio.NewReader(c)}).read(http.MethodGet)
	if err == nil && a.StatusCode != http.StatusOK {
		err = errors.New(a.Status)
	}
	return err
}

// verdict says in which way an outcome is another than the table's, "" none.
func (o outcome) verdict(s *sample) string {
	whole := len(o.heard)
	switch {
	case !s.accepted() && whole > 0 && len(o.heard[0].faults) > 0:
		return "accepts, and sends on with a fault: " + kindOf(o.heard[0].faults[0])
	case !s.accepted() && whole > 1:
		return "accepts, and sends on as several"
	case !s.accepted() && whole > 0 && o.status >= 400:
		return "refuses, but sends on"
	case !s.accepted() && (whole > 0 || o.status == http.StatusOK):
		return "accepts, and sends on as one request without fault"
	case !s.accepted() && o.next:
		return "refuses, but goes on with what is behind it"
	case !s.accepted():
		return ""
	case o.status == http.StatusNoContent:
		return "answers by itself (204)"
	case o.status != http.StatusOK:
		return "refuses (" + strconv.Itoa(o.status) + ")"
	case whole > 1:
		return "sends on as several"
	case whole == 1 && len(o.heard[0].faults) > 0:
		return "sends on with a fault: " + kindOf(o.heard[0].faults[0])
	case whole == 1 && s.Sees != nil && o.heard[0].says() != s.says():
		return "sends on another request, or under another name"
	case s.Keep && !o.next:
		return "ends the connection"
	case !s.Keep && o.next:
		return "keeps the connection"
	}
	return ""
}

// kindOf is a fault without its own words.
func kindOf(fault string) string {
	kind, _, _ := strings.Cut(fault, ": ")
	return kind
}

// TestPeers asks edge, net/http, nginx and haproxy for their word on every request of the table. It fails on edge's alone; `make conformance`
// has it write down what the others do otherwise.
func TestPeers(t *testing.T) {
	all := samples(t)
	peers := relays(t)
	found := make([]map[*sample]string, len(peers))
	t.Run("ask", func(t *testing.T) {
		for i, p := range peers {
			found[i] = map[*sample]string{}
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				for _, s := range all {
					o, err := p.ask(s)
					if err != nil {
						t.Fatalf("%v: %v", s, err)
					}
					if v := o.verdict(s); v != "" {
						found[i][s] = v
					}
				}
			})
		}
	})
	for s, v := range found[0] {
		if !s.asterisk() {
			t.Errorf("edge, %v: it %s", s, v)
		}
	}
	if doc := os.Getenv("CONFORMANCE"); doc != "" {
		put(t, doc, "requests", peersReport(all, peers, found))
	}
}

// peersReport is the text of it: a table by class, and then who does what.
func peersReport(all []*sample, peers []*peer, found []map[*sample]string) string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "Asked: edge, net/http and httputil.ReverseProxy of %s, %s, %s.\n\n", peers[1].version, peers[2].version, peers[3].version)
	b.WriteString("| class | accept | reject | edge | net/http | nginx | haproxy |\n|---|---|---|---|---|---|---|\n")
	byClass := map[string][]*sample{"**all**": all}
	for _, s := range all {
		byClass[s.Class] = append(byClass[s.Class], s)
	}
	for _, class := range slices.Sorted(maps.Keys(byClass)) {
		accepted, others := 0, make([]int, len(peers))
		for _, s := range byClass[class] {
			if s.accepted() {
				accepted++
			}
			for i := range peers {
				if found[i][s] != "" {
					others[i]++
				}
			}
		}
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d | %d |\n", class, accepted, len(byClass[class])-accepted, others[0], others[1], others[2], others[3])
	}
	for i, p := range peers {
		fmt.Fprintf(b, "\n### What %s does otherwise\n\n", p.name)
		b.WriteString(doings(all, found[i]))
	}
	return b.String()
}

// doings lists, for each thing that a peer does, the requests with which it does it.
func doings(all []*sample, found map[*sample]string) string {
	if len(found) == 0 {
		return "Nothing.\n"
	}
	names := map[string]map[string][]string{}
	for _, s := range all {
		if what := found[s]; what != "" {
			if names[what] == nil {
				names[what] = map[string][]string{}
			}
			names[what][s.Class] = append(names[what][s.Class], strings.ReplaceAll(s.Name, "|", "\\|"))
		}
	}
	b := new(strings.Builder)
	for _, what := range slices.Sorted(maps.Keys(names)) {
		n, parts := 0, []string(nil)
		for _, class := range slices.Sorted(maps.Keys(names[what])) {
			list := names[what][class]
			n += len(list)
			if most := 5; len(list) > most {
				list = append(list[:most:most], fmt.Sprintf("%d more", len(list)-most))
			}
			parts = append(parts, "*"+class+"*: "+strings.Join(list, ", "))
		}
		fmt.Fprintf(b, "- **%s** (%d). %s.\n", what, n, strings.Join(parts, "; "))
	}
	return b.String()
}

// put writes a text between the two marks of a document that have this name.
func put(t *testing.T, doc, name, text string) {
	t.Helper()
	old, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": written by make conformance -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for %s", doc, name)
	}
	if err := os.WriteFile(doc, []byte(before+begin+text+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
