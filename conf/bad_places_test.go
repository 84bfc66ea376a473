package conf

// badPlaces is about where a mistake is reported to be.
var badPlaces = []badFile{
	{"dotted and quoted keys", `drain.stop = 1
"log" . 'level' = 2
upgrade. "ready" = 3
` + https, `
f.toml:1:14: stop must be a duration like "5s", is an integer
f.toml:2:19: level must be a string, is an integer
f.toml:3:20: ready must be a duration like "5s", is an integer`},
	{"headers with spaces", `
  [ drain ]
  stop = 1
[[ vhost ]]
  [[ vhost . "route" ]]
` + https, `
f.toml:3:10: stop must be a duration like "5s", is an integer
f.toml:4:1: [[vhost]] needs "hosts"
f.toml:5:3: [[vhost.route]] needs "path"
f.toml:5:3: [[vhost.route]] needs an action: "proxy", "files", "redirect", "respond" or "echo"`},
	{"a list over several lines", `
[[vhost]]
hosts = [ # names
  "a", # the first

	"b c",
  'd e', """f g""",
]
echo = true
` + https, `
f.toml:6:2: host "b c" is not a host name: disallowed rune U+0020
f.toml:7:3: host "d e" is not a host name: disallowed rune U+0020
f.toml:7:10: host "f g" is not a host name: disallowed rune U+0020`},
	{"CRLF", "[drain]\r\nstop = 1\r\n\r\nhard = 2\r\n" + https, `
f.toml:2:8: stop must be a duration like "5s", is an integer
f.toml:4:8: hard must be a duration like "5s", is an integer`},
	{"columns count bytes", `drain = { stop = "é", hard = "x" }` + https, `
f.toml:1:18: stop must be a duration like "5s" or "1h30m", is "é"
f.toml:1:31: hard must be a duration like "5s" or "1h30m", is "x"`},
	{"tables within the last vhost", `
[[vhost]]
hosts = "a"
	[[vhost.route]]
	path = "/a"
	echo = 1
	[[vhost.route]]
	path = "/b"
	echo = 2
[[vhost]]
hosts = "b"
	[vhost.headers]
	host = "x"
	[[vhost.route]]
	path = "/c"
	echo = 3
	[vhost.route.respond]
	status = 4
` + https, `
f.toml:6:9: echo must be true, is an integer
f.toml:9:9: echo must be true, is an integer
f.toml:13:2: header host cannot be set: edge makes it itself
f.toml:16:9: echo must be true, is an integer
f.toml:17:2: [[vhost.route]] has echo already: one action only
f.toml:18:11: status must be at least 200, is 4`},
	{"inline tables in inline lists", `vhost = [{ hosts = "a", route = [{ path = "/a", respond = { status = 1 } }, { path = "b", echo = true }] }]` + https, `
f.toml:1:70: status must be at least 200, is 1
f.toml:1:86: path "b" must start with "/"`},
	{"a table after its sub-table", `
[drain.sub]
[drain]
stop = 1
` + https, `
f.toml:2:1: unknown key "sub" in [drain]
f.toml:4:8: stop must be a duration like "5s", is an integer`},
	{"mistakes of many kinds, in the order of the file", `colour = "red"
[[vhost]]
hosts = ["login.localhost", "a b"]
proxy = "ap"
listeners = "htttp"
[[upstream]]
name = "app"
targets = "http://127.0.0.1:9001/"
[login]
host = "login.localhost"
idle = 12
[[listener]]
name = "http"
address = "localhost:80"
protocol = "http"
redirect_to = "https"
`, `
f.toml:1:1: unknown key "colour"
f.toml:2:1: [[vhost]] needs "access" because there is a [login]: "public", "login" (anyone with an account), or who: ["group:staff", "alice"]
f.toml:3:10: "login.localhost" is the host of [login], f.toml:10:8: edge serves its own pages there
f.toml:3:29: host "a b" is not a host name: disallowed rune U+0020
f.toml:4:9: no [[upstream]] is named "ap"; did you mean "app"?
f.toml:5:13: no [[listener]] is named "htttp"; did you mean "http"?
f.toml:8:11: target "http://127.0.0.1:9001/" must be scheme://host:port: no user, path, query or fragment, not even a last slash
f.toml:9:1: [login] needs an https listener: its pages take passwords
f.toml:11:8: idle must be a duration like "5s", is an integer
f.toml:14:11: address "localhost:80" must have an IP address as its host, not a name
f.toml:16:15: no [[listener]] is named "https"; did you mean "http"?`},
}
