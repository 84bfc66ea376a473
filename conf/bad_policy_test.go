package conf

func init() { allBad = append(allBad, badPolicies) }

// badPolicies are mistakes in how an upstream's targets are asked.
var badPolicies = []badFile{
	{"a health check", `
[[upstream]]
name = "a"
targets = "http://a"
health = { path = "healthz", interval = "0s", timeout = "0s", status = [100, 600, "200"], passes = 0, fails = 101, host = "a b", port = 1 }
[[upstream]]
name = "b"
targets = "http://b"
health = { status = [], host = "b" }
[[upstream]]
name = "c"
targets = "http://c"
health = { path = "/a?b c", status = "200" }
[[upstream]]
name = "d"
targets = "http://d"
health = { path = "?a", host = "d/e" }
[[upstream]]
name = "e"
targets = "http://e"
health = true
` + https, `
f.toml:5:19: path "healthz" must start with "/"
f.toml:5:41: interval must be more than 0
f.toml:5:57: timeout must be more than 0
f.toml:5:73: status must be at least 200, is 100
f.toml:5:78: status must be at most 599, is 600
f.toml:5:83: status must be an integer, is a string
f.toml:5:100: passes must be at least 1, is 0
f.toml:5:111: fails must be at most 100, is 101
f.toml:5:123: host must be a name or an address, perhaps with a port, like "app.example.org:8080", is "a b"
f.toml:5:130: unknown key "port" in health; did you mean "host"?
f.toml:9:12: "status" needs "path": without it targets are only connected to
f.toml:9:21: status must not be empty
f.toml:9:25: "host" needs "path": without it targets are only connected to
f.toml:13:19: path "/a?b c" holds ' ', which has no place in a query
f.toml:13:38: status must be a status or a list of them, like [200, 204], is a string
f.toml:17:19: path "?a" must start with "/"
f.toml:17:32: host must be a name or an address, perhaps with a port, like "app.example.org:8080", is "d/e"
f.toml:21:10: health must be a table, is a boolean`},
	{"retries", `
[[upstream]]
name = "a"
targets = "http://a"
retries = { attempts = 1, budget = 2, on = ["404", true, "resets"], times = 3 }
[[upstream]]
name = "b"
targets = "http://b"
retries = { attempts = 11, budget = "20%", on = [] }
[[upstream]]
name = "c"
targets = "http://c"
retries = { budget = -0.1 }
` + https, `
f.toml:5:24: attempts must be at least 2, is 1
f.toml:5:36: budget must be from 0 to 1, is 2
f.toml:5:45: on must be "connect", "reset", "500", "502", "503" or "504", is "404"
f.toml:5:52: on must be a string, is a boolean
f.toml:5:58: on must be "connect", "reset", "500", "502", "503" or "504", is "resets"
f.toml:5:69: unknown key "times" in retries
f.toml:9:24: attempts must be at most 10, is 11
f.toml:9:37: budget must be a number from 0 to 1, like 0.2, is a string
f.toml:9:49: on must not be empty
f.toml:13:22: budget must be from 0 to 1, is -0.1`},
	{"a sticky cookie", `
[[upstream]]
name = "a"
targets = "http://a"
sticky = { cookie = "a b" }
[[upstream]]
name = "b"
targets = "http://b"
sticky = { cookie = "__Host-edge", name = "b" }
[[upstream]]
name = "c"
targets = "http://c"
sticky = { cookie = "" }
` + https, `
f.toml:5:21: cookie "a b" must hold letters, digits, ".", "_" and "-" only
f.toml:9:21: cookie "__Host-edge" must not begin with "__": browsers read a promise in it, and edge's own begin so
f.toml:9:36: unknown key "name" in sticky; it belongs in [[listener]], [[login.provider]] or [[upstream]]
f.toml:13:21: cookie must not be empty`},
	{"limits", `
[[upstream]]
name = "a"
targets = "http://a"
slow_start = -1
max_in_flight = -1
queue = { size = 0, timeout = "0s" }
[[upstream]]
name = "b"
targets = "http://b"
max_in_flight = 2000000
queue = { size = 100000, wait = "1s" }
` + https, `
f.toml:5:14: slow_start must be a duration like "5s", is an integer
f.toml:6:17: max_in_flight must be at least 0, is -1
f.toml:7:18: size must be at least 1, is 0
f.toml:7:31: timeout must be more than 0
f.toml:11:17: max_in_flight must be at most 1048576, is 2000000
f.toml:12:18: size must be at most 65536, is 100000
f.toml:12:26: unknown key "wait" in queue`},
	{"a queue for nobody", `
[[upstream]]
name = "a"
targets = "http://a"
queue = {}
` + https, `
f.toml:5:1: "queue" needs "max_in_flight": else no target is ever full`},
	{"what is for requests, at a socket for bytes", `
[[upstream]]
name = "a"
targets = "unix:/a"
health = { path = "/" }
[[upstream]]
name = "b"
targets = "unix:/b"
retries = {}
[[upstream]]
name = "c"
targets = "unix:/c"
sticky = {}
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "tcp"
proxy = "a"
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tcp"
proxy = "b"
[[listener]]
name = "c"
address = "127.0.0.1:3"
protocol = "tcp"
proxy = "c"
` + https, `
f.toml:18:9: bytes are relayed here, not requests, and upstream "a" has a path for its health
f.toml:23:9: bytes are relayed here, not requests, and upstream "b" has retries
f.toml:28:9: bytes are relayed here, not requests, and upstream "c" has sticky`},
	{"what is for requests, where bytes are relayed", `
[[upstream]]
name = "a"
targets = "tcp://a:1"
health = { path = "/" }
retries = {}
sticky = {}
` + https, `
f.toml:5:12: "path" is for targets that take requests, not bytes: without it they are connected to
f.toml:6:1: "retries" is for targets that take requests, not bytes
f.toml:7:1: "sticky" is for targets that take requests, not bytes`},
}
