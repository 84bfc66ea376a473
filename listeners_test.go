package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"edge/listeners/proxyproto"
)

// tlsApp is a server that ends TLS itself, and answers with a word and the name that it was asked for.
func tlsApp(t *testing.T, word string) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, word, " ", r.TLS.ServerName)
	}))
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "https://")
}

// fetch asks over TLS for a name, and gives the answer's body.
func fetch(address, name string) (string, error) {
	c := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{ServerName: name, InsecureSkipVerify: true}, DisableKeepAlives: true,
		},
		Timeout: soon,
	}
	resp, err := c.Get("https://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// The connections of a tls listener go where the name of their ClientHello leads, with their TLS unopened: the exact name before the wildcard, which
// stands for one label. Without an entry they end here or, where nothing is behind, with an alert. A reload changes where new ones go, and the log
// has the name.
func TestPassthrough(t *testing.T) {
	one, two := tlsApp(t, "one"), tlsApp(t, "two")
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ended here") }))
	t.Cleanup(plain.Close)
	const listener = "[[listener]]\nname = \"NAME\"\naddress = \"127.0.0.3:0\"\nprotocol = \"tls\"\nsni = { \"a.test\" = \"tcp://ONE\", \"*.test\" = \"two\" }\n"
	text := config + "[[upstream]]\nname = \"two\"\ntargets = \"tcp://" + two + "\"\n" +
		strings.NewReplacer("NAME", "names", "ONE", one).Replace(listener) +
		"[[listener]]\nname = \"both\"\naddress = \"127.0.0.2:0\"\nprotocol = \"tls\"\nsni = { \"a.test\" = \"two\" }\nproxy = \"tcp://" + strings.TrimPrefix(plain.URL, "http://") + "\"\n"
	p := start(t, "edge", text)
	for _, c := range []struct{ listener, name, want string }{
		{"names", "a.test", "one a.test"}, {"names", "A.TEST", "one a.test"}, {"names", "b.test", "two b.test"},
		{"names", "b.a.test", "unrecognized name"}, {"names", "test", "unrecognized name"}, {"names", "", "unrecognized name"},
		{"both", "a.test", "two a.test"}, {"both", "b.localhost", "ended here"},
	} {
		got, err := fetch(p.addr(c.listener), c.name)
		if err != nil {
			got = err.Error()
		}
		if strings.ToLower(got) != c.want && !strings.Contains(got, c.want) {
			t.Errorf("%s, %q: %q, want %q", c.listener, c.name, got, c.want)
		}
	}
	access := func() string {
		text, err := os.ReadFile(filepath.Join(p.dir, "state", "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, want := range []string{
		`"event":"tunnel opened",.*"listener":"names","vhost":"a.test"`, `"event":"tunnel ended",.*"listener":"names","vhost":"b.test"`,
		`"upstream":"` + regexp.QuoteMeta(two) + `"`,
	} {
		until(t, "the log has "+want, func() bool { return regexp.MustCompile(want).MatchString(access()) })
	}
	write(t, p.dir, strings.ReplaceAll(text, `"*.test" = "two"`, `"*.test" = "tcp://`+one+`"`))
	p.reload()
	if got, err := fetch(p.addr("names"), "b.test"); got != "one b.test" {
		t.Errorf("after the reload: %q, %v", got, err)
	}
	p.upgrade()
	if got, err := fetch(p.addr("names"), "b.test"); got != "one b.test" {
		t.Errorf("after the upgrade: %q, %v", got, err)
	}
}

// A client behind a proxy that says so is who the header says: to the app, and to a tunnel's target, which is told in turn. Who is not listed is refused.
func TestProxyProtocol(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header["X-Forwarded-For"]) }))
	t.Cleanup(app.Close)
	heard := make(chan string, 1)
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() {
		for {
			c, err := target.Accept()
			if err != nil {
				return
			}
			h, err := proxyproto.Read(c)
			heard <- fmt.Sprint(h.Version, " ", h.Source, " ", err)
			c.Close()
		}
	}()
	vhost := "[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"trusts\", \"not\"]\naccess = \"public\"\nproxy = \"" + app.URL + "\"\n"
	listener := func(name, address, protocol, peers, more string) string {
		return fmt.Sprintf("[[listener]]\nname = %q\naddress = %q\nprotocol = %q\nproxy_protocol = [%q]\n%s", name, address, protocol, peers, more)
	}
	text := config + listener("trusts", "127.0.0.2:0", "http", "127.0.0.0/8", "") + listener("not", "127.0.0.3:0", "http", "10.0.0.0/8", "") +
		listener("bytes", "127.0.0.4:0", "tcp", "127.0.0.1", "proxy = \"tells\"\n") +
		"[[upstream]]\nname = \"tells\"\ntargets = \"tcp://" + target.Addr().String() + "\"\nproxy_protocol = \"v2\"\n" + vhost
	p := start(t, "edge", text)
	header := proxyproto.Header{Version: 1, Source: netip.MustParseAddrPort("192.0.2.7:1000"), Destination: netip.MustParseAddrPort("192.0.2.8:80")}.Append(nil)
	ask := func(listener string, header []byte) string {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}).Dial("tcp", p.addr(listener))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(soon))
		c.Write(append(header, "GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n"...))
		answer, _ := io.ReadAll(c)
		return string(answer)
	}
	for range 2 {
		if got := ask("trusts", header); !strings.HasSuffix(got, "[192.0.2.7]") {
			t.Errorf("the app is told %s", got)
		}
		if got := ask("trusts", nil); got != "" {
			t.Errorf("without a header: %s", got)
		}
		if got := ask("not", header); got != "" {
			t.Errorf("who is not listed gets %s", got)
		}
		ask("bytes", header)
		if got := <-heard; got != "2 192.0.2.7:1000 <nil>" {
			t.Errorf("the target hears %s", got)
		}
		p.upgrade()
	}
}

