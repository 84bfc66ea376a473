package sessions

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Where the configuration names the port at which browsers reach us, nobody who serves the login host's name at another one can pass a passkey's answer on, or
// have a code sent there: not even one who says that port in all that we are told. Without it the browser's word is what there is.
func TestPortOfTheConfiguration(t *testing.T) {
	w, a := withPasskey(t)
	try := func(port int, at, origin string) page {
		t.Helper()
		w.conf.Port = port
		relay := w.browser()
		relay.server, relay.stop = w.Pages(), "/"
		began := relay.post("https://"+at+"/passkey/begin", url.Values{"for": {forLogin}})
		var g begun
		if err := json.Unmarshal([]byte(began.body), &g); err != nil {
			t.Fatalf("%v: %d %s", err, began.status, began.body)
		}
		a.origin = origin
		return relay.post("https://"+at+"/passkey/login", url.Values{"state": {g.State}, "credential": {a.get(g)}})
	}
	const elsewhere = "login.test:9999"
	for _, c := range []struct {
		port       int
		at, origin string
		want       int
	}{
		{0, elsewhere, "https://" + elsewhere, http.StatusSeeOther},
		{8443, elsewhere, "https://" + elsewhere, http.StatusForbidden},
		{8443, loginHost, "https://" + elsewhere, http.StatusForbidden},
		{8443, loginHost, "https://" + loginHost, http.StatusSeeOther},
		{8443, elsewhere, "https://" + loginHost, http.StatusSeeOther}, // it is the page of the right one that asked
		{443, loginHost, "https://" + loginHost, http.StatusForbidden},
		{443, loginHost, "https://login.test", http.StatusSeeOther},
	} {
		if p := try(c.port, c.at, c.origin); p.status != c.want {
			t.Errorf("port %d, asked at %s, a passkey of %s: %d, want %d", c.port, c.at, c.origin, p.status, c.want)
		}
	}
	for port, want := range map[int]string{0: "https://login.test:9999/login?f=", 8443: "https://login.test:8443/login?f=", 443: "https://login.test/login?f="} {
		w.conf.Port = port
		if at, _, err := w.Begin(wikiID, "wiki.example:9999", "/", nil); err != nil || !strings.HasPrefix(at, want) {
			t.Errorf("port %d: a stranger is sent to %s, %v", port, at, err)
		}
	}
	w.conf.Port = 8443
	b := w.browser()
	p := b.get("https://" + wiki + "/")
	b.server, b.stop = w.Pages(), callbackPath
	p = b.post("https://"+elsewhere+"/login", url.Values{"f": {hidden.FindStringSubmatch(p.body)[1]}, "name": {"bob"}, "password": {"battery staple"}})
	if at := p.header.Get("Location"); !strings.HasPrefix(at, "https://"+wiki+callbackPath) {
		t.Errorf("the code is sent to %q, %d", at, p.status)
	}
}
