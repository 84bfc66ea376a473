package conf

import (
	"io"
	"os"
	"path/filepath"
)

// Load reads and checks a configuration file and the files that it includes. The error, if any, is of type Errors and holds the mistakes in
// the order of their places; the Config is nil then. A file that cannot be read is one Error about the file as a whole.
func Load(file string) (*Config, error) {
	text, err := readMain(file)
	if err != nil {
		return nil, Errors{Pos{File: file}.Errorf("cannot be read: %v", reason(err))}
	}
	return read(file, text, false)
}

// readMain reads the main file, which may be a pipe, and no more of it than is needed to see that it is too large.
func readMain(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxText+1))
}

// Parse is what Load does once the text is read. It opens no file and looks at no environment variable: what would need one is a mistake.
// file names the places, and relative paths start at its folder.
func Parse(file string, text []byte) (*Config, error) { return read(file, text, true) }

func read(file string, text []byte, alone bool) (*Config, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, Errors{Pos{File: file}.Errorf("has no absolute path: %v", err)}
	}
	src := newSource(file, filepath.Dir(abs), 0, text)
	values, places, mistake := decode(src)
	if mistake != nil {
		return nil, Errors{mistake}
	}
	l := newLoader(abs)
	l.alone = alone
	l.config.Sum.read("", text)
	l.file(newTable(l, "", values, places))
	if len(l.mistakes) > 0 {
		return nil, l.mistakes.bounded()
	}
	Errors(l.config.Warnings).Sort()
	return l.config, nil
}

// loader turns the tables of a configuration into a Config and collects the mistakes on the way. Each of its methods reads one table or
// one value; what it returns after a mistake only serves to find the next one.
type loader struct {
	config    *Config
	alone     bool     // no other file is read, no environment variable
	tops      []*table // of the main file, then of each included one
	mistakes  Errors
	hasLogin  bool // there is a [login], good or bad
	loginHost Host
	listeners map[string]*Listener // by name
	upstreams map[string]*Upstream // by name
	urls      map[string]*Upstream // by URL
	used      map[*Upstream]bool

	learn  func() schema // a field, because an initializer may not refer to itself by calling functions
	schema schema        // what learn gave; nil until someone asks for it
	noted  schema        // not nil: the keys that are asked for are noted here
	probe  bool          // every key is there, and is an empty table
}

func newLoader(file string) *loader {
	return &loader{
		config:    &Config{File: file},
		learn:     learn,
		listeners: map[string]*Listener{},
		upstreams: map[string]*Upstream{},
		urls:      map[string]*Upstream{},
		used:      map[*Upstream]bool{},
	}
}

// file reads the whole configuration. The order matters: what is named by others comes before them.
func (l *loader) file(t *table) {
	c := l.config
	if l.tops = l.include(t); l.tops == nil {
		return
	}
	l.stateDir(t)
	l.log(t.get("log"))
	l.drain(t.get("drain").table("[drain]"))
	l.upgrade(t.get("upgrade").table("[upgrade]"))
	l.reload(t.get("reload").table("[reload]"))
	for _, u := range l.tables("upstream", "[[upstream]]") {
		l.upstream(u)
	}
	l.listenerTables()
	for _, ct := range l.tables("certificate", "[[certificate]]") {
		c.Certificates = append(c.Certificates, l.certificate(ct))
	}
	l.login(t.get("login"))
	for _, vt := range l.tables("vhost", "[[vhost]]") {
		c.Vhosts = append(c.Vhosts, l.vhost(vt))
	}
	for _, top := range l.tops {
		top.done()
	}
	l.uniqueHosts()
	l.identityAlone()
	l.certificateForTLS()
	l.warnUnused()
	l.warnOpen()
	l.warnProviders()
}

// tables gives the tables [[key]] of every file.
func (l *loader) tables(key, name string) []*table {
	var all []*table
	for _, t := range l.tops {
		all = append(all, t.get(key).tables(name)...)
	}
	return all
}

func (l *loader) mistake(at Pos, format string, args ...any) {
	l.mistakes = append(l.mistakes, at.Errorf(format, args...))
}

func (l *loader) warn(at Pos, format string, args ...any) {
	l.config.Warnings = append(l.config.Warnings, at.Errorf(format, args...))
}
