package conf

var badUpstreams = []badFile{
	{"empty", "[[upstream]]" + https, `
f.toml:1:1: [[upstream]] needs "name"
f.toml:1:1: [[upstream]] needs "targets"`},
	{"names", `
[[upstream]]
name = "a:b"
targets = "http://a"
[[upstream]]
name = "a/b"
targets = "http://a"
[[upstream]]
name = "c"
targets = "http://a"
[[upstream]]
name = "c"
targets = "http://a"
` + https, `
f.toml:3:8: name must hold no ":", "/" or space, which a URL is known by, is "a:b"
f.toml:6:8: name must hold no ":", "/" or space, which a URL is known by, is "a/b"
f.toml:12:8: upstream "c" is already at f.toml:8:1`},
	{"targets", `
[[upstream]]
name = "a"
targets = ["127.0.0.1:80", "ftp://a", "http://a/", "http://u@a", "http://a?b", "http://a#b", "http://", "http://:80",
  "http://a:0", "http://a:65536", "http://a:b", "tcp://a", "http://::1", "http://a b", "unix:", "unix:@a", "unix://a", "", 1, "http://::1:80", "http://a:"]
[[upstream]]
name = "b"
targets = []
` + https, `
f.toml:4:12: target "127.0.0.1:80" must begin with http://, https://, h2c://, tcp:// or unix:/
f.toml:4:28: target "ftp://a" must begin with http://, https://, h2c://, tcp:// or unix:/
f.toml:4:39: target "http://a/" must be scheme://host:port: no user, path, query or fragment, not even a last slash
f.toml:4:52: target "http://u@a" must be scheme://host:port: no user, path, query or fragment, not even a last slash
f.toml:4:66: target "http://a?b" must be scheme://host:port: no user, path, query or fragment, not even a last slash
f.toml:4:80: target "http://a#b" must be scheme://host:port: no user, path, query or fragment, not even a last slash
f.toml:4:94: target "http://" must have a host: an IP address (IPv6 in "[]"), or a name of letters, digits, "-", "_" and "."
f.toml:4:105: target "http://:80" must have a host: an IP address (IPv6 in "[]"), or a name of letters, digits, "-", "_" and "."
f.toml:5:3: target "http://a:0" must have a port from 1 to 65535
f.toml:5:17: target "http://a:65536" must have a port from 1 to 65535
f.toml:5:35: target "http://a:b" must have a port from 1 to 65535
f.toml:5:49: target "tcp://a" must have a port from 1 to 65535
f.toml:5:60: target "http://::1" must have a host: an IP address (IPv6 in "[]"), or a name of letters, digits, "-", "_" and "."
f.toml:5:74: target "http://a b" must have a host: an IP address (IPv6 in "[]"), or a name of letters, digits, "-", "_" and "."
f.toml:5:88: target "unix:" has no path after "unix:"
f.toml:5:97: target "unix:@a" must be a path: anyone on the machine may take an abstract name
f.toml:5:108: target "unix://a" must be unix:/path, with one slash
f.toml:5:120: targets must not be empty
f.toml:5:124: targets must be a string, is an integer
f.toml:5:127: target "http://::1:80" must have a host: an IP address (IPv6 in "[]"), or a name of letters, digits, "-", "_" and "."
f.toml:5:144: target "http://a:" must have a port from 1 to 65535
f.toml:8:11: targets must not be empty`},
	{"options", `
[[upstream]]
name = "a"
targets = ["https://a", "tcp://b:1"]
balance = "random"
max_fails = -1
fail_timeout = "0s"
host = "client"
tls = { ca = "", server_name = "*.a" }
timeouts = { connect = "0s", response = 5, idle = "x" }
` + https, `
f.toml:4:25: targets must all take bytes (tcp, unix) or all take requests (http, https, h2c, unix)
f.toml:5:11: balance must be "round_robin" or "least_connections", is "random"
f.toml:6:13: max_fails must be at least 0, is -1
f.toml:7:16: fail_timeout must be more than 0
f.toml:8:8: host must be "target", is "client"
f.toml:9:1: tls is for https targets only
f.toml:9:14: ca must not be empty
f.toml:9:32: server_name must be one name, without a wildcard
f.toml:10:24: connect must be more than 0
f.toml:10:41: response must be a duration like "5s", is an integer
f.toml:10:51: idle must be a duration like "5s" or "1h30m", is "x"`},
	{"a name that nobody has", `
[[upstream]]
name = "wiki"
targets = "http://a"
[[vhost]]
hosts = "a"
proxy = "wikki"
	[[vhost.route]]
	path = "/a"
	proxy = "localhost:9001"
` + https, `
f.toml:7:9: no [[upstream]] is named "wikki"; did you mean "wiki"?
f.toml:10:10: target "localhost:9001" must begin with http://, https://, h2c://, tcp:// or unix:/`},
	{"login", `
[login]
registration = "everyone"
idle = "200h"
lifetime = "100h"
` + http, `
f.toml:2:1: [login] needs "host"
f.toml:2:1: [login] needs an https listener: its pages take passwords
f.toml:3:16: registration must be "closed" or "open", is "everyone"
f.toml:4:8: idle, 200h0m0s, must not be longer than lifetime, 100h0m0s`},
	{"idle longer than the default lifetime", "[login]\nhost = \"a\"\nidle = \"1000h\"\n" + https, `
f.toml:3:8: idle, 1000h0m0s, must not be longer than lifetime, 168h0m0s`},
	{"a wildcard for the login", "[login]\nhost = \"*.a.org\"\n" + https, `
f.toml:2:8: host must be one name, without a wildcard`},
	{"an address for the login", "[login]\nhost = \"127.0.0.1\"\n" + https, `
f.toml:2:8: host must be a name, not an IP address`},
	{"a vhost on the login's host", `
[login]
host = "Login.org"
[[vhost]]
hosts = ["*.org", "login.org"]
echo = true
access = "public"
` + https, `
f.toml:5:19: "login.org" is the host of [login], f.toml:3:8: edge serves its own pages there`},
}
