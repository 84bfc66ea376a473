package guard

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"edge/conf"
	"edge/edge/wire"
	"edge/sessions"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAllows(t *testing.T) {
	alice := &sessions.Identity{User: "alice", Groups: []string{"staff", "dev"}}
	bob := &sessions.Identity{User: "bob"}
	for name, c := range map[string]struct {
		access             conf.Access
		nobody, alice, bob bool
	}{
		"public":          {conf.Access{Public: true}, true, true, true},
		"login":           {conf.Access{Login: true}, false, true, true},
		"nobody":          {conf.Access{}, false, false, false},
		"alice":           {conf.Access{Users: []string{"x", "alice"}}, false, true, false},
		"staff":           {conf.Access{Groups: []string{"x", "dev"}}, false, true, false},
		"staff or bob":    {conf.Access{Groups: []string{"staff"}, Users: []string{"bob"}}, false, true, true},
		"others":          {conf.Access{Groups: []string{"ops"}, Users: []string{"carol"}}, false, false, false},
		"a group's name":  {conf.Access{Groups: []string{"alice"}}, false, false, false},
		"a user's name":   {conf.Access{Users: []string{"staff"}}, false, false, false},
		"case":            {conf.Access{Users: []string{"Alice"}}, false, false, false},
		"the empty group": {conf.Access{Groups: []string{""}}, false, false, false},
		"the empty user":  {conf.Access{Users: []string{""}}, false, false, false},
	} {
		for who, want := range map[*sessions.Identity]bool{nil: c.nobody, alice: c.alice, bob: c.bob} {
			if got := Allows(c.access, who); got != want {
				t.Errorf("%s, %+v: %v", name, who, got)
			}
		}
	}
}

// fake is a Sessions that knows two cookies.
type fake struct {
	t       *testing.T
	began   int
	stepped int
	later   func() (*sessions.Identity, error) // what Peek is answered; nil: as Lookup

	rules Rules

	unsigned error // why there is no token
}

var errDown = errors.New("the store is down")

func (f *fake) Lookup(cookie []byte, vhost string) (*sessions.Identity, error) {
	if vhost != "app" {
		f.t.Errorf("Lookup for vhost %q", vhost)
	}
	switch string(cookie) {
	case "s=alice":
		return &sessions.Identity{User: "alice", Groups: []string{"staff"}}, nil
	case "s=bob":
		return &sessions.Identity{User: "bob", Level: sessions.AAL1}, nil
	case "s=bob twice":
		return &sessions.Identity{User: "bob", Level: sessions.AAL2}, nil
	case "s=down":
		return nil, errDown
	}
	return nil, nil
}

func (f *fake) Peek(cookie []byte, vhost string) (*sessions.Identity, error) {
	if f.later != nil {
		return f.later()
	}
	return f.Lookup(cookie, vhost)
}

func (f *fake) Begin(vhost, authority, target string, cookie []byte) (string, []string, error) {
	f.began++
	if string(cookie) == "s=unlucky" {
		return "", nil, errDown
	}
	return fmt.Sprintf("https://login/?%s %s %s %s", vhost, authority, target, cookie), []string{"flow-1=x", "flow-0=; Max-Age=-1"}, nil
}

func (f *fake) StepUp(vhost, authority, target string, cookie []byte) (string, []string, error) {
	f.stepped++
	return f.Begin(vhost, authority, target, cookie)
}

func (f *fake) Assert(who *sessions.Identity, vhost string) (string, error) {
	return "token of " + who.User + " for " + vhost, f.unsigned
}

func (f *fake) Forbidden(who *sessions.Identity) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not for "+who.User, http.StatusForbidden) })
}

// page is a browser's navigation, socket a WebSocket's handshake.
var (
	page   = http.Header{"Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Accept": {"text/html"}}
	socket = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
)

// with gives h and more fields.
func with(h http.Header, more ...string) http.Header {
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	for i := 0; i < len(more); i += 2 {
		h.Add(more[i], more[i+1])
	}
	return h
}

