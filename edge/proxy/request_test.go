package proxy

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"edge/claim"
	"edge/edge/record"
	"edge/edge/wire"
)

// claimed are names that only we may use, or that an upstream may take for one of them.
var claimed = []string{
	"Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Url", "X-Rewrite-Url",
	"X-Original-Uri", "X-Original-Method", "Remote-Addr", "Remote-User", "Remote-Groups", "Remote-Email", "Remote-Name", "X-Forwarded-For", "X-Forwarded-Host",
	"X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups",
	"X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Auth-Request-User", "X-Authentik-Username", "X-Webauth-User", "X-Token-Subject",
	"X-Vouch-User", "X-Edge-User", "Proxy", "Proxy-Authorization", "Client-Ip", "Fastly-Client-Ip", "X-Original-Forwarded-For", "X-Host", "X-Original-Host",
	"X-Http-Host-Override",

	"remote_user", "Remote_User", "REMOTE_USER", "rEmOtE-uSeR", "Remote-User-", "Remote_User_", "Remote.User", "Remote+User", "Remote~User", "Remote-User.",
	"X_Forwarded_User", "x_forwarded-For", "X.Forwarded.For", "X-Forwarded_For_", "X_Real_IP", "x-real-ip_", "X-Real.IP", "X_Auth_Request_Email", "Forwarded_",
	"Remote--User", "X-Edge_User", "proxy_", "Proxy_Authorization", "CLIENT_IP", "X_Host", "X.Original.Host", "x_http_host_override_", "Fastly_Client_IP",
	"X_Original_Forwarded_For", "X-Request-Id", "X_Request_ID",

	"Content_Length", "Transfer_Encoding", "transfer.encoding", "Host_", "Connection_", "Expect_", "Trailer.",
}

var unclaimed = []string{
	"X-Remote", "Remote", "X-Real", "Accept", "Authorization", "X-Custom", "X_Custom", "Client", "X-Client", "X-Hosts", "Content-Type", "If-None-Match",
	"Origin", "X-Requested-With", "X-Http-Method-Override", "Referer", "X-Original", "Accept-Encoding", "Sec-Websocket-Key", "Via",
}

func TestClaims(t *testing.T) {
	for _, name := range claimed {
		if !claim.Is([]byte(strings.ToLower(name))) {
			t.Errorf("%q passes", name)
		}
	}
	for _, name := range unclaimed {
		if claim.Is([]byte(strings.ToLower(name))) {
			t.Errorf("%q does not pass", name)
		}
	}
}

// own is the pair "ours=1" of a Cookie field.
func own(pair []byte) bool { return string(pair) == "ours=1" }

