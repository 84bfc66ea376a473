package plan

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge/conf"
)

const corp = `[[login.provider]]
name = "corp"
issuer = "https://id.test"
client_id = "edge-at-corp"
groups_claim = "groups"
groups = ["staff"]
`

// whole is a configuration in which each of the rows below has something to change.
const whole = `
state_dir = "state"

[[listener]]
name = "https"
address = "127.0.0.1:8443"
protocol = "https"
[[listener]]
name = "http"
address = ["127.0.0.1:8080", "unix:/run/edge.sock"]
protocol = "http"
[[listener]]
name = "db"
address = "127.0.0.1:5433"
protocol = "tcp"
proxy = "tcp://127.0.0.1:5432"
[[listener]]
name = "sni"
address = "127.0.0.1:9443"
protocol = "tls"
proxy = "tcp://127.0.0.1:5432"
[[listener]]
name = "metrics"
address = "127.0.0.1:9180"
protocol = "metrics"

[[certificate]]
hosts = ["a.test"]
cert = "www.pem"
key = "www.key"
[[certificate]]
hosts = ["localhost"]
issuer = "dev"

[[vhost]]
hosts = ["a.test"]
access = "public"
proxy = "app"
  [[vhost.route]]
  path = "/files/"
  files = "site"
  [[vhost.route]]
  path = "/app/"
  proxy = "app"
  [[vhost.route]]
  path = "/away"
  redirect = { to = "/here" }
  [[vhost.route]]
  path = "/said"
  respond = { body = "said" }
  [[vhost.route]]
  path = "/asked"
  echo = true
  rate_limit = { requests = 10 }
  [[vhost.route]]
  path = "/secret"
  echo = true
  basic_auth = { file = "htpasswd" }
[[vhost]]
hosts = ["b.test"]
access = "public"
echo = true
maintenance = { page = "down.html" }

[[upstream]]
name = "app"
targets = ["https://127.0.0.1:1", "https://127.0.0.1:2"]
health = { path = "/healthz" }
retries = { attempts = 2 }
sticky = { cookie = "a" }
max_in_flight = 5
queue = { size = 5 }
[[upstream]]
name = "bytes"
targets = ["tcp://127.0.0.1:3"]

[login]
host = "login.test"
` + corp + `[drain]
[upgrade]
[log]
`

// edit is one key that changes, and what the plan must say of it.
type edit struct {
	table, key string // as conf.Keys names them
	from, to   string // what is replaced in whole
	subject    string
	of         string // the key that the plan names; "": the kind tells
	kind       Kind
	cost       string // part of it
}

const (
	site   = "vhost a.test"
	root   = "vhost a.test route /"
	anew   = "its connection pool begins anew"
	open   = "those that are open keep what they began with"
	no     = "no connection is touched"
	public = "access = \"public\"\nproxy = \"app\""
	tables = "[[vhost]] and [[vhost.route]]"
)

