package conf

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestRules(t *testing.T) {
	c := parse(t, `
[[listener]]
name = "a"
address = ["127.0.0.1:1", "unix:/run/a"]
protocol = "http"
trusted_proxies = ["10.0.0.0/8", "192.0.2.1", "::1/128", "unix"]
[[vhost]]
hosts = "a"
proxy = "up"
allow = ["10.0.0.0/8"]
deny = ["10.6.6.6"]
rate_limit = { requests = 10, burst = 20 }
basic_auth = { file = "users" }
forwarded = true
headers = { "A" = "vhost", "B" = "vhost" }
request_headers = { "X-Env" = "prod", "Cookie" = "" }
error_pages = { "404" = "404.html", "502-504" = "/down.html" }
maintenance = { page = "down.html", retry_after = "1m", allow = "::1" }
	[[vhost.route]]
	path = "/same/"
	echo = true
	[[vhost.route]]
	path = "/own/"
	proxy = "up"
	strip_prefix = true
	allow = "192.0.2.0/24"
	deny = "192.0.2.6"
	rate_limit = { requests = 3, per = "1m" }
	basic_auth = { file = "others", realm = "others" }
	headers = { "a" = "", "C" = "route" }
	request_headers = { "x-env" = "test" }
	forwarded = false
	intercept_errors = true
	[[vhost.route]]
	path = "/none/"
	echo = true
	rate_limit = false
	basic_auth = false
[[vhost]]
hosts = "b"
echo = true
maintenance = true
	[[vhost.route]]
	path = "/b/"
	echo = true
[[upstream]]
name = "up"
targets = "http://127.0.0.1:1"
forwarded = true
`+https)
	ln := c.Listeners[0]
	if fmt.Sprint(ln.TrustedProxies) != "[10.0.0.0/8 192.0.2.1/32 ::1/128]" || !ln.TrustsUnix {
		t.Errorf("trusted: %v %v", ln.TrustedProxies, ln.TrustsUnix)
	}
	v := c.Vhosts[0]
	same, own, none := v.Routes[1], v.Routes[2], v.Routes[3]
	if !reflect.DeepEqual(v.Rules, v.Routes[0].Rules) {
		t.Error("the vhost's rules are not those of its own action")
	}
	inherited := same.Rules
	inherited.Pos = v.Rules.Pos
	if !reflect.DeepEqual(inherited, v.Rules) || same.RateLimit != v.RateLimit {
		t.Errorf("a route that says nothing has %+v", same.Rules)
	}
	for _, c := range []struct{ what, got, want any }{
		{"allow", v.Allow, "[10.0.0.0/8]"}, {"own allow", own.Allow, "[192.0.2.0/24]"},
		{"deny", v.Deny, "[10.6.6.6/32]"}, {"deny adds up", own.Deny, "[10.6.6.6/32 192.0.2.6/32]"},
		{"limit", fmt.Sprint(v.RateLimit.Requests, v.RateLimit.Per, v.RateLimit.Burst), "10 1s 20"},
		{"own limit", fmt.Sprint(own.RateLimit.Requests, own.RateLimit.Per, own.RateLimit.Burst), "3 1m0s 3"},
		{"users", v.BasicAuth.File.Path + " " + v.BasicAuth.Realm, "/etc/edge/users a"},
		{"own users", own.BasicAuth.File.Path + " " + own.BasicAuth.Realm, "/etc/edge/others others"},
		{"taken off", fmt.Sprint(none.RateLimit, none.BasicAuth), "<nil> <nil>"},
		{"headers add up", byName(own.Headers), "a= b=vhost c=route "},
		{"request headers", byName(v.RequestHeaders), "cookie= x-env=prod "}, {"add up", byName(own.RequestHeaders), "cookie= x-env=test "},
		{"forwarded", fmt.Sprint(v.Forwarded, own.Forwarded, c.Upstreams[0].Forwarded), "true false true"},
		{"intercept", fmt.Sprint(v.InterceptErrors, own.InterceptErrors), "false true"},
		{"strip", fmt.Sprint(same.StripPrefix, own.StripPrefix), "false true"},
		{"pages", fmt.Sprint(v.ErrorPages[0].First, v.ErrorPages[0].Last, " ", v.ErrorPages[0].Page.Path), "404 404 /etc/edge/404.html"},
		{"pages", fmt.Sprint(v.ErrorPages[1].First, v.ErrorPages[1].Last, " ", v.ErrorPages[1].Page.Path), "502 504 /down.html"},
		{"maintenance", fmt.Sprint(v.Maintenance.Page.Path, " ", v.Maintenance.RetryAfter, v.Maintenance.Allow), "/etc/edge/down.html 1m0s [::1/128]"},
		{"the switch", fmt.Sprint(c.Vhosts[1].Maintenance.RetryAfter, c.Vhosts[1].Maintenance.Page.Path), (10 * time.Minute).String()},
		{"nothing", fmt.Sprint(c.Vhosts[1].Allow == nil, c.Vhosts[1].Deny == nil, c.Vhosts[1].Routes[1].Deny == nil, c.Vhosts[1].Headers == nil), "true true true true"},
	} {
		if fmt.Sprint(c.got) != c.want {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
}

func byName(hs []Header) (s string) {
	for _, h := range hs {
		s += h.Name + "=" + h.Value + " "
	}
	return s
}

func TestEverybodyIsTrusted(t *testing.T) {
	c := parse(t, http+"trusted_proxies = [\"::1\", \"0.0.0.0/0\"]\n")
	if got := Errors(c.Warnings).Error(); got != "/etc/edge/edge.toml:6:27: every client is trusted to say who it is: name the proxies only" {
		t.Errorf("warnings: %s", got)
	}
}

func TestPrefixes(t *testing.T) {
	ps := Prefixes{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10")}
	for a, want := range map[string]bool{
		"10.1.2.3": true, "11.0.0.0": false, "::ffff:10.1.2.3": true, "::ffff:11.0.0.0": false, "fe80::1%eth0": true, "::1": false, "": false,
	} {
		addr, _ := netip.ParseAddr(a)
		if ps.Contains(addr) != want {
			t.Errorf("%q: %v", a, !want)
		}
	}
	if (Prefixes)(nil).Contains(netip.MustParseAddr("10.1.2.3")) {
		t.Error("no prefix contains an address")
	}
}
