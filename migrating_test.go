package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/net/websocket"
)

// migrated is one of docs/MIGRATING.md's configurations, at work.
type migrated struct {
	*proc
	t     *testing.T
	roots *x509.CertPool
	tls   tls.Config // a client's, but for what is in roots
}

// migrations says, by heading, what each of docs/MIGRATING.md's configurations does.
var migrations = map[string]func(m *migrated){
	"HTTP to HTTPS": func(m *migrated) {
		m.wants("http://www.example.org/a?b", 308, "", "Location: https://www.example.org:"+m.port("https")+"/a?b")
		m.wants("https://www.example.org/", 200, "secure\n")
	},
	"Static site": func(m *migrated) {
		m.wants("https://www.example.org/", 200, "index of www")
		m.wants("https://www.example.org/none", 404, "")
	},
	"Reverse proxy": func(m *migrated) {
		m.wants("https://app.example.org/a?b", 200, "app GET app.example.org:"+m.port("https")+" /a?b from 127.0.0.1 by https")
	},
	"WebSockets": func(m *migrated) {
		c, err := websocket.NewConfig("wss://app.example.org:"+m.port("https")+"/ws", "https://app.example.org")
		if err != nil {
			m.t.Fatal(err)
		}
		raw := tls.Client(m.dial("https"), m.client("app.example.org"))
		ws, err := websocket.NewClient(c, raw)
		if err != nil {
			m.t.Fatal(err)
		}
		defer ws.Close()
		io.WriteString(ws, "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(ws, got); err != nil || string(got) != "hello" {
			m.t.Errorf("%q, %v", got, err)
		}
	},
	"One name for another": func(m *migrated) {
		m.wants("https://example.org/a?b", 301, "", "Location: https://www.example.org/a?b")
		m.wants("https://www.example.org/", 200, "index of www")
	},
	"Single-page app": func(m *migrated) { m.wants("https://app.example.org/some/page", 200, "index of www") },
	"Compressed files": func(m *migrated) {
		m.wants("https://www.example.org/app.css", 200, "body { color: red }", "Vary: accept-encoding", "Content-Encoding: ")
		status, header, text := m.ask("GET", "https://www.example.org/app.css", nil, "Accept-Encoding: gzip")
		if status != 200 || header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(text, "\x1f\x8b") {
			m.t.Errorf("%d %v %.40q", status, header, text)
		}
	},
	"A folder's list": func(m *migrated) {
		m.wants("https://www.example.org/assets/", 200, "<!doctype html>", "Content-Type: text/html; charset=utf-8")
		m.wants("https://www.example.org/assets/app.js", 200, "app.js of assets")
	},
	"Files beside an app": func(m *migrated) {
		m.wants("https://app.example.org/assets/app.js", 200, "app.js of assets")
		m.wants("https://app.example.org/other", 200, "app GET")
	},
	"Load balancing": func(m *migrated) { // one of the two targets is not there
		for range 6 {
			m.wants("https://app.example.org/", 200, "app GET")
		}
	},
	"Response headers": func(m *migrated) {
		m.wants("https://app.example.org/", 200, "app GET", "Strict-Transport-Security: max-age=31536000", "X-Powered-By: ")
	},
	"Large uploads": func(m *migrated) {
		if status, _, text := m.ask("POST", "https://app.example.org/", strings.NewReader(strings.Repeat("x", 9<<20))); status != 200 {
			m.t.Errorf("9 MiB: %d, %.100s", status, text)
		}
		if status, _, text := m.ask("POST", "https://app.example.org/", strings.NewReader(strings.Repeat("x", 11<<20))); status != 413 {
			m.t.Errorf("11 MiB: %d, %.100s", status, text)
		}
	},
	"Slow upstreams": func(m *migrated) { m.wants("https://app.example.org/", 200, "app GET") },
	"A fixed answer": func(m *migrated) {
		m.wants("https://app.example.org/ping", 200, "pong\n")
		m.wants("https://app.example.org/pings", 200, "app GET")
	},
	"TCP": func(m *migrated) {
		c := m.dial("db")
		defer c.Close()
		io.WriteString(c, "hello\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
			m.t.Errorf("%q, %v", line, err)
		}
	},
	"A path taken off": func(m *migrated) {
		m.wants("https://app.example.org/wiki/a?b", 200, "app GET app.example.org:"+m.port("https")+" /a?b from")
		m.wants("https://app.example.org/", 200, "index of www")
	},
	"A password": func(m *migrated) {
		m.wants("https://app.example.org/", 401, "", `WWW-Authenticate: Basic realm="staff", charset="UTF-8"`)
		if status, _, text := m.ask("GET", "https://app.example.org/", nil, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("alice:secret"))); status != 200 {
			m.t.Errorf("%d, %s", status, text)
		}
	},
	"Addresses let in": func(m *migrated) { m.wants("https://app.example.org/", 200, "app GET") },
	"How often": func(m *migrated) {
		m.wants("https://app.example.org/", 200, "app GET")
		m.wants("https://app.example.org/", 200, "app GET")
		m.wants("https://app.example.org/", 429, "")
	},
	"Error pages": func(m *migrated) {
		m.wants("https://www.example.org/", 200, "index of www")
		m.wants("https://www.example.org/none", 404, "our own 404")
	},
	"Maintenance": func(m *migrated) { m.wants("https://app.example.org/", 503, "down for a moment", "Retry-After: 600") },
	"Behind a load balancer": func(m *migrated) {
		status, _, text := m.ask("GET", "behind://app.example.org/", nil, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
		if want := "app GET app.example.org:" + m.port("behind") + " / from 192.0.2.7, 127.0.0.1 by https"; status != 200 || text != want {
			m.t.Errorf("%d %s, want %s", status, text, want)
		}
	},
	"Health checks": func(m *migrated) { // one of the two is not there, so that all go to the other
		for range 4 {
			_, header, text := m.ask("GET", "https://app.example.org/", nil)
			if !strings.HasPrefix(text, "app GET") || !strings.HasPrefix(header.Get("Set-Cookie"), "lb=") {
				m.t.Errorf("%v %s", header, text)
			}
		}
	},
	"Client certificates": func(m *migrated) {
		raw := tls.Client(m.dial("https"), m.client("app.example.org"))
		defer raw.Close()
		if _, err := raw.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
			m.t.Errorf("without a certificate: %v", err)
		}
		pair, err := tls.LoadX509KeyPair(filepath.Join(m.dir, "example.org.pem"), filepath.Join(m.dir, "example.org.key"))
		if err != nil {
			m.t.Fatal(err)
		}
		m.tls.Certificates = []tls.Certificate{pair}
		m.wants("https://app.example.org/", 200, "app GET")
	},
	"TLS passed through by name": func(m *migrated) {
		other := tls.Client(m.dial("db"), m.client("other.example.org"))
		if err := other.Handshake(); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			m.t.Errorf("another name: %v", err)
		}
		other.Close()
		c := m.dial("db")
		defer c.Close()
		go tls.Client(c, m.client("mail.example.org")).Handshake() // whose first record comes back from the echo, TLS unopened
		first := make([]byte, 3)
		if _, err := io.ReadFull(c, first); err == nil && first[0] != 22 {
			m.t.Errorf("% x", first)
		}
	},
	"Access log": func(m *migrated) {
		m.wants("https://www.example.org/?token=secret", 200, "index of www")
		until(m.t, "the line is there", func() bool {
			text, _ := os.ReadFile(filepath.Join(m.dir, "access.log"))
			return strings.Contains(string(text), "\"GET /?token=- HTTP/1.1\" 200 12 ")
		})
	},
	"Status and metrics": func(m *migrated) {
		if status, _, text := m.ask("GET", "metrics://127.0.0.1/metrics", nil); status != 200 || !strings.Contains(text, "\nedge_") {
			m.t.Errorf("%d %.100s", status, text)
		}
		m.wants("metrics://127.0.0.1/healthz", 200, "")
		m.wants("metrics://127.0.0.1/readyz", 200, "")
	},
	"Login in front of an app": func(m *migrated) {
		m.wants("https://app.example.org/", 401, "")
		m.wants("https://www.example.org/", 200, "index of www")
	},
}

