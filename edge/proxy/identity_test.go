package proxy

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"edge/conf"
	"edge/edge/wire"
)

// told serves an exchange as somebody's, and gives the fields that the upstream gets of those that it is told who asks by.
func told(t *testing.T, major int, i *Identity, who wire.Exchange, sent http.Header) http.Header {
	t.Helper()
	got := make(chan http.Header, 1)
	_, p := origin(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	p.Identity = i
	f := serve(t, major, func(x *wire.Exchange) {
		x.User, x.Groups, x.Email, x.Assertion = who.User, who.Groups, who.Email, who.Assertion
		p.Serve(x)
	})
	if _, _, err := f.ask(t, "GET", "/", sent.Clone(), nil); err != nil {
		t.Fatal(err)
	}
	h := wait(t, "the request", got)
	for _, name := range []string{"User-Agent", "Accept-Encoding", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		h.Del(name)
	}
	return h
}

// Who asks is told by the names that the configuration gives, and what a client sends by any of them goes nowhere: look-alikes (attack 2 of LOGIN.md
// §2h), what we do not say of this user (attack 3), where nobody is known (attack 4).
func TestIdentityNames(t *testing.T) {
	names := conf.Identity{User: "x-who", Groups: "x-teams", Email: "remote-email", JWT: "x-proof"}
	own := NewIdentity(names, map[string]bool{"x-who": true, "x-teams": true, "x-proof": true, "x-of-another": true})
	off := NewIdentity(conf.Identity{}, nil)
	evil := http.Header{}
	for _, name := range []string{
		"X-Who", "x_who", "X_WHO_", "X.Who", "x-teams", "X_Teams", "X-Proof", "x_proof", "X-Of-Another", "X_Of_Another",
		"Remote-User", "remote_user", "Remote-Groups", "Remote-Email", "Remote_Email", "X-Edge-Jwt-Assertion", "X_Edge_Jwt_Assertion",
	} {
		evil[name] = []string{"admin"}
	}
	alice := wire.Exchange{User: "alice", Groups: []string{"staff", "dev"}, Email: "alice@example.org", Assertion: "a.b.c"}
	bothModes(t, func(t *testing.T, major int) {
		for name, c := range map[string]struct {
			by   *Identity
			who  wire.Exchange
			want http.Header
		}{
			"own names":        {own, alice, http.Header{"X-Who": {"alice"}, "X-Teams": {"staff,dev"}, "Remote-Email": {"alice@example.org"}, "X-Proof": {"a.b.c"}}},
			"nothing known":    {own, wire.Exchange{User: "bob"}, http.Header{"X-Who": {"bob"}}},
			"nobody":           {own, wire.Exchange{Groups: []string{"staff"}, Email: "a@b", Assertion: "a.b.c"}, http.Header{}},
			"a comma":          {own, wire.Exchange{User: "bob", Groups: []string{"x,admin", "staff", "", "a\nb", " c", "d e"}}, http.Header{"X-Who": {"bob"}, "X-Teams": {"staff,d e"}}},
			"a control byte":   {own, wire.Exchange{User: "bob\r\nX-Teams: admin", Email: "a\x00b"}, http.Header{}},
			"by default":       {nil, alice, http.Header{"Remote-User": {"alice"}, "Remote-Groups": {"staff,dev"}, "Remote-Email": {"alice@example.org"}}},
			"nothing is asked": {off, alice, http.Header{}},
		} {
			sent := evil
			if c.by == nil || c.by == off { // X-Who is nobody's there
				sent = maps.Clone(evil)
				maps.DeleteFunc(sent, func(name string, _ []string) bool {
					return !strings.Contains(strings.ToLower(name), "remote") && !strings.Contains(strings.ToLower(name), "edge")
				})
			}
			if got := told(t, major, c.by, c.who, sent); !maps.EqualFunc(got, c.want, slices.Equal[[]string]) {
				t.Errorf("%s: the upstream gets %v, want %v", name, got, c.want)
			}
		}
	})
}

// A Referer that names a page of the login, which may hold a code, goes nowhere; any other one does. (Attack 49 of LOGIN.md §2h.)
func TestNoCodeInReferer(t *testing.T) {
	for referer, want := range map[string][]string{
		"https://a.test/.edge/auth/callback?code=secret&flow=x": nil,
		"https://a.test/page?code=theirs":                       {"https://a.test/page?code=theirs"},
	} {
		if got := told(t, 1, nil, wire.Exchange{}, http.Header{"Referer": {referer}}); !slices.Equal(got["Referer"], want) {
			t.Errorf("%s: the upstream gets %q", referer, got["Referer"])
		}
	}
}

// A trailer neither tells who asks nor is a cookie.
func TestTrailersTellNothing(t *testing.T) {
	p := &Proxy{Identity: NewIdentity(conf.Identity{}, map[string]bool{"x-who": true})}
	for name, want := range map[string]bool{"x-who": true, "x_who": true, "remote-user": true, "cookie": true, "x-checksum": false} {
		if p.dropsTrailer([]byte(name)) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// To tell who asks allocates nothing, whatever is told.
func TestAllocIdentity(t *testing.T) {
	if raced {
		t.Skip("the race detector allocates")
	}
	p := &Proxy{
		Upstream: pool(t, spec("http://"+parrot(t, kilobyte+strings.Repeat("x", 1024)))),
		Identity: NewIdentity(conf.Identity{User: "x-who", Groups: "x-teams", Email: "x-email", JWT: "x-proof"}, map[string]bool{"x-who": true}),
	}
	x, s := frequentRequest()
	x.Fields = x.Fields.Add("referer", "https://a.test/")
	x.User, x.Groups, x.Email, x.Assertion = "alice", []string{"staff", "dev", "ops"}, "alice@example.org", strings.Repeat("x", 700)
	if n := testing.AllocsPerRun(5000, func() { p.Serve(x) }); n > 0 || s.status != 200 {
		t.Errorf("%v allocations; status %d, %v", n, s.status, x.Record.Err)
	}
}
