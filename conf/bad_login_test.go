package conf

func init() { allBad = append(allBad, badLogins) }

// badLogins are mistakes in [login] and its tables.
var badLogins = []badFile{
	{"registration and audit", `
[log]
access = "a.log"
[login]
host = "login.localhost"
registration = "invites"
audit = ""
[[vhost]]
hosts = "a"
echo = true
access = ["аlice", "group:a b"]
` + https, `
f.toml:6:16: registration must be "closed", "invite" or "open", is "invites"
f.toml:7:9: audit must not be empty
f.toml:11:11: access "аlice" must be "public", "login", a user or "group:" and a group; a name has 1 to 64 letters of one script, digits and any of . _ @ + -
f.toml:11:21: access "group:a b" must be "public", "login", a user or "group:" and a group; a name has 1 to 64 letters of one script, digits and any of . _ @ + -`},
	{"ports", `
[log]
access = "a.log"
[login]
host = "login.localhost"
public_port = 0
` + https, `
f.toml:6:15: public_port must be at least 1, is 0`},
	{"no port", `
[log]
access = "a.log"
[login]
host = "login.localhost"
public_port = 65536
` + https, `
f.toml:6:15: public_port must be at most 65535, is 65536`},
	{"audit in the access log", `
[log]
access = "a.log"
[login]
host = "login.localhost"
audit = "./a.log"
` + https, `
f.toml:6:9: audit must not be the access log's file`},
}