// What systemd passes is served from, at the address that it is bound to, and handed on at an upgrade; no other process hears of it.
func TestPassedSockets(t *testing.T) {
	socket := func() (*os.File, string) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		return f, ln.Addr().String()
	}
	wanted, at := socket()
	vain, vainAt := socket()
	dir := t.TempDir()
	path, err := exec.LookPath("edge")
	if err != nil {
		t.Fatal(err)
	}
	wrapper := filepath.Join(dir, "activate")
	script := "#!/bin/sh\nexport LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=wanted:vain\nexec " + path + " \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	text := config + "[[listener]]\nname = \"passed\"\naddress = \"" + at + "\"\nprotocol = \"http\"\n[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"passed\", \"http\"]\naccess = \"public\"\nrespond = { body = \"here\" }\n"
	p := startWith(t, dir, wrapper, text, wanted, vain)
	wanted.Close()
	vain.Close()
	p.waitLog(`msg="socket taken as it was passed" listener=passed address=` + at)
	p.waitLog(`msg="a socket was passed in vain" error="descriptor 4, passed as \"vain\", is not used: no [[listener]] has the address tcp ` + vainAt)
	if c, err := net.Dial("tcp", vainAt); err == nil {
		c.Close()
		t.Error("the socket that was passed in vain is still open")
	}
	for range 3 { // generations
		for _, listener := range []string{"passed", "http"} {
			if got := p.curl(listener, "a.localhost", "/"); got != "here" {
				t.Errorf("%s: %q", listener, got)
			}
		}
		p.upgrade()
	}
	if environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid())); err != nil || strings.Contains(string(environ), "LISTEN_") {
		t.Errorf("the new process has %q, %v", environ, err)
	}
}

// Out of descriptors, edge says so at most once a second, sends away who cannot be served, and serves again when there are some.
func TestFewDescriptors(t *testing.T) {
	dir := t.TempDir()
	path, err := exec.LookPath("edge")
	if err != nil {
		t.Fatal(err)
	}
	few := filepath.Join(dir, "few")
	if err := os.WriteFile(few, []byte("#!/bin/sh\nulimit -n 64\nexec "+path+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := startIn(t, dir, few, config+"[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"http\"]\naccess = \"public\"\nrespond = { body = \"here\" }\n")
	begun := time.Now()
	var conns []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", p.addr("http"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	away := regexp.MustCompile(`msg="connections cannot be accepted" listener=http address=\S+ attempts=\d+ "clients sent away"=(\d+) error=".*too many open files"`)
	until(t, "clients are sent away", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.ContainsFunc(p.log, func(line string) bool { m := away.FindStringSubmatch(line); return m != nil && m[1] != "0" })
	})
	c := conns[len(conns)-1]
	c.SetDeadline(time.Now().Add(soon))
	if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the last one reads %d, %v", n, err)
	}
	if n, most := p.count("connections cannot be accepted"), int(time.Since(begun)/time.Second)+1; n > most {
		t.Errorf("it is told of %d times in %v", n, time.Since(begun))
	}
	for _, c := range conns {
		c.Close()
	}
	until(t, "it serves again", func() bool {
		got, err := p.tryCurl("http", "a.localhost", "/")
		return err == nil && got == "here"
	})
}

// A unix socket has the mode that its listener says, a reload changes it and disturbs nobody who connects, and the next process keeps the socket; at the end its file is gone.
func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	text := config + "[[listener]]\nname = \"unix\"\naddress = \"unix:DIR/socket\"\nprotocol = \"http\"\nMODE[[vhost]]\nhosts = [\"a.localhost\"]\nlisteners = [\"unix\"]\naccess = \"public\"\nrespond = { body = \"here\" }\n"
	p := startIn(t, dir, "edge", strings.ReplaceAll(text, "MODE", ""))
	path := filepath.Join(dir, "socket")
	mode := func(want os.FileMode) {
		t.Helper()
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, %v; want %v", info.Mode(), err, want)
		}
	}
	mode(0o600)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Error(err)
				continue
			}
			c.SetDeadline(time.Now().Add(soon))
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n\r\n")
			if answer, err := io.ReadAll(c); !strings.HasSuffix(string(answer), "here") {
				t.Errorf("%q, %v", answer, err)
			}
			c.Close()
			n++
		}
	}()
	for range 3 {
		write(t, dir, strings.ReplaceAll(text, "MODE", "mode = \"0660\"\n"))
		p.reload()
		mode(0o660)
		p.upgrade()
		mode(0o660)
		write(t, dir, strings.ReplaceAll(text, "MODE", "mode = \"0606\"\n"))
		p.reload()
		mode(0o606)
	}
	close(stop)
	if n := <-done; n < 10 {
		t.Errorf("only %d connections", n)
	}
	p.end()
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is left")
	}
}