func TestFields(t *testing.T) {
	got := make(chan http.Header, 1)
	_, p := origin(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Host", r.Host)
		got <- r.Header
	})
	p.OwnCookie = own
	bothModes(t, func(t *testing.T, major int) {
		user, groups := "", []string(nil)
		f := serve(t, major, func(x *wire.Exchange) {
			x.User, x.Groups, x.Record.ID = user, groups, record.ID{15: 1}
			p.Serve(x)
		})
		scheme := map[int]string{1: "http", 2: "https"}[major]
		ours := func(more ...string) http.Header {
			h := http.Header{"Host": {"a.test"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Host": {"a.test"}, "X-Forwarded-Proto": {scheme},
				"X-Request-Id": {"00000000-0000-0000-0000-000000000001"}}
			for i := 0; i < len(more); i += 2 {
				h.Add(more[i], more[i+1])
			}
			return h
		}
		all := http.Header{"User-Agent": nil, "Accept-Encoding": {"br"}}
		for _, name := range claimed {
			all[name] = []string{"evil"}
		}
		for name, c := range map[string]struct {
			sent   http.Header
			user   string
			groups []string
			want   http.Header
		}{
			"claims":             {sent: all, want: ours("Accept-Encoding", "br")},
			"claims, known":      {all, "alice", []string{"staff", "dev"}, ours("Accept-Encoding", "br", "Remote-User", "alice", "Remote-Groups", "staff,dev")},
			"claims, no group":   {all, "alice", nil, ours("Accept-Encoding", "br", "Remote-User", "alice")},
			"no group for none":  {all, "", []string{"staff"}, ours("Accept-Encoding", "br")},
			"others pass":        {sent: http.Header{"X-A": {"1", "2"}, "X_custom": {"3"}, "User-Agent": {"me"}, "Authorization": {"x"}, "Accept-Encoding": {"br"}}, want: ours("X-A", "1", "X-A", "2", "X_custom", "3", "User-Agent", "me", "Authorization", "x", "Accept-Encoding", "br")},
			"our cookie":         {sent: http.Header{"Cookie": {"a=1; ours=1; b=2"}, "User-Agent": nil, "Accept-Encoding": {"br"}}, want: ours("Cookie", "a=1; b=2", "Accept-Encoding", "br")},
			"our cookie alone":   {sent: http.Header{"Cookie": {"ours=1"}, "User-Agent": nil, "Accept-Encoding": {"br"}}, want: ours("Accept-Encoding", "br")},
			"our cookie, crumbs": {sent: http.Header{"Cookie": {"a=1", "ours=1"}, "User-Agent": nil, "Accept-Encoding": {"br"}}, want: ours("Cookie", "a=1", "Accept-Encoding", "br")},
			"hop by hop":         {sent: http.Header{"Te": {"trailers"}, "User-Agent": nil, "Accept-Encoding": {"br"}}, want: ours("Accept-Encoding", "br")},
		} {
			user, groups = c.user, c.groups
			resp, _, err := f.ask(t, "GET", "/", c.sent.Clone(), nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%s: %v, %v", name, resp, err)
			}
			if h := wait(t, "the request", got); !maps.EqualFunc(h, c.want, slices.Equal[[]string]) {
				t.Errorf("%s: upstream gets\n%v\nwant\n%v", name, h, c.want)
			}
		}
	})
}

// What Connection names ends here, and what it names after ours were set does not harm them.
func TestConnectionNamed(t *testing.T) {
	got := make(chan http.Header, 1)
	_, p := origin(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	f := serve(t, 1, func(x *wire.Exchange) { x.User = "alice"; p.Serve(x) })
	f.dial(t, "GET / HTTP/1.1\nHost: a\nConnection: close, X-A, remote-user, x-forwarded-for, cookie\nX-A: 1\nCookie: a=1\nRemote-User: evil\n\n")
	h := wait(t, "the request", got)
	if h["X-A"] != nil || h["Cookie"] != nil || h["Connection"] != nil || h.Get("Remote-User") != "alice" || h.Get("X-Forwarded-For") != "192.0.2.1" {
		t.Errorf("upstream gets %v", h)
	}
}

// The very bytes of the request's target go upstream.
func TestTarget(t *testing.T) {
	lines := make(chan string, 1)
	p := rawOrigin(t, func(c net.Conn, _ *bufio.Reader, head string) {
		line, _, _ := strings.Cut(head, "\r\n")
		lines <- line
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		for _, target := range []string{
			"/", "/a%2Fb", "/a%2fb", "//x", "//evil.test/admin", "///", "//evil.test:80/%2f?q", "/a//b", "/a;b=%41", "/?", "/??", "/?a=b&c", "/?%7e", "/%7e", "/~", "/%41%e9", "/a+b", "/a%20b",
			"/:x", "/@", "/a:b@c", "/[x]", "/(a)", "/!$&'()*+,;=", "/?!$&'()*+,;=:@/?[]", "/%25", "/%252f", "/%3f", "/%23", "/.well-known/x", "/...",
			"/é", "/\"<>^`{|}", "/a%2Fé", "/?é\"<>^`{|}",
		} {
			r := f.request(t, "GET", "/", nil, nil)
			path, query, has := strings.Cut(target, "?")
			r.URL.RawQuery, r.URL.ForceQuery = query, has
			if r.URL.Path, r.URL.RawPath = wire.Decode(path), path; r.URL.EscapedPath() != path {
				r.URL.Opaque = path
			}
			resp, err := f.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Fatalf("%s: %v", target, resp.Status)
			}
			if got := <-lines; got != "GET "+target+" HTTP/1.1" {
				t.Errorf("%s leaves as %q", target, got)
			}
		}
	})
	f := relay(t, 1, p)
	for target, want := range map[string]string{
		"OPTIONS * HTTP/1.1": "OPTIONS * HTTP/1.1", "GET http://a.test//x?y HTTP/1.1": "GET //x?y HTTP/1.1", "PROPFIND /x HTTP/1.1": "PROPFIND /x HTTP/1.1",
		// behind two slashes too: it never becomes absolute-form
		"GET //evil.test/\"é HTTP/1.1": "GET //evil.test/\"é HTTP/1.1", "GET //é%2F<>^`{|}%7e? HTTP/1.1": "GET //é%2F<>^`{|}%7e? HTTP/1.1",
	} {
		f.dial(t, target+"\nHost: a.test\n\n")
		if got := wait(t, "the request", lines); got != want {
			t.Errorf("%s leaves as %q", target, got)
		}
	}
}

