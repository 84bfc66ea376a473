package conf

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HealthCheck is what targets are asked of edge's own accord.
type HealthCheck struct {
	Pos      Pos
	Interval time.Duration
	Timeout  time.Duration // for the connection and the answer together
	Path     string        // with its query; "": a target that takes a connection is well
	Host     string        // "": the target's own
	Statuses []int         // of a target that is well; none: 200 to 399
	Passes   int           // in a row, that take a target back
	Fails    int           // in a row, that set it aside
}

// Same says whether two, of which o may be nil, ask the same, wherever they stand.
func (h *HealthCheck) Same(o *HealthCheck) bool {
	if o == nil {
		return false
	}
	a, b := *h, *o
	a.Pos, b.Pos = Pos{}, Pos{}
	return reflect.DeepEqual(a, b)
}

// Retries say when an exchange that a target has failed goes to another one.
type Retries struct {
	Pos      Pos
	Attempts int     // targets that get a request, at most
	Budget   float64 // retries for each request of the last ten seconds, at most
	Connect  bool    // where a target takes no connection
	Reset    bool    // where it ends the connection before a byte of an answer
	Statuses []int   // where it answers one of these
}

// Queue is where exchanges wait for a target that is not full.
type Queue struct {
	Pos     Pos
	Size    int
	Timeout time.Duration
}

// policy reads what only an [[upstream]] can say, and no URL in its place.
func (u *Upstream) policy(t *table) {
	bytesOnly := slices.ContainsFunc(u.Targets, func(t Target) bool { return t.Scheme == "tcp" })
	requests := func(key string) value {
		v := t.get(key)
		if v.given() && bytesOnly {
			v.mistakeAtKey("%q is for targets that take requests, not bytes", key)
		}
		return v
	}
	if v := t.get("health"); v.given() {
		u.Health = health(v, bytesOnly)
	}
	if v := requests("retries"); v.given() {
		u.Retries = retries(v)
	}
	if v := requests("sticky"); v.given() {
		u.Sticky = sticky(v)
	}
	u.SlowStart = t.get("slow_start").delay(0)
	most := t.get("max_in_flight")
	u.MaxInFlight = most.integer(0, 0, mostInFlight)
	if v := t.get("queue"); v.given() {
		u.Queue = queue(v)
		if !most.given() {
			v.mistakeAtKey(`%q needs "max_in_flight": else no target is ever full`, v.key)
		}
	}
}

// aboutRequests gives a key of an upstream that says something about requests; "": there is none. One of unix sockets may take bytes, too.
func (u *Upstream) aboutRequests() string {
	switch {
	case u.Retries != nil:
		return "retries"
	case u.Sticky != "":
		return "sticky"
	case u.Health != nil && u.Health.Path != "":
		return "a path for its health"
	}
	return ""
}

// Bounds of what can be meant.
const (
	mostInFlight = 1 << 20
	mostQueued   = 1 << 16
	mostPasses   = 100
	mostAttempts = 10
)

func health(v value, bytesOnly bool) *HealthCheck {
	t := v.table("health")
	defer t.done()
	h := &HealthCheck{
		Pos:      v.pos(),
		Interval: t.get("interval").duration(10 * time.Second),
		Timeout:  t.get("timeout").duration(2 * time.Second),
		Passes:   t.get("passes").integer(2, 1, mostPasses),
		Fails:    t.get("fails").integer(3, 1, mostPasses),
	}
	path := t.get("path")
	h.Path = checkedPath(path)
	if path.given() && bytesOnly {
		path.mistakeAtKey(`"path" is for targets that take requests, not bytes: without it they are connected to`)
	}
	host, status := t.get("host"), t.get("status")
	h.Host, h.Statuses = checkedHost(host), statusList(status)
	for _, v := range []value{host, status} {
		if v.given() && !path.given() {
			v.mistakeAtKey(`%q needs "path": without it targets are only connected to`, v.key)
		}
	}
	return h
}

// checkedPath reads a path with its query.
func checkedPath(v value) string {
	s := v.str()
	if s == "" {
		return ""
	}
	path, query, _ := strings.Cut(s, "?")
	if path == "" {
		path = "?"
	}
	if err := checkPath(path); err != nil {
		v.mistake("path %q %v", s, err)
	}
	if bad := strings.TrimLeft(query, pathChars+"?%"); bad != "" {
		v.mistake("path %q holds %q, which has no place in a query", s, []rune(bad)[0])
	}
	return s
}

// checkedHost reads what may stand in a request's Host.
func checkedHost(v value) string {
	s := v.str()
	if s == "" {
		return ""
	}
	if checkAuthority(s) != nil || strings.ContainsAny(s, "/?") {
		v.mistake(`host must be a name or an address, perhaps with a port, like "app.example.org:8080", is %q`, s)
	}
	return s
}

// statusList reads a list of final statuses, or one.
func statusList(v value) (list []int) {
	switch raw := v.raw.(type) {
	case nil:
	case int64:
		return []int{v.integer(200, 200, 599)}
	case []any:
		if len(raw) == 0 {
			v.mistake("%s must not be empty", v.key)
		}
		for i := range raw {
			list = append(list, v.item(i, raw[i]).integer(200, 200, 599))
		}
	default:
		v.must("a status or a list of them, like [200, 204]")
	}
	return list
}

func retries(v value) *Retries {
	t := v.table("retries")
	defer t.done()
	r := &Retries{
		Pos:      v.pos(),
		Attempts: t.get("attempts").integer(2, 2, mostAttempts), Budget: t.get("budget").fraction(0.2),
		Connect: true, Reset: true, Statuses: []int{502, 503, 504},
	}
	if on := t.get("on"); on.given() {
		r.Connect, r.Reset, r.Statuses = false, false, nil
		for _, item := range on.list() {
			r.add(item)
		}
	}
	return r
}

// retryOn are the reasons to try another target. The statuses are those of one that is overloaded, broken, or has no backend of its own.
var retryOn = []string{"connect", "reset", "500", "502", "503", "504"}

// add adds one of them.
func (r *Retries) add(v value) {
	if n, ok := v.raw.(int64); ok { // as statuses are written elsewhere
		v.raw = strconv.FormatInt(n, 10)
	}
	switch word := v.oneOf("", retryOn...); word {
	case "":
	case "connect":
		r.Connect = true
	case "reset":
		r.Reset = true
	default:
		status, _ := strconv.Atoi(word)
		r.Statuses = append(r.Statuses, status)
	}
}

// sticky reads the cookie's name. Names with a prefix mean more to a browser than edge promises, and some are edge's own.
func sticky(v value) string {
	t := v.table("sticky")
	defer t.done()
	name := t.get("cookie")
	s := name.str()
	switch {
	case !name.given():
		return "edge_target"
	case strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "":
		name.mistake(`cookie %q must hold letters, digits, ".", "_" and "-" only`, s)
	case strings.HasPrefix(s, "__"):
		name.mistake(`cookie %q must not begin with "__": browsers read a promise in it, and edge's own begin so`, s)
	}
	return s
}

func queue(v value) *Queue {
	t := v.table("queue")
	defer t.done()
	return &Queue{Pos: v.pos(), Size: t.get("size").integer(100, 1, mostQueued), Timeout: t.get("timeout").duration(time.Second)}
}
