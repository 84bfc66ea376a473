package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"edge/sessions"
)

// guarded is twoSites, and a site with WebSockets that needs a login.
func guarded(t *testing.T) string {
	mux := http.NewServeMux()
	mux.Handle("/ws", websocket.Server{Handler: func(c *websocket.Conn) { io.Copy(c, c) }}) // which asks for no Origin
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "Welcome "+r.Header.Get("Remote-User"))
	})
	up := httptest.NewServer(mux)
	t.Cleanup(up.Close)
	return twoSites + "[[vhost]]\nhosts = [\"app.gamma.localhost\"]\naccess = [\"group:staff\"]\nproxy = \"" + up.URL + "\"\n"
}

// enter logs in at a site, and gives its address.
func (p *proc) enter(c *http.Client, host, name, password string) string {
	p.t.Helper()
	_, port, _ := net.SplitHostPort(p.addr("https"))
	site := "https://" + host + ":" + port + "/"
	at, body := visit(p.t, c, site)
	if at, body = logIn(p.t, c, at, body, name, password); at.String() != site {
		p.t.Fatalf("the login led to %s:\n%s", at, body)
	}
	return site
}

// in says whether a site lets a client in.
func (p *proc) in(c *http.Client, site string) bool {
	p.t.Helper()
	at, body := visit(p.t, c, site)
	return at.String() == site && (strings.Contains(body, "Welcome") || strings.Contains(body, "GET / HTTP"))
}

// guardedSocket opens a WebSocket with the cookies of a client.
func (p *proc) guardedSocket(c *http.Client, site string) *websocket.Conn {
	p.t.Helper()
	u, _ := url.Parse(site)
	conf, err := websocket.NewConfig("wss://"+u.Host+"/ws", "https://"+u.Host)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, cookie := range c.Jar.Cookies(u) {
		conf.Header.Add("Cookie", cookie.String())
	}
	ws, err := websocket.NewClient(conf, p.connect("https", p.clientTLS(u.Hostname(), "http/1.1")))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { ws.Close() })
	echoes(p.t, ws)
	return ws
}

func echoes(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	var got string
	if err := websocket.Message.Send(ws, "ping"); err != nil {
		t.Fatal(err)
	}
	if err := websocket.Message.Receive(ws, &got); err != nil || got != "ping" {
		t.Fatalf("%q, %v", got, err)
	}
}

// endsWithin waits for the end of a WebSocket after something was done.
func endsWithin(t *testing.T, what string, ws *websocket.Conn, limit time.Duration, do func()) {
	t.Helper()
	do()
	done := time.Now()
	ws.SetReadDeadline(done.Add(10 * time.Second))
	var got string
	err := websocket.Message.Receive(ws, &got)
	if took := time.Since(done); err == nil || took > limit {
		t.Errorf("%s: the WebSocket ends after %v (%q, %v), want at most %v", what, took, got, err, limit)
	} else {
		t.Logf("%s: it ended after %v", what, took)
	}
}

// Every way to lose access closes a WebSocket within a second, and nobody else's: a logout at another site, a command beside the running
// process, and all of it also in an older generation that drains.
func TestRevocationClosesWebSockets(t *testing.T) {
	p := start(t, "edge", guarded(t))
	for _, name := range []string{"alice", "bob"} {
		p.user("correct horse", "add", name, "--group", "staff")
	}
	bob := p.person()
	stays := p.guardedSocket(bob, p.enter(bob, "app.gamma.localhost", "bob", "correct horse"))
	for _, c := range []struct {
		what   string
		revoke func(c *http.Client, app string)
	}{
		{"logout at another site", func(c *http.Client, app string) {
			wiki := strings.Replace(app, "app.gamma", "wiki.alpha", 1)
			p.in(c, wiki)
			u, _ := url.Parse(wiki + ".edge/logout")
			send(t, c, u, nil)
		}},
		{"logout on the login host", func(c *http.Client, app string) {
			u, _ := url.Parse(strings.Replace(app, "app.gamma", "login", 1) + "logout")
			send(t, c, u, nil)
		}},
		{"session revoke", func(*http.Client, string) { p.session("revoke", "--user", "Alice") }},
		{"group left", func(*http.Client, string) { p.user("", "group", "set", "alice") }},
		{"password changed", func(*http.Client, string) {
			p.user("", "group", "set", "alice", "staff")
			p.user("correct horse", "passwd", "alice")
		}},
		{"disabled", func(*http.Client, string) { p.user("", "disable", "alice") }},
		{"removed", func(*http.Client, string) { p.user("", "enable", "alice"); p.user("", "remove", "alice") }},
	} {
		if c.what == "password changed" {
			p.user("", "group", "set", "alice", "staff")
		}
		if c.what == "removed" {
			p.user("", "enable", "alice")
		}
		alice := p.person()
		app := p.enter(alice, "app.gamma.localhost", "alice", "correct horse")
		ws := p.guardedSocket(alice, app)
		endsWithin(t, c.what, ws, time.Second, func() { c.revoke(alice, app) })
		if p.in(alice, app) {
			t.Errorf("%s: alice is still let in", c.what)
		}
	}
	echoes(t, stays)

	p.upgrade()
	if n := len(p.alive()); n != 2 {
		t.Fatalf("%d processes, want the older one with its WebSocket", n)
	}
	echoes(t, stays)
	endsWithin(t, "older generation", stays, time.Second, func() { p.user("", "disable", "bob") })
}

