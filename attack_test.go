package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The numbers are the rows of the attack list in docs/LOGIN.md.

const attacked = config + `
[login]
host = "login.localhost"
[[vhost]]
hosts = ["site.localhost"]
access = "login"
proxy = "http://UP"
  [[vhost.route]]
  path = "/admin/"
  access = ["group:admin"]
  proxy = "http://UP"
  [[vhost.route]]
  path = "/public/"
  access = "public"
  proxy = "http://UP"
  [[vhost.route]]
  path = "/cut/"
  access = "public"
  proxy = "http://UP"
  strip_prefix = true
[[vhost]]
hosts = ["other.localhost"]
access = "login"
proxy = "http://UP"
[[vhost]]
hosts = ["office.localhost"]
access = "public"
allow = ["10.0.0.0/8"]
proxy = "http://UP"
`

// intrusion is a request and the answer to it, over both protocols.
type intrusion struct {
	row    int
	target string
	fields string // "name: value" lines; a "host:" is a second one, beside the one in host
	host   string // "": site.localhost
	want   string // the statuses, over HTTP/1.1 and HTTP/2, that are right; any of them
}

var intrusions = []intrusion{
	{row: 1, target: "/admin/", fields: "X-Forwarded-Uri: /public/", want: "401"},
	{row: 1, target: "/admin/", fields: "X-Original-Url: /public/\nX-Rewrite-Url: /public/\nX-Original-Uri: /public/", want: "401"},
	{row: 1, target: "/", fields: "X-Forwarded-Method: OPTIONS\nX-Http-Method-Override: OPTIONS", want: "401"},
	{row: 7, target: "/", host: "office.localhost", fields: "X-Forwarded-For: 10.0.0.1\nX-Real-Ip: 10.0.0.1\nForwarded: for=10.0.0.1", want: "403"},
	{row: 7, target: "/", host: "office.localhost", fields: "True-Client-Ip: 10.0.0.1\nCf-Connecting-Ip: 10.0.0.1\nX-Client-Ip: 10.0.0.1", want: "403"},
	{row: 10, target: "/admin#/public/", want: "400"},
	{row: 10, target: "/admin/#/public/", want: "400"},
	{row: 10, target: "/admin/%23/public/", want: "401"},
	{row: 10, target: "/admin/%3f/public/", want: "401"},
	{row: 11, target: "/admin/", fields: "User-Agent: kube-probe/1.30", want: "401"},
	{row: 11, target: "/admin/", fields: "User-Agent: GoogleHC/1.0", want: "401"},
	{row: 11, target: "/", fields: "User-Agent: ELB-HealthChecker/2.0\nAccept: */*", want: "401"},
	{row: 12, target: "/public/..%2fadmin/", want: "400"},
	{row: 12, target: "/public/%2e%2e/admin/", want: "400"},
	{row: 12, target: "/public/.%2e/admin/", want: "400"},
	{row: 12, target: "/public/..%5cadmin/", want: "400"},
	{row: 12, target: "/public/%252e%252e/admin/", want: "200"}, // decoded once it is a name with a percent sign, and is in /public/
	{row: 13, target: "/public/../admin/", want: "400"},
	{row: 13, target: "//admin/", want: "400"},
	{row: 13, target: "/./admin/", want: "400"},
	{row: 13, target: "/public/..;/admin/", want: "400"},
	{row: 13, target: "/public;/../admin/", want: "400"},
	{row: 13, target: "/admin", want: "308"}, // to /admin/, and there 401
	{row: 14, target: "/%61dmin/", want: "400"},
	{row: 14, target: "/admin%2f", want: "400"},
	{row: 14, target: "/public%2f..%2fadmin/", want: "400"},
	{row: 14, target: "/cut/..%2fadmin/", want: "400"},
	{row: 14, target: "/cut/%2e%2e/admin/", want: "400"},
	{row: 14, target: "/cut%2f/admin/", want: "400"},
	{row: 15, target: "/ADMIN/", want: "401"},
	{row: 15, target: "/PUBLIC/", want: "401"}, // what is open is open as it is written
	{row: 15, target: "/%50UBLIC/", want: "401"},
	{row: 17, target: "/", host: "site.localhost.", want: "401"},
	{row: 17, target: "/", host: "SITE.LOCALHOST:443", want: "401"},
	{row: 17, target: "/", host: "site.localhost..", want: "400"},
	{row: 17, target: "/", host: "site.localhost:x", want: "400"},
	{row: 17, target: "/", host: "user@site.localhost", want: "400 reset"},
	{row: 17, target: "/", host: "xn--site-.localhost", want: "421"},
	{row: 17, target: "/", host: "ſite.localhost", want: "400 401"},
	{row: 20, target: "/public/", fields: "host: other.localhost", want: "400 reset"},
	{row: 20, target: "https://other.localhost/public/", want: "400 reset"},
	{row: 20, target: "https://site.localhost/admin/", want: "400 401"},
	{row: 20, target: "/public/", host: "other.localhost", want: "401"},
	{row: 24, target: "/.edge/auth/callback?code=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&flow=00000000000000000000000000000000", want: "400"},
	{row: 24, target: "/.edge/../.edge/auth/callback", want: "400"},
	{row: 24, target: "/%2eedge/auth/callback?code=x&flow=y", want: "404"},
	{row: 24, target: "//.edge/auth/callback?code=x&flow=y", want: "404"},
	{row: 32, target: "/", fields: "Cookie: __Host-edge=x; __Host-edge=y", want: "401"},
	{row: 32, target: "/", fields: "Cookie: __Host-edge=00000000-0000-4000-8000-000000000000.AAAA", want: "401"},
	{row: 44, target: "/", fields: "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==", want: "401"},
	{row: 47, target: "/.edge/auth/callback?code=x&flow=y", fields: "Early-Data: 1", want: "425"},
}

