package plan

import (
	"fmt"

	"edge/conf"
)

// upstreams compares the upstreams by name, which for one without a table is its URL.
func (d *differ) upstreams() {
	for _, p := range pair(d.old.Upstreams, d.new.Upstreams, upstreamName) {
		was, is := p[0], p[1]
		switch {
		case was == nil:
			d.add(Adds, "upstream "+is.Name, []Key{{"targets", "", targets(is)}}, none)
		case is == nil:
			d.add(Removes, "upstream "+was.Name, []Key{{"targets", targets(was), ""}}, d.retires(was.Name, "its unused connections are closed", false))
		default:
			anew := d.retires(was.Name, "its connection pool begins anew, and so do the counts of its targets' failures", true)
			d.compare("upstream "+is.Name, upstreamFacts(was, anew), upstreamFacts(is, anew))
		}
	}
}

// retires is the cost of an upstream that a new one, or none, stands in place of (edge/upstream, specKey and Upstream.Retire).
func (d *differ) retires(name, words string, loses bool) cost {
	if n := d.live.InFlight[name]; n > 0 {
		words += fmt.Sprintf("; %d in flight %s on the old one", n, verb(n, "ends", "end"))
	}
	return cost{words: words, loses: loses}
}

// upstreamFacts are what an upstream says. All but one of them make it what it is (edge/upstream, specKey): Forwarded is what each request is told.
func upstreamFacts(u *conf.Upstream, anew cost) []fact {
	facts := []fact{{"forwarded", u.Forwarded, none}}
	for _, f := range []fact{
		{key: "targets", is: targets(u)},
		{key: "timeouts.connect", is: u.Timeouts.Connect}, {key: "timeouts.response", is: u.Timeouts.Response}, {key: "timeouts.idle", is: u.Timeouts.Idle},
		{key: "host", is: word(u.HostTarget, "target", "the client's")},
		{key: "balance", is: word(u.LeastConnections, "least_connections", "round_robin")},
		{key: "max_fails", is: u.MaxFails}, {key: "fail_timeout", is: u.FailTimeout},
		{key: "tls.ca", is: u.CA}, {key: "tls.server_name", is: u.TLSServerName},
		{key: "proxy_protocol", is: u.ProxyProtocol},
		{key: "health", is: of(u.Health, health)}, {key: "retries", is: of(u.Retries, retries)}, {key: "sticky", is: u.Sticky},
		{key: "slow_start", is: u.SlowStart}, {key: "max_in_flight", is: u.MaxInFlight},
		{key: "queue", is: of(u.Queue, func(q *conf.Queue) string { return fmt.Sprintf("%d for %v", q.Size, q.Timeout) })},
	} {
		f.cost = anew
		facts = append(facts, f)
	}
	return facts
}

func word(yes bool, ifYes, ifNo string) string {
	if yes {
		return ifYes
	}
	return ifNo
}

func targets(u *conf.Upstream) string {
	return list(u.Targets, func(t conf.Target) string {
		if t.Scheme == "unix" {
			return "unix:" + t.Address
		}
		return t.Scheme + "://" + t.Address
	})
}

func health(h *conf.HealthCheck) string {
	s := fmt.Sprintf("each %v within %v, %d passes, %d fails", h.Interval, h.Timeout, h.Passes, h.Fails)
	if h.Path != "" {
		s += ", path " + h.Path
	}
	if h.Host != "" {
		s += ", host " + h.Host
	}
	if h.Statuses != nil {
		s += fmt.Sprintf(", status %v", h.Statuses)
	}
	return s
}

func retries(r *conf.Retries) string {
	s := fmt.Sprintf("%d attempts, budget %v, on", r.Attempts, r.Budget)
	if r.Connect {
		s += " connect"
	}
	if r.Reset {
		s += " reset"
	}
	return s + fmt.Sprint(" ", r.Statuses)
}
