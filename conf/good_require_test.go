package conf

func init() { good = append(good, goodRequire...) }

// requireOf is, for each route, whether it wants a second factor.
func requireOf(c *Config) any {
	got := map[string]bool{}
	for _, v := range c.Vhosts {
		for _, r := range v.Routes {
			got[v.ID+r.Path] = r.Access.SecondFactor
		}
	}
	return got
}

var goodRequire = []goodFile{{"a second factor is required where it is said, and below it", `
[login]
host = "login.test"
[[vhost]]
hosts = ["a.test"]
access = "login"
echo = true
  [[vhost.route]]
  path = "/admin/"
  require = "second_factor"
  echo = true
[[vhost]]
hosts = ["b.test"]
access = ["alice"]
require = "second_factor"
echo = true
  [[vhost.route]]
  path = "/others/"
  access = "login"
  echo = true
  [[vhost.route]]
  path = "/easy/"
  require = "login"
  echo = true
  [[vhost.route]]
  path = "/open/"
  access = "public"
  echo = true
` + https, requireOf, map[string]bool{
	"a.test/": false, "a.test/admin/": true, "b.test/": true, "b.test/others/": true, "b.test/easy/": false, "b.test/open/": false,
}}}