var edits = slices.Concat(topEdits, listenerEdits, certificateEdits, vhostEdits, upstreamEdits, []edit{
	{"[login]", "host", `"login.test"`, `"enter.test"`, "login", "host", Loses, "logs in again"},
	{"[login]", "public_port", "[login]\n", "[login]\npublic_port = 8443\n", "login", "public_port", Changes, no},
	{"[login]", "registration", "[login]\n", "[login]\nregistration = \"open\"\n", "login", "registration", Changes, no},
	{"[login]", "idle", "[login]\n", "[login]\nidle = \"1h\"\n", "login", "idle", Changes, "sessions that are open, too"},
	{"[login]", "title", "[login]\n", "[login]\ntitle = \"Here\"\n", "login", "title", Changes, no},
	{"[login]", "logo", "[login]\n", "[login]\nlogo = \"logo.svg\"\n", "login", "logo", Changes, no},
	{"[login]", "color", "[login]\n", "[login]\ncolor = \"#123456\"\n", "login", "color", Changes, no},
	{"[login]", "templates", "[login]\n", "[login]\ntemplates = \"pages\"\n", "login", "templates", Changes, no},
	{"[login]", "local", "[login]\n", "[login]\nlocal = false\n", "login", "local", Changes, no},
	{"[login]", "provider", "[[login.provider]]\n", "[[login.provider]]\nname = \"new\"\nissuer = \"https://new.test\"\nclient_id = \"edge\"\n[[login.provider]]\n", "login provider new", "", Adds, no},
	{"[[login.provider]]", "name", `name = "corp"`, `name = "other"`, "login provider corp", "", Removes, "no button"},
	{"[[login.provider]]", "issuer", `"https://id.test"`, `"https://id2.test"`, "login provider corp", "issuer", Changes, no},
	{"[[login.provider]]", "client_id", `"edge-at-corp"`, `"edge2"`, "login provider corp", "client_id", Changes, no},
	{"[[login.provider]]", "groups_claim", `groups_claim = "groups"`, `groups_claim = "roles"`, "login provider corp", "groups_claim", Changes, "next login"},
	{"[[login.provider]]", "groups", `groups = ["staff"]`, `groups = ["*"]`, "login provider corp", "groups", Changes, "next login"},
	{"[[login.provider]]", "title", "[[login.provider]]\n", "[[login.provider]]\ntitle = \"Other\"\n", "login provider corp", "title", Changes, no},
	{"[[login.provider]]", "client_secret", "[[login.provider]]\n", "[[login.provider]]\nclient_secret = \"s3cret\"\n", "login provider corp", "", Changes, no},
	{"[[login.provider]]", "ca", "[[login.provider]]\n", "[[login.provider]]\nca = \"ca.pem\"\n", "login provider corp", "ca", Changes, no},
	{"[[login.provider]]", "scopes", "[[login.provider]]\n", "[[login.provider]]\nscopes = [\"openid\"]\n", "login provider corp", "scopes", Changes, no},
	{"[[login.provider]]", "username_claim", "[[login.provider]]\n", "[[login.provider]]\nusername_claim = \"nick\"\n", "login provider corp", "username_claim", Changes, no},
	{"[[login.provider]]", "allowed_domains", "[[login.provider]]\n", "[[login.provider]]\nallowed_domains = [\"a.test\"]\n", "login provider corp", "allowed_domains", Changes, no},
	{"[[login.provider]]", "allowed_emails", "[[login.provider]]\n", "[[login.provider]]\nallowed_emails = [\"a@a.test\"]\n", "login provider corp", "allowed_emails", Changes, no},
	{"[[login.provider]]", "create", "[[login.provider]]\n", "[[login.provider]]\ncreate = true\n", "login provider corp", "create", Changes, no},
	{"[[login.provider]]", "link_by_email", "[[login.provider]]\n", "[[login.provider]]\nlink_by_email = true\n", "login provider corp", "link_by_email", Changes, no},
	{"[[login.provider]]", "trust_mfa", "[[login.provider]]\n", "[[login.provider]]\ntrust_mfa = true\n", "login provider corp", "trust_mfa", Changes, no},
	{"[login]", "lifetime", "[login]\n", "[login]\nlifetime = \"48h\"\n", "login", "lifetime", Changes, "sessions that are open, too"},
	{"[login]", "audit", "[login]\n", "[login]\naudit = \"off\"\n", "login", "audit", Changes, no},
	{"[login]", "identity", "[login]\n", "[login]\nidentity = { user = \"x-who\" }\n", "login", "identity", Changes, no},
	{"[[vhost]]", "identity", "maintenance = { page", "identity = { user = \"x-who\" }\nmaintenance = { page", "vhost b.test", "identity", Changes, no},
	{"identity of [login]", "user", "[login]\n", "[login]\nidentity = { user = \"x-who\" }\n", "login", "identity", Changes, no},
	{"identity of [[vhost]]", "user", "maintenance = { page", "identity = { user = \"x-who\" }\nmaintenance = { page", "vhost b.test", "identity", Changes, no},
	{"identity of [login]", "groups", "[login]\n", "[login]\nidentity = { groups = \"x-who\" }\n", "login", "identity", Changes, no},
	{"identity of [[vhost]]", "groups", "maintenance = { page", "identity = { groups = \"x-who\" }\nmaintenance = { page", "vhost b.test", "identity", Changes, no},
	{"identity of [login]", "email", "[login]\n", "[login]\nidentity = { email = \"x-who\" }\n", "login", "identity", Changes, no},
	{"identity of [[vhost]]", "email", "maintenance = { page", "identity = { email = \"x-who\" }\nmaintenance = { page", "vhost b.test", "identity", Changes, no},
	{"identity of [login]", "jwt", "[login]\n", "[login]\nidentity = { jwt = \"x-who\" }\n", "login", "identity", Changes, no},
	{"identity of [[vhost]]", "jwt", "maintenance = { page", "identity = { jwt = \"x-who\" }\nmaintenance = { page", "vhost b.test", "identity", Changes, no},
	{"[drain]", "spread", "[drain]\n", "[drain]\nspread = \"1s\"\n", "drain", "spread", Changes, no},
	{"[drain]", "stop", "[drain]\n", "[drain]\nstop = \"1s\"\n", "drain", "stop", Changes, no},
	{"[drain]", "hard", "[drain]\n", "[drain]\nhard = \"1s\"\n", "drain", "hard", Changes, no},
	{"[upgrade]", "ready", "[upgrade]\n", "[upgrade]\nready = \"1s\"\n", "upgrade", "ready", Changes, no},
	{"[upgrade]", "probation", "[upgrade]\n", "[upgrade]\nprobation = \"1s\"\n", "upgrade", "probation", Changes, no},
	{"[upgrade]", "max_generations", "[upgrade]\n", "[upgrade]\nmax_generations = 2\n", "upgrade", "max_generations", Changes, no},
	{"[reload]", "deadline", "[log]\n", "[reload]\ndeadline = \"1s\"\n[log]\n", "reload", "deadline", Changes, no},
	{"[log]", "access", "[log]\n", "[log]\naccess = \"other.log\"\n", "log", "access", Changes, "the old file"},
	{"[log]", "format", "[log]\n", "[log]\nformat = \"combined\"\n", "log", "format", Changes, no},
	{"[log]", "hide", "[log]\n", "[log]\nhide = [\"x\"]\n", "log", "hide", Changes, no},
	{"[log]", "return_id", "[log]\n", "[log]\nreturn_id = true\n", "log", "return_id", Changes, no},
	{"[log]", "level", "[log]\n", "[log]\nlevel = \"warn\"\n", "log", "level", Changes, no},
})

