package conf

var badReloads = []badFile{
	{"reload", `
[reload]
deadline = "0s"
after = "1s"
` + http, `
f.toml:3:12: deadline must be more than 0
f.toml:4:1: unknown key "after" in [reload]`},
}
