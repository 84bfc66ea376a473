package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge/claim"
)

// Rules are what holds for a request besides its access and its action. A route has its vhost's, but for what it says itself; a vhost's
// Deny holds on every route, and header rules of different names add up.
type Rules struct {
	Pos             Pos // of the vhost or route
	Allow           Prefixes
	Deny            Prefixes   // counts before Allow
	RateLimit       *RateLimit // nil: none. A route that says nothing shares its vhost's, this very pointer
	BasicAuth       *BasicAuth // nil: none
	Headers         []Header   // set on every response; an empty value removes the field
	RequestHeaders  []Header   // set on what goes upstream; an empty value removes the field
	Forwarded       bool       // upstreams get Forwarded (RFC 7239) too
	InterceptErrors bool       // the vhost's error pages stand for upstreams' answers too
}

// RateLimit is how often one client may ask: Burst times at once, and Requests times in each Per in the long run.
type RateLimit struct {
	Pos      Pos
	Requests int
	Per      time.Duration
	Burst    int
}

// BasicAuth is who may pass with a name and a password (RFC 7617).
type BasicAuth struct {
	Pos   Pos
	File  File // htpasswd, bcrypt only
	Realm string
}

// Maintenance is a vhost that is closed for a while.
type Maintenance struct {
	Pos        Pos
	Page       File          // empty Path: the vhost's error page for 503, or a text
	RetryAfter time.Duration // what clients are told
	Allow      Prefixes      // who passes all the same
}

// ErrorPage is what a vhost answers with in place of edge's own texts.
type ErrorPage struct {
	Pos         Pos
	First, Last int // the statuses, 400 to 599
	Page        File
}

// rules reads what a [[vhost]] and a [[vhost.route]] say into r, which holds what is inherited.
func (l *loader) rules(t *table, r *Rules) {
	r.Pos = t.pos()
	if v := t.get("allow"); v.given() {
		r.Allow = prefixes(v)
	}
	r.Deny = slices.Concat(r.Deny, prefixes(t.get("deny")))
	if v := t.get("rate_limit"); v.given() {
		r.RateLimit = rateLimit(v)
	}
	if v := t.get("basic_auth"); v.given() {
		r.BasicAuth = basicAuth(v)
	}
	r.Headers = override(r.Headers, headers(t.get("headers")))
	r.RequestHeaders = override(r.RequestHeaders, requestHeaders(t.get("request_headers")))
	r.Forwarded = t.get("forwarded").boolean(r.Forwarded)
	r.InterceptErrors = t.get("intercept_errors").boolean(r.InterceptErrors)
}

// forProxies are the keys that say something of relayed requests only.
var forProxies = []string{"request_headers", "forwarded", "intercept_errors", "strip_prefix"}

// proxyRules reports rules for relayed requests where none of the tables relays any.
func proxyRules(t *table, others ...*table) {
	for _, table := range append(others, t) {
		if table.get("proxy").given() {
			return
		}
	}
	for _, key := range forProxies {
		if v := t.get(key); v.given() {
			v.mistakeAtKey("%q is for requests that are relayed, and there is no proxy", key)
		}
	}
}

// forwarded reads whether the upstream gets Forwarded.
func forwarded(u *Upstream, v value) {
	u.Forwarded = v.boolean(false)
	if u.Forwarded && len(u.Targets) > 0 && u.Targets[0].Scheme == "tcp" {
		v.mistakeAtKey("%q is for targets that take requests, not bytes", v.key)
	}
}

// The bounds of a rate limit keep its arithmetic, in nanoseconds, within 63 bits for years.
const (
	mostRequests = 1_000_000
	mostBurst    = 100_000
	mostPer      = 24 * time.Hour
)

// rateLimit reads a limit; false takes a vhost's off a route.
func rateLimit(v value) *RateLimit {
	if v.raw == any(false) {
		return nil
	}
	t := v.tableOr("false", "rate_limit", "{ requests, per, burst }")
	if t == nil {
		return nil
	}
	defer t.done()
	r := &RateLimit{Pos: v.pos(), Requests: t.need("requests").integer(1, 1, mostRequests)}
	per := t.get("per")
	if r.Per = per.duration(time.Second); r.Per > mostPer {
		per.mistake("per must be at most %s", written(mostPer))
	}
	r.Burst = t.get("burst").integer(min(r.Requests, mostBurst), 1, mostBurst)
	return r
}

