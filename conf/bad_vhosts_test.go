package conf

var badVhosts = []badFile{
	{"empty", "[[vhost]]" + https, `
f.toml:1:1: [[vhost]] needs "hosts"
f.toml:1:1: [[vhost]] needs an action: "proxy", "files", "redirect", "respond" or "echo"; or a [[vhost.route]]`},
	{"an empty route", "[[vhost]]\nhosts = \"a\"\n\t[[vhost.route]]" + https, `
f.toml:3:2: [[vhost.route]] needs "path"
f.toml:3:2: [[vhost.route]] needs an action: "proxy", "files", "redirect", "respond" or "echo"`},
	{"hosts", `
[[vhost]]
echo = true
hosts = ["https://a.org", "a.org/b", "a.org:443", "a.*.org", "*", "*.", "a_b.org", "-a.org", "a..org", "1.2.3",
  "", "[::1]:443", "fe80::1%eth0", ".", "xn--a", "a.org..", "1234567890123456789012345678901234567890123456789012345678901234.org"]
` + https, `
f.toml:4:10: host "https://a.org" is a URL: write its host alone
f.toml:4:27: host "a.org/b" has a path: paths go into a [[vhost.route]]
f.toml:4:38: host "a.org:443" has a port, or is no IPv6 address: ports belong to a [[listener]]
f.toml:4:51: host "a.*.org" may have "*" only as its whole first label, with a name after it: "*.example.org"
f.toml:4:62: host "*" may have "*" only as its whole first label, with a name after it: "*.example.org"
f.toml:4:67: host "*." is not a host name: invalid label ""
f.toml:4:73: host "a_b.org" is not a host name: disallowed rune U+005F
f.toml:4:84: host "-a.org" is not a host name: invalid label "-a"
f.toml:4:94: host "a..org" is not a host name: invalid label "a..org"
f.toml:4:104: host "1.2.3" is neither an IP address nor a name: no name ends in a number
f.toml:5:3: hosts must not be empty
f.toml:5:7: host "[::1]:443" has a port, or is no IPv6 address: ports belong to a [[listener]]
f.toml:5:20: host "fe80::1%eth0" has a port, or is no IPv6 address: ports belong to a [[listener]]
f.toml:5:36: host "." is not a host name: invalid label ""
f.toml:5:41: host "xn--a" is not a host name: invalid label "\u0080"
f.toml:5:50: host "a.org.." is not a host name: its last label is empty
f.toml:5:61: host "1234567890123456789012345678901234567890123456789012345678901234.org" is not a host name: invalid label "1234567890123456789012345678901234567890123456789012345678901234"`},
	{"listeners", `
[[vhost]]
hosts = "a"
echo = true
listeners = ["htps", "tcp", "redirect", "https", "https", "", 3]
[[vhost]]
hosts = "b"
echo = true
listeners = []
[[listener]]
name = "tcp"
address = "127.0.0.1:1"
protocol = "tcp"
proxy = "tcp://127.0.0.1:2"
[[listener]]
name = "redirect"
address = "127.0.0.1:3"
protocol = "http"
redirect_to = "https"
` + https, `
f.toml:5:14: no [[listener]] is named "htps"; did you mean "https"?
f.toml:5:22: listener "tcp" speaks tcp: it relays bytes and serves no [[vhost]]
f.toml:5:29: listener "redirect" serves no [[vhost]]: it has redirect_to, f.toml:15:1
f.toml:5:50: listener "https" is named twice
f.toml:5:59: listeners must not be empty
f.toml:5:63: listeners must be a string, is an integer
f.toml:9:13: listeners must not be empty`},
	{"no https listener", "[[vhost]]\nhosts = \"a\"\necho = true\n" + http, `
f.toml:1:1: [[vhost]] needs "listeners": there is no https listener, which is the default`},
	{"a host twice", `
[[vhost]]
hosts = ["a.org", "b.org", "A.org."]
echo = true
[[vhost]]
hosts = ["c.org", "B.ORG"]
echo = true
[[vhost]]
hosts = "b.org"
listeners = "http"
echo = true
` + https + http, `
f.toml:3:28: host "a.org" on listener "https" is already at f.toml:3:10
f.toml:6:19: host "b.org" on listener "https" is already at f.toml:3:19`},
	{"actions", `
[[vhost]]
hosts = "a"
files = "site"
proxy = "http://127.0.0.1:1"
respond = {}
[[vhost]]
hosts = "b"
echo = false
	[[vhost.route]]
	path = "/"
	echo = true
[[vhost]]
hosts = "c"
files = ""
` + https, `
f.toml:5:1: [[vhost]] has files already: one action only
f.toml:6:1: [[vhost]] has files already: one action only
f.toml:9:8: echo = false says nothing: leave it out
f.toml:10:2: path "/" is already at f.toml:7:1
f.toml:15:9: files must not be empty`},
	{"paths", `
[[vhost]]
hosts = "a"
route = [
  { path = "a", echo = true },
  { path = "", echo = true },
  { path = "/a?b", echo = true },
  { path = "/a#b", echo = true },
  { path = "/a%20b", echo = true },
  { path = "/a\\b", echo = true },
  { path = "/a//b", echo = true },
  { path = "/a/../b", echo = true },
  { path = "/.", echo = true },
  { path = "/a\u0001", echo = true },
  { path = "/é", echo = true },
  { path = "/.edge", echo = true },
  { path = "/.edge/login", echo = true },
  { path = "/same", echo = true },
  { path = "/same", echo = true },
]
` + https, `
f.toml:5:12: path "a" must start with "/"
f.toml:6:12: path must not be empty
f.toml:7:12: path "/a?b" holds '?', which has no place in a path
f.toml:8:12: path "/a#b" holds '#', which has no place in a path
f.toml:9:12: path "/a%20b" holds '%', which has no place in a path
f.toml:10:12: path "/a\\b" holds '\\', which has no place in a path
f.toml:11:12: path "/a//b" holds "//"
f.toml:12:12: path "/a/../b" holds the dot segment ".."
f.toml:13:12: path "/." holds the dot segment "."
f.toml:14:12: path "/a\x01" holds '\x01', which has no place in a path
f.toml:15:12: path "/é" holds 'é', which has no place in a path
f.toml:16:12: path "/.edge" is reserved: edge answers below /.edge/ itself
f.toml:17:12: path "/.edge/login" is reserved: edge answers below /.edge/ itself
f.toml:19:3: path "/same" is already at f.toml:18:3`},
	{"fallback", `
[[vhost]]
hosts = "a"
echo = true
fallback = "/index.html"
	[[vhost.route]]
	path = "/a/"
	files = "a"
	fallback = "index.html"
	[[vhost.route]]
	path = "/b/"
	files = "b"
	fallback = "/b/"
` + https, `
f.toml:5:1: "fallback" is for files only
f.toml:9:13: fallback "index.html" must start with "/"
f.toml:13:13: fallback "/b/" must be a file, not a folder`},
	{"redirects", `
[[vhost]]
hosts = "a"
redirect = { status = 304 }
	[[vhost.route]]
	path = "/1"
	redirect = "//evil.org"
	[[vhost.route]]
	path = "/2"
	redirect = "a.org"
	[[vhost.route]]
	path = "/3"
	redirect = "https://user@a.org"
	[[vhost.route]]
	path = "/4"
	redirect = "https://a.org/#b"
	[[vhost.route]]
	path = "/5"
	redirect = "https://a.org:0/"
	[[vhost.route]]
	path = "/6"
	redirect = "https:///a"
	[[vhost.route]]
	path = "/7"
	redirect = "/a b"
	[[vhost.route]]
	path = "/8"
	redirect = "/\\evil.org"
	[[vhost.route]]
	path = "/9"
	redirect = { to = "https://*.org" }
` + https, `
f.toml:4:12: redirect needs "to"
f.toml:4:23: status must be 301, 302, 303, 307 or 308, is 304
f.toml:7:13: redirect to "//evil.org" must be a path with a single "/" at its start, or have a scheme
f.toml:10:13: redirect to "a.org" must begin with https://, http:// or /
f.toml:13:13: redirect to "https://user@a.org" must hold no user
f.toml:16:13: redirect to "https://a.org/#b" must have no fragment
f.toml:19:13: redirect to "https://a.org:0/" must have a port from 1 to 65535
f.toml:22:13: redirect to "https:///a" has no valid host
f.toml:25:13: redirect to "/a b" holds a byte that a URL has percent-encoded
f.toml:28:13: redirect to "/\\evil.org" holds a byte that a URL has percent-encoded
f.toml:31:20: redirect to "https://*.org" has no valid host`},
	{"responses", `
[[vhost]]
hosts = "a"
respond = { status = 199 }
[[vhost]]
hosts = "b"
respond = { status = 204, body = "no" }
` + https, `
f.toml:4:22: status must be at least 200, is 199
f.toml:7:34: a response with status 204 has no body`},
	{"headers", `
[[vhost]]
hosts = "a"
echo = true
[vhost.headers]
Server = "a"
server = "b"
"a b" = "c"
"" = "d"
Content-Length = "0"
X = "a\r\nb"
Y = "\u007f"
Z = 1
` + https, `
f.toml:7:1: header server is already at f.toml:6:1
f.toml:8:1: "a b" is not the name of a header field
f.toml:9:1: "" is not the name of a header field
f.toml:10:1: header Content-Length cannot be set: edge makes it itself
f.toml:11:5: header X holds a control byte
f.toml:12:5: header Y holds a control byte
f.toml:13:5: Z must be a string, is an integer`},
	{"access without login", `
[[vhost]]
hosts = "a"
echo = true
access = "login"
	[[vhost.route]]
	path = "/a"
	echo = true
	access = ["public"]
	[[vhost.route]]
	path = "/b"
	echo = true
	access = ["group:staff", "alice"]
` + https, `
f.toml:5:10: access for some needs a [login] table, there is none
f.toml:13:11: access for some needs a [login] table, there is none`},
	{"no access with login", `
[[vhost]]
hosts = "a"
echo = true
	[[vhost.route]]
	path = "/a"
	echo = true
	access = "login"
[[vhost]]
hosts = "b"
	[[vhost.route]]
	path = "/a"
	echo = true
	[[vhost.route]]
	path = "/b"
	echo = true
	access = "public"
` + https + login, `
f.toml:2:1: [[vhost]] needs "access" because there is a [login]: "public", "login" (anyone with an account), or who: ["group:staff", "alice"]
f.toml:9:1: [[vhost]] needs "access" because there is a [login]: "public", "login" (anyone with an account), or who: ["group:staff", "alice"]`},
	{"wrong access", `
[[vhost]]
hosts = "a"
echo = true
listeners = ["https", "http"]
access = ["public", "alice"]
	[[vhost.route]]
	path = "/a"
	echo = true
	access = ["Alice", "group:", "group:Staff", "staff:a", "", "bob@example.org"]
	[[vhost.route]]
	path = "/b"
	echo = true
	access = []
	[[vhost.route]]
	path = "/c"
	echo = true
	access = true
` + https + http + login, `
f.toml:5:23: listener "http" is plain http, and / needs login, f.toml:6:10: sessions need https
f.toml:6:11: access "public" stands alone, not in a list with others
f.toml:10:12: access "Alice" must be "public", "login", a user or "group:" and a group; names hold a-z, 0-9, ".", "_", "@" and "-"
f.toml:10:21: access "group:" must be "public", "login", a user or "group:" and a group; names hold a-z, 0-9, ".", "_", "@" and "-"
f.toml:10:31: access "group:Staff" must be "public", "login", a user or "group:" and a group; names hold a-z, 0-9, ".", "_", "@" and "-"
f.toml:10:46: access "staff:a" must be "public", "login", a user or "group:" and a group; names hold a-z, 0-9, ".", "_", "@" and "-"
f.toml:10:57: access must not be empty
f.toml:14:11: access must not be empty
f.toml:18:11: access must be a string or a list of strings, is a boolean`},
	{"login over plain http", `
[[vhost]]
hosts = "a"
echo = true
access = "public"
listeners = ["https", "http"]
	[[vhost.route]]
	path = "/a"
	echo = true
	access = "login"
` + https + http + login, `
f.toml:6:23: listener "http" is plain http, and /a needs login, f.toml:10:11: sessions need https`},
	{"a tunnel for requests", `
[[vhost]]
hosts = "a"
proxy = "tcp://127.0.0.1:1"
` + https, `
f.toml:4:9: requests are relayed here: tcp://127.0.0.1:1 must be http, https, h2c or unix; tcp is for tcp and tls listeners`},
}