var topEdits = []edit{
	{"", "include", "state_dir = \"state\"\n", "state_dir = \"state\"\ninclude = \"more.toml\"\n", "vhost more.test", "", Adds, no},
	{"", "state_dir", `"state"`, `"other"`, "state_dir", "state_dir", Changes, "refused while edge runs"},
	{"", "listener", "[[certificate]]", "[[listener]]\nname = \"new\"\naddress = \"127.0.0.1:1\"\nprotocol = \"http\"\n[[certificate]]", "listener new", "", Adds, no},
	{"", "certificate", "[[vhost]]", "[[certificate]]\ncert = \"c.pem\"\nkey = \"c.key\"\n[[vhost]]", "certificate c.pem", "", Adds, no},
	{"", "vhost", "[[vhost]]\nhosts = [\"b.test\"]", "[[vhost]]\nhosts = [\"c.test\"]\naccess = \"public\"\necho = true\n[[vhost]]\nhosts = [\"b.test\"]", "vhost c.test", "", Adds, no},
	{"", "upstream", "[[upstream]]", "[[upstream]]\nname = \"new\"\ntargets = [\"http://127.0.0.1:4\"]\n[[upstream]]", "upstream new", "", Adds, no},
	{"", "login", "[login]\nhost = \"login.test\"\n" + corp, "", "login", "", Removes, "accounts and sessions are kept"},
	{"", "drain", "[drain]\n", "[drain]\nspread = \"1s\"\n", "drain", "spread", Changes, no},
	{"", "upgrade", "[upgrade]\n", "[upgrade]\nready = \"1s\"\n", "upgrade", "ready", Changes, no},
	{"", "reload", "[log]\n", "[reload]\ndeadline = \"1s\"\n[log]\n", "reload", "deadline", Changes, no},
	{"", "log", "[log]\n", "[log]\nlevel = \"warn\"\n", "log", "level", Changes, no},
}

