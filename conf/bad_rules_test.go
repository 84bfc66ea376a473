package conf

var badRules = []badFile{
	{"prefixes", `
[[vhost]]
hosts = "a"
echo = true
allow = ["10.0.0.0/33", "10.0.0.1/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "localhost", "", "unix", "10.0.0.0/8"]
deny = []
` + https, `
f.toml:5:10: allow "10.0.0.0/33" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:5:25: allow "10.0.0.1/8" has bits behind its length; "10.0.0.0/8" is the prefix that holds it
f.toml:5:39: allow "::ffff:10.0.0.0/104" must be written as IPv4
f.toml:5:62: allow "fe80::1%eth0" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:5:78: allow "localhost" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:5:91: allow must not be empty
f.toml:5:95: allow "unix" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:6:8: deny must not be empty`},
	{"trusted proxies", `
[[listener]]
name = "a"
address = ["127.0.0.1:1"]
protocol = "http"
trusted_proxies = ["unix", "10.0.0.0/99"]
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tcp"
proxy = "tcp://127.0.0.1:3"
trusted_proxies = "10.0.0.0/8"
`, `
f.toml:6:20: "unix" is who comes by a unix socket, and listener "a" has none
f.toml:6:28: trusted_proxies "10.0.0.0/99" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:12:1: "trusted_proxies" is for http and https listeners, this one speaks tcp`},
	{"request headers", `
[[vhost]]
hosts = "a"
proxy = "http://127.0.0.1:1"
[vhost.request_headers]
X-Env = "a"
x-env = "b"
Content-Length = "0"
Connection = "close"
Transfer-Encoding = ""
Host = "a"
Expect = ""
Remote-User = "root"
X_Forwarded_For = "1.2.3.4"
Forwarded = ""
X-Real-IP = ""
"a b" = ""
Y = "\u0000"
` + https, `
f.toml:7:1: header x-env is already at f.toml:6:1
f.toml:8:1: header Content-Length cannot be set: edge makes it itself
f.toml:9:1: header Connection cannot be set: edge makes it itself
f.toml:10:1: header Transfer-Encoding cannot be set: edge makes it itself
f.toml:11:1: header Host cannot be set: edge makes it itself
f.toml:12:1: header Expect cannot be set: edge makes it itself
f.toml:13:1: header Remote-User cannot be set: upstreams believe it, so edge alone says it
f.toml:14:1: header X_Forwarded_For cannot be set: upstreams believe it, so edge alone says it
f.toml:15:1: header Forwarded cannot be set: upstreams believe it, so edge alone says it
f.toml:16:1: header X-Real-IP cannot be set: upstreams believe it, so edge alone says it
f.toml:17:1: "a b" is not the name of a header field
f.toml:18:5: header Y holds a control byte`},
	{"a route's response headers", `
[[vhost]]
hosts = "a"
echo = true
	[[vhost.route]]
	path = "/a"
	echo = true
	headers = { Date = "" }
` + https, `
f.toml:8:14: header Date cannot be set: edge makes it itself`},
	{"rules for what is not relayed", `
[[vhost]]
hosts = "a"
echo = true
request_headers = { A = "b" }
forwarded = true
intercept_errors = true
	[[vhost.route]]
	path = "/a/"
	files = "a"
	strip_prefix = true
	request_headers = { A = "b" }
[[vhost]]
hosts = "b"
forwarded = true
files = "b"
	[[vhost.route]]
	path = "/a/"
	proxy = "http://127.0.0.1:1"
[[upstream]]
name = "bytes"
targets = "tcp://127.0.0.1:1"
forwarded = true
[[listener]]
name = "tcp"
address = "127.0.0.1:2"
protocol = "tcp"
proxy = "bytes"
` + https, `
f.toml:5:1: "request_headers" is for requests that are relayed, and there is no proxy
f.toml:6:1: "forwarded" is for requests that are relayed, and there is no proxy
f.toml:7:1: "intercept_errors" is for requests that are relayed, and there is no proxy
f.toml:11:2: "strip_prefix" is for requests that are relayed, and there is no proxy
f.toml:12:2: "request_headers" is for requests that are relayed, and there is no proxy
f.toml:23:1: "forwarded" is for targets that take requests, not bytes`},
	{"strip_prefix", `
[[vhost]]
hosts = "a"
proxy = "http://127.0.0.1:1"
strip_prefix = true
	[[vhost.route]]
	path = "/a"
	proxy = "http://127.0.0.1:1"
	strip_prefix = true
	[[vhost.route]]
	path = "/b/"
	proxy = "http://127.0.0.1:1"
	strip_prefix = "/b"
` + https, `
f.toml:5:1: "strip_prefix" is for a [[vhost.route]] whose path is a subtree, like "/app/"
f.toml:9:2: "strip_prefix" is for a [[vhost.route]] whose path is a subtree, like "/app/"
f.toml:13:17: strip_prefix must be true or false, is a string`},
	{"error pages", `
[[vhost]]
hosts = "a"
echo = true
[vhost.error_pages]
"404" = "a.html"
"399" = "a.html"
"600" = "a.html"
"504-502" = "a.html"
"40" = "a.html"
"4040" = "a.html"
"abc" = "a.html"
"500-" = "a.html"
"400-410" = "a.html"
"501" = ""
` + https, `
f.toml:7:1: error_pages: "399" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:8:1: error_pages: "600" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:9:1: error_pages: "504-502" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:10:1: error_pages: "40" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:11:1: error_pages: "4040" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:12:1: error_pages: "abc" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:13:1: error_pages: "500-" must be a status from 400 to 599, or a range of them: "404", "502-504"
f.toml:14:1: error_pages: "400-410" has a page already, f.toml:6:1
f.toml:15:9: 501 must not be empty`},
	{"maintenance", `
[[vhost]]
hosts = "a"
echo = true
maintenance = "yes"
[[vhost]]
hosts = "b"
echo = true
maintenance = { page = "", retry_after = "0s", allow = "x", pages = "a" }
` + https, `
f.toml:5:15: maintenance must be true, false or a table { page, retry_after, allow }, is a string
f.toml:9:24: page must not be empty
f.toml:9:42: retry_after must be more than 0
f.toml:9:56: allow "x" must be an address or a prefix: "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"
f.toml:9:61: unknown key "pages" in maintenance; did you mean "page"?`},
	{"rate limits", `
[[vhost]]
hosts = "a"
echo = true
rate_limit = 10
	[[vhost.route]]
	path = "/a"
	echo = true
	rate_limit = { requests = 0, per = "25h", burst = 100001 }
	[[vhost.route]]
	path = "/b"
	echo = true
	rate_limit = { per = "0s", brust = 1 }
` + https, `
f.toml:5:14: rate_limit must be false or a table { requests, per, burst }, is an integer
f.toml:9:28: requests must be at least 1, is 0
f.toml:9:37: per must be at most 24h
f.toml:9:52: burst must be at most 100000, is 100001
f.toml:13:15: rate_limit needs "requests"
f.toml:13:23: per must be more than 0
f.toml:13:29: unknown key "brust" in rate_limit; did you mean "burst"?`},
	{"basic_auth", `
[[vhost]]
hosts = "a"
echo = true
access = "public"
basic_auth = { realm = "a\"b" }
	[[vhost.route]]
	path = "/a"
	echo = true
	access = "login"
	[[vhost.route]]
	path = "/b"
	echo = true
	access = "login"
	basic_auth = false
	[[vhost.route]]
	path = "/c"
	echo = true
	access = ["alice"]
	basic_auth = { file = "users" }
	[[vhost.route]]
	path = "/d"
	echo = true
	basic_auth = "users"
` + https + login, `
f.toml:6:14: basic_auth needs "file"
f.toml:6:24: realm must be plain ASCII without quotes and backslashes, is "a\"b"
f.toml:10:11: /a has basic_auth, f.toml:6:14, and access for some: one of the two; basic_auth = false takes a [[vhost]]'s off
f.toml:19:11: /c has basic_auth, f.toml:20:15, and access for some: one of the two; basic_auth = false takes a [[vhost]]'s off
f.toml:24:15: basic_auth must be false or a table { file, realm }, is a string`},
	{"passwords over plain http", `
[[vhost]]
hosts = "a"
echo = true
listeners = ["https", "http"]
	[[vhost.route]]
	path = "/a"
	echo = true
	basic_auth = { file = "users" }
` + https + http, `
f.toml:5:23: listener "http" is plain http, and /a has basic_auth, f.toml:9:15: passwords need https`},
}
