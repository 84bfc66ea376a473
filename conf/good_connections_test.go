package conf

import (
	"fmt"
	"io/fs"
	"reflect"
	"testing"
	"time"
)

// goodConnections is about what is known of a connection before its first request.
var goodConnections = []struct {
	name, text string
	got        func(*Config) any
	want       any
}{
	{"sockets", `
[[listener]]
name = "a"
address = "unix:/a"
protocol = "http"
keepalive = "0s"
mode = "0660"
[[listener]]
name = "b"
address = ["unix:/b", ":1"]
protocol = "http"
keepalive = "90s"
mode = "222"
[[listener]]
name = "c"
address = "unix:/c"
protocol = "http"
`, func(c *Config) any {
		return [][]any{
			{c.Listeners[0].KeepAlive, c.Listeners[0].SocketMode}, {c.Listeners[1].KeepAlive, c.Listeners[1].SocketMode},
			{c.Listeners[2].KeepAlive, c.Listeners[2].SocketMode},
		}
	}, [][]any{{time.Duration(0), fs.FileMode(0o660)}, {90 * time.Second, fs.FileMode(0o222)}, {15 * time.Second, fs.FileMode(0o600)}}},
	{"proxy_protocol in", `
[[listener]]
name = "a"
address = [":1", "unix:/a"]
protocol = "http"
proxy_protocol = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1", "::1", "unix", "0.0.0.0/0"]
` + http, func(c *Config) any {
		a, b := c.Listeners[0], c.Listeners[1]
		return fmt.Sprint(a.ProxyProtocol, a.ProxyFrom, a.ProxyUnix, b.ProxyProtocol, b.ProxyFrom, b.ProxyUnix, c.Warnings)
	}, `true [10.0.0.0/8 2001:db8::/32 192.0.2.1/32 ::1/128 0.0.0.0/0] true false [] false [/etc/edge/edge.toml:6:78: every client is trusted to say who it is: name the proxies only]`},
	{"proxy_protocol out", `
[[upstream]]
name = "u"
targets = ["tcp://a:1", "unix:/a"]
proxy_protocol = "v2"
[[upstream]]
name = "v"
targets = "tcp://a:1"
proxy_protocol = "v1"
[[listener]]
name = "a"
address = ":1"
protocol = "tcp"
proxy = "u"
[[listener]]
name = "b"
address = ":2"
protocol = "tcp"
proxy = "v"
[[listener]]
name = "c"
address = ":3"
protocol = "tcp"
proxy = "tcp://a:1"
`, func(c *Config) any {
		return []int{c.Listeners[0].Proxy.ProxyProtocol, c.Listeners[1].Proxy.ProxyProtocol, c.Listeners[2].Proxy.ProxyProtocol}
	}, []int{2, 1, 0}},
	{"sni", `
[[upstream]]
name = "u"
targets = ["tcp://b:1"]
[[listener]]
name = "a"
address = ":1"
protocol = "tls"
sni = { "A.test." = "tcp://a:1", "*.b.test" = "u" }
`, func(c *Config) any {
		l := c.Listeners[0]
		return fmt.Sprintln(l.SNI[0].Pos, l.SNI[0].Name, l.SNI[0].Proxy.Name, l.SNI[1].Pos, l.SNI[1].Name, l.SNI[1].Proxy.Name, l.Proxy == nil, len(l.SNI), c.Warnings)
	}, "/etc/edge/edge.toml:9:9 a.test tcp://a:1 /etc/edge/edge.toml:9:34 *.b.test u true 2 []\n"},
}

func TestGoodConnections(t *testing.T) {
	for _, c := range goodConnections {
		if got := c.got(parse(t, c.text)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\ngot  %v\nwant %v", c.name, got, c.want)
		}
	}
}