// basicAuth reads who has a password; false takes a vhost's off a route.
func basicAuth(v value) *BasicAuth {
	if v.raw == any(false) {
		return nil
	}
	t := v.tableOr("false", "basic_auth", "{ file, realm }")
	if t == nil {
		return nil
	}
	defer t.done()
	b := &BasicAuth{Pos: v.pos(), File: t.need("file").path()}
	realm := t.get("realm")
	b.Realm = realm.str()
	if strings.ContainsFunc(b.Realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
		realm.mistake(`realm must be plain ASCII without quotes and backslashes, is %q`, b.Realm)
	}
	return b
}

// basicAuths gives each realm of v its default, and reports routes that ask twice who comes.
func (l *loader) basicAuths(v *Vhost) {
	for _, r := range v.Routes {
		b := r.BasicAuth
		if b == nil {
			continue
		}
		b.Realm = cmp.Or(b.Realm, v.ID)
		if r.Access.known() && r.Access.NeedsLogin() {
			l.mistake(r.Access.Pos, `%s has basic_auth, %v, and access for some: one of the two; basic_auth = false takes a [[vhost]]'s off`, r.Path, b.Pos)
		}
	}
}

// refusePasswords reports a route that takes passwords where they could be read by anyone on the way.
func (l *loader) refusePasswords(v *Vhost, listener value) {
	for _, r := range v.Routes {
		if r.BasicAuth != nil {
			listener.mistake("listener %q is plain http, and %s has basic_auth, %v: passwords need https", listener.raw, r.Path, r.BasicAuth.Pos)
			return
		}
	}
}

// override gives rules by name: those of a route, and those of its vhost that it does not replace.
func override(vhosts, own []Header) []Header {
	all := slices.Clone(own)
	for _, h := range vhosts {
		if !slices.ContainsFunc(own, func(o Header) bool { return o.Name == h.Name }) {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// requestHeaders reads the request fields to set, sorted by name.
func requestHeaders(v value) []Header {
	return fieldRules(v, func(name string) string {
		switch {
		case slices.Contains(framing, name) || name == "expect" || name == "http2-settings":
			return "edge makes it itself"
		case claim.Is([]byte(name)):
			return "upstreams believe it, so edge alone says it"
		}
		return ""
	})
}

// stripPrefix reads whether the upstream gets paths without the route's own.
func stripPrefix(r *Route, v value) {
	r.StripPrefix = v.boolean(false)
	if r.StripPrefix && r.Path != "" && (r.Path == "/" || !strings.HasSuffix(r.Path, "/")) {
		v.mistakeAtKey(`%q is for a [[vhost.route]] whose path is a subtree, like "/app/"`, v.key)
		r.StripPrefix = false
	}
}

// defaultRetryAfter is what clients are told of a vhost under maintenance.
const defaultRetryAfter = 10 * time.Minute

// maintenance reads the switch: true, or a table that says more.
func maintenance(v value) *Maintenance {
	switch v.raw {
	case nil, any(false):
		return nil
	case any(true):
		return &Maintenance{Pos: v.pos(), RetryAfter: defaultRetryAfter}
	}
	t := v.tableOr("true, false", "maintenance", "{ page, retry_after, allow }")
	if t == nil {
		return nil
	}
	defer t.done()
	return &Maintenance{Pos: v.pos(), Page: t.get("page").path(), RetryAfter: t.get("retry_after").duration(defaultRetryAfter), Allow: prefixes(t.get("allow"))}
}

// errorPages reads which file stands for which statuses.
func errorPages(v value) (pages []ErrorPage) {
	t := v.table("error_pages")
	for _, key := range t.keys() {
		file := t.get(key)
		p := ErrorPage{Pos: file.place.key, Page: file.path()}
		var err error
		if p.First, p.Last, err = statuses(key); err != nil {
			file.mistakeAtKey("error_pages: %v", err)
			continue
		}
		for _, q := range pages {
			if p.First <= q.Last && q.First <= p.Last {
				file.mistakeAtKey("error_pages: %q has a page already, %v", key, q.Pos)
			}
		}
		pages = append(pages, p)
	}
	return pages
}

// statuses reads "404" or "502-504".
func statuses(s string) (first, last int, err error) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	first, err1 := strconv.Atoi(from)
	last, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || len(from) != 3 || len(to) != 3 || first < 400 || last > 599 || first > last {
		return 0, 0, fmt.Errorf(`%q must be a status from 400 to 599, or a range of them: "404", "502-504"`, s)
	}
	return first, last, nil
}