func TestPass(t *testing.T) {
	public, login := conf.Access{Public: true}, conf.Access{Login: true}
	staff := conf.Access{Groups: []string{"staff"}}
	for name, c := range map[string]struct {
		access conf.Access
		method string // "": GET
		fields http.Header
		status int // 200: it passed
		began  int
		user   string // as the record knows it
		h1     bool   // an upgrade: HTTP/1.1 only
	}{
		"public":                      {access: public, status: 200},
		"public, store down":          {access: public, fields: with(nil, "Cookie", "s=down"), status: 200},
		"public, known":               {access: public, fields: with(nil, "Cookie", "s=alice"), status: 200},
		"navigation":                  {access: login, fields: page, status: 302, began: 1},
		"navigation, old browser":     {access: login, fields: with(nil, "Accept", "text/html,*/*;q=0.8"), status: 302, began: 1},
		"navigation, HEAD":            {access: login, method: "HEAD", fields: page, status: 302, began: 1},
		"navigation, stale cookie":    {access: login, fields: with(page, "Cookie", "s=old"), status: 302, began: 1},
		"navigation, start fails":     {access: login, fields: with(page, "Cookie", "s=unlucky"), status: 500, began: 1},
		"program":                     {access: login, status: 401},
		"program, any type":           {access: login, fields: with(nil, "Accept", "*/*"), status: 401},
		"fetch":                       {access: login, fields: with(nil, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Accept", "text/html"), status: 401},
		"image":                       {access: login, fields: with(nil, "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image", "Accept", "text/html"), status: 401},
		"frame":                       {access: login, fields: with(nil, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe", "Accept", "text/html"), status: 401},
		"two modes":                   {access: login, fields: with(page, "Sec-Fetch-Mode", "navigate"), status: 401},
		"form":                        {access: login, method: "POST", fields: page, status: 401},
		"PUT":                         {access: login, method: "PUT", fields: page, status: 401},
		"WebSocket":                   {access: login, fields: socket, status: 401, h1: true},
		"WebSocket, said to navigate": {access: login, fields: with(socket, "Accept", "text/html"), status: 401, h1: true},
		"known":                       {access: login, fields: with(page, "Cookie", "s=bob"), status: 200, user: "bob"},
		"known, program":              {access: login, method: "POST", fields: with(nil, "Cookie", "s=bob"), status: 200, user: "bob"},
		"allowed":                     {access: staff, fields: with(nil, "Cookie", "s=alice"), status: 200, user: "alice"},
		"not allowed":                 {access: staff, fields: with(page, "Cookie", "s=bob"), status: 403, user: "bob"},
		"nobody is allowed":           {fields: with(page, "Cookie", "s=alice"), status: 403, user: "alice"},
		"nobody is allowed, unknown":  {fields: page, status: 302, began: 1},
		"store down":                  {access: login, fields: with(page, "Cookie", "s=down"), status: 503},
		"store down, program":         {access: staff, method: "POST", fields: with(nil, "Cookie", "s=down"), status: 503},

		"upgrade, no browser":       {access: login, fields: with(socket, "Cookie", "s=bob"), status: 200, user: "bob", h1: true},
		"upgrade, same origin":      {access: login, fields: with(socket, "Cookie", "s=bob", "Origin", "https://app.test:8443"), status: 200, user: "bob", h1: true},
		"upgrade, origin's case":    {access: login, fields: with(socket, "Cookie", "s=bob", "Origin", "https://APP.test:8443"), status: 200, user: "bob", h1: true},
		"upgrade, site same-origin": {access: login, fields: with(socket, "Cookie", "s=bob", "Sec-Fetch-Site", "same-origin"), status: 200, user: "bob", h1: true},
		"upgrade, site none":        {access: login, fields: with(socket, "Cookie", "s=bob", "Sec-Fetch-Site", "none"), status: 200, user: "bob", h1: true},
		"upgrade, public, foreign":  {access: public, fields: with(socket, "Origin", "https://evil.test"), status: 200, h1: true},
		"no upgrade, foreign":       {access: login, fields: with(nil, "Cookie", "s=bob", "Origin", "https://evil.test"), status: 200, user: "bob"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, major := range []int{1, 2} {
				if c.h1 && major == 2 {
					continue
				}
				f := &fake{t: t}
				got := ask(t, f, major, c.method, c.fields, c.access)
				if got.status != c.status || f.began != c.began || got.record.User != c.user || got.passed != (c.status == 200) {
					t.Errorf("HTTP/%d: got %+v, %d logins began", major, got, f.began)
				}
				got.check(t)
			}
		})
	}
	for _, origin := range []string{
		"https://evil.test", "https://app.test", "https://app.test:8444", "http://app.test:8443", "https://x.app.test:8443", "https://app.test:8443.evil.test", "null", "",
		"app.test:8443", "https://app.test:8443@evil.test", "%",
	} {
		if got := ask(t, &fake{t: t}, 1, "", with(socket, "Cookie", "s=bob", "Origin", origin), login); got.status != 403 || got.passed || got.record.Err == nil {
			t.Errorf("an upgrade from %q: %+v", origin, got)
		}
	}
	for _, fields := range []http.Header{
		with(socket, "Sec-Fetch-Site", "cross-site"), with(socket, "Sec-Fetch-Site", "same-site"), with(socket, "Sec-Fetch-Site", "x"),
		with(socket, "Sec-Fetch-Site", "cross-site", "Origin", "https://app.test:8443"), with(socket, "Origin", "https://app.test:8443", "Origin", "https://app.test:8443"),
	} {
		if got := ask(t, &fake{t: t}, 1, "", with(fields, "Cookie", "s=bob"), login); got.status != 403 || got.passed {
			t.Errorf("an upgrade with %v: %+v", fields, got)
		}
	}
}

// result is what became of a request.
type result struct {
	status int
	header http.Header
	body   string
	passed bool
	user   string // of the Exchange
	groups []string
	holds  func() bool
	record struct {
		User string
		Err  error
	}
}

// check makes sure of what every answer of that status has.
func (got result) check(t *testing.T) {
	t.Helper()
	switch got.status {
	case http.StatusOK:
		wantCache := []string{"private"}
		if got.record.User == "" { // public
			wantCache = nil
		}
		if got.user != got.record.User || !slices.Equal(got.header["Cache-Control"], wantCache) || (got.user == "alice") != slices.Equal(got.groups, []string{"staff"}) {
			t.Errorf("the handler gets %q %q; the answer has %v", got.user, got.groups, got.header)
		}
	case http.StatusFound:
		location := got.header.Get("Location")
		if !strings.HasPrefix(location, "https://login/?app app.test:8443 /a%2Fb?c") || !slices.Equal(got.header["Set-Cookie"], []string{"flow-1=x", "flow-0=; Max-Age=-1"}) ||
			got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("the way to the login: %v", got.header)
		}
	case http.StatusUnauthorized:
		if got.header.Get("Cache-Control") != "no-store" || got.header["Set-Cookie"] != nil || got.header["Location"] != nil {
			t.Errorf("the refusal: %v", got.header)
		}
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		if !errors.Is(got.record.Err, errDown) || got.user != "" || strings.Contains(got.body, "store") {
			t.Errorf("the store's error: %v; the page: %q", got.record.Err, got.body)
		}
	case http.StatusForbidden:
		if got.user != "" || got.body != "not for "+got.record.User+"\n" {
			t.Errorf("forbidden: %q", got.body)
		}
	}
}

// ask sends one request through Pass.
func ask(t *testing.T, f *fake, major int, method string, fields http.Header, access conf.Access) (got result) {
	t.Helper()
	h := wire.HandlerFunc(func(x *wire.Exchange) {
		if got.passed = Pass(x, f, "app", access, f.rules); got.passed {
			wire.ReplyText(x, http.StatusOK, "in")
		}
		got.holds = x.Holds
		got.user, got.groups, got.record.User, got.record.Err = x.User, x.Groups, x.Record.User, x.Record.Err
	})
	serve(t, major, h, func(s *httptest.Server) {
		r, _ := http.NewRequest(method, s.URL+"/a%2Fb?c", nil)
		r.Host, r.Header = "App.test:8443", with(fields)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		got.status, got.header, got.body = resp.StatusCode, resp.Header, string(b)
	})
	return got
}

// serve lends a server of h.
func serve(t *testing.T, major int, h wire.Handler, use func(*httptest.Server)) {
	t.Helper()
	c := &wire.Conn{TLS: &tls.ConnectionState{}, Body: patience, Write: patience}
	s := httptest.NewUnstartedServer(wire.ServeHTTP(h, c, nil))
	s.EnableHTTP2 = major == 2
	s.StartTLS()
	defer s.Close()
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	use(s)
}