// What holds a WebSocket open is the rule of the configuration in force: a reload that lets somebody pass no more, or wants more of them, ends theirs within a
// second, and nobody else's. One whose virtual host has gone stays as long as its person would have passed there.
func TestReloadClosesWebSockets(t *testing.T) {
	dir := t.TempDir()
	text := guarded(t)
	p := startIn(t, dir, "edge", text)
	for _, name := range []string{"alice", "bob"} {
		p.user("correct horse", "add", name, "--group", "staff")
	}
	with := func(old, new string) func() {
		return func() {
			t.Helper()
			i := strings.LastIndex(text, old)
			write(t, dir, text[:i]+new+text[i+len(old):])
			p.reload()
		}
	}
	same := with("[[vhost]]", "[[vhost]]")
	open := func(name string) *websocket.Conn {
		t.Helper()
		c := p.person()
		return p.guardedSocket(c, p.enter(c, "app.gamma.localhost", name, "correct horse"))
	}
	alice, bob := open("alice"), open("bob")
	echoes(t, alice)
	endsWithin(t, "not in access any more", bob, time.Second, with(`access = ["group:staff"]`, `access = ["alice", "group:ops"]`))
	echoes(t, alice)
	same()
	bob = open("bob")
	with(`access = ["group:staff"]`, "access = \"login\"\n[[vhost.route]]\npath = \"/other/\"\naccess = [\"alice\"]\necho = true\n[[vhost.route]]\npath = \"/\"")()
	time.Sleep(1200 * time.Millisecond) // more than one look
	echoes(t, bob)
	endsWithin(t, "a route of its own", bob, time.Second, with(`access = ["group:staff"]`, "access = \"login\"\necho = true\n[[vhost.route]]\npath = \"/ws\"\naccess = [\"alice\"]"))
	echoes(t, alice)
	endsWithin(t, "a second factor", alice, time.Second, with(`access = ["group:staff"]`, "access = [\"group:staff\"]\nrequire = \"second_factor\""))
	same()

	alice, bob = open("alice"), open("bob")
	with("app.gamma.localhost", "other.gamma.localhost")()
	time.Sleep(1200 * time.Millisecond)
	echoes(t, alice)
	endsWithin(t, "out of the group of a host that has gone", bob, time.Second, func() { p.user("", "group", "set", "bob") })
	echoes(t, alice)

	time.Sleep(time.Second) // at least two since she came
	endsWithin(t, "idle", alice, time.Second, with("[login]", "[login]\nidle = \"1s\""))
}

// session runs edge's session command.
func (p *proc) session(args ...string) string {
	p.t.Helper()
	out, code := p.cli(append([]string{"session"}, args...)...)
	if code != 0 {
		p.t.Fatalf("edge session %v: %d\n%s", args, code, out)
	}
	return out
}

