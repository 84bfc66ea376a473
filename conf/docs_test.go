package conf

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is a key in docs/CONFIG.md: key, type, default, what it does, an example.
type row struct {
	line  string
	cells []string
}

var (
	rowLine  = regexp.MustCompile("^\\| `([a-z_0-9]+)` \\|")
	oneTable = regexp.MustCompile(`\[\[?[a-z_.]+\]?\]`)
)

// tablesOf gives the paths of the tables that a heading is about: "timeouts of [[a]] and [[b]]" is two.
func tablesOf(heading string) (paths []string) {
	if heading == "The top of the file" {
		return []string{""}
	}
	of := ""
	if i := strings.LastIndex(heading, " of "); i >= 0 {
		of = heading[:i] + " of "
	}
	for _, name := range oneTable.FindAllString(heading, -1) {
		paths = append(paths, of+name)
	}
	if paths == nil { // a table that was read without the name of the one around it; or no heading of a table at all
		paths = []string{heading}
	}
	return paths
}

// documented reads docs/CONFIG.md: the rows of each table, by the table's path and the key.
func documented(t *testing.T) map[string]map[string]row {
	t.Helper()
	text, err := os.ReadFile("../docs/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]map[string]row{}
	var under []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, "#"); ok {
			under = tablesOf(strings.Trim(heading, "# "))
		}
		key := rowLine.FindStringSubmatch(line)
		if key == nil {
			continue
		}
		for _, path := range under {
			if tables[path] == nil {
				tables[path] = map[string]row{}
			}
			if _, twice := tables[path][key[1]]; twice {
				t.Errorf("docs/CONFIG.md: %s has %q twice", called(path), key[1])
			}
			tables[path][key[1]] = row{line, strings.Split(strings.Trim(line, "|"), " | ")}
		}
	}
	return tables
}

// called is how a failure names a table.
func called(path string) string {
	if path == "" {
		return "the top of the file"
	}
	return path
}

// docs/CONFIG.md has every key that the loader asks for, and no other.
func TestEveryKeyIsDocumented(t *testing.T) {
	asked, told := learn(), documented(t)
	for _, path := range slices.Sorted(maps.Keys(asked)) {
		for _, key := range asked[path] {
			if _, ok := told[path][key]; !ok {
				t.Errorf("docs/CONFIG.md: %s lacks %q", called(path), key)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(told)) {
		for _, key := range slices.Sorted(maps.Keys(told[path])) {
			if !slices.Contains(asked[path], key) {
				t.Errorf("docs/CONFIG.md: %s has %q, and edge has not", called(path), key)
			}
		}
	}
}

// Each row says all there is to say, and its example is TOML that sets the key.
func TestRowsAreWhole(t *testing.T) {
	for path, rows := range documented(t) {
		for key, r := range rows {
			if len(r.cells) != 5 || slices.ContainsFunc(r.cells, func(cell string) bool { return strings.TrimSpace(cell) == "" }) {
				t.Errorf("docs/CONFIG.md: %s: the row of %q has not five cells that say something", called(path), key)
				continue
			}
			example := strings.Trim(strings.TrimSpace(r.cells[4]), "`")
			values, _, mistake := decode(newSource("example", "/", 0, []byte(example)))
			if mistake != nil || len(values) != 1 || values[key] == nil {
				t.Errorf("docs/CONFIG.md: %s: the example of %q is %s: %v", called(path), key, example, mistake)
			}
		}
	}
}

// conf/edge.toml shows every key, if only in a comment.
func TestExampleHasEveryKey(t *testing.T) {
	example := readExample(t)
	for path, keys := range learn() {
		for _, key := range keys {
			if !regexp.MustCompile(`[^a-z_]` + key + `( =|\]|\.)`).MatchString(example) {
				t.Errorf("conf/edge.toml has no %q of %s", key, called(path))
			}
		}
	}
}
