package conf

var badLogs = []badFile{
	{"log lines", `
[log]
format = "clf"
hide = ["a", "", "b&c", 1, "d[e]"]
return_id = "yes"
` + http, `
f.toml:3:10: format must be "json" or "combined", is "clf"
f.toml:4:14: hide must not be empty
f.toml:4:18: hide is for names of query parameters, of at most 64 bytes and without any of "&;=[]%+", is "b&c"
f.toml:4:25: hide must be a string, is an integer
f.toml:4:28: hide is for names of query parameters, of at most 64 bytes and without any of "&;=[]%+", is "d[e]"
f.toml:5:13: return_id must be true or false, is a string`},
	{"metrics listeners", `
[[listener]]
name = "metrics"
address = "127.0.0.1:9180"
protocol = "metrics"
proxy = "tcp://127.0.0.1:1"
redirect_to = "https"
pprof = 1
[[listener]]
name = "http"
address = "127.0.0.1:1"
protocol = "http"
pprof = true
[[vhost]]
hosts = "a"
listeners = ["metrics"]
echo = true
` + https, `
f.toml:6:1: "proxy" belongs in a [[vhost]]: this listener speaks metrics
f.toml:7:1: "redirect_to" is for http listeners, this one speaks metrics
f.toml:8:9: pprof must be true or false, is an integer
f.toml:13:1: "pprof" is for metrics listeners, this one speaks http
f.toml:16:14: listener "metrics" speaks metrics: it answers for edge itself and serves no [[vhost]]`},
}
