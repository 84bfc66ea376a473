package conf

var badListeners = []badFile{
	{"empty", "[[listener]]", `
f.toml:1:1: [[listener]] needs "name"
f.toml:1:1: [[listener]] needs "address"
f.toml:1:1: [[listener]] needs "protocol"`},
	{"names", `
[[listener]]
name = "HTTP"
address = "127.0.0.1:1"
protocol = "http"
[[listener]]
name = "a23456789012345678901234567890123"
address = "127.0.0.1:2"
protocol = "http"
[[listener]]
name = ""
address = "127.0.0.1:3"
protocol = "http"
[[listener]]
name = "http"
address = "127.0.0.1:4"
protocol = "http"
` + http, `
f.toml:3:8: name must be 1 to 32 of a-z, 0-9, "_" and "-", is "HTTP"
f.toml:7:8: name must be 1 to 32 of a-z, 0-9, "_" and "-", is "a23456789012345678901234567890123"
f.toml:11:8: name must not be empty
f.toml:20:8: listener "http" is already at f.toml:14:1`},
	{"addresses", `
[[listener]]
name = "l"
protocol = "http"
address = ["localhost:80", "127.0.0.1", "80", "127.0.0.1:65536", "::1:80",
  "http://127.0.0.1:80", "unix:", "unix:@", "", "127.0.0.1:http", "unix:/a\u0000",
  "unix:/12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
  3]
`, `
f.toml:5:12: address "localhost:80" must have an IP address as its host, not a name
f.toml:5:28: address "127.0.0.1" must be "IP:port", "[IPv6]:port", ":port" or "unix:/path"
f.toml:5:41: address "80" must be "IP:port", "[IPv6]:port", ":port" or "unix:/path"
f.toml:5:47: address "127.0.0.1:65536" must have a port from 1 to 65535
f.toml:5:66: address "::1:80" must be "IP:port", "[IPv6]:port", ":port" or "unix:/path"
f.toml:6:3: address "http://127.0.0.1:80" must be "IP:port", "[IPv6]:port", ":port" or "unix:/path"
f.toml:6:26: address "unix:" has no path after "unix:"
f.toml:6:35: address "unix:@" has no path after "unix:"
f.toml:6:45: address must not be empty
f.toml:6:49: address "127.0.0.1:http" must have a port from 1 to 65535
f.toml:6:67: address "unix:/a\x00" holds a NUL byte
f.toml:7:3: address "unix:/12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" is too long for a unix socket: 108 bytes, at most 107
f.toml:8:3: address must be a string, is an integer`},
	{"no address", "[[listener]]\nname = \"l\"\nprotocol = \"http\"\naddress = []\n", `
f.toml:4:11: address must not be empty`},
	{"the same address", `
[[listener]]
name = "a"
address = ["127.0.0.1:80", "[::1]:80", "unix:/run/a", "127.0.0.1:0"]
protocol = "http"
[[listener]]
name = "b"
address = ["127.0.0.1:080", "[0:0::1]:80", "[::ffff:127.0.0.1]:80", "unix:/run/../run/a", "127.0.0.1:0"]
protocol = "http"
`, `
f.toml:8:12: address "127.0.0.1:80" is already at f.toml:4:12
f.toml:8:29: address "[::1]:80" is already at f.toml:4:28
f.toml:8:44: address "127.0.0.1:80" is already at f.toml:4:12
f.toml:8:69: address "/run/a" is already at f.toml:4:40
f.toml:8:91: address "127.0.0.1:0" is already at f.toml:4:55`},
	{"overlapping addresses", `
[[listener]]
name = "a"
address = [":80", "0.0.0.0:81", "[::]:82", "127.0.0.1:83", "*:0", "unix:/80"]
protocol = "http"
[[listener]]
name = "b"
address = ["127.0.0.1:80", "[::1]:81", "127.0.0.1:81", "127.0.0.1:82", "*:83", "127.0.0.1:0"]
protocol = "http"
`, `
f.toml:8:12: address "127.0.0.1:80" overlaps ":80" at f.toml:4:12; ":port" alone is every address
f.toml:8:40: address "127.0.0.1:81" overlaps "0.0.0.0:81" at f.toml:4:19; ":port" alone is every address
f.toml:8:56: address "127.0.0.1:82" overlaps "[::]:82" at f.toml:4:33; ":port" alone is every address
f.toml:8:72: address ":83" overlaps "127.0.0.1:83" at f.toml:4:44; ":port" alone is every address`},
	{"a protocol", `
[[listener]]
name = "l"
address = "127.0.0.1:1"
protocol = "htps"
max_header = "1KiB"
redirect_to = "https"
` + https, `
f.toml:5:12: protocol must be "http", "https", "tcp", "tls" or "metrics", is "htps"`},
	{"a TLS listener without a certificate", `
[[listener]]
name = "l"
address = "127.0.0.1:1"
protocol = "https"
[[listener]]
name = "m"
address = "127.0.0.1:2"
protocol = "tls"
proxy = "tcp://127.0.0.1:5432"
`, `
f.toml:2:1: protocol "https" needs a [[certificate]]
f.toml:6:1: protocol "tls" needs a [[certificate]]`},
	{"redirect_to", `
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "http"
redirect_to = "htps"
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "http"
redirect_to = "a"
[[listener]]
name = "c"
address = "127.0.0.1:3"
protocol = "tcp"
proxy = "tcp://127.0.0.1:5432"
redirect_to = "https"
` + https, `
f.toml:6:15: no [[listener]] is named "htps"; did you mean "https"?
f.toml:11:15: redirect_to must name an https listener, "a" speaks http
f.toml:17:1: "redirect_to" is for http listeners, this one speaks tcp`},
	{"proxy", `
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "http"
proxy = "http://127.0.0.1:9001"
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tcp"
max_header = "1KiB"
[[listener]]
name = "c"
address = "127.0.0.1:3"
protocol = "tcp"
proxy = "http://127.0.0.1:9001"
`, `
f.toml:6:1: proxy belongs in a [[vhost]]: this listener speaks http
f.toml:7:1: protocol "tcp" needs "proxy"
f.toml:11:1: "max_header" is for http and https listeners, this one speaks tcp
f.toml:16:9: bytes are relayed here, not requests: http://127.0.0.1:9001 must be tcp://127.0.0.1:9001`},
	{"certificates", `
[[certificate]]
[[certificate]]
cert = "a"
dir = "b"
[[certificate]]
issuer = "files"
hosts = ["A B", "*.*.org"]
[[certificate]]
issuer = "dev"
key = "a"
[[certificate]]
issuer = "dev"
hosts = ["localhost", "*.wiki.localhost", "::1", "127.0.0.1", "127.0.0.2", "example.org", "*.localhost.org"]
dir = ""
[[certificate]]
issuer = "letsencrypt"
` + https, `
f.toml:2:1: [[certificate]] needs "cert" and "key", or issuer = "dev"
f.toml:3:1: [[certificate]] needs "key"
f.toml:5:1: "dir" is for issuer = "dev"
f.toml:6:1: [[certificate]] needs "cert"
f.toml:6:1: [[certificate]] needs "key"
f.toml:8:10: host "A B" is not a host name: disallowed rune U+0020
f.toml:8:17: host "*.*.org" may have "*" only as its whole first label, with a name after it: "*.example.org"
f.toml:9:1: [[certificate]] needs "hosts"
f.toml:11:1: "key" is for issuer = "files"
f.toml:14:63: issuer "dev" is for localhost, names below .localhost, 127.0.0.1 and ::1, not for "127.0.0.2"
f.toml:14:76: issuer "dev" is for localhost, names below .localhost, 127.0.0.1 and ::1, not for "example.org"
f.toml:14:91: issuer "dev" is for localhost, names below .localhost, 127.0.0.1 and ::1, not for "*.localhost.org"
f.toml:15:7: dir must not be empty
f.toml:17:10: issuer must be "files" or "dev", is "letsencrypt"`},
}
