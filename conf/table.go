package conf

import (
	"cmp"
	"slices"
	"strings"
)

// table reads the keys of one TOML table. The keys that were asked for are the keys that exist: done reports all others.
type table struct {
	l      *loader
	name   string // as messages call it: "[[listener]]", "timeouts"; "": the top of the file
	path   string // as no other is called: "[[listener]]", "timeouts of [[listener]]"
	values map[string]any
	places *place
	known  []string
	chosen bool // the keys are the file's choice
}

func newTable(l *loader, name string, values map[string]any, places *place) *table {
	return &table{l: l, name: name, path: name, values: values, places: places}
}

func (t *table) pos() Pos { return t.places.value }

// get asks for a key. A value that is not given reads as its default.
func (t *table) get(key string) value {
	t.l.note(t, key)
	return t.ask(key)
}

// ask is get, and nobody notes it.
func (t *table) ask(key string) value {
	if t.known == nil {
		t.known = make([]string, 0, 32) // a [[vhost]] has as many, and there may be ten thousand of it
	}
	t.known = append(t.known, key)
	raw := t.values[key]
	if t.l.probe {
		raw = map[string]any{}
	}
	return value{l: t.l, key: key, in: t.path, raw: raw, place: t.places.of(key)}
}

// need asks for a key that must be there.
func (t *table) need(key string) value {
	v := t.get(key)
	if !v.given() {
		t.l.mistake(t.pos(), "%s needs %q", t.name, key)
	}
	return v
}

// refuse reports keys that exist, but not here.
func (t *table) refuse(why string, keys ...string) {
	for _, key := range keys {
		t.l.note(t, key)
		if v := t.ask(key); v.given() {
			v.mistakeAtKey("%q %s", key, why)
		}
	}
}

// notBuilt ends the message about what the design has, and edge not yet.
const notBuilt = "is not built yet"

// keys gives the keys of a table whose keys the file chooses, in its order.
func (t *table) keys() []string {
	t.chosen = true
	return t.sorted()
}

// sorted gives the table's keys in the order of the file.
func (t *table) sorted() []string {
	var keys []string
	for key := range t.values {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(t.places.of(a).key.compare(t.places.of(b).key), strings.Compare(a, b))
	})
	return keys
}

// done reports the keys that nobody asked for.
func (t *table) done() {
	in := ""
	if t.name != "" {
		in = " in " + t.name
	}
	for _, key := range t.sorted() {
		if !slices.Contains(t.known, key) {
			t.l.mistake(t.places.of(key).key, "unknown key %q%s%s", key, in, t.hint(key))
		}
	}
}

// hint ends the message about an unknown key: what may have been meant, or where the key belongs.
func (t *table) hint(key string) string {
	if ours := abroad[key]; slices.Contains(t.known, ours) {
		return `; here it is "` + ours + `"`
	}
	if _, d := closest(key, t.known); d > 1 {
		if tables := t.l.tablesWith(key); tables != "" {
			return "; it belongs " + tables
		}
	}
	return didYouMean(key, t.known)
}

// abroad is what nginx, Caddy and HAProxy call what stands in the same place here.
var abroad = map[string]string{
	"server_name": "hosts", "server_names": "hosts", "location": "route", "listen": "address", "bind": "address",
	"proxy_pass": "proxy", "reverse_proxy": "proxy", "root": "files", "file_server": "files", "return": "redirect", "redir": "redirect",
	"try_files": "fallback", "autoindex": "browse", "gzip": "compress", "encode": "compress", "client_max_body_size": "max_body",
	"add_header": "headers", "header": "headers", "proxy_set_header": "request_headers", "header_up": "request_headers",
	"auth_basic": "basic_auth", "limit_req": "rate_limit", "error_page": "error_pages", "handle_errors": "error_pages",
	"ssl_certificate": "cert", "ssl_certificate_key": "key", "ssl_client_certificate": "client_ca", "ssl_verify_client": "client_auth",
	"ssl_protocols": "min_version", "server": "targets", "servers": "targets", "lb_policy": "balance", "maxconn": "max_in_flight",
	"health_check": "health", "health_uri": "path", "uri": "path",
	"proxy_connect_timeout": "connect", "proxy_read_timeout": "response", "set_real_ip_from": "trusted_proxies", "access_log": "access",
}

// didYouMean ends a message with the known word that is closest to the one given, if one is near.
func didYouMean(word string, known []string) string {
	if best, d := closest(word, known); d <= near {
		return `; did you mean "` + best + `"?`
	}
	return ""
}

// near is how many changes make one word of another that may have been meant.
const near = 2

// closest gives the known word that takes the fewest changes, of several the first in the alphabet, and how many; more than near if none is
// near. A word of which nothing would stay is not.
func closest(word string, known []string) (best string, least int) {
	word, least = strings.ToLower(word), near+1
	for _, k := range known {
		if d := distance(word, k); d < len(k) && d <= near && (d < least || d == least && k < best) {
			best, least = k, d
		}
	}
	return best, least
}

// distance is how many bytes must be changed, added or removed to make b of a (Levenshtein); more than near means only that. The
// known words may be many, and so may the unknown ones.
func distance(a, b string) int {
	if max(len(a)-len(b), len(b)-len(a)) > near {
		return near + 1
	}
	var few [64]int
	row := few[:]
	if len(b) >= len(few) {
		row = make([]int, len(b)+1)
	}
	for j := range len(b) + 1 {
		row[j] = j
	}
	for i := range len(a) {
		diagonal, least := row[0], i+1
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least > near {
			return least
		}
	}
	return row[len(b)]
}
