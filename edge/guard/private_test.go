package guard

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"edge/conf"
	"edge/edge/wire"
)

const patience = 10 * time.Second

// What one person may see stays out of shared caches, unless the upstream says how it may be cached.
func TestPrivate(t *testing.T) {
	for given, want := range map[string]string{"": "private", "public, max-age=60": "public, max-age=60", "no-store": "no-store"} {
		for _, major := range []int{1, 2} {
			h := wire.HandlerFunc(func(x *wire.Exchange) {
				if !Pass(x, &fake{t: t}, "app", conf.Access{Login: true}, nil) {
					t.Error("alice does not pass")
					return
				}
				var f wire.Fields
				if given != "" {
					f = f.Add("cache-control", given)
				}
				x.Head(http.StatusNotModified, f, 0)
				x.Finish(nil)
			})
			serve(t, major, h, func(s *httptest.Server) {
				r, _ := http.NewRequest("GET", s.URL, nil)
				r.Header.Set("Cookie", "s=alice")
				resp, err := s.Client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if got := resp.Header["Cache-Control"]; !slices.Equal(got, []string{want}) {
					t.Errorf("upstream's %q becomes %q", given, got)
				}
			})
		}
	}
}

// Two Cookie fields, which no engine of ours gives, are no cookie: which one an upstream would read is anybody's guess.
func TestTwoCookieFields(t *testing.T) {
	h := wire.HandlerFunc(func(x *wire.Exchange) {
		x.Fields = x.Fields.Add("cookie", "s=alice").Add("cookie", "s=bob")
		if Pass(x, &fake{t: t}, "app", conf.Access{Login: true}, nil) {
			t.Error("it passes")
		}
	})
	w := httptest.NewRecorder()
	wire.ServeHTTP(h, &wire.Conn{Body: patience, Write: patience}, nil).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("got %d", w.Code)
	}
}

// What a client sends in two lines or crumbs is one cookie, for the guard and for an upstream alike.
func TestCookieCrumbs(t *testing.T) {
	if got := ask(t, &fake{t: t}, 1, "", http.Header{"Cookie": {"s=alice", "s=bob"}}, conf.Access{Login: true}); got.status != http.StatusUnauthorized {
		t.Errorf("got %+v", got)
	}
}