// What a stranger may not have it does not get by any spelling, over HTTP/1.1 and HTTP/2, and nothing of it reaches the app.
func TestAttacksByStrangers(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the app has "+r.RequestURI) }))
	t.Cleanup(up.Close)
	p := start(t, "edge", strings.ReplaceAll(attacked, "UP", strings.TrimPrefix(up.URL, "http://")))
	for _, a := range intrusions {
		if a.host == "" {
			a.host = "site.localhost"
		}
		for protocol, send := range map[string]func(intrusion) (string, string){"HTTP/1.1": p.raw1, "HTTP/2": p.raw2} {
			status, body := send(a)
			if !strings.Contains(a.want, status) || status != "200" && strings.Contains(body, "the app has") {
				t.Errorf("%d: %s %s %s %q: %s, want %s\n%.300s", a.row, protocol, a.host, a.target, a.fields, status, a.want, body)
			}
		}
	}
}

// raw1 sends one as it is written.
func (p *proc) raw1(a intrusion) (status, body string) {
	p.t.Helper()
	text := "GET " + a.target + " HTTP/1.1\nHost: " + a.host + "\nConnection: close\n"
	if a.fields != "" {
		text += a.fields + "\n"
	}
	return p.say(text + "\n")
}

// say sends lines over a connection of its own and gives the answer's status and the whole answer; "reset": there is none.
func (p *proc) say(lines string) (status, answer string) {
	p.t.Helper()
	c := p.connect("https", p.clientTLS("site.localhost", "http/1.1"))
	defer c.Close()
	c.SetDeadline(time.Now().Add(soon))
	io.WriteString(c, strings.ReplaceAll(lines, "\n", "\r\n"))
	text, _ := io.ReadAll(c)
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
	if err != nil {
		return "reset", ""
	}
	resp.Body.Close()
	return fmt.Sprint(resp.StatusCode), string(text)
}

// raw2 sends one over HTTP/2, as no library would.
func (p *proc) raw2(a intrusion) (status, body string) {
	p.t.Helper()
	c := p.connect("https", p.clientTLS("site.localhost", "h2"))
	defer c.Close()
	c.SetDeadline(time.Now().Add(soon))
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	put := func(name, value string) { enc.WriteField(hpack.HeaderField{Name: name, Value: value}) }
	put(":method", "GET")
	put(":scheme", "https")
	put(":authority", a.host)
	put(":path", a.target)
	for line := range strings.Lines(a.fields) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		put(strings.ToLower(name), value)
	}
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.WriteSettings()
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return "reset", ""
		}
		ended := false
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			status, ended = f.PseudoValue("status"), f.StreamEnded()
		case *http2.DataFrame:
			body, ended = body+string(f.Data()), f.StreamEnded()
		case *http2.RSTStreamFrame:
			return "reset", ""
		}
		if ended {
			return status, body
		}
	}
}