// Each configuration of docs/MIGRATING.md does what it is there for.
func TestMigrating(t *testing.T) {
	begin, sections := migratingDoc(t)
	if len(sections) < 20 {
		t.Errorf("the page has %d sections, not 20", len(sections))
	}
	for heading, text := range sections {
		t.Run(heading, func(t *testing.T) {
			does := migrations[heading]
			if does == nil {
				t.Fatal("nobody says what it does")
			}
			does(newMigrated(t, begin+text))
		})
	}
	for heading := range migrations {
		if sections[heading] == "" {
			t.Errorf("the page has no section %q", heading)
		}
	}
}

// migratingDoc gives the beginning that all share, and the configuration of each section.
func migratingDoc(t *testing.T) (begin string, sections map[string]string) {
	t.Helper()
	doc, err := os.ReadFile("docs/MIGRATING.md")
	if err != nil {
		t.Fatal(err)
	}
	sections = map[string]string{}
	for i, part := range strings.Split(string(doc), "\n## ") {
		heading, text, _ := strings.Cut(part, "\n")
		_, block, ok := strings.Cut(text, "```toml\n")
		block, _, closed := strings.Cut(block, "\n```")
		switch {
		case !ok || !closed:
			t.Errorf("%s: no configuration of edge's", heading)
		case i == 0:
			begin = block + "\n"
		default:
			sections[heading] = block + "\n"
			for _, other := range []string{"```nginx\n", "```caddy\n"} {
				if !strings.Contains(text, other) {
					t.Errorf("%s: no %s", heading, other[3:])
				}
			}
		}
	}
	return begin, sections
}

