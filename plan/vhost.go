package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"edge/conf"
)

// vhosts compares the virtual hosts by their first host, which is what sessions, counters and rate limits know them by (conf.Vhost.ID).
func (d *differ) vhosts() {
	for _, p := range pair(d.old.Vhosts, d.new.Vhosts, func(v *conf.Vhost) string { return v.ID }) {
		was, is := p[0], p[1]
		switch {
		case was == nil:
			d.add(Adds, "vhost "+is.ID, []Key{{"hosts", "", text(is.Hosts)}}, none)
		case is == nil:
			d.add(Removes, "vhost "+was.ID, []Key{{"hosts", text(was.Hosts), ""}},
				cost{words: "requests for it are answered with 421; those in flight end as they began, its tunnels stay"})
		default:
			d.compare("vhost "+is.ID, vhostFacts(was, was), vhostFacts(was, is))
			d.routes(was, is)
		}
	}
}

// vhostFacts are what v says of itself, and of what no route answers.
func vhostFacts(was, v *conf.Vhost) []fact {
	facts := []fact{
		{"hosts", v.Hosts, none},
		{"listeners", list(v.Listeners, func(l *conf.Listener) string { return l.Name }), none},
		{"maintenance", of(v.Maintenance, maintenance), none},
		{"error_pages", list(v.ErrorPages, errorPage), none},
		{"identity", identity(v.Identity), none},
	}
	facts = append(facts, tlsFacts(v.TLS)...)
	return append(facts, rulesFacts(was, v, "", &v.Rules)...)
}

func identity(i conf.Identity) string {
	return fmt.Sprintf("user %q, groups %q, email %q, jwt %q", i.User, i.Groups, i.Email, i.JWT)
}

func maintenance(m *conf.Maintenance) string {
	s := "retry after " + m.RetryAfter.String()
	if m.Page.Path != "" {
		s += ", page " + m.Page.Path
	}
	if m.Allow != nil {
		s += ", but for " + text(m.Allow)
	}
	return s
}

func errorPage(p conf.ErrorPage) string {
	if p.First == p.Last {
		return fmt.Sprintf("%d = %s", p.First, p.Page.Path)
	}
	return fmt.Sprintf("%d-%d = %s", p.First, p.Last, p.Page.Path)
}

// rulesFacts are the rules of v, or of one of its routes; was is what v was, or is, and path is "" for v itself.
func rulesFacts(was, v *conf.Vhost, path string, r *conf.Rules) []fact {
	return []fact{
		{"allow", allowed(r.Allow), none},
		{"deny", r.Deny, none},
		{"rate_limit", limit(v, path, r), rates(was, v, path, r)},
		{"basic_auth", of(r.BasicAuth, basicAuth), none},
		{"headers", r.Headers, none},
		{"request_headers", veil(r.RequestHeaders), none},
		{"forwarded", r.Forwarded, none},
		{"intercept_errors", r.InterceptErrors, none},
	}
}

// allowed tells a list that nobody is in from none at all.
func allowed(ps conf.Prefixes) string {
	if ps == nil {
		return "everybody"
	}
	return text(ps)
}

// veil names the fields that upstreams get, and hides their values: they may hold credentials.
func veil(hs []conf.Header) veiled {
	return veiled{list(hs, func(h conf.Header) string { return h.Name + " = -" }), text(hs)}
}

func basicAuth(b *conf.BasicAuth) string { return fmt.Sprintf("%s, realm %q", b.File.Path, b.Realm) }

// limit gives a rate limit. A route that says nothing shares its vhost's.
func limit(v *conf.Vhost, path string, r *conf.Rules) string {
	switch {
	case r.RateLimit == nil:
		return ""
	case path != "" && r.RateLimit == v.RateLimit:
		return "shared with the vhost"
	}
	return fmt.Sprintf("%d each %v, burst %d", r.RateLimit.Requests, r.RateLimit.Per, r.RateLimit.Burst)
}

