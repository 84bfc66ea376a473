package edge

import (
	"slices"
	"testing"

	"edge/edge/guard"
)

// The rule of a place is that of its host and path on its listener; where the listener has it no more, that of the same virtual host on another.
func TestRuleInForce(t *testing.T) {
	s := newServer(t, t.TempDir(), "", base+`
[login]
host = "login.localhost"
[[vhost]]
hosts = ["a.localhost", "x.localhost"]
access = ["both"]
echo = true
  [[vhost.route]]
  path = "/admin/"
  access = ["admin"]
  echo = true
[[vhost]]
hosts = ["b.localhost"]
access = ["b"]
  [[vhost.route]]
  path = "/only/"
  echo = true
`)
	for _, c := range []struct {
		at   guard.Place
		want []string // nil: there is no rule
	}{
		{guard.Place{Listener: "https", Vhost: "a.localhost", Host: "a.localhost", Path: "/x"}, []string{"both"}},
		{guard.Place{Listener: "https", Vhost: "a.localhost", Host: "x.localhost", Path: "/admin/x"}, []string{"admin"}},
		{guard.Place{Listener: "https", Vhost: "a.localhost", Host: "a.localhost", Path: "/%61dmin/x"}, []string{}},
		{guard.Place{Listener: "https", Vhost: "a.localhost", Host: "b.localhost", Path: "/only/x"}, []string{"b"}},
		{guard.Place{Listener: "https", Vhost: "b.localhost", Host: "b.localhost", Path: "/x"}, nil},
		{guard.Place{Listener: "https", Vhost: "b.localhost", Host: "b.localhost", Path: "/only"}, nil},
		{guard.Place{Listener: "https", Vhost: "c.localhost", Host: "c.localhost", Path: "/x"}, nil},
		{guard.Place{Listener: "gone", Vhost: "a.localhost", Host: "x.localhost", Path: "/x"}, []string{"both"}},
		{guard.Place{Listener: "gone", Vhost: "c.localhost", Host: "a.localhost", Path: "/x"}, nil},
	} {
		by, a, ok := s.ruleInForce(c.at)
		if ok != (c.want != nil) || ok != (by != nil) || a.Public || a.Login || !slices.Equal(a.Users, c.want) {
			t.Errorf("%+v: %v, %+v, %v; want %q", c.at, by, a, ok, c.want)
		}
	}
}
