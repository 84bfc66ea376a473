package conf

var badIdentity = []badFile{
	{"identity", `
[[vhost]]
hosts = "a"
access = "public"
echo = true
identity = { user = "a b", groups = "Cookie", email = "X-Forwarded-For", jwt = "x-token-jwt", name = "x" }
[[vhost]]
hosts = "b"
access = "public"
proxy = "http://a"
identity = { user = "X-Who", groups = "x_who" }
request_headers = { "X_Who" = "root", "X-Other" = "a" }
[[vhost]]
hosts = "c"
access = "public"
echo = true
identity = { user = "Content-Length", groups = "_", email = 1 }
` + https + login, `
f.toml:6:21: user = "a b" is not the name of a header field
f.toml:6:37: groups cannot be "cookie": the field has another meaning
f.toml:6:55: email cannot be "x-forwarded-for": the field has another meaning
f.toml:6:95: unknown key "name" in identity; it belongs in [[listener]], [[login.provider]] or [[upstream]]
f.toml:11:12: identity: two of user, groups, email and jwt have the same name, or one that an app may take for it: x-who
f.toml:12:21: header x_who cannot be set: identity names it, so edge alone says it
f.toml:17:21: user cannot be "content-length": the field has another meaning
f.toml:17:48: groups cannot be "_": the field has another meaning
f.toml:17:61: email must be a string, is an integer`},
	{"identity without a login", `
[[vhost]]
hosts = "a"
echo = true
identity = { jwt = "x-proof" }
` + https, `
f.toml:5:12: identity: jwt needs a [login] table, there is none`},
}
