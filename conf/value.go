package conf

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is what a key holds, or one element of its list. Its readers report what is wrong at its place and return the default
// then, and where it is not given.
type value struct {
	l     *loader
	key   string
	in    string // the path of the table that holds it
	raw   any    // nil: not given
	place *place
}

func (v value) given() bool { return v.raw != nil }
func (v value) pos() Pos    { return v.place.value }

func (v value) mistake(format string, args ...any)      { v.l.mistake(v.pos(), format, args...) }
func (v value) mistakeAtKey(format string, args ...any) { v.l.mistake(v.place.key, format, args...) }

// must reports a value of the wrong kind.
func (v value) must(be string) { v.mistake("%s must be %s, is %s", v.key, be, kind(v.raw)) }

// kind names a value's TOML type, with its article.
func kind(raw any) string {
	switch raw.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	}
	return "a list"
}

// text reads a string, which may be empty.
func (v value) text() string {
	s, ok := v.raw.(string)
	if !ok && v.given() {
		v.must("a string")
	}
	return s
}

// str reads a string that may not be empty: "" is returned for none, and after a mistake.
func (v value) str() string {
	s := v.text()
	if s == "" && v.raw == any("") {
		v.mistake("%s must not be empty", v.key)
	}
	return s
}

// path reads a path and makes it absolute.
func (v value) path() File {
	s := v.str()
	if s == "" {
		return File{}
	}
	if strings.Contains(s, "\x00") {
		v.mistake("%s is no path: it holds a NUL byte", v.key)
	}
	return File{Pos: v.pos(), Path: v.abs(s)}
}

// abs makes a path absolute: a relative one starts at the folder of the file in which it stands.
func (v value) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(v.pos().source.dir, path)
}

// oneOf reads one of a few words.
func (v value) oneOf(byDefault string, words ...string) string {
	s := v.str()
	if slices.Contains(words, s) {
		return s
	}
	if s != "" {
		v.mistake("%s must be %s, is %q", v.key, choice(words), s)
	}
	return byDefault
}

// choice lists words: "a", "b" or "c".
func choice(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(w))
	}
	return b.String()
}

// duration reads a duration of more than nothing.
func (v value) duration(byDefault time.Duration) time.Duration {
	d := v.delay(byDefault)
	if d == 0 {
		v.mistake("%s must be more than 0", v.key)
	}
	return d
}

// written gives a duration as people write it: "24h" where String says "24h0m0s".
func written(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// delay reads a duration that may be 0.
func (v value) delay(byDefault time.Duration) time.Duration {
	s, ok := v.raw.(string)
	if !ok {
		if v.given() {
			v.must(`a duration like "5s"`)
		}
		return byDefault
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.mistake(`%s must be a duration like "5s" or "1h30m", is %q`, v.key, s)
	case d < 0:
		v.mistake("%s must not be negative, is %q", v.key, s)
	default:
		return d
	}
	return byDefault
}

// boolean reads true or false.
func (v value) boolean(byDefault bool) bool {
	b, ok := v.raw.(bool)
	switch {
	case !v.given():
	case !ok:
		v.must("true or false")
	default:
		return b
	}
	return byDefault
}

// integer reads a whole number from least to most.
func (v value) integer(byDefault, least, most int) int {
	n, ok := v.raw.(int64)
	switch {
	case !v.given():
		return byDefault
	case !ok:
		v.must("an integer")
	case n < int64(least):
		v.mistake("%s must be at least %d, is %d", v.key, least, n)
	case n > int64(most):
		v.mistake("%s must be at most %d, is %d", v.key, most, n)
	default:
		return int(n)
	}
	return byDefault
}

// fraction reads a number from 0 to 1.
func (v value) fraction(byDefault float64) float64 {
	f, ok := v.raw.(float64)
	if n, whole := v.raw.(int64); whole {
		f, ok = float64(n), true
	}
	switch {
	case !v.given():
		return byDefault
	case !ok:
		v.must("a number from 0 to 1, like 0.2")
	case !(f >= 0 && f <= 1):
		v.mistake("%s must be from 0 to 1, is %v", v.key, f)
	default:
		return f
	}
	return byDefault
}

// size reads a number of bytes: an integer, or a string with a unit.
func (v value) size(byDefault int64) int64 {
	switch raw := v.raw.(type) {
	case nil:
	case int64:
		if raw >= 0 {
			return raw
		}
		v.mistake("%s must not be negative, is %d", v.key, raw)
	case string:
		n, ok := parseSize(raw)
		if ok {
			return n
		}
		v.mistake(`%s must be a size like "64KiB" or "10MB", is %q`, v.key, raw)
	default:
		v.must(`a size like "64KiB"`)
	}
	return byDefault
}

var units = map[string]int64{
	"": 1, "B": 1,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

func parseSize(s string) (int64, bool) {
	unit := strings.TrimLeft(s, "0123456789")
	n, err := strconv.ParseInt(strings.TrimSuffix(s, unit), 10, 64)
	factor, ok := units[strings.TrimPrefix(unit, " ")]
	if err != nil || !ok || n > math.MaxInt64/factor {
		return 0, false
	}
	return n * factor, true
}

// item gives an element of its list.
func (v value) item(i int, raw any) value {
	return value{l: v.l, key: v.key, in: v.in, raw: raw, place: v.place.item(i)}
}

// list reads a list, or one string that stands for a list of one.
func (v value) list() []value {
	switch raw := v.raw.(type) {
	case nil:
	case string:
		return []value{v}
	case []any:
		if len(raw) == 0 {
			v.mistake("%s must not be empty", v.key)
		}
		items := make([]value, len(raw))
		for i := range raw {
			items[i] = v.item(i, raw[i])
		}
		return items
	default:
		v.must("a string or a list of strings")
	}
	return nil
}

// table reads one table; name is what messages call it. Not given, it is an empty one.
func (v value) table(name string) *table {
	switch raw := v.raw.(type) {
	case nil:
	case map[string]any:
		return v.tableOf(name, raw, v.place)
	case []map[string]any:
		v.mistakeAtKey("%s stands once, in single brackets", name)
	default:
		v.must("a table")
	}
	return v.tableOf(name, nil, v.place)
}

// tableOr reads a table that something else may stand for; keys says what the table may have. It gives nil where it is no table.
func (v value) tableOr(others, name, keys string) *table {
	if _, ok := v.raw.(map[string]any); !ok {
		v.must(others + " or a table " + keys)
		return nil
	}
	return v.table(name)
}

// tableOf makes a table of what v holds. A name without brackets is one of several tables': their paths tell them apart.
func (v value) tableOf(name string, values map[string]any, places *place) *table {
	t := newTable(v.l, name, values, places)
	if !strings.HasPrefix(name, "[") && v.in != "" {
		t.path = name + " of " + v.in
	}
	return t
}

// tables reads the tables of an array, [[name]].
func (v value) tables(name string) []*table {
	var ts []*table
	switch raw := v.raw.(type) {
	case nil:
	case []map[string]any:
		for i := range raw {
			ts = append(ts, v.tableOf(name, raw[i], v.place.item(i)))
		}
	case []any:
		for i := range raw {
			item := v.item(i, raw[i])
			if _, ok := raw[i].(map[string]any); !ok {
				item.must("a table")
				continue
			}
			ts = append(ts, item.table(name))
		}
	default:
		v.mistakeAtKey("%s must be written %s, in double brackets", v.key, name)
		if one, ok := raw.(map[string]any); ok { // what names it finds it
			ts = append(ts, v.tableOf(name, one, v.place))
		}
	}
	return ts
}
