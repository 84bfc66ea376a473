package conf

import "time"

func init() {
	good = append(good, goodPolicies...)
}

// policyOf is what the first upstream says of how its targets are asked.
func policyOf(c *Config) any {
	u := c.Upstreams[0]
	got := []any{u.Sticky, u.SlowStart, u.MaxInFlight}
	if h := u.Health; h != nil {
		h.Pos = Pos{}
		got = append(got, *h)
	}
	if r := u.Retries; r != nil {
		r.Pos = Pos{}
		got = append(got, *r)
	}
	if q := u.Queue; q != nil {
		q.Pos = Pos{}
		got = append(got, *q)
	}
	return got
}

var goodPolicies = []goodFile{
	{"no policy", "[[upstream]]\nname = \"a\"\ntargets = \"http://a\"", policyOf, []any{"", time.Duration(0), 0}},
	{"the defaults of what is given", `
[[upstream]]
name = "a"
targets = "http://a"
health = {}
retries = {}
sticky = {}
max_in_flight = 1
queue = {}
`, policyOf, []any{
		"edge_target", time.Duration(0), 1,
		HealthCheck{Interval: 10 * time.Second, Timeout: 2 * time.Second, Passes: 2, Fails: 3},
		Retries{Attempts: 2, Budget: 0.2, Connect: true, Reset: true, Statuses: []int{502, 503, 504}},
		Queue{Size: 100, Timeout: time.Second},
	}},
	{"all that can be said", `
[[upstream]]
name = "a"
targets = "http://a"
health = { path = "/healthz?full=1", interval = "1m", timeout = "1s", status = [200, 204], passes = 1, fails = 4, host = "a.b:80" }
retries = { attempts = 3, budget = 1, on = ["reset", "500"] }
sticky = { cookie = "at" }
slow_start = "30s"
max_in_flight = 100
queue = { size = 7, timeout = "3s" }
`, policyOf, []any{
		"at", 30 * time.Second, 100,
		HealthCheck{Path: "/healthz?full=1", Host: "a.b:80", Interval: time.Minute, Timeout: time.Second, Statuses: []int{200, 204}, Passes: 1, Fails: 4},
		Retries{Attempts: 3, Budget: 1, Reset: true, Statuses: []int{500}},
		Queue{Size: 7, Timeout: 3 * time.Second},
	}},
	{"statuses without a list, and without quotes", "[[upstream]]\nname = \"a\"\ntargets = \"http://a\"\n" +
		"health = { path = \"/\", status = 204 }\nretries = { on = [\"connect\", 503] }",
		func(c *Config) any {
			return []any{c.Upstreams[0].Health.Statuses, c.Upstreams[0].Retries.Connect, c.Upstreams[0].Retries.Statuses}
		},
		[]any{[]int{204}, true, []int{503}}},
	{"checks of targets that take bytes", "[[upstream]]\nname = \"a\"\ntargets = \"tcp://a:1\"\nhealth = { fails = 1 }",
		func(c *Config) any { return c.Upstreams[0].Health.Fails }, 1},
}
