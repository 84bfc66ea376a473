package conf

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Load reads and checks a configuration file. The error, if any, is of type Errors and holds every mistake in the order of their
// places; the Config is nil then. A file that cannot be read is one Error about the file as a whole.
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			err = pathErr.Err // the Pos names the file already
		}
		return nil, Errors{Pos{File: file}.Errorf("cannot be read: %v", err)}
	}
	return Parse(file, text)
}

// Parse is what Load does once the text is read. It opens no file; file names the places, and relative paths start at its folder.
func Parse(file string, text []byte) (*Config, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, Errors{Pos{File: file}.Errorf("has no absolute path: %v", err)}
	}
	values, places, mistake := decode(file, text)
	if mistake != nil {
		return nil, Errors{mistake}
	}
	l := &loader{
		config:    &Config{File: abs},
		listeners: map[string]*Listener{},
		upstreams: map[string]*Upstream{},
		urls:      map[string]*Upstream{},
		used:      map[*Upstream]bool{},
	}
	l.file(newTable(l, "", values, places))
	if len(l.mistakes) > 0 {
		sortByPlace(l.mistakes)
		return nil, l.mistakes
	}
	sortByPlace(l.config.Warnings)
	return l.config, nil
}

// loader turns one file's tables into a Config and collects the mistakes on the way. Each of its methods reads one table or one
// value; what it returns after a mistake only serves to find the next one.
type loader struct {
	config    *Config
	mistakes  Errors
	hasLogin  bool // there is a [login], good or bad
	loginHost Host
	listeners map[string]*Listener // by name
	upstreams map[string]*Upstream // by name
	urls      map[string]*Upstream // by URL
	used      map[*Upstream]bool
}

// file reads the whole file. The order matters: what is named by others comes before them.
func (l *loader) file(t *table) {
	c := l.config
	t.refuse(notBuilt, "include")
	l.stateDir(t)
	l.log(t.get("log"))
	l.drain(t.get("drain").table("[drain]"))
	l.upgrade(t.get("upgrade").table("[upgrade]"))
	for _, u := range t.get("upstream").tables("[[upstream]]") {
		l.upstream(u)
	}
	l.listenerTables(t)
	for _, ct := range t.get("certificate").tables("[[certificate]]") {
		c.Certificates = append(c.Certificates, l.certificate(ct))
	}
	l.login(t.get("login"))
	for _, vt := range t.get("vhost").tables("[[vhost]]") {
		c.Vhosts = append(c.Vhosts, l.vhost(vt))
	}
	t.done()
	l.uniqueHosts()
	l.certificateForTLS()
	l.warnUnused()
	l.warnOpen()
}

func (l *loader) mistake(at Pos, format string, args ...any) {
	l.mistakes = append(l.mistakes, at.Errorf(format, args...))
}

func (l *loader) warn(at Pos, format string, args ...any) {
	l.config.Warnings = append(l.config.Warnings, at.Errorf(format, args...))
}

// abs makes a path of the file absolute: relative ones start at the file's folder.
func (l *loader) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(l.config.File), path)
}

func sortByPlace(es []*Error) {
	slices.SortStableFunc(es, func(a, b *Error) int { return a.Pos.compare(b.Pos) })
}

func (p Pos) compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column))
}