var listenerEdits = []edit{
	{"[[listener]]", "name", `name = "db"`, `name = "data"`, "listener db", "name", Changes, "the socket is kept: a name is a label"},
	{"[[listener]]", "address", `"127.0.0.1:5433"`, `"127.0.0.1:5434"`, "listener db", "address", Changes, "127.0.0.1:5434 opens; 127.0.0.1:5433 closes; what is open there stays until it ends"},
	{"[[listener]]", "protocol", "protocol = \"tcp\"", "protocol = \"tls\"", "listener db", "protocol", Changes, "the socket is kept"},
	{"[[listener]]", "max_connections", "name = \"db\"", "name = \"db\"\nmax_connections = 5", "listener db", "max_connections", Loses, "counted from 0 again"},
	{"[[listener]]", "max_header", "name = \"https\"", "name = \"https\"\nmax_header = \"32KiB\"", "listener https", "max_header", Changes, open},
	{"[[listener]]", "timeouts", "name = \"https\"", "name = \"https\"\ntimeouts = { idle = \"1s\" }", "listener https", "timeouts.idle", Changes, open},
	{"timeouts of [[listener]]", "header", "name = \"https\"", "name = \"https\"\ntimeouts = { header = \"1s\" }", "listener https", "timeouts.header", Changes, open},
	{"timeouts of [[listener]]", "body", "name = \"https\"", "name = \"https\"\ntimeouts = { body = \"1s\" }", "listener https", "timeouts.body", Changes, open},
	{"timeouts of [[listener]]", "write", "name = \"https\"", "name = \"https\"\ntimeouts = { write = \"1s\" }", "listener https", "timeouts.write", Changes, open},
	{"timeouts of [[listener]]", "idle", "name = \"https\"", "name = \"https\"\ntimeouts = { idle = \"1s\" }", "listener https", "timeouts.idle", Changes, open},
	{"timeouts of [[listener]]", "tunnel", "name = \"https\"", "name = \"https\"\ntimeouts = { tunnel = \"1s\" }", "listener https", "timeouts.tunnel", Changes, open},
	{"[[listener]]", "trusted_proxies", "name = \"http\"", "name = \"http\"\ntrusted_proxies = [\"10.0.0.0/8\", \"unix\"]", "listener http", "trusted_proxies", Changes, no},
	{"[[listener]]", "redirect_to", "name = \"http\"", "name = \"http\"\nredirect_to = \"https\"", "listener http", "redirect_to", Changes, no},
	{"[[listener]]", "proxy", "proxy = \"tcp://127.0.0.1:5432\"", "proxy = \"bytes\"", "listener db", "proxy", Changes, open},
	{"[[listener]]", "sni", "name = \"sni\"", "name = \"sni\"\nsni = { \"x.test\" = \"bytes\" }", "listener sni", "sni", Changes, open},
	{"[[listener]]", "keepalive", "name = \"https\"", "name = \"https\"\nkeepalive = \"1m\"", "listener https", "keepalive", Changes, open},
	{"[[listener]]", "mode", "name = \"http\"", "name = \"http\"\nmode = \"0660\"", "listener http", "mode", Changes, "who connects from now on"},
	{"[[listener]]", "proxy_protocol", "name = \"db\"", "name = \"db\"\nproxy_protocol = [\"10.0.0.0/8\"]", "listener db", "proxy_protocol", Changes, open},
	{"[[listener]]", "pprof", "name = \"metrics\"", "name = \"metrics\"\npprof = true", "listener metrics", "pprof", Changes, no},
	{"[[listener]]", "tls", "name = \"https\"", "name = \"https\"\ntls = { min_version = \"1.3\" }", "listener https", "tls.min_version", Changes, "421"},
	{"tls of [[listener]]", "min_version", "name = \"https\"", "name = \"https\"\ntls = { min_version = \"1.3\" }", "listener https", "tls.min_version", Changes, "421"},
	{"tls of [[listener]]", "client_auth", "name = \"https\"", "name = \"https\"\ntls = { client_auth = \"optional\", client_ca = \"ca.pem\" }", "listener https", "tls.client_auth", Changes, "421"},
	{"tls of [[listener]]", "client_ca", "name = \"https\"", "name = \"https\"\ntls = { client_auth = \"optional\", client_ca = \"ca.pem\" }", "listener https", "tls.client_ca", Changes, "421"},
	{"tls of [[listener]]", "alpn", "name = \"https\"", "name = \"https\"\ntls = { alpn = \"http/1.1\" }", "listener https", "tls.alpn", Changes, "421"},
}