// newMigrated runs a configuration with the page's addresses, folders and certificates replaced by those of a test.
func newMigrated(t *testing.T, text string) *migrated {
	dir := t.TempDir()
	m := &migrated{t: t}
	for name, content := range map[string]string{
		"www/index.html": "index of www", "www/404.html": "our own 404", "www/app.css": strings.Repeat("body { color: red }\n", 100),
		"assets/app.js": "app.js of assets", "down.html": "down for a moment",
	} {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost+1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "htpasswd"), []byte("alice:"+string(hash)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.roots = certify(t, filepath.Join(dir, "example.org.pem"), filepath.Join(dir, "example.org.key"))
	m.proc = startIn(t, dir, "edge", strings.NewReplacer(
		`"/var/lib/edge"`, `"DIR/state"`, `"/etc/ssl/example.org.pem"`, `"DIR/example.org.pem"`, `"/etc/ssl/private/example.org.key"`, `"DIR/example.org.key"`, `"/etc/ssl/clients.pem"`, `"DIR/example.org.pem"`,
		`"/srv/`, `"DIR/`, `"/etc/edge/`, `"DIR/`,
		`":443"`, `"127.0.0.1:0"`, `":80"`, `"[::1]:0"`, `":5432"`, `"127.0.0.2:0"`, `"127.0.0.1:9180"`, `"127.0.0.3:0"`, `"127.0.0.1:8080"`, `"127.0.0.4:0"`,
		`127.0.0.1:3000`, migratedApp(t), `127.0.0.1:3001`, "127.0.0.1:1", `127.0.0.1:15432`, echoServer(t),
	).Replace(text))
	return m
}

// migratedApp says how it was asked.
func migratedApp(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "websocket" {
			websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }).ServeHTTP(w, r)
			return
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Powered-By", "tests")
		fmt.Fprintf(w, "app %s %s %s from %s by %s", r.Method, r.Host, r.RequestURI, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// certify makes a certificate for example.org and the names below it, which signs itself.
func certify(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		DNSNames: []string{"example.org", "*.example.org"}, BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(certFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return roots
}

func (m *migrated) port(listener string) string {
	_, port, _ := net.SplitHostPort(m.addr(listener))
	return port
}

func (m *migrated) dial(listener string) net.Conn {
	m.t.Helper()
	c, err := net.Dial("tcp", m.addr(listener))
	if err != nil {
		m.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(soon))
	return c
}

func (m *migrated) client(name string) *tls.Config {
	c := m.tls.Clone()
	c.RootCAs, c.ServerName = m.roots, name
	return c
}

// ask asks for a URL whose scheme is the listener's name and whose host has no port.
func (m *migrated) ask(method, url string, body io.Reader, fields ...string) (status int, header http.Header, text string) {
	m.t.Helper()
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	listener := scheme
	if scheme != "https" {
		scheme = "http"
	}
	r, err := http.NewRequestWithContext(m.t.Context(), method, scheme+"://"+host+":"+m.port(listener)+"/"+path, body)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	transport := &http.Transport{
		DisableCompression: true, TLSClientConfig: m.client(host),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, m.addr(listener))
		},
	}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: soon, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		m.t.Fatalf("%s: %v", url, err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Fatalf("%s: %v", url, err)
	}
	return answer.StatusCode, answer.Header, string(all)
}

// wants asks, and wants a status, a text that the body begins with, and fields; "Name: " wants none of that name.
func (m *migrated) wants(url string, status int, begins string, fields ...string) {
	m.t.Helper()
	got, header, text := m.ask("GET", url, nil)
	if got != status || !strings.HasPrefix(text, begins) {
		m.t.Errorf("%s: %d %.100q, want %d %q", url, got, text, status, begins)
	}
	for _, f := range fields {
		if name, value, _ := strings.Cut(f, ": "); header.Get(name) != value {
			m.t.Errorf("%s: %s is %q, want %q", url, name, header.Get(name), value)
		}
	}
}
