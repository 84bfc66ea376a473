package guard

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"edge/conf"
	"edge/edge/wire"
)

// A token goes with who asks, where a login is asked for and nowhere else; where there is none to be had nobody passes.
func TestAssertion(t *testing.T) {
	token := func(f *fake, access conf.Access) (token string, passed bool) {
		h := wire.HandlerFunc(func(x *wire.Exchange) {
			if passed = Pass(x, f, "app", access, nil); passed {
				token = x.Assertion
				wire.ReplyText(x, http.StatusOK, "in")
			}
		})
		serve(t, 1, h, func(s *httptest.Server) {
			r, _ := http.NewRequest(http.MethodGet, s.URL, nil)
			r.Header.Set("Cookie", "s=alice")
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		})
		return token, passed
	}
	if got, passed := token(&fake{t: t}, conf.Access{Login: true}); got != "token of alice for app" || !passed {
		t.Errorf("the token is %q, %v", got, passed)
	}
	if got, passed := token(&fake{t: t}, conf.Access{Public: true}); got != "" || !passed {
		t.Errorf("a public route's token is %q, %v", got, passed)
	}
	if _, passed := token(&fake{t: t, unsigned: errDown}, conf.Access{Login: true}); passed {
		t.Error("without a token it passes")
	}
}
