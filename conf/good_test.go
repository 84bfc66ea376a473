package conf

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"
)

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("/etc/edge/edge.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type goodFile struct {
	name, text string
	got        func(*Config) any
	want       any
}

var good = []goodFile{
	{"the default state_dir", http,
		func(c *Config) any { return [2]any{c.StateDir, c.StateDirPos.String()} }, [2]any{"/var/lib/edge", "/etc/edge/edge.toml"}},
	{"a relative state_dir", `state_dir = "../state"` + http,
		func(c *Config) any { return [2]any{c.StateDir, c.StateDirPos.String()} }, [2]any{"/etc/state", "/etc/edge/edge.toml:1:13"}},
	{"a byte order mark", "\xef\xbb\xbf" + `state_dir = "/a"` + http,
		func(c *Config) any { return [2]any{c.StateDir, c.StateDirPos.Column} }, [2]any{"/a", 13}},
	{"default settings", http,
		func(c *Config) any { return []any{c.Drain, c.Upgrade, c.Log.Access, c.Log.Level, c.Login} },
		[]any{
			Drain{Spread: 5 * time.Second, Stop: 30 * time.Second}, Upgrade{Pos{}, time.Minute, 10 * time.Second, 8},
			"/var/lib/edge/access.log", slog.LevelInfo, (*Login)(nil),
		}},
	{"settings", `
[drain]
spread = "0s"
stop = "1s"
hard = "1h"
[upgrade]
ready = "1s"
probation = "2s"
max_generations = 3
[log]
access = "a.log"
level = "debug"
` + http,
		func(c *Config) any { return []any{c.Drain, c.Upgrade, c.Log.Access, c.Log.Pos.Line, c.Log.Level} },
		[]any{Drain{Stop: time.Second, Hard: time.Hour}, Upgrade{Pos{}, time.Second, 2 * time.Second, 3}, "/etc/edge/a.log", 11, slog.LevelDebug}},
	{"access log words", "[log]\naccess = \"off\"" + http, func(c *Config) any { return c.Log.Access }, "off"},

	{"a listener's defaults", http,
		func(c *Config) any { l := *c.Listeners[0]; l.Pos, l.Addresses = Pos{}, nil; return l },
		Listener{Name: "http", Protocol: HTTP, MaxHeader: 64 << 10, KeepAlive: 15 * time.Second, SocketMode: 0o600,
			Timeouts: ListenerTimeouts{Header: 10 * time.Second, Body: time.Minute, Write: time.Minute, Idle: 6 * time.Minute, Tunnel: time.Hour}}},
	{"a listener's options", `
[[listener]]
name = "a"
address = ":1"
protocol = "http"
max_connections = 5
max_header = "1MB"
timeouts = { header = "1s", body = "2s", write = "3s", idle = "4s", tunnel = "5s" }
`,
		func(c *Config) any { l := c.Listeners[0]; return []any{l.MaxConnections, l.MaxHeader, l.Timeouts} },
		[]any{5, int64(1e6), ListenerTimeouts{Pos{}, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second}}},
	{"addresses", `
[[listener]]
name = "a"
address = ["127.0.0.1:080", "[0:0::1]:80", "*:81", ":82", "0.0.0.0:83", "[::]:84", "[::ffff:1.2.3.4]:85", "1.2.3.5:0", "unix:run/a", "unix:/b/../c", "unix:@d"]
protocol = "http"
`,
		func(c *Config) any {
			var s []string
			for _, a := range c.Listeners[0].Addresses {
				s = append(s, a.Network+" "+a.Address)
			}
			return s
		},
		[]string{"tcp 127.0.0.1:80", "tcp [::1]:80", "tcp :81", "tcp :82", "tcp 0.0.0.0:83", "tcp [::]:84", "tcp 1.2.3.4:85", "tcp 1.2.3.5:0",
			"unix /etc/edge/run/a", "unix /c", "unix @d"}},
	{"redirect_to a later listener", http + `redirect_to = "https"` + https,
		func(c *Config) any { return c.Listeners[0].RedirectTo == c.Listeners[1] }, true},
	{"listeners that relay bytes", `
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "tcp"
proxy = "tcp://127.0.0.1:5432"
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tls"
proxy = "unix:/run/b"
[[certificate]]
cert = "cert.pem"
key = "key.pem"
`,
		func(c *Config) any {
			return []any{c.Listeners[0].Proxy.Targets[0].Address, c.Listeners[1].Proxy.Name, c.Listeners[1].Proxy.Targets[0].Scheme}
		},
		[]any{"127.0.0.1:5432", "unix:/run/b", "unix"}},

	{"certificate files", "[[certificate]]\ncert = \"a.pem\"\nkey = \"/b.pem\"" + http,
		func(c *Config) any {
			ct := c.Certificates[0]
			return []any{ct.Issuer, ct.Cert.Path, ct.Cert.Pos.String(), ct.Key.Path, len(ct.Hosts)}
		},
		[]any{"files", "/etc/edge/a.pem", "/etc/edge/edge.toml:2:8", "/b.pem", 0}},
	{"a development certificate", https,
		func(c *Config) any { return []any{c.Certificates[0].Issuer, c.Certificates[0].Dir} }, []any{"dev", "/var/lib/edge/certs"}},
	{"its folder", https + `dir = "../certs/dev"`, func(c *Config) any { return c.Certificates[0].Dir }, "/etc/certs/dev"},

	{"hosts", `
[[vhost]]
hosts = ["Wiki.Example.ORG.", "*.bücher.example", "::1", "[0:0::2]", "127.0.0.1", "a-b.c1", "xn--bcher-kva.example"]
echo = true
` + https,
		func(c *Config) any {
			names := []string{"ID " + c.Vhosts[0].ID}
			for _, h := range c.Vhosts[0].Hosts {
				names = append(names, h.Name)
			}
			return names
		},
		[]string{"ID wiki.example.org", "wiki.example.org", "*.xn--bcher-kva.example", "::1", "::2", "127.0.0.1", "a-b.c1", "xn--bcher-kva.example"}},
	{"a vhost is on every https listener", `
[[vhost]]
hosts = "a"
echo = true
[[listener]]
name = "second"
address = "127.0.0.1:2"
protocol = "https"
` + http + https,
		func(c *Config) any { return []string{c.Vhosts[0].Listeners[0].Name, c.Vhosts[0].Listeners[1].Name} }, []string{"second", "https"}},
	{"or where it says", `
[[vhost]]
hosts = "a"
echo = true
listeners = "http"
[[vhost]]
hosts = "a"
echo = true
` + http + https,
		func(c *Config) any { return []string{c.Vhosts[0].Listeners[0].Name, c.Vhosts[1].Listeners[0].Name} }, []string{"http", "https"}},
	{"headers", `
[[vhost]]
hosts = "a"
echo = true
headers = { Server = "", "Strict-Transport-Security" = "max-age=31536000", X-A = "é\t1" }
` + https,
		func(c *Config) any {
			var s []string
			for _, h := range c.Vhosts[0].Headers {
				s = append(s, h.Name+": "+h.Value)
			}
			return s
		},
		[]string{"server: ", "strict-transport-security: max-age=31536000", "x-a: é\t1"}},
	{"routes", `
[[vhost]]
hosts = "a"
files = "../site"
fallback = "/index.html"
max_body = "1KiB"
	[[vhost.route]]
	path = "/ping"
	respond = { status = 203, body = "pong" }
	[[vhost.route]]
	path = "/a/"
	redirect = "https://www.example.org"
	max_body = 0
	[[vhost.route]]
	path = "/b"
	redirect = { to = "/c?d", status = 303 }
	[[vhost.route]]
	path = "/d"
	echo = true
	[[vhost.route]]
	path = "/e"
	respond = {}
` + https,
		func(c *Config) any {
			var s []any
			for _, r := range c.Vhosts[0].Routes {
				switch {
				case r.Files != nil:
					s = append(s, r.Path, r.MaxBody, r.Files.Root.Path, r.Files.Fallback)
				case r.Redirect != nil:
					s = append(s, r.Path, r.MaxBody, *r.Redirect)
				case r.Respond != nil:
					s = append(s, r.Path, r.MaxBody, *r.Respond)
				default:
					s = append(s, r.Path, r.MaxBody, r.Echo)
				}
			}
			return s
		},
		[]any{
			"/", int64(1024), "/etc/site", "/index.html", "/ping", int64(1024), Respond{Status: 203, Body: "pong"},
			"/a/", int64(0), Redirect{To: "https://www.example.org", Status: 308}, "/b", int64(1024), Redirect{To: "/c?d", Status: 303},
			"/d", int64(1024), true, "/e", int64(1024), Respond{Status: 200},
		}},
	{"redirects", `
[[vhost]]
hosts = "a"
route = [
  { path = "/1", redirect = "http://[::1]:8080/a?b=c" },
  { path = "/2", redirect = "https://a.org:8443" },
  { path = "/3", redirect = "/" },
]
` + https,
		func(c *Config) any { return c.Vhosts[0].Routes[2].Redirect.To }, "/"},
	{"access without login", "[[vhost]]\nhosts = \"a\"\necho = true\n" + https,
		func(c *Config) any { return c.Vhosts[0].Routes[0].Access.Public }, true},
	{"access", `
[[vhost]]
hosts = "a"
echo = true
access = ["group:staff", "alice", "bob@example.org"]
	[[vhost.route]]
	path = "/inherited"
	echo = true
	[[vhost.route]]
	path = "/public"
	echo = true
	access = "public"
	[[vhost.route]]
	path = "/login"
	echo = true
	access = ["login"]
` + https + login,
		func(c *Config) any {
			var s []Access
			for _, r := range c.Vhosts[0].Routes {
				r.Access.Pos = Pos{}
				s = append(s, r.Access)
			}
			return s
		},
		[]Access{
			{Users: []string{"alice", "bob@example.org"}, Groups: []string{"staff"}},
			{Users: []string{"alice", "bob@example.org"}, Groups: []string{"staff"}},
			{Public: true}, {Login: true},
		}},
	{"access on each route is enough", `
[[vhost]]
hosts = "a"
listeners = "http"
	[[vhost.route]]
	path = "/a"
	echo = true
	access = "public"
` + https + http + login,
		func(c *Config) any { return len(c.Vhosts[0].Routes) }, 1},

	{"an upstream's defaults", `
[[upstream]]
name = "app"
targets = "http://127.0.0.1:9001"
`,
		func(c *Config) any { u := *c.Upstreams[0]; u.Pos, u.Targets = Pos{}, nil; return u },
		Upstream{Name: "app", Timeouts: UpstreamTimeouts{Pos{}, 5 * time.Second, time.Minute, 55 * time.Second}, MaxFails: 3, FailTimeout: 10 * time.Second}},
	{"an upstream's options", `
[[upstream]]
name = "app"
targets = ["https://127.0.0.1", "https://[::1]:444"]
balance = "least_connections"
max_fails = 0
fail_timeout = "1m"
host = "target"
timeouts = { connect = "1s", response = "2s", idle = "3s" }
tls = { ca = "ca.pem", server_name = "App" }
`,
		func(c *Config) any {
			u := *c.Upstreams[0]
			return []any{u.Timeouts, u.LeastConnections, u.MaxFails, u.FailTimeout, u.HostTarget, u.CA.Path, u.TLSServerName, u.Targets[0].Address, u.Targets[1].Address}
		},
		[]any{UpstreamTimeouts{Pos{}, time.Second, 2 * time.Second, 3 * time.Second}, true, 0, time.Minute, true, "/etc/edge/ca.pem", "app", "127.0.0.1:443", "[::1]:444"}},
	{"targets", `
[[upstream]]
name = "app"
balance = "round_robin"
targets = ["http://My_App", "https://a", "h2c://[::1]", "h2://a", "h2://b:8443", "unix:/run/a", "unix:b", "http://[::1]"]
`,
		func(c *Config) any {
			var s []string
			for _, t := range c.Upstreams[0].Targets {
				s = append(s, t.Scheme+" "+t.Address)
			}
			return append(s, fmt.Sprint(c.Upstreams[0].LeastConnections))
		},
		[]string{"http my_app:80", "https a:443", "h2c [::1]:80", "h2 a:443", "h2 b:8443", "unix /run/a", "unix /etc/edge/b", "http [::1]:80", "false"}},
	{"one URL is one upstream", `
[[vhost]]
hosts = "a"
proxy = "http://LOCALHOST:80"
	[[vhost.route]]
	path = "/a"
	proxy = "http://localhost"
	[[vhost.route]]
	path = "/b"
	proxy = "app"
[[upstream]]
name = "app"
targets = "http://localhost"
` + https,
		func(c *Config) any {
			r := c.Vhosts[0].Routes
			return []any{r[0].Proxy == r[1].Proxy, r[2].Proxy == c.Upstreams[0], c.Upstreams[1].Name, len(c.Upstreams), len(c.Warnings)}
		},
		[]any{true, true, "http://localhost:80", 2, 0}},
	{"an upstream that is not used", "[[upstream]]\nname = \"app\"\ntargets = \"http://a\"",
		func(c *Config) any { return Errors(c.Warnings).Error() }, `/etc/edge/edge.toml:1:1: upstream "app" is not used`},

	{"login's defaults", https + login,
		func(c *Config) any { l := *c.Login; l.Pos, l.AuditPos = Pos{}, Pos{}; return l },
		Login{Host: "login.localhost", Registration: Closed, Idle: 12 * time.Hour, Lifetime: 168 * time.Hour, Color: "#3557d4", Identity: defaultIdentity,
			Audit: "/var/lib/edge/audit.log"}},
	{"open registration", `
[login]
host = "Login.Localhost."
registration = "open"
[[vhost]]
hosts = ["*.localhost"]
access = "login"
echo = true
	[[vhost.route]]
	path = "/a"
	echo = true
	access = ["alice"]
` + https,
		func(c *Config) any { return Errors(c.Warnings).Error() },
		`/etc/edge/edge.toml:2:1: anybody can make an account, and access = "login" lets them in: *.localhost/`},
	{"open registration where it opens nothing", `
[login]
host = "login.localhost"
registration = "open"
` + https, func(c *Config) any { return []any{c.Login.Registration, len(c.Warnings)} }, []any{Open, 0}},
}

func TestGood(t *testing.T) {
	for _, test := range good {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(test.text, "[[listener]]") {
				test.text += http
			}
			c := parse(t, test.text)
			places("", c, func(path string, at *Pos) {
				switch parts := strings.Split(path, "."); parts[len(parts)-2] {
				case "Timeouts", "Identity", "Drain", "Upgrade", "Redirect", "Respond": // compared as a whole, below; TestEveryPosIsSet looks at their places
					*at = Pos{}
				}
			})
			if got := test.got(c); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got:  %#v\nwant: %#v", got, test.want)
			}
		})
	}
}