var certificateEdits = []edit{
	{"[[certificate]]", "hosts", `["localhost"]`, `["localhost", "x.localhost"]`, "certificate dev for localhost", "hosts", Changes, no},
	{"[[certificate]]", "issuer", "cert = \"www.pem\"\nkey = \"www.key\"\n[[certificate]]\nhosts = [\"localhost\"]\nissuer = \"dev\"",
		"cert = \"www.pem\"\nkey = \"www.key\"\n[[certificate]]\nhosts = [\"localhost\"]\nissuer = \"files\"\ncert = \"l.pem\"\nkey = \"l.key\"",
		"certificate dev for localhost", "issuer", Changes, no},
	{"[[certificate]]", "cert", `"www.pem"`, `"new.pem"`, "certificate www.pem", "cert", Changes, no},
	{"[[certificate]]", "key", `"www.key"`, `"new.key"`, "certificate www.pem", "key", Changes, no},
	{"[[certificate]]", "ocsp", "key = \"www.key\"", "key = \"www.key\"\nocsp = \"www.ocsp\"", "certificate www.pem", "ocsp", Changes, no},
	{"[[certificate]]", "default", "key = \"www.key\"", "key = \"www.key\"\ndefault = true", "certificate www.pem", "default", Changes, no},
	{"[[certificate]]", "dir", "issuer = \"dev\"", "issuer = \"dev\"\ndir = \"dev\"", "certificate dev for localhost", "dir", Changes, no},
}

