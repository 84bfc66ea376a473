package conf

import (
	"errors"
	"strings"
	"testing"
)

// What the fragments below stand before, so that the lines of their mistakes count from 1.
const (
	https = `
[[listener]]
name = "https"
address = "127.0.0.1:8443"
protocol = "https"
[[certificate]]
hosts = "localhost"
issuer = "dev"
`
	http = `
[[listener]]
name = "http"
address = "127.0.0.1:8080"
protocol = "http"
`
	login = `
[login]
host = "login.localhost"
`
)

// badFile is a text with mistakes, and all that is said about it.
type badFile struct {
	name, text, want string
}

var allBad = [][]badFile{bad, badPlaces, badListeners, badVhosts, badUpstreams, badRules, badConnections, badFiles, badLogs}

var bad = []badFile{
	{"nothing", ``, `
f.toml: there is no [[listener]]`},
	{"no listener", `listener = []`, `
f.toml:1:12: there is no [[listener]]`},
	{"one listener in single brackets", "[listener]\nname = \"a\"\naddress = \":1\"\nprotocol = \"http\"\n", `
f.toml:1:1: listener must be written [[listener]], in double brackets`},
	{"a listener that is no table", "listener = 3\n", `
f.toml:1:1: listener must be written [[listener]], in double brackets
f.toml:1:12: there is no [[listener]]`},
	{"tables for names", "[[vhost]]\necho = true\n[[vhost.hosts]]\na = 1\n" + https, `
f.toml:3:1: hosts must be a string or a list of strings, is a list of tables`},
	{"no TOML", "a = 1\nb = ]\n", `
f.toml:2:5: is not TOML: expected value but found ']' instead`},
	{"a key twice", "state_dir = \"a\"\nstate_dir = \"b\"\n[log]\n" + https, `
f.toml:2:17: is not TOML: Key 'state_dir' has already been defined`},
	{"a table twice", "[log]\n[drain]\n[log]\n" + https, `
f.toml:3:2: is not TOML: Key 'log' has already been defined`},
	{"not UTF-8", "# \xff\n" + https, `
f.toml:1:2: is not TOML: invalid UTF-8 byte: 0xff`},
	{"the parsers disagree", "\xff\xfea = 1\n", `
f.toml:1:1: is not TOML: invalid character at start of key: U+00FF 'ÿ'`},
	{"too large", strings.Repeat("#", maxText+1), `
f.toml: is larger than 1048576 bytes`},

	{"an unknown key", "stat_dir = \"a\"\nfoobar = 1" + https, `
f.toml:1:1: unknown key "stat_dir"; did you mean "state_dir"?
f.toml:2:1: unknown key "foobar"`},
	{"an unknown table", "[[listner]]\nname = \"a\"\n[logg]\n" + https, `
f.toml:1:1: unknown key "listner"; did you mean "listener"?
f.toml:3:1: unknown key "logg"; did you mean "log"?`},
	{"an unknown key in every table", `
[log]
Level = "info"
[drain]
  stopp = "1s"
[upgrade]
redy = "1s"
[login]
host = "login.localhost"
hots = "a"
[[upstream]]
name = "a"
targets = "http://a"
timeouts = { connekt = "1s" }
tls.ca_file = "x"
balanc = "a"
[[vhost]]
hosts = "a"
access = "public"
headers = { a = "b" }
respond = { state = 1 }
acces = "public"
	[[vhost.route]]
	path = "/a"
	redirect = { to = "/", statuss = 301 }
	paht = "/a"
[[listener]]
name = "l"
address = "127.0.0.1:1"
protocol = "http"
timeouts.hedaer = "1s"
protocoll = "http"
[[certificate]]
isuer = "dev"
cert = "a"
key = "b"
` + https, `
f.toml:3:1: unknown key "Level" in [log]; did you mean "level"?
f.toml:5:3: unknown key "stopp" in [drain]; did you mean "stop"?
f.toml:7:1: unknown key "redy" in [upgrade]; did you mean "ready"?
f.toml:10:1: unknown key "hots" in [login]; did you mean "host"?
f.toml:14:14: unknown key "connekt" in timeouts; did you mean "connect"?
f.toml:15:1: tls is for https targets only
f.toml:15:5: unknown key "ca_file" in tls
f.toml:16:1: unknown key "balanc" in [[upstream]]; did you mean "balance"?
f.toml:21:13: unknown key "state" in respond; did you mean "status"?
f.toml:22:1: unknown key "acces" in [[vhost]]; did you mean "access"?
f.toml:25:25: unknown key "statuss" in redirect; did you mean "status"?
f.toml:26:2: unknown key "paht" in [[vhost.route]]; did you mean "path"?
f.toml:31:10: unknown key "hedaer" in timeouts; did you mean "header"?
f.toml:32:1: unknown key "protocoll" in [[listener]]; did you mean "protocol"?
f.toml:34:1: unknown key "isuer" in [[certificate]]; did you mean "issuer"?`},
	{"what is not built", `include = ["a.toml"]
[[upstream]]
name = "a"
targets = "http://a"
[[vhost]]
hosts = "a"
proxy = "a"
access = "public"
[login]
host = "login.localhost"
registration = "invite"
[[certificate]]
hosts = "a"
issuer = "acme"
[[listener]]
name = "l"
address = "127.0.0.1:1"
protocol = "http"
` + https, `
f.toml:1:1: "include" is not built yet
f.toml:11:16: "invite" is not built yet
f.toml:14:10: "acme" is not built yet`},

	{"the wrong kind of value", `state_dir = 1
log = "info"
[drain]
stop = 30
[upgrade]
ready = true
max_generations = "8"
[[vhost]]
hosts = [1, "a", ["b"], { c = 1 }]
echo = "yes"
max_body = 1.5
headers = { a = 1979-05-27 }
[[vhost]]
hosts = {}
redirect = 308
[[vhost]]
hosts = "d"
respond = "pong"
[[vhost]]
hosts = "e"
redirect = { to = 1, status = "308" }
` + https, `
f.toml:1:13: state_dir must be a string, is an integer
f.toml:2:7: log must be a table, is a string
f.toml:4:8: stop must be a duration like "5s", is an integer
f.toml:6:9: ready must be a duration like "5s", is a boolean
f.toml:7:19: max_generations must be an integer, is a string
f.toml:9:9: hosts must be a string, is a list
f.toml:9:10: hosts must be a string, is an integer
f.toml:9:25: hosts must be a string, is a table
f.toml:10:8: echo must be true, is a string
f.toml:11:12: max_body must be a size like "64KiB", is a float
f.toml:12:17: a must be a string, is a date or time
f.toml:14:9: hosts must be a string or a list of strings, is a table
f.toml:15:12: redirect must be a string or a table { to, status }, is an integer
f.toml:18:11: respond must be a table, is a string
f.toml:21:19: to must be a string, is an integer
f.toml:21:31: status must be an integer, is a string`},
	{"single and double brackets", `
[[log]]
[[drain]]
[vhost]
hosts = "a"
echo = true
` + https, `
f.toml:2:1: [log] stands once, in single brackets
f.toml:3:1: [drain] stands once, in single brackets
f.toml:4:1: vhost must be written [[vhost]], in double brackets`},
	{"tables that are none", `vhost = [1]
upstream = "a"
` + https, `
f.toml:1:10: vhost must be a table, is an integer
f.toml:2:1: upstream must be written [[upstream]], in double brackets`},
	{"durations", `[drain]
spread = "5"
stop = "0s"
hard = "-1s"
[[listener]]
name = "l"
address = "127.0.0.1:1"
protocol = "http"
timeouts = { header = "", body = "0s", write = "-5s", idle = "6 m", tunnel = "0s" }
[[listener]]
name = "m"
address = "127.0.0.1:2"
protocol = "http"
timeouts = { header = 5, tunnel = "1 h" }
[[listener]]
name = "n"
address = "127.0.0.1:3"
protocol = "http"
timeouts.tunnell = "1h"
timeouts.tunnel = "-1h"
`, `
f.toml:2:10: spread must be a duration like "5s" or "1h30m", is "5"
f.toml:3:8: stop must be more than 0
f.toml:4:8: hard must not be negative, is "-1s"
f.toml:9:23: header must be a duration like "5s" or "1h30m", is ""
f.toml:9:34: body must be more than 0
f.toml:9:48: write must not be negative, is "-5s"
f.toml:9:62: idle must be a duration like "5s" or "1h30m", is "6 m"
f.toml:9:78: tunnel must be more than 0
f.toml:14:23: header must be a duration like "5s", is an integer
f.toml:14:35: tunnel must be a duration like "5s" or "1h30m", is "1 h"
f.toml:19:10: unknown key "tunnell" in timeouts; did you mean "tunnel"?
f.toml:20:19: tunnel must not be negative, is "-1h"`},
	{"sizes and numbers", `[upgrade]
max_generations = 0
[[listener]]
name = "l"
address = "127.0.0.1:1"
protocol = "http"
max_connections = -1
max_header = "0"
[[listener]]
name = "m"
address = "127.0.0.1:2"
protocol = "http"
max_connections = 9999999999
max_header = "64kb"
[[vhost]]
hosts = "a"
listeners = "l"
echo = true
max_body = -1
	[[vhost.route]]
	path = "/a"
	echo = true
	max_body = "9999999TiB"
	[[vhost.route]]
	path = "/b"
	echo = true
	max_body = ""
`, `
f.toml:2:19: max_generations must be at least 1, is 0
f.toml:7:19: max_connections must be at least 0, is -1
f.toml:8:14: max_header must be from 1KiB to 16MiB
f.toml:13:19: max_connections must be at most 2147483647, is 9999999999
f.toml:14:14: max_header must be a size like "64KiB" or "10MB", is "64kb"
f.toml:19:12: max_body must not be negative, is -1
f.toml:23:13: max_body must be a size like "64KiB" or "10MB", is "9999999TiB"
f.toml:27:13: max_body must be a size like "64KiB" or "10MB", is ""`},
	{"log", "[log]\nlevel = \"loud\"\naccess = \"\"" + https, `
f.toml:2:9: level must be "debug", "info", "warn" or "error", is "loud"
f.toml:3:10: access must not be empty`},
	{"a NUL in a path", `state_dir = "a\u0000b"` + https, `
f.toml:1:13: state_dir is no path: it holds a NUL byte`},
}

func TestBad(t *testing.T) {
	for _, table := range allBad {
		for _, test := range table {
			t.Run(test.name, func(t *testing.T) {
				c, err := Parse("f.toml", []byte(test.text))
				if c != nil {
					t.Error("a Config is returned beside the mistakes")
				}
				var mistakes Errors
				if !errors.As(err, &mistakes) {
					t.Fatalf("the error is %T, not Errors: %v", err, err)
				}
				if got, want := "\n"+mistakes.Error(), test.want; got != want {
					t.Errorf("got:%s\nwant:%s", got, want)
				}
			})
		}
	}
}
