package conf

import (
	"slices"
	"strings"
	"time"
)

func (l *loader) upstream(t *table) {
	defer t.done()
	u := &Upstream{Pos: t.pos(), Timeouts: upstreamTimeouts(t.get("timeouts").table("timeouts"))}
	l.upstreamName(u, t.need("name"))
	for _, v := range t.need("targets").list() {
		if target, ok := l.target(v); ok {
			u.Targets = append(u.Targets, target)
		}
	}
	l.sameClass(u)
	u.LeastConnections = t.get("balance").oneOf("", "round_robin", "least_connections") == "least_connections"
	u.MaxFails = t.get("max_fails").integer(defaultMaxFails, 0, mostFails)
	u.FailTimeout = t.get("fail_timeout").duration(defaultFailTimeout)
	u.HostTarget = t.get("host").oneOf("", "target") == "target"
	l.upstreamTLS(u, t.get("tls"))
	forwarded(u, t.get("forwarded"))
	u.ProxyProtocol = l.announces(u, t.get("proxy_protocol"))
	u.policy(t)
	l.config.Upstreams = append(l.config.Upstreams, u)
}

func (l *loader) upstreamName(u *Upstream, v value) {
	u.Name = v.str()
	switch first := l.upstreams[u.Name]; {
	case u.Name == "":
	case strings.ContainsFunc(u.Name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' || r == '/' }):
		v.mistake(`name must hold no ":", "/" or space, which a URL is known by, is %q`, u.Name)
	case first != nil:
		v.mistake("upstream %q is already at %v", u.Name, first.Pos)
	default:
		l.upstreams[u.Name] = u
	}
}

// sameClass refuses an upstream that would relay bytes to one target and requests to another.
func (l *loader) sameClass(u *Upstream) {
	i := slices.IndexFunc(u.Targets, func(t Target) bool { return t.Scheme == "tcp" })
	j := slices.IndexFunc(u.Targets, func(t Target) bool { return t.Scheme != "tcp" && t.Scheme != "unix" })
	if i >= 0 && j >= 0 {
		l.mistake(u.Targets[max(i, j)].Pos, "targets must all take bytes (tcp, unix) or all take requests (http, https, h2, h2c, unix)")
	}
}

var defaultUpstreamTimeouts = UpstreamTimeouts{Connect: 5 * time.Second, Response: 60 * time.Second, Idle: 55 * time.Second}

// A target is set aside after so many failures within so long, and for so long.
const (
	defaultMaxFails    = 3
	defaultFailTimeout = 10 * time.Second
	mostFails          = 1000 // the times of as many are kept
)

func upstreamTimeouts(t *table) UpstreamTimeouts {
	defer t.done()
	return UpstreamTimeouts{
		Pos:      t.pos(),
		Connect:  t.get("connect").duration(defaultUpstreamTimeouts.Connect),
		Response: t.get("response").duration(defaultUpstreamTimeouts.Response),
		Idle:     t.get("idle").duration(defaultUpstreamTimeouts.Idle),
	}
}

func (l *loader) upstreamTLS(u *Upstream, v value) {
	t := v.table("tls")
	defer t.done()
	u.CA = t.get("ca").path()
	u.TLSServerName = tlsServerName(t.get("server_name"))
	plain := func(t Target) bool { return t.Scheme != "https" && t.Scheme != "h2" }
	if v.given() && slices.ContainsFunc(u.Targets, plain) {
		v.mistakeAtKey("%q is for https and h2 targets only", v.key)
	}
}

func tlsServerName(v value) string {
	h := host(v)
	if strings.HasPrefix(h.Name, "*.") {
		v.mistake("server_name must be one name, without a wildcard")
	}
	return h.Name
}

// class is what a place where an upstream may stand can talk to.
type class int

const (
	overHTTP class = iota // a vhost: requests
	overTCP               // a tcp or tls listener: bytes
)

// proxy reads an upstream's name, or a URL in its place. It returns nil after a mistake.
func (l *loader) proxy(v value, c class) *Upstream {
	s := v.str()
	if s == "" {
		return nil
	}
	u := l.upstreams[s]
	switch {
	case strings.Contains(s, ":"):
		u = l.urlUpstream(v)
	case u == nil:
		v.mistake("no [[upstream]] is named %q%s", s, didYouMean(s, namesOf(l.upstreams)))
	}
	if u == nil {
		return nil
	}
	l.used[u] = true
	if c == overHTTP && u.ProxyProtocol != 0 {
		v.mistake("upstream %q sends PROXY headers, and requests are relayed here: its connections carry those of many clients", u.Name)
		return nil
	}
	if key := u.aboutRequests(); key != "" && c == overTCP {
		v.mistake("bytes are relayed here, not requests, and upstream %q has %s", s, key)
	}
	for _, t := range u.Targets {
		switch {
		case c == overTCP && t.Scheme != "tcp" && t.Scheme != "unix":
			v.mistake("bytes are relayed here, not requests: %s://%s must be tcp://%[2]s", t.Scheme, t.Address)
			return nil
		case c == overHTTP && t.Scheme == "tcp":
			v.mistake("requests are relayed here: tcp://%s must be http, https, h2, h2c or unix; tcp is for tcp and tls listeners", t.Address)
			return nil
		}
	}
	return u
}

// urlUpstream gives the upstream that a URL means: the same one each time that it stands in the file.
func (l *loader) urlUpstream(v value) *Upstream {
	t, ok := l.target(v)
	if !ok {
		return nil
	}
	name := t.Scheme + "://" + t.Address
	if t.Scheme == "unix" {
		name = "unix:" + t.Address
	}
	u := l.urls[name]
	if u == nil {
		u = &Upstream{
			Pos: v.pos(), Name: name, Targets: []Target{t}, Timeouts: defaultUpstreamTimeouts, MaxFails: defaultMaxFails, FailTimeout: defaultFailTimeout,
		}
		u.Timeouts.Pos = u.Pos
		l.urls[name] = u
		l.config.Upstreams = append(l.config.Upstreams, u)
	}
	return u
}

func (l *loader) warnUnused() {
	for _, u := range l.config.Upstreams {
		if !l.used[u] {
			l.warn(u.Pos, "upstream %q is not used", u.Name)
		}
	}
}