var vhostEdits = []edit{
	{"[[vhost]]", "hosts", `["a.test"]
access`, `["a.test", "c.test"]
access`, site, "hosts", Changes, no},
	{"[[vhost]]", "listeners", "hosts = [\"b.test\"]", "hosts = [\"b.test\"]\nlisteners = [\"https\", \"http\"]", "vhost b.test", "listeners", Changes, no},
	{"[[vhost]]", "tls", public, public + "\ntls = { min_version = \"1.3\" }", site, "tls.min_version", Changes, "421"},
	{"tls of [[vhost]]", "min_version", public, public + "\ntls = { min_version = \"1.3\" }", site, "tls.min_version", Changes, "421"},
	{"tls of [[vhost]]", "client_auth", public, public + "\ntls = { client_auth = \"optional\", client_ca = \"ca.pem\" }", site, "tls.client_auth", Changes, "421"},
	{"tls of [[vhost]]", "client_ca", public, public + "\ntls = { client_auth = \"optional\", client_ca = \"ca.pem\" }", site, "tls.client_ca", Changes, "421"},
	{"tls of [[vhost]]", "alpn", public, public + "\ntls = { alpn = \"http/1.1\" }", site, "tls.alpn", Changes, "421"},
	{"[[vhost]]", "maintenance", public, public + "\nmaintenance = true", site, "maintenance", Changes, no},
	{"maintenance of [[vhost]]", "page", `page = "down.html"`, `page = "away.html"`, "vhost b.test", "maintenance", Changes, no},
	{"maintenance of [[vhost]]", "retry_after", `page = "down.html"`, `page = "down.html", retry_after = "1h"`, "vhost b.test", "maintenance", Changes, no},
	{"maintenance of [[vhost]]", "allow", `page = "down.html"`, `page = "down.html", allow = "10.0.0.0/8"`, "vhost b.test", "maintenance", Changes, no},
	{"[[vhost]]", "error_pages", public, public + "\nerror_pages = { \"404\" = \"404.html\" }", site, "error_pages", Changes, no},
	{"[[vhost]]", "route", `path = "/away"`, "path = \"/more\"\n  echo = true\n  [[vhost.route]]\n  path = \"/away\"", site + " route /more", "", Adds, no},
	{"[[vhost.route]]", "path", `path = "/away"`, `path = "/gone"`, site + " route /away", "", Removes, "requests in flight end as they began"},

	{tables, "access", "access = \"public\"\necho", "access = [\"alice\", \"group:staff\"]\necho", "vhost b.test route /", "access", Changes, "WebSockets"},
	{tables, "require", "access = \"public\"\necho", "access = \"login\"\nrequire = \"second_factor\"\necho", "vhost b.test route /", "require", Changes, "WebSockets"},
	{tables, "max_body", public, public + "\nmax_body = 5", root, "max_body", Changes, no},
	{tables, "allow", public, public + "\nallow = \"10.0.0.0/8\"", site, "allow", Changes, no},
	{tables, "deny", public, public + "\ndeny = \"10.0.0.0/8\"", site, "deny", Changes, no},
	{tables, "rate_limit", public, public + "\nrate_limit = { requests = 1 }", site, "rate_limit", Loses, "rate limit counts begin anew"},
	{"rate_limit of " + tables, "requests", "requests = 10", "requests = 11", site + " route /asked", "rate_limit", Loses, "rate limit counts begin anew"},
	{"rate_limit of " + tables, "per", "requests = 10", "requests = 10, per = \"2s\"", site + " route /asked", "rate_limit", Loses, "rate limit counts begin anew"},
	{"rate_limit of " + tables, "burst", "requests = 10", "requests = 10, burst = 2", site + " route /asked", "rate_limit", Loses, "rate limit counts begin anew"},
	{tables, "basic_auth", "path = \"/asked\"", "path = \"/asked\"\nbasic_auth = { file = \"htpasswd\" }", site + " route /asked", "basic_auth", Changes, no},
	{"basic_auth of " + tables, "file", `"htpasswd"`, `"others"`, site + " route /secret", "basic_auth", Changes, no},
	{"basic_auth of " + tables, "realm", `"htpasswd"`, `"htpasswd", realm = "staff"`, site + " route /secret", "basic_auth", Changes, no},
	{tables, "headers", public, public + "\nheaders = { X-A = \"b\" }", site, "headers", Changes, no},
	{tables, "request_headers", public, public + "\nrequest_headers = { X-A = \"b\" }", site, "request_headers", Changes, no},
	{tables, "forwarded", public, public + "\nforwarded = true", site, "forwarded", Changes, no},
	{tables, "intercept_errors", public, public + "\nintercept_errors = true", site, "intercept_errors", Changes, no},
	{tables, "strip_prefix", "path = \"/app/\"", "path = \"/app/\"\nstrip_prefix = true", site + " route /app/", "strip_prefix", Changes, no},
	{tables, "proxy", "path = \"/app/\"\n  proxy = \"app\"", "path = \"/app/\"\n  proxy = \"http://127.0.0.1:7\"", site + " route /app/", "action", Changes, "tunnels stay"},
	{tables, "files", `files = "site"`, `files = "other"`, site + " route /files/", "action", Changes, "requests in flight"},
	{tables, "fallback", `files = "site"`, "files = \"site\"\nfallback = \"/i.html\"", site + " route /files/", "fallback", Changes, no},
	{tables, "compress", `files = "site"`, "files = \"site\"\ncompress = true", site + " route /files/", "compress", Changes, no},
	{tables, "browse", `files = "site"`, "files = \"site\"\nbrowse = true", site + " route /files/", "browse", Changes, no},
	{tables, "redirect", `redirect = { to = "/here" }`, "echo = true", site + " route /away", "action", Changes, ""},
	{"redirect of " + tables, "to", `"/here"`, `"/there"`, site + " route /away", "action", Changes, ""},
	{"redirect of " + tables, "status", `to = "/here"`, `to = "/here", status = 302`, site + " route /away", "action", Changes, ""},
	{tables, "respond", `respond = { body = "said" }`, "echo = true", site + " route /said", "action", Changes, ""},
	{"respond of " + tables, "status", `body = "said"`, `body = "said", status = 201`, site + " route /said", "action", Changes, ""},
	{"respond of " + tables, "body", `body = "said"`, `body = "unsaid"`, site + " route /said", "action", Changes, ""},
	{tables, "echo", "path = \"/asked\"\n  echo = true", "path = \"/asked\"\n  files = \"x\"", site + " route /asked", "action", Changes, ""},
}

