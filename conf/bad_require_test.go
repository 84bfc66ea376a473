package conf

func init() { allBad = append(allBad, badRequire) }

// badRequire are mistakes in how well who passes must be known.
var badRequire = []badFile{
	{"what may be required", `
[login]
host = "login.test"
[[vhost]]
hosts = ["a.test"]
access = "login"
require = "2fa"
echo = true
[[vhost]]
hosts = ["b.test"]
access = "public"
require = "second_factor"
echo = true
[[vhost]]
hosts = ["c.test"]
access = "login"
require = true
echo = true
` + https, `
f.toml:7:11: require must be "login" or "second_factor", is "2fa"
f.toml:12:11: require says how well who passes must be known, and access = "public", f.toml:11:10, lets everybody pass
f.toml:17:11: require must be a string, is a boolean`},
	{"required without a login", `
[[vhost]]
hosts = ["a.test"]
require = "second_factor"
echo = true
` + https, `
f.toml:4:11: require needs a [login] table, there is none`},
}