// rates is the cost of another rate limit: who asked how often is kept by the vhost, the path and the numbers (edge/ruledraft.go, rateOf and
// limitPath).
func rates(was, v *conf.Vhost, path string, r *conf.Rules) cost {
	key := rateKey(v, path, r)
	kept := key == "" || key == rateKey(was, "", &was.Rules)
	for _, old := range was.Routes {
		kept = kept || key == rateKey(was, old.Path, &old.Rules)
	}
	if kept {
		return none
	}
	return cost{words: "rate limit counts begin anew", loses: true}
}

// rateKey is what a limit is kept by; "": there is none.
func rateKey(v *conf.Vhost, path string, r *conf.Rules) string {
	if r.RateLimit == nil {
		return ""
	}
	if r.RateLimit == v.RateLimit {
		path = ""
	}
	return fmt.Sprintln(path, r.RateLimit.Requests, r.RateLimit.Per, r.RateLimit.Burst)
}

// routes compares the routes of a virtual host by their paths.
func (d *differ) routes(was, is *conf.Vhost) {
	for _, p := range pair(was.Routes, is.Routes, func(r *conf.Route) string { return r.Path }) {
		old, new := p[0], p[1]
		subject := "vhost " + is.ID + " route " + cmp.Or(new, old).Path
		switch {
		case old == nil:
			d.add(Adds, subject, []Key{{"action", "", action(new)}}, none)
		case new == nil:
			d.add(Removes, subject, []Key{{"action", action(old), ""}}, cost{words: "requests in flight end as they began, tunnels stay"})
		default:
			before, after := ownRules(was, is, old, new)
			d.compare(subject, append(routeFacts(old), before...), append(routeFacts(new), after...))
		}
	}
}

// ownRules are the rules of a route that is there still, without those that it has from its virtual host, before and after: of them the virtual host's
// own Change tells.
func ownRules(was, is *conf.Vhost, old, new *conf.Route) (before, after []fact) {
	hostBefore, hostAfter := rulesFacts(was, was, "", &was.Rules), rulesFacts(was, is, "", &is.Rules)
	for i, f := range rulesFacts(was, was, old.Path, &old.Rules) {
		g := rulesFacts(was, is, new.Path, &new.Rules)[i]
		if !f.same(hostBefore[i]) || !g.same(hostAfter[i]) {
			before, after = append(before, f), append(after, g)
		}
	}
	return before, after
}

// routeFacts are what a route says besides its rules. Upgrades that a login opened are held open by the rule in force (edge/login.go, ruleInForce).
func routeFacts(r *conf.Route) []fact {
	holds := cost{words: "holds for WebSockets that a login has opened, too"}
	return []fact{
		{"access", access(r.Access), holds},
		{"require", require(r.Access), holds},
		{"max_body", r.MaxBody, none},
		{"strip_prefix", r.StripPrefix, none},
		{"action", action(r), cost{words: "requests in flight end as they began, tunnels stay"}},
		{"fallback", of(r.Files, func(f *conf.Files) string { return f.Fallback }), none},
		{"compress", of(r.Files, func(f *conf.Files) string { return strconv.FormatBool(f.Compress) }), none},
		{"browse", of(r.Files, func(f *conf.Files) string { return strconv.FormatBool(f.Browse) }), none},
	}
}

func require(a conf.Access) string {
	if a.SecondFactor {
		return "second_factor"
	}
	return "login"
}

func access(a conf.Access) string {
	switch {
	case a.Public:
		return "public"
	case a.Login:
		return "login"
	}
	who := slices.Clone(a.Users)
	for _, g := range a.Groups {
		who = append(who, "group:"+g)
	}
	return text(who)
}

// action gives what a route does, as the file would say it.
func action(r *conf.Route) string {
	switch {
	case r.Proxy != nil:
		return "proxy " + r.Proxy.Name
	case r.Files != nil:
		return "files " + r.Files.Root.Path
	case r.Redirect != nil:
		return fmt.Sprintf("redirect %d to %s", r.Redirect.Status, r.Redirect.To)
	case r.Respond != nil:
		return fmt.Sprintf("respond %d %q", r.Respond.Status, r.Respond.Body)
	}
	return "echo"
}