var upstreamEdits = []edit{
	{"[[upstream]]", "name", "name = \"bytes\"", "name = \"octets\"", "upstream bytes", "", Removes, "its unused connections are closed"},
	{"[[upstream]]", "targets", "\"https://127.0.0.1:2\"", "\"https://127.0.0.1:22\"", "upstream app", "targets", Loses, anew},
	{"[[upstream]]", "balance", "name = \"app\"", "name = \"app\"\nbalance = \"least_connections\"", "upstream app", "balance", Loses, anew},
	{"[[upstream]]", "max_fails", "name = \"app\"", "name = \"app\"\nmax_fails = 9", "upstream app", "max_fails", Loses, anew},
	{"[[upstream]]", "fail_timeout", "name = \"app\"", "name = \"app\"\nfail_timeout = \"9s\"", "upstream app", "fail_timeout", Loses, anew},
	{"[[upstream]]", "host", "name = \"app\"", "name = \"app\"\nhost = \"target\"", "upstream app", "host", Loses, anew},
	{"[[upstream]]", "forwarded", "name = \"app\"", "name = \"app\"\nforwarded = true", "upstream app", "forwarded", Changes, no},
	{"[[upstream]]", "proxy_protocol", "name = \"bytes\"", "name = \"bytes\"\nproxy_protocol = \"v2\"", "upstream bytes", "proxy_protocol", Loses, anew},
	{"[[upstream]]", "health", "health = { path = \"/healthz\" }", "", "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "interval", `path = "/healthz"`, `path = "/healthz", interval = "9s"`, "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "timeout", `path = "/healthz"`, `path = "/healthz", timeout = "9s"`, "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "passes", `path = "/healthz"`, `path = "/healthz", passes = 9`, "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "fails", `path = "/healthz"`, `path = "/healthz", fails = 9`, "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "path", `path = "/healthz"`, `path = "/well"`, "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "host", `path = "/healthz"`, `path = "/healthz", host = "x.test"`, "upstream app", "health", Loses, anew},
	{"health of [[upstream]]", "status", `path = "/healthz"`, `path = "/healthz", status = [200]`, "upstream app", "health", Loses, anew},
	{"[[upstream]]", "retries", "retries = { attempts = 2 }", "", "upstream app", "retries", Loses, anew},
	{"retries of [[upstream]]", "attempts", "attempts = 2", "attempts = 3", "upstream app", "retries", Loses, anew},
	{"retries of [[upstream]]", "budget", "attempts = 2", "attempts = 2, budget = 0.5", "upstream app", "retries", Loses, anew},
	{"retries of [[upstream]]", "on", "attempts = 2", "attempts = 2, on = [\"connect\"]", "upstream app", "retries", Loses, anew},
	{"[[upstream]]", "sticky", "sticky = { cookie = \"a\" }", "", "upstream app", "sticky", Loses, anew},
	{"sticky of [[upstream]]", "cookie", `cookie = "a"`, `cookie = "b"`, "upstream app", "sticky", Loses, anew},
	{"[[upstream]]", "slow_start", "name = \"app\"", "name = \"app\"\nslow_start = \"9s\"", "upstream app", "slow_start", Loses, anew},
	{"[[upstream]]", "max_in_flight", "max_in_flight = 5", "max_in_flight = 6", "upstream app", "max_in_flight", Loses, anew},
	{"[[upstream]]", "queue", "queue = { size = 5 }", "", "upstream app", "queue", Loses, anew},
	{"queue of [[upstream]]", "size", "size = 5", "size = 6", "upstream app", "queue", Loses, anew},
	{"queue of [[upstream]]", "timeout", "size = 5", "size = 5, timeout = \"9s\"", "upstream app", "queue", Loses, anew},
	{"[[upstream]]", "timeouts", "name = \"app\"", "name = \"app\"\ntimeouts = { idle = \"9s\" }", "upstream app", "timeouts.idle", Loses, anew},
	{"timeouts of [[upstream]]", "connect", "name = \"app\"", "name = \"app\"\ntimeouts = { connect = \"9s\" }", "upstream app", "timeouts.connect", Loses, anew},
	{"timeouts of [[upstream]]", "response", "name = \"app\"", "name = \"app\"\ntimeouts = { response = \"9s\" }", "upstream app", "timeouts.response", Loses, anew},
	{"timeouts of [[upstream]]", "idle", "name = \"app\"", "name = \"app\"\ntimeouts = { idle = \"9s\" }", "upstream app", "timeouts.idle", Loses, anew},
	{"[[upstream]]", "tls", "name = \"app\"", "name = \"app\"\ntls = { ca = \"ca.pem\" }", "upstream app", "tls.ca", Loses, anew},
	{"tls of [[upstream]]", "ca", "name = \"app\"", "name = \"app\"\ntls = { ca = \"ca.pem\" }", "upstream app", "tls.ca", Loses, anew},
	{"tls of [[upstream]]", "server_name", "name = \"app\"", "name = \"app\"\ntls = { server_name = \"x.test\" }", "upstream app", "tls.server_name", Loses, anew},
}

