package conf

import (
	"slices"
	"strings"
)

// schema is the keys of each table, by the table's path, in the order in which the loader asks for them. A table whose keys the file
// chooses, such as headers, has none.
type schema map[string][]string

// learn asks the loader itself what it knows: it reads a configuration in which every key of every table is there. Nobody keeps a list that
// could be forgotten.
func learn() schema {
	src := newSource("", "/", 0, nil)
	l := newLoader("/")
	l.probe, l.noted = true, schema{}
	whole := src.whole()
	l.file(newTable(l, "", nil, &place{key: whole, value: whole}))
	return l.noted
}

// note notes that a table was asked for a key.
func (l *loader) note(t *table, key string) {
	if l.noted != nil && !t.chosen && !slices.Contains(l.noted[t.path], key) {
		l.noted[t.path] = append(l.noted[t.path], key)
	}
}

// keysOf gives the keys of the table with this path.
func (l *loader) keysOf(path string) []string {
	if l.schema == nil {
		l.schema = l.learn()
	}
	return l.schema[path]
}

// tablesWith says where a key belongs: "in [log] or [[vhost]]"; "" if nowhere.
func (l *loader) tablesWith(key string) string {
	if slices.Contains(l.keysOf(""), key) {
		return "at the top of the file, before the first table"
	}
	var in []string
	for path, keys := range l.schema {
		if slices.Contains(keys, key) {
			in = append(in, path)
		}
	}
	if len(in) == 0 {
		return ""
	}
	slices.Sort(in)
	if last := len(in) - 1; last > 0 {
		in = append(in[:last-1], in[last-1]+" or "+in[last])
	}
	return "in " + strings.Join(in, ", ")
}
