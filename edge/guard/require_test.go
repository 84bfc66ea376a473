package guard

import (
	"net/http"
	"testing"

	"edge/conf"
)

// Where a second factor is required a login without one is sent to get it, by navigation, and is 401 to everything else; on each request.
func TestSecondFactor(t *testing.T) {
	login, both := conf.Access{Login: true}, conf.Access{Login: true, SecondFactor: true}
	for name, c := range map[string]struct {
		access  conf.Access
		fields  http.Header
		status  int
		stepped int
		user    string
		h1      bool
	}{
		"one factor is enough":     {access: login, fields: with(page, "Cookie", "s=bob"), status: 200, user: "bob"},
		"nobody":                   {access: both, fields: page, status: 302, stepped: 1},
		"nobody, program":          {access: both, status: 401},
		"one factor":               {access: both, fields: with(page, "Cookie", "s=bob"), status: 302, stepped: 1, user: "bob"},
		"one factor, program":      {access: both, fields: with(nil, "Cookie", "s=bob"), status: 401, user: "bob"},
		"one factor, upgrade":      {access: both, fields: with(socket, "Cookie", "s=bob"), status: 401, user: "bob", h1: true},
		"two factors":              {access: both, fields: with(page, "Cookie", "s=bob twice"), status: 200, user: "bob"},
		"two factors, program":     {access: both, fields: with(nil, "Cookie", "s=bob twice"), status: 200, user: "bob"},
		"two factors, upgrade":     {access: both, fields: with(socket, "Cookie", "s=bob twice"), status: 200, user: "bob", h1: true},
		"two factors, not allowed": {access: conf.Access{Users: []string{"x"}, SecondFactor: true}, fields: with(page, "Cookie", "s=bob twice"), status: 403, user: "bob"},
		"one factor, not allowed":  {access: conf.Access{Users: []string{"x"}, SecondFactor: true}, fields: with(page, "Cookie", "s=bob"), status: 403, user: "bob"},
		"of no known level":        {access: both, fields: with(page, "Cookie", "s=alice"), status: 302, stepped: 1, user: "alice"},
	} {
		for _, major := range []int{1, 2} {
			if c.h1 && major == 2 {
				continue
			}
			f := &fake{t: t}
			got := ask(t, f, major, "", c.fields, c.access)
			if got.status != c.status || f.stepped != c.stepped || f.began != c.stepped || got.record.User != c.user || got.passed != (c.status == 200) {
				t.Errorf("%s, HTTP/%d: got %+v, %d logins began, %d stepped up", name, major, got, f.began, f.stepped)
			}
		}
	}
}