// visitor is a client that has logged in at site.localhost.
func (p *proc) visitor(name string) (c *http.Client, site string) {
	p.t.Helper()
	c = p.person()
	_, port, _ := net.SplitHostPort(p.addr("https"))
	site = "https://site.localhost:" + port
	at, body := visit(p.t, c, site+"/")
	if at, body = logIn(p.t, c, at, body, name, "correct horse"); at.String() != site+"/" {
		p.t.Fatalf("the login led to %s:\n%s", at, body)
	}
	return c, site
}

// askOnce is one request of a client, whose redirects are not followed.
func askOnce(t *testing.T, c *http.Client, method, address string, header http.Header) (*http.Response, string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	if header != nil {
		r.Header = header
	}
	still := *c
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := still.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// What is said of the way to us (6, 8) changes no redirect, no page and nothing that an app is told; no address leads away (21, 22), and a sealed
// request that was touched is none (23).
func TestAttacksOnRedirects(t *testing.T) {
	p := start(t, "edge", strings.ReplaceAll(attacked, "UP", mirror(t)))
	p.user("correct horse", "add", "alice")
	alice, site := p.visitor("alice")
	login := strings.Replace(site, "site", "login", 1)
	lies := http.Header{"Accept": {"text/html"}}
	for _, name := range []string{"Host", "Server", "Port", "Proto", "Scheme", "Ssl", "Prefix", "Uri", "User", "Email"} {
		lies["X-Forwarded-"+name] = []string{"evil.example"}
	}
	lies["Forwarded"] = []string{"for=1.2.3.4;host=evil.example;proto=http"}
	lies["X-Host"], lies["X-Original-Host"] = []string{"evil.example"}, []string{"evil.example"}

	// 6, 8
	stranger := p.person()
	resp, body := askOnce(t, stranger, "GET", site+"/x", lies.Clone())
	at := resp.Header.Get("Location")
	if resp.StatusCode != 302 || !strings.HasPrefix(at, login+"/login?f=") || strings.Contains(body, "evil") {
		t.Errorf("6, 8: %d %q %s", resp.StatusCode, at, body)
	}
	for _, page := range []string{at, login + "/", login + "/nothing", site + "/.edge/logout", site + "/.edge/auth/callback?code=x&flow=y"} {
		if resp, body := askOnce(t, stranger, "GET", page, lies.Clone()); strings.Contains(body+fmt.Sprint(resp.Header), "evil") {
			t.Errorf("8: %s says %v %s", page, resp.Header, body)
		}
	}
	_, body = askOnce(t, alice, "GET", site+"/x", lies.Clone())
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Forwarded-User", "X-Forwarded-Email", `"Forwarded"`} {
		if i := strings.Index(body, name); i >= 0 && strings.HasPrefix(body[i:], name+`":["evil`) {
			t.Errorf("6: the app is told %s of the client's making: %s", name, body)
		}
	}
	wants(t, body, `"X-Forwarded-Host":["site.localhost:`, `"X-Forwarded-Proto":["https"]`)

	// 21, 22
	for _, evil := range []string{
		"https://evil.example", "https://badsite.localhost", "//evil.example", `/\evil.example`, "/%09/evil.example", "https:evil.example",
		"https://site.localhost@evil.example", "https://site.localhost.evil.example", "javascript:alert(1)",
	} {
		for _, name := range []string{"rd", "redirect", "redirect_uri", "next", "return", "return_to", "url", "r", "invite"} {
			resp, body := askOnce(t, alice, "GET", login+"/login?"+url.Values{name: {evil}}.Encode(), nil)
			if at := resp.Header.Get("Location"); at != "/" || strings.Contains(body, "evil") {
				t.Errorf("22: %s=%s leads to %q", name, evil, at)
			}
		}
		resp, body := askOnce(t, alice, "GET", login+"/login?"+url.Values{"f": {evil}}.Encode(), nil)
		if resp.StatusCode != 400 || resp.Header.Get("Location") != "" || strings.Contains(body, evil) {
			t.Errorf("22: f=%s: %d %v", evil, resp.StatusCode, resp.Header)
		}
	}
	other := strings.Replace(site, "site", "other", 1)
	for target, want := range map[string]string{"//evil.example/x": "/evil.example/x", "///evil.example": "/evil.example", "/x?rd=//evil.example": "/x?rd=//evil.example"} {
		fresh := p.person()
		u, _ := url.Parse(login)
		fresh.Jar.SetCookies(u, alice.Jar.Cookies(u))
		if at, _ := visit(t, fresh, other+target); at.String() != other+want {
			t.Errorf("22: %s leads to %s", target, at)
		}
	}

	// 23
	seal, ok := strings.CutPrefix(at, login+"/login?f=")
	for _, bad := range []string{"", seal[:len(seal)-4], seal[4:], flip(seal, 0), flip(seal, len(seal)/2), flip(seal, len(seal)-2), seal + "AAAA", strings.ToUpper(seal)} {
		resp, _ := askOnce(t, alice, "GET", login+"/login?f="+bad, nil)
		if at := resp.Header.Get("Location"); !ok || strings.Contains(at, "code=") {
			t.Errorf("23: a seal that was touched leads to %q", at)
		}
	}
}

