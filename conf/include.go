package conf

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// What one configuration may include in all.
const (
	maxIncluded     = 1000
	maxIncludedText = 16 << 20
)

// includable are the keys of an included file. What holds for all stands in the main file alone, where it is looked for.
var includable = []string{"listener", "certificate", "upstream", "vhost"}

// inclusion is the reading of the included files.
type inclusion struct {
	l    *loader
	main *table
	seen map[string]bool // by absolute path
	size int
	read []*source
	tops []*table

	broken bool // a file could not be read
}

// include reads the files that the main file includes and gives their tables, the main file's first. It returns nil where a file cannot be
// read: what the others lack may stand in it.
func (l *loader) include(main *table) []*table {
	in := &inclusion{l: l, main: main, seen: map[string]bool{}, tops: []*table{main}}
	v := main.get("include")
	if !v.given() || l.probe {
		return in.tops
	}
	if l.alone {
		v.mistakeAtKey("%q is for a configuration that is read from a file", v.key)
		return nil
	}
	for _, item := range v.list() {
		in.pattern(item)
	}
	in.decode()
	if in.broken {
		return nil
	}
	return in.tops
}

// pattern reads the files that one pattern means.
func (in *inclusion) pattern(v value) {
	pattern := v.str()
	if pattern == "" {
		return
	}
	paths, err := match(v, pattern)
	if err != nil {
		v.mistake("include %q is no pattern: %v", pattern, err)
		in.broken = true
	}
	for _, path := range paths {
		if err := in.file(path); err != nil {
			v.mistake("include %q: %s: %v", pattern, in.name(path), reason(err))
			in.broken = true
		}
	}
}

// match gives the files that a pattern means, sorted; without a wildcard that is the one it names, whether it exists or not. As in a shell,
// a wildcard is not for a dot at a name's start: editors keep their locks and copies in such files.
func match(v value, pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[`) {
		return []string{v.abs(pattern)}, nil
	}
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(escape.Replace(v.abs("")), pattern)
	}
	paths, err := filepath.Glob(pattern)
	hidden := func(path string) bool { return strings.HasPrefix(filepath.Base(path), ".") }
	if !hidden(pattern) {
		paths = slices.DeleteFunc(paths, hidden)
	}
	slices.Sort(paths)
	return paths, err
}

// escape has a path stand for itself in a pattern.
var escape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// file reads one included file, unless it has been read already. The error is why it cannot be.
func (in *inclusion) file(path string) error {
	switch {
	case in.seen[path]:
		return nil
	case path == in.l.config.File:
		return errors.New("is the file that includes: put the others into a folder of their own")
	case len(in.seen) == maxIncluded:
		return fmt.Errorf("is one file too many: at most %d are included", maxIncluded)
	}
	in.seen[path] = true
	text, _, err := readFile(path, maxText)
	if err != nil {
		return err
	}
	in.l.config.Sum.read(path, text)
	if in.size += len(text); in.size > maxIncludedText {
		return fmt.Errorf("is too much: all included files may have %d bytes", maxIncludedText)
	}
	in.read = append(in.read, newSource(in.name(path), filepath.Dir(path), len(in.seen), text))
	return nil
}

// decoded is what a source's text says, or what is wrong with it.
type decoded struct {
	values  map[string]any
	places  *place
	mistake *Error
}

// decode parses what has been read, on all processors: of a large configuration's loading that is the half that can be done side by side.
func (in *inclusion) decode() {
	all := make([]decoded, len(in.read))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				d := &all[i]
				d.values, d.places, d.mistake = decode(in.read[i])
			}
		})
	}
	workers.Wait()
	for _, d := range all {
		if d.mistake != nil {
			in.l.mistakes = append(in.l.mistakes, d.mistake)
			in.broken = true
			continue
		}
		in.top(newTable(in.l, "", d.values, d.places))
	}
}

// name is what places call an included file: it begins as the main file's name does, so that it can be opened from where that can.
func (in *inclusion) name(path string) string {
	main := in.main.pos().source
	if rel, err := filepath.Rel(main.dir, path); err == nil && filepath.IsLocal(rel) {
		return filepath.Join(filepath.Dir(main.name), rel)
	}
	return path
}

// top takes an included file's tables, and reports what may only stand in the main file.
func (in *inclusion) top(t *table) {
	for _, key := range in.l.keysOf("") {
		switch {
		case key == "include":
			t.refuse("stands in the main file: an included file includes nothing itself", key)
		case !slices.Contains(includable, key):
			t.refuse("stands in the main file: an included file holds [[listener]], [[certificate]], [[upstream]] and [[vhost]]", key)
		}
	}
	in.tops = append(in.tops, t)
}
