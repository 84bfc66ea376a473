package conf

var badFiles = []badFile{
	{"what only files have", `
[[vhost]]
hosts = "a"
echo = true
compress = true
browse = false
	[[vhost.route]]
	path = "/a"
	proxy = "http://a"
	compress = false
	[[vhost.route]]
	path = "/b"
	respond = {}
	browse = true
	[[vhost.route]]
	path = "/c/"
	files = "c"
	compress = "gzip"
	browse = 1
	[[vhost.route]]
	path = "/d/"
	files = "d"
	compres = true
	brwse = true
` + https, `
f.toml:5:1: "compress" is for files only
f.toml:6:1: "browse" is for files only
f.toml:10:2: "compress" is for files only
f.toml:14:2: "browse" is for files only
f.toml:18:13: compress must be true or false, is a string
f.toml:19:11: browse must be true or false, is an integer
f.toml:23:2: unknown key "compres" in [[vhost.route]]; did you mean "compress"?
f.toml:24:2: unknown key "brwse" in [[vhost.route]]; did you mean "browse"?`},
}