// flip changes one letter.
func flip(s string, i int) string {
	b := []byte(s)
	if b[i]++; b[i] == '{' || b[i] == '[' || b[i] == ':' || b[i] == '.' || b[i] == '`' {
		b[i] = 'A'
	}
	return string(b)
}

// 35: thousands of cookies and a megabyte of fields are no error that lets anybody in, and keep nobody out who is known.
func TestAttackByManyCookies(t *testing.T) {
	p := start(t, "edge", strings.ReplaceAll(attacked, "UP", mirror(t)))
	p.user("correct horse", "add", "alice")
	alice, site := p.visitor("alice")
	u, _ := url.Parse(site)
	session := alice.Jar.Cookies(u)[0].String()
	say := func(cookie string) string {
		t.Helper()
		status, _ := p.say("GET /x HTTP/1.1\nHost: site.localhost\nConnection: close\nCookie: " + cookie + "\n\n")
		return status
	}
	many := strings.Repeat("a=b; ", 3500)
	for cookie, want := range map[string]string{
		session: "200", many + session: "200", session + "; " + many + "a=b": "200",
		many + "a=b": "401", many + session + "; " + session: "401", strings.Repeat("__Host-edge-flow-00000000=x; ", 500) + "a=b": "401",
	} {
		if got := say(cookie); got != want {
			t.Errorf("35: %d bytes of cookies: %s, want %s", len(cookie), got, want)
		}
	}
	if got := say(strings.Repeat("a", 1<<20) + "; " + session); got != "431" && got != "reset" {
		t.Errorf("35: a megabyte: %s", got)
	}
}

// 44: a page of another origin opens no WebSocket with a person's cookies.
func TestAttackOnWebSockets(t *testing.T) {
	p := start(t, "edge", guarded(t))
	p.user("correct horse", "add", "alice", "--group", "staff")
	alice := p.person()
	app := p.enter(alice, "app.gamma.localhost", "alice", "correct horse")
	u, _ := url.Parse(app)
	cookie := alice.Jar.Cookies(u)[0].String()
	shake := func(cookie, fields string) string {
		t.Helper()
		c := p.connect("https", p.clientTLS("app.gamma.localhost", "http/1.1"))
		defer c.Close()
		c.SetDeadline(time.Now().Add(soon))
		text := "GET /ws HTTP/1.1\nHost: " + u.Host + "\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n" +
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\nCookie: " + cookie + "\n" + fields + "\n\n"
		io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n"))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(resp.StatusCode)
	}
	own := "Origin: https://" + u.Host
	for _, c := range []struct{ cookie, fields, want string }{
		{cookie, own, "101"},
		{cookie, own + "\nSec-Fetch-Site: same-origin", "101"},
		{"a=b", own, "401"},
		{"a=b", "Origin: https://evil.example\nAccept: text/html", "401"}, // never a way to the login
		{cookie, "Origin: https://evil.example", "403"},
		{cookie, "Origin: null", "403"},
		{cookie, "Origin: http://" + u.Host, "403"},
		{cookie, "Origin: https://app.gamma.localhost", "403"}, // another port
		{cookie, "Origin: https://wiki.alpha.localhost:" + u.Port(), "403"},
		{cookie, "Origin: https://" + u.Host + ".evil.example", "403"},
		{cookie, "Origin: https://" + u.Host + "@evil.example", "403"},
		{cookie, own + "\nOrigin: https://evil.example", "403"},
		{cookie, own + "\nSec-Fetch-Site: cross-site", "403"},
		{cookie, own + "\nSec-Fetch-Site: same-site", "403"},
	} {
		if got := shake(c.cookie, c.fields); got != c.want {
			t.Errorf("44: %q: %s, want %s", c.fields, got, c.want)
		}
	}
	// After a revocation, TestRevocationClosesWebSockets; nor does the cookie open another.
	p.session("revoke", "--all")
	until(t, "the cookie is worth nothing", func() bool { return shake(cookie, own) == "401" })
}

