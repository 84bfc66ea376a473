package conf

func init() { allBad = append(allBad, badProviders) }

// badProviders are mistakes in who may say who somebody is.
var badProviders = []badFile{
	{"a provider without anything", https + login + `
[[login.provider]]
`, `
f.toml:13:1: [[login.provider]] needs "name"
f.toml:13:1: [[login.provider]] needs "issuer"
f.toml:13:1: [[login.provider]] needs "client_id"`},
	{"providers", https + login + `
[[login.provider]]
name = "Corp"
issuer = "http://id.test"
client_id = 1
scopes = ["email", "a b"]
groups_claim = "groups"
allowed_domains = ["@corp.test", "corp"]
allowed_emails = ["a@b@corp.test", "corp.test"]
create = "yes"
[[login.provider]]
name = "b"
issuer = "https://u:p@id.test"
client_id = "x"
groups = ["a"]
scope = "openid"
[[login.provider]]
name = "b"
issuer = "https://id.test/?q"
client_id = "x"
groups_claim = "g"
groups = ["*", "a"]
`, `
f.toml:14:8: name = "Corp" stands in addresses: 1 to 32 of a-z, 0-9 and, between them, -
f.toml:15:10: issuer must be like "https://id.example.org", as the provider writes it: https, no query, is "http://id.test"
f.toml:16:13: client_id must be a string, is an integer
f.toml:17:10: scopes must hold "openid": without it nobody says who it is
f.toml:17:20: "a b" is no scope
f.toml:18:1: "groups_claim" needs "groups": those that count here, or ["*"] for all
f.toml:19:20: "@corp.test" is no domain like "example.org"
f.toml:19:34: "corp" is no domain like "example.org"
f.toml:20:19: "a@b@corp.test" is no e-mail address like "alice@example.org"
f.toml:20:36: "corp.test" is no e-mail address like "alice@example.org"
f.toml:21:10: create must be true or false, is a string
f.toml:24:10: issuer must be like "https://id.example.org", as the provider writes it: https, no query, is "https://u:p@id.test"
f.toml:26:1: "groups" needs "groups_claim"
f.toml:27:1: unknown key "scope" in [[login.provider]]; did you mean "scopes"?
f.toml:29:8: name "b" is already at f.toml:22:1
f.toml:30:10: issuer must be like "https://id.example.org", as the provider writes it: https, no query, is "https://id.test/?q"
f.toml:33:10: groups: "*" stands alone`},
	{"no way to log in", https + `
[login]
host = "login.test"
local = false
`, `
f.toml:12:9: local = false leaves no way to log in: there is no [[login.provider]]`},
	{"registration without passwords", https + `
[login]
host = "login.test"
local = false
registration = "open"
[[login.provider]]
name = "corp"
issuer = "https://id.test"
client_id = "x"
`, `
f.toml:12:9: local = false: nobody has a password, so registration must be "closed"`},
}
