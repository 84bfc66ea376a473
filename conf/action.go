package conf

import (
	"errors"
	"slices"
	"strings"
)

// action is a key that says what a route does.
type action struct {
	key  string
	read func(*loader, value, *Route)
}

// actions are the keys of which a route has one.
var actions = []action{
	{"proxy", func(l *loader, v value, r *Route) { r.Proxy = l.proxy(v, overHTTP) }},
	{"files", func(_ *loader, v value, r *Route) { r.Files = &Files{Pos: v.pos(), Root: v.path()} }},
	{"redirect", func(_ *loader, v value, r *Route) { r.Redirect = redirect(v) }},
	{"respond", func(_ *loader, v value, r *Route) { r.Respond = respond(v) }},
	{"echo", func(_ *loader, v value, r *Route) { r.Echo = echo(v) }},
}

// needsAction reports a table without one.
func (l *loader) needsAction(at Pos, table, orElse string) {
	var keys []string
	for _, a := range actions {
		keys = append(keys, a.key)
	}
	l.mistake(at, "%s needs an action: %s%s", table, choice(keys), orElse)
}

// action reads the one action of a route and says whether there is any. Of several the first in the file counts.
func (l *loader) action(t *table, r *Route) bool {
	first := ""
	for _, v := range t.inOrder(actions) {
		if first != "" {
			v.mistakeAtKey("%s has %s already: one action only", t.name, first)
		} else {
			first = v.key
		}
		for _, a := range actions {
			if a.key == v.key {
				a.read(l, v, r)
			}
		}
	}
	return first != ""
}

// inOrder gives the actions that a table has, in the order of the file.
func (t *table) inOrder(actions []action) (values []value) {
	for _, a := range actions {
		if v := t.get(a.key); v.given() {
			values = append(values, v)
		}
	}
	slices.SortStableFunc(values, func(a, b value) int { return t.places.of(a.key).key.compare(t.places.of(b.key).key) })
	return values
}

// redirect reads where to, or a table { to, status }.
func redirect(v value) *Redirect {
	r := &Redirect{Pos: v.pos(), Status: 308}
	if _, ok := v.raw.(map[string]any); ok {
		t := v.table("redirect")
		defer t.done()
		if status := t.get("status"); status.given() {
			r.Status = redirectStatus(status)
		}
		v = t.need("to")
	} else if _, ok := v.raw.(string); !ok {
		v.must("a string or a table { to, status }")
		return r
	}
	r.To = v.str()
	if err := checkRedirect(r.To); err != nil && r.To != "" {
		v.mistake("redirect to %q %v", r.To, err)
	}
	return r
}

func redirectStatus(v value) int {
	n := v.integer(308, 0, 599)
	switch n {
	case 301, 302, 303, 307, 308:
	default:
		v.mistake("%s must be 301, 302, 303, 307 or 308, is %d", v.key, n)
	}
	return n
}

// checkRedirect keeps Location to what cannot be read in two ways: "//host" and "/\host" are other hosts to a browser.
func checkRedirect(to string) error {
	if strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return errors.New("holds a byte that a URL has percent-encoded")
	}
	if strings.Contains(to, "#") {
		return errors.New("must have no fragment")
	}
	if strings.HasPrefix(to, "/") {
		if strings.HasPrefix(to, "//") {
			return errors.New(`must be a path with a single "/" at its start, or have a scheme`)
		}
		return nil
	}
	rest, ok := strings.CutPrefix(to, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(to, "http://")
	}
	if !ok {
		return errors.New("must begin with https://, http:// or /")
	}
	return checkAuthority(rest)
}

// checkAuthority looks at the host and port that a URL's rest begins with.
func checkAuthority(rest string) error {
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	if strings.Contains(rest, "@") {
		return errors.New("must hold no user")
	}
	host, port, ok := cutPort(rest)
	if ok {
		if _, err := parsePort(port, 1); err != nil {
			return err
		}
	}
	if _, err := canonicalHost(host); err != nil || strings.Contains(host, "*") {
		return errors.New("has no valid host")
	}
	return nil
}

func respond(v value) *Respond {
	t := v.table("respond")
	defer t.done()
	r := &Respond{Pos: v.pos(), Status: t.get("status").integer(200, 200, 599)}
	body := t.get("body")
	r.Body = body.text()
	if r.Body != "" && (r.Status == 204 || r.Status == 205 || r.Status == 304) {
		body.mistake("a response with status %d has no body", r.Status)
	}
	return r
}

func echo(v value) bool {
	switch v.raw {
	case true:
		return true
	case false:
		v.mistake("echo = false says nothing: leave it out")
	default:
		v.must("true")
	}
	return false
}