// 56: a virtual host that a reload takes away while somebody logs in gets no code; a code for it is worth nothing there, and what it was made for is
// again there when the host is; a login host that goes takes every session with it, and gives them back.
func TestAttackMidReload(t *testing.T) {
	dir := t.TempDir()
	whole := strings.ReplaceAll(attacked, "UP", mirror(t))
	without := strings.Replace(whole, `hosts = ["site.localhost"]`, `hosts = ["gone.localhost"]`, 1)
	i := strings.Index(whole, "[[vhost]]")
	open := strings.NewReplacer("[login]\nhost = \"login.localhost\"\n", "", `access = "login"`, "", `access = ["group:admin"]`, "", `access = "public"`, "").Replace(whole[:i]) +
		"[[vhost]]\nhosts = [\"other.localhost\"]\necho = true\n"
	p := startIn(t, dir, "edge", whole)
	p.user("correct horse", "add", "alice")
	reload := func(text string) {
		t.Helper()
		write(t, dir, text)
		p.reload()
	}
	_, port, _ := net.SplitHostPort(p.addr("https"))
	site, login := "https://site.localhost:"+port, &url.URL{Scheme: "https", Host: "login.localhost:" + port, Path: "/login"}

	slow := p.person()
	_, form := visit(t, slow, site+"/x")
	reload(without)
	seal := flowField.FindStringSubmatch(form)
	at, body := send(t, slow, login, url.Values{"f": {seal[1]}, "name": {"alice"}, "password": {"correct horse"}})
	if at.Hostname() != "login.localhost" || !strings.Contains(body, "Link not valid") {
		t.Errorf("the login for what is gone leads to %s:\n%s", at, body)
	}
	reload(whole)

	quick := p.person()
	_, form = visit(t, quick, site+"/x")
	seal = flowField.FindStringSubmatch(form)
	reload(without)
	reload(whole) // nothing is lost by it
	quick.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/.edge/auth/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	r, err := http.NewRequest("POST", login.String(), strings.NewReader(url.Values{"f": {seal[1]}, "name": {"alice"}, "password": {"correct horse"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "https://"+login.Host)
	resp, err := quick.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	callback := resp.Header.Get("Location")
	if !strings.HasPrefix(callback, site+"/.edge/auth/callback?code=") {
		t.Fatalf("no code: %d %q", resp.StatusCode, callback)
	}
	reload(without)
	if resp, _ := askOnce(t, quick, "GET", callback, nil); resp.StatusCode != http.StatusMisdirectedRequest || len(resp.Cookies()) > 0 {
		t.Errorf("the code of what is gone: %d %v", resp.StatusCode, resp.Cookies())
	}
	reload(whole)
	quick.CheckRedirect = nil
	if at, body := visit(t, quick, callback); at.String() != site+"/x" {
		t.Errorf("the host is there again, and the code leads to %s:\n%s", at, body)
	}

	reload(open)
	if resp, body := askOnce(t, quick, "GET", "https://other.localhost:"+port+"/.edge/auth/callback?code=x&flow=y", nil); resp.StatusCode != 404 {
		t.Errorf("without a login, its paths: %d %s", resp.StatusCode, body)
	}
	reload(whole)
	if at, _ := visit(t, quick, site+"/x"); at.String() != site+"/x" {
		t.Errorf("the login is there again, and its session leads to %s", at)
	}
}