// The command shows what a person wants to know, and ends one session, a user's, or all; beside a running edge and without one.
func TestSessionCommand(t *testing.T) {
	p := start(t, "edge", guarded(t))
	p.user("correct horse", "add", "alice", "--group", "staff")
	p.user("correct horse", "add", "bob", "--group", "staff")
	alice, again, bob := p.person(), p.person(), p.person()
	wiki := p.enter(alice, "wiki.alpha.localhost", "alice", "correct horse")
	p.enter(again, "wiki.alpha.localhost", "alice", "correct horse")
	p.enter(bob, "wiki.alpha.localhost", "bob", "correct horse")
	p.in(bob, strings.Replace(wiki, "wiki.alpha", "files.beta", 1))

	wants(t, p.session("list"), "LAST SEEN", "alice", "bob", "127.0.0.1", "files.beta.localhost wiki.alpha.localhost", "Go-http-client/2.0")
	list := func(args ...string) (logins []login) {
		t.Helper()
		if err := json.Unmarshal([]byte(p.session(append([]string{"list", "--json"}, args...)...)), &logins); err != nil {
			t.Fatal(err)
		}
		return logins
	}
	if n := len(list()); n != 3 {
		t.Errorf("%d sessions, want 3", n)
	}
	bobs := list("--user", "BOB")
	if len(bobs) != 1 || bobs[0].User != "bob" || bobs[0].Level != "aal1" || time.Since(bobs[0].Since) > time.Minute || len(bobs[0].Vhosts) != 2 {
		t.Fatalf("%+v", bobs)
	}
	for _, bad := range [][]string{{"revoke"}, {"revoke", "x"}, {"revoke", bobs[0].ID.String(), "--all"}, {"revoke", "00000000-0000-4000-8000-000000000000"}, {"list", "x"}} {
		if out, code := p.cli(append([]string{"session"}, bad...)...); code == 0 {
			t.Errorf("%v: %s", bad, out)
		}
	}
	wants(t, p.session("revoke", bobs[0].ID.String()), "1")
	until(t, "bob is logged out", func() bool { return !p.in(bob, wiki) })
	if !p.in(alice, wiki) {
		t.Error("alice was logged out with bob")
	}
	wants(t, p.session("revoke", "--user", "alice"), "2")
	until(t, "alice is logged out", func() bool { return !p.in(alice, wiki) && !p.in(again, wiki) })
	p.enter(alice, "wiki.alpha.localhost", "alice", "correct horse")
	p.end()
	if n := len(list()); n != 1 {
		t.Errorf("without a process: %d sessions", n)
	}
	wants(t, p.session("revoke", "--all"), "1")
	if n := len(list()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	var revoked []string
	for _, e := range p.audited() {
		if e.Event == sessions.EventRevoked {
			revoked = append(revoked, e.By+": "+strings.TrimSpace(e.User+" "+e.Session+e.Detail))
		}
	}
	want := "command line: " + bobs[0].ID.String() + "\ncommand line: alice all\ncommand line: everybody's"
	if got := strings.Join(revoked, "\n"); got != want {
		t.Errorf("the audit log has\n%s\nwant\n%s", got, want)
	}
}

// A login survives a TERM, also one that ends the process at once, and the plain start of the next with the same files: it is known at every site, also where
// nobody has been yet, and so is its end; a logout there ends it everywhere.
func TestSessionsSurviveTERM(t *testing.T) {
	dir := t.TempDir()
	conf := guarded(t)
	p := startIn(t, dir, "edge", conf)
	p.user("correct horse", "add", "alice", "--group", "staff")
	conf = strings.Replace(conf, `"127.0.0.1:0"`, `"`+p.addr("https")+`"`, 1)
	stays, leaves := p.person(), p.person()
	wiki := p.enter(stays, "wiki.alpha.localhost", "alice", "correct horse")
	p.enter(leaves, "wiki.alpha.localhost", "alice", "correct horse")
	files := strings.Replace(wiki, "wiki.alpha", "files.beta", 1)
	logout, _ := url.Parse(wiki + ".edge/logout")
	ended := leaves.Jar.Cookies(logout)
	send(t, leaves, logout, nil)
	for _, terms := range []int{1, 2} {
		stays.CloseIdleConnections()
		leaves.CloseIdleConnections()
		pid := p.pid()
		for range terms {
			syscall.Kill(pid, syscall.SIGTERM)
		}
		<-p.ended
		if code := p.exitOf(); code != 0 {
			t.Errorf("after %d TERM: exit status %d", terms, code)
		}
		p = startIn(t, dir, "edge", conf)
		if p.pid() == pid {
			t.Fatal("it is the same process")
		}
		if !p.in(stays, wiki) || !p.in(stays, files) {
			t.Errorf("after %d TERM the login is lost", terms)
		}
		leaves.Jar.SetCookies(logout, ended)
		if p.in(leaves, wiki) {
			t.Errorf("after %d TERM an ended session came back", terms)
		}
	}
	last := stays.Jar.Cookies(logout)
	send(t, stays, logout, nil)
	if p.in(stays, wiki) || p.in(stays, files) {
		t.Error("after the logout she is let in")
	}
	stays.Jar.SetCookies(logout, last)
	if p.in(stays, wiki) {
		t.Error("the cookie from before the logout is good")
	}
	if list := p.session("list", "--json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("sessions are left: %s", list)
	}
}

// A login survives the end of the process, also one by kill -9 in the middle of others' logins; what was ended stays so.
func TestSessionsSurviveKill(t *testing.T) {
	dir := t.TempDir()
	conf := guarded(t)
	p := startIn(t, dir, "edge", conf)
	p.user("correct horse", "add", "alice", "--group", "staff")
	addr := p.addr("https")
	conf = strings.Replace(conf, `"127.0.0.1:0"`, `"`+addr+`"`, 1)
	stays, leaves := p.person(), p.person()
	wiki := p.enter(stays, "wiki.alpha.localhost", "alice", "correct horse")
	p.enter(leaves, "wiki.alpha.localhost", "alice", "correct horse")
	u, _ := url.Parse(wiki + ".edge/logout")
	old := leaves.Jar.Cookies(u)
	send(t, leaves, u, nil)
	p.signal(syscall.SIGKILL)
	<-p.ended
	p = startIn(t, dir, "edge", conf)
	stays.CloseIdleConnections()
	leaves.CloseIdleConnections()
	if !p.in(stays, wiki) {
		t.Error("the login is lost")
	}
	leaves.Jar.SetCookies(u, old)
	if p.in(leaves, wiki) {
		t.Error("an ended session came back")
	}
}