// load reads a configuration in a folder of its own, beside a file that it may include.
func load(t *testing.T, dir, text string) *conf.Config {
	t.Helper()
	file := filepath.Join(dir, "edge.toml")
	more := "[[vhost]]\nhosts = [\"more.test\"]\naccess = \"public\"\necho = true\n"
	for name, text := range map[string]string{file: text, filepath.Join(dir, "more.toml"): more} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := conf.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// Every edit is told of, as what it is, and nothing else is.
func TestEveryEditIsTold(t *testing.T) {
	dir := t.TempDir()
	old := load(t, dir, whole)
	for _, e := range edits {
		t.Run(e.table+" "+e.key, func(t *testing.T) {
			if !strings.Contains(whole, e.from) {
				t.Fatalf("there is no %q to edit", e.from)
			}
			changes := Diff(old, load(t, dir, strings.Replace(whole, e.from, e.to, 1)), Live{})
			i := slices.IndexFunc(changes, func(c Change) bool { return c.Subject == e.subject && c.Kind == e.kind })
			if i < 0 {
				t.Fatalf("nothing is told of %s: %+v", e.subject, changes)
			}
			c := changes[i]
			if j := slices.IndexFunc(c.Of, func(k Key) bool { return k.Key == e.of }); e.of != "" && j < 0 {
				t.Errorf("nothing is told of %s: %+v", e.of, c)
			} else if e.of != "" && e.of != "request_headers" && c.Of[j].Old == c.Of[j].New {
				t.Errorf("the same before and after: %+v", c)
			}
			if !strings.Contains(c.Cost, e.cost) {
				t.Errorf("the cost is %q, want %q", c.Cost, e.cost)
			}
		})
	}
}

// Every key that the loader asks for is edited above.
func TestEveryKeyIsEdited(t *testing.T) {
	keys := conf.Keys()
	if len(keys) < 15 {
		t.Fatalf("only %d tables: %q", len(keys), slices.Sorted(maps.Keys(keys)))
	}
	for _, table := range slices.Sorted(maps.Keys(keys)) {
		for _, key := range keys[table] {
			if !slices.ContainsFunc(edits, func(e edit) bool { return slices.Contains(named(e.table), table) && e.key == key }) {
				t.Errorf("%q of %q may change and the plan's test does not say what it costs", key, table)
			}
		}
	}
}

// named gives the tables that an edit stands for: a vhost's and its routes' keys are told of alike.
func named(table string) []string {
	if i := strings.Index(table, tables); i >= 0 {
		return []string{table[:i] + "[[vhost]]", table[:i] + "[[vhost.route]]"}
	}
	return []string{table}
}

// What is only written in another way changes nothing: lines, comments, defaults.
func TestNothingChanges(t *testing.T) {
	dir := t.TempDir()
	same := "# a line\n" + strings.NewReplacer("[drain]\n", "[drain]\nspread = \"5000ms\"\n", `["a.test"]`, `"A.test."`).Replace(whole)
	if changes := Diff(load(t, dir, whole), load(t, dir, same), Live{}); changes != nil {
		t.Errorf("%+v", changes)
	}
}
