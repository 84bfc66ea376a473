package conf

func init() { allBad = append(allBad, badTLS) }

var badTLS = []badFile{
	{"tls where there is none", `
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "http"
tls = { min_version = "1.3" }
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tcp"
proxy = "tcp://127.0.0.1:3"
tls = {}
[[listener]]
name = "c"
address = "127.0.0.1:4"
protocol = "tls"
sni = { "a.test" = "tcp://127.0.0.1:3" }
tls = { min_version = "1.3" }
[[vhost]]
hosts = "a"
listeners = "a"
echo = true
tls = { alpn = "h2" }
[[vhost]]
hosts = "b"
listeners = ["a", "https"]
echo = true
tls = { client_auth = "required", client_ca = "ca.pem" }
` + https, `
f.toml:6:1: "tls" is for https and tls listeners, this one speaks http
f.toml:12:1: "tls" is for https and tls listeners, this one speaks tcp
f.toml:18:1: "tls" needs "proxy": this listener relays by names only, and ends no TLS
f.toml:23:1: "tls" is for a [[vhost]] with an https listener
f.toml:28:1: listener "a" is plain http, and client_auth = "required" needs https`},
	{"what tls holds", https + `
tls = 1
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "https"
tls = { min_version = "1.1", client_auth = "yes", client_ca = "", alpn = ["h2", "h3", "h2"], ciphers = "" }
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tls"
proxy = "tcp://127.0.0.1:3"
tls = { min_version = 1.3, client_ca = "", alpn = ["", "imap", 3, "imap"] }
[[vhost]]
hosts = "a"
echo = true
tls = { alpn = "" }
[[vhost]]
hosts = "b"
echo = true
tls = { alpn = "imap", min_versoin = "1.3" }
`, `
f.toml:10:1: unknown key "tls" in [[certificate]]; it belongs in [[listener]], [[upstream]] or [[vhost]]
f.toml:15:23: min_version must be "1.2" or "1.3", is "1.1"
f.toml:15:44: client_auth must be "none", "optional" or "required", is "yes"
f.toml:15:63: client_ca must not be empty
f.toml:15:81: alpn must be "h2" or "http/1.1", is "h3"
f.toml:15:87: alpn has "h2" already
f.toml:15:94: unknown key "ciphers" in tls
f.toml:21:23: min_version must be a string, is a float
f.toml:21:40: client_ca must not be empty
f.toml:21:52: alpn must not be empty
f.toml:21:64: alpn must be a string, is an integer
f.toml:21:67: alpn has "imap" already
f.toml:25:16: alpn must not be empty
f.toml:29:16: alpn must be "h2" or "http/1.1", is "imap"
f.toml:29:24: unknown key "min_versoin" in tls; did you mean "min_version"?`},
	{"who signs", https + `
[[listener]]
name = "a"
address = "127.0.0.1:1"
protocol = "https"
tls = { client_auth = "optional" }
[[listener]]
name = "b"
address = "127.0.0.1:2"
protocol = "tls"
proxy = "tcp://127.0.0.1:3"
tls = { client_ca = "a.pem" }
[[listener]]
name = "c"
address = "127.0.0.1:3"
protocol = "https"
tls = { client_auth = "optional", client_ca = "a.pem" }
[[vhost]]
hosts = "a"
listeners = "https"
echo = true
tls = { client_auth = "required" }
[[vhost]]
hosts = "b"
listeners = "https"
echo = true
tls = { client_ca = ["a.pem", "b.pem"] }
[[vhost]]
hosts = "c"
listeners = ["https", "c"]
echo = true
tls = { client_auth = "required" }
[[vhost]]
hosts = "d"
listeners = "c"
echo = true
tls = { client_auth = "none", client_ca = "b.pem" }
`, `
f.toml:14:7: client_auth = "optional" needs "client_ca": who signs the clients' certificates
f.toml:20:21: client_ca needs client_auth = "optional" or "required"
f.toml:30:7: client_auth = "required" needs "client_ca": who signs the clients' certificates
f.toml:35:22: client_ca needs client_auth = "optional" or "required"
f.toml:40:7: client_auth = "required" needs "client_ca": who signs the clients' certificates
f.toml:45:43: client_ca needs client_auth = "optional" or "required"`},
	{"certificates for names that none is for", `
[[certificate]]
cert = "a.pem"
key = "a.key"
ocsp = ""
default = "yes"
[[certificate]]
cert = "b.pem"
key = "b.key"
default = true
[[certificate]]
cert = "c.pem"
key = "c.key"
ocsp = "c.ocsp"
default = true
[[certificate]]
issuer = "dev"
hosts = "localhost"
ocsp = "d.ocsp"
default = false
` + https, `
f.toml:5:8: ocsp must not be empty
f.toml:6:11: default must be true or false, is a string
f.toml:15:1: the default certificate is already at f.toml:7:1
f.toml:19:1: "ocsp" is for issuer = "files"`},
}
