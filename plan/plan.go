// Package plan says what a configuration would change of the one in force, and what that costs those who are connected.
//
// It knows configurations and nothing of what serves them. What is kept over a reload, and by which rule, is decided elsewhere; beside each rule
// that is told of here stands where. A key that the loader reads and this package forgets fails its test.
package plan

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"edge/conf"
)

// Kind is what happens to the subject of a Change.
type Kind string

// The kinds of a Change.
const (
	Adds    Kind = "adds"
	Removes Kind = "removes"
	Changes Kind = "changes"
	Loses   Kind = "keeps-state-lost" // it changes, and something that it has kept until now begins anew
)

// Change is what happens to one thing that a configuration names.
type Change struct {
	Kind    Kind   `json:"kind"`
	Subject string `json:"subject"` // "listener db", "vhost wiki.example.org route /assets/"
	Of      []Key  `json:"of,omitempty"`
	Cost    string `json:"cost"`
}

// Key is a key whose value changes. Where the value is to be kept from readers it says that there is one, no more: Old may then be equal to New.
type Key struct {
	Key string `json:"key"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Live is what a process has open: by the names of its listeners and upstreams. The zero Live has nothing.
type Live struct {
	Connections map[string]int // by listener, tunnels included
	Tunnels     map[string]int // by listener
	InFlight    map[string]int // by upstream: requests, and tunnels
}

// Plan is all that a configuration would change.
type Plan struct {
	File    string   `json:"file"`
	Changes []Change `json:"changes"` // empty: nothing
}

// Diff says what happens if new is put in force in place of old: listeners first, then what handshakes, requests and the process meet.
func Diff(old, new *conf.Config, live Live) []Change {
	d := &differ{old: old, new: new, live: live}
	d.listeners()
	d.certificates()
	d.vhosts()
	d.upstreams()
	d.rest()
	return d.changes
}

// Write writes the plan for people.
func (p Plan) Write(w io.Writer) error {
	var b strings.Builder
	if len(p.Changes) == 0 {
		fmt.Fprintf(&b, "%s changes nothing.\n", p.File)
	}
	sign := map[Kind]string{Adds: "+", Removes: "-", Changes: "~", Loses: "!"}
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s: %s\n", sign[c.Kind], c.Subject, c.Cost)
		for _, k := range c.Of {
			fmt.Fprintf(&b, "    %s: %s → %s\n", k.Key, shown(k.Old), shown(k.New))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// longest bounds a value on a terminal, in bytes.
const longest = 200

// shown gives a value for a terminal: nothing in it that the terminal would obey.
func shown(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		s = fmt.Sprintf("%q", s)
	}
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return cmp.Or(s, "(none)")
}

// cost is what a change costs.
type cost struct {
	words string
	loses bool // something begins anew
}

// none is the cost of what requests meet: each request looks at the Snapshot in force (edge/snapshot.go, entry.snapshot).
var none = cost{words: "no connection is touched"}

// costs joins what several changes cost, each said once; what costs nothing is said only alone.
func costs(list []cost) cost {
	var all cost
	var words []string
	for _, c := range list {
		all.loses = all.loses || c.loses
		if c != none && !slices.Contains(words, c.words) {
			words = append(words, c.words)
		}
	}
	all.words = cmp.Or(strings.Join(words, "; "), none.words)
	return all
}

// differ is a Diff under way.
type differ struct {
	old, new *conf.Config
	live     Live
	changes  []Change
}

func (d *differ) add(kind Kind, subject string, of []Key, c cost) {
	if kind == Changes && c.loses {
		kind = Loses
	}
	d.changes = append(d.changes, Change{Kind: kind, Subject: subject, Of: of, Cost: c.words})
}

// compare adds the Change, if there is one, of a thing that is in both configurations. Both lists have the same keys in the same order.
func (d *differ) compare(subject string, old, new []fact) {
	var of []Key
	var list []cost
	for i, was := range old {
		if is := new[i]; !was.same(is) {
			of = append(of, Key{is.key, text(was.is), text(is.is)})
			list = append(list, is.cost)
		}
	}
	if of != nil {
		d.add(Changes, subject, of, costs(list))
	}
}

// pair finds which of old is which of new: by the first of the functions that gives both the same name, "" being none. What has no partner
// is given with nil in its place.
func pair[T any](old, new []*T, names ...func(*T) string) (pairs [][2]*T) {
	old, new = slices.Clone(old), slices.Clone(new)
	partner := map[*T]*T{}
	for _, name := range names {
		byName := map[string][]*T{}
		for _, o := range old {
			if n := name(o); n != "" && partner[o] == nil {
				byName[n] = append(byName[n], o)
			}
		}
		for i, n := range new {
			if n == nil || len(byName[name(n)]) == 0 {
				continue
			}
			o := byName[name(n)][0]
			byName[name(n)] = byName[name(n)][1:]
			partner[o], new[i] = n, nil
		}
	}
	for _, o := range old {
		pairs = append(pairs, [2]*T{o, partner[o]})
	}
	for _, n := range new {
		if n != nil {
			pairs = append(pairs, [2]*T{nil, n})
		}
	}
	return pairs
}

// many gives a number of things: "1 tunnel", "3 tunnels".
func many(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// verb is said of so many.
func verb(n int, of1, ofMany string) string {
	if n == 1 {
		return of1
	}
	return ofMany
}