// To h2c too.
func TestTargetH2C(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	f := relay(t, 1, &Proxy{Upstream: pool(t, spec("h2c"+strings.TrimPrefix(up.URL, "http")))})
	for target, want := range map[string]string{
		"/": "/", "/a%2fb?": "/a%2fb?", "//x": "//x", "/é": "/é", "/\"<>^`{|}": "/\"<>^`{|}",
		"//evil.test/\"é": "//evil.test/\"é", "//é%2F<>^`{|}%7e?": "//é%2F<>^`{|}%7e?",
	} {
		_, in := f.dial(t, "GET "+target+" HTTP/1.1\nHost: a.test\n\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != want || err != nil {
			t.Errorf("%s leaves as %q, %v", target, b, err)
		}
	}
}

func TestHost(t *testing.T) {
	up, p := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
	s := spec(up.URL)
	s.HostTarget = true
	target, _ := url.Parse(up.URL)
	bothModes(t, func(t *testing.T, major int) {
		if _, text, err := relay(t, major, p).ask(t, "GET", "/", nil, nil); text != "a.test" || err != nil {
			t.Errorf("the client's host leaves as %q, %v", text, err)
		}
		if _, text, err := relay(t, major, &Proxy{Upstream: pool(t, s)}).ask(t, "GET", "/", nil, nil); text != target.Host || err != nil {
			t.Errorf("the target's host leaves as %q, %v", text, err)
		}
	})
}

func TestRequestBody(t *testing.T) {
	_, p := origin(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprint(w, r.Method, " ", r.ContentLength, " ", r.TransferEncoding, " ", string(b), " ", err, " ", r.Trailer)
	})
	bothModes(t, func(t *testing.T, major int) {
		f := relay(t, major, p)
		for want, c := range map[string]struct {
			method  string
			body    io.Reader
			trailer http.Header
		}{
			"GET 0 []  <nil> map[]":                                             {method: "GET"},
			"POST 0 []  <nil> map[]":                                            {method: "POST"},
			"POST 4 [] body <nil> map[]":                                        {method: "POST", body: strings.NewReader("body")},
			"DELETE 4 [] body <nil> map[]":                                      {method: "DELETE", body: strings.NewReader("body")},
			"PUT -1 [chunked] body <nil> map[]":                                 {method: "PUT", body: io.MultiReader(strings.NewReader("body"))},
			"GET -1 [chunked] body <nil> map[]":                                 {method: "GET", body: io.MultiReader(strings.NewReader("body"))},
			"POST -1 [chunked] body <nil> map[X-Sum:[1 2]]":                     {method: "POST", body: io.MultiReader(strings.NewReader("body")), trailer: http.Header{"X-Sum": {"1", "2"}, "Remote-User": {"evil"}, "X_real_ip": {"evil"}}},
			"POST -1 [chunked]  <nil> map[X-Sum:[1]]":                           {method: "POST", body: io.MultiReader(strings.NewReader("")), trailer: http.Header{"X-Sum": {"1"}}},
			"POST -1 [chunked] " + strings.Repeat("x", 300000) + " <nil> map[]": {method: "POST", body: io.MultiReader(strings.NewReader(strings.Repeat("x", 300000)))},
		} {
			r := f.request(t, c.method, "/", nil, c.body)
			r.Trailer = c.trailer
			resp, err := f.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(b) != want || err != nil {
				t.Errorf("upstream got %.200q, %v; want %.200q", b, err, want)
			}
		}
	})
}
