package conf

import "strings"

// badConnections is about what is known of a connection before its first request.
var badConnections = []badFile{
	{"keepalive", `
[[listener]]
name = "a"
address = ":1"
protocol = "http"
keepalive = "500ms"
[[listener]]
name = "b"
address = ":2"
protocol = "http"
keepalive = "24h"
[[listener]]
name = "c"
address = ":3"
protocol = "http"
keepalive = "-1s"
`, `
f.toml:6:13: keepalive must be "0s", or from 1s to 9h6m7s
f.toml:11:13: keepalive must be "0s", or from 1s to 9h6m7s
f.toml:16:13: keepalive must not be negative, is "-1s"`},
	{"mode", socketModes("0o660", `"660x"`, `"07777"`, `"1777"`, `"60"`, `"0444"`, `""`, `"rw"`) + `
[[listener]]
name = "tcp"
address = [":1", "unix:@abstract"]
protocol = "http"
mode = "0660"
`, `
f.toml:6:8: mode must be a string, is an integer
f.toml:11:8: mode must be three octal digits like "0660", is "660x"
f.toml:16:8: mode must be three octal digits like "0660", is "07777"
f.toml:21:8: mode must be three octal digits like "0660", is "1777"
f.toml:26:8: mode must be three octal digits like "0660", is "60"
f.toml:31:8: mode "0444" lets nobody in: to connect is to write
f.toml:36:8: mode must not be empty
f.toml:41:8: mode must be three octal digits like "0660", is "rw"
f.toml:46:1: "mode" is for unix sockets, and this listener has none with a path`},
	{"proxy_protocol in", `
[[listener]]
name = "a"
address = ":1"
protocol = "http"
proxy_protocol = ["10.0.0.1/8", "10.0.0.0/33", "ten", "", 3, "::ffff:10.0.0.0/104", "fe80::1%eth0", "unix", "2001:db8::1/32", "::ffff:10.0.0.1"]
[[listener]]
name = "b"
address = ":2"
protocol = "http"
proxy_protocol = []
[[listener]]
name = "c"
address = ":3"
protocol = "http"
proxy_protocol = true
`, `
f.toml:6:19: proxy_protocol "10.0.0.1/8" has bits behind its length; "10.0.0.0/8" is the prefix that holds it
f.toml:6:33: proxy_protocol "10.0.0.0/33" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:6:48: proxy_protocol "ten" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:6:55: proxy_protocol must not be empty
f.toml:6:59: proxy_protocol must be a string, is an integer
f.toml:6:62: proxy_protocol "::ffff:10.0.0.0/104" must be written as IPv4
f.toml:6:85: proxy_protocol "fe80::1%eth0" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:6:101: "unix" is who comes by a unix socket, and listener "a" has none
f.toml:6:109: proxy_protocol "2001:db8::1/32" has bits behind its length; "2001:db8::/32" is the prefix that holds it
f.toml:6:127: proxy_protocol "::ffff:10.0.0.1" must be written as IPv4
f.toml:11:18: proxy_protocol must not be empty
f.toml:16:18: proxy_protocol must be a list of addresses, like ["192.0.2.1", "10.0.0.0/8"], is a boolean`},
	{"proxy_protocol out", `
[[upstream]]
name = "a"
targets = ["http://a:1", "http://b:1"]
proxy_protocol = "v2"
[[upstream]]
name = "b"
targets = "unix:/b"
proxy_protocol = "v1"
[[upstream]]
name = "c"
targets = "tcp://c:1"
proxy_protocol = "v3"
[[upstream]]
name = "d"
targets = ["unix:/d", "h2c://d:1"]
proxy_protocol = "v1"
[[vhost]]
hosts = "a.localhost"
access = "public"
proxy = "b"
` + https, `
f.toml:5:1: "proxy_protocol" is for tcp and unix targets that bytes are relayed to: connections to http targets carry the requests of many clients
f.toml:13:18: proxy_protocol must be "v1" or "v2", is "v3"
f.toml:17:1: "proxy_protocol" is for tcp and unix targets that bytes are relayed to: connections to h2c targets carry the requests of many clients
f.toml:21:9: upstream "b" sends PROXY headers, and requests are relayed here: its connections carry those of many clients`},
	{"sni", `
[[listener]]
name = "a"
address = ":1"
protocol = "tls"
sni = { "a.test" = "http://a:1", "A.test." = "tcp://a:1", "127.0.0.1" = "tcp://a:1", "a b" = "tcp://a:1", "*.*.test" = "tcp://a:1", "c.test" = "nobody", "d.test" = "", "e.test" = 3 }
[[listener]]
name = "b"
address = ":2"
protocol = "https"
sni = { "a.test" = "tcp://a:1" }
[[listener]]
name = "c"
address = ":3"
protocol = "tls"
sni = {}
[[listener]]
name = "d"
address = ":4"
protocol = "tls"
sni = { a.test = "tcp://a:1" }
[[listener]]
name = "e"
address = ":5"
protocol = "tls"
sni = "a.test"
` + https, `
f.toml:6:20: bytes are relayed here, not requests: http://a:1 must be tcp://a:1
f.toml:6:34: name a.test is already at f.toml:6:9
f.toml:6:59: name "127.0.0.1" is an address, and a ClientHello holds names only
f.toml:6:86: name "a b" is not a host name: disallowed rune U+0020
f.toml:6:107: name "*.*.test" may have "*" only as its whole first label, with a name after it: "*.example.org"
f.toml:6:144: no [[upstream]] is named "nobody"
f.toml:6:165: d.test must not be empty
f.toml:6:180: e.test must be a string, is an integer
f.toml:11:1: "sni" is for tls listeners, this one speaks https
f.toml:12:1: protocol "tls" needs "proxy" or "sni"
f.toml:16:7: sni must have a name, and where its connections go
f.toml:17:1: protocol "tls" needs "proxy" or "sni"
f.toml:21:9: a name with dots stands in quotes: "a.…" = …
f.toml:22:1: protocol "tls" needs "proxy" or "sni"
f.toml:26:7: sni must be a table, is a string`},
	{"sni beside proxy needs a certificate", `
[[listener]]
name = "a"
address = ":1"
protocol = "tls"
sni = { "a.test" = "tcp://a:1" }
proxy = "tcp://a:1"
`, `
f.toml:2:1: protocol "tls" needs a [[certificate]]`},
}

// socketModes is a listener with each of these modes.
func socketModes(modes ...string) string {
	var b strings.Builder
	for i, mode := range modes {
		name := string(rune('a' + i))
		b.WriteString("\n[[listener]]\nname = \"" + name + "\"\naddress = \"unix:/" + name + "\"\nprotocol = \"http\"\nmode = " + mode)
	}
	return b.String()
}
