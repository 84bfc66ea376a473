package edge

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"

	"edge/conf"
	"edge/sessions"
	"edge/tlsconf"
)

// inputs are hashes over all that a configuration is made from. What edge itself writes is apart: it may change while it is read.
type inputs struct {
	given [sha256.Size]byte // the configuration's own text, and every file that it names: certificates, keys, pages, passwords, …
	made  [sha256.Size]byte // what is kept in the folders of development certificates, and keys that generations share
	known bool              // false: they are equal to nothing
}

// same says whether two configurations are made from the same.
func (i inputs) same(j inputs) bool { return i.known && i == j }

// A look is a configuration, and what it was made from when that was looked at last.
type look struct {
	cfg   *conf.Config
	paths []string // that it names
	inputs
}

// lookAt reads all that a configuration is made from.
func lookAt(cfg *conf.Config) look {
	l := look{cfg: cfg, paths: named(cfg)}
	l.inputs = l.again()
	return l
}

// again reads it once more.
func (l look) again() inputs {
	given, made := hashing{sum: sha256.New()}, hashing{sum: sha256.New()}
	given.sum.Write(l.cfg.Sum[:])
	in := inputs{known: true}
	for _, path := range slices.Concat(l.paths, ownPages(l.cfg)) {
		in.known = in.known && given.file(path)
	}
	for _, path := range append(sessions.AssertionFiles(l.cfg.StateDir), tlsconf.TicketFile(l.cfg.StateDir)) {
		made.file(path)
	}
	for _, c := range l.cfg.Certificates {
		if c.Dir == "" {
			continue
		}
		entries, err := os.ReadDir(c.Dir)
		if err != nil {
			in.known = false
		}
		for _, e := range entries {
			made.file(filepath.Join(c.Dir, e.Name()))
		}
	}
	given.sum.Sum(in.given[:0])
	made.sum.Sum(in.made[:0])
	return in
}

// ownPages are the files in the folder of the login's own pages.
func ownPages(cfg *conf.Config) (paths []string) {
	if cfg.Login == nil || cfg.Login.Templates.Path == "" {
		return nil
	}
	entries, err := os.ReadDir(cfg.Login.Templates.Path)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		paths = append(paths, filepath.Join(cfg.Login.Templates.Path, e.Name()))
	}
	return paths
}

// settled gives the inputs of what was drafted between two looks at them. What has changed meanwhile may have been read before or after.
func settled(before, after inputs) inputs {
	after.known = after.known && before.given == after.given
	return after
}

// named are the paths that a configuration names, sorted: every conf.File that can be reached in it, so that nobody can forget one.
func named(cfg *conf.Config) []string {
	c := collector{paths: map[string]bool{}, seen: map[target]bool{}, leads: map[reflect.Type]bool{}, fields: map[reflect.Type][]int{}}
	c.collect(reflect.ValueOf(cfg))
	return slices.Sorted(maps.Keys(c.paths))
}

var fileType = reflect.TypeFor[conf.File]()

// collector walks over values of the types that a File can be in: with ten thousand virtual hosts, to look at all others takes time.
type collector struct {
	paths  map[string]bool
	seen   map[target]bool
	leads  map[reflect.Type]bool  // whether a File can be in it
	fields map[reflect.Type][]int // of a struct, that lead to one
}

// target is what a pointer points at: a struct begins where its first field does.
type target struct {
	pointer reflect.Type
	address uintptr
}

func (c *collector) collect(v reflect.Value) {
	if !c.leadsToFile(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		at := target{v.Type(), v.Pointer()}
		if v.IsNil() || c.seen[at] {
			return
		}
		c.seen[at] = true
		c.collect(v.Elem())
	case reflect.Interface:
		if !v.IsNil() {
			c.collect(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			c.collect(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			c.collect(v.MapIndex(key))
		}
	case reflect.Struct:
		if v.Type() == fileType {
			if path := v.FieldByName("Path").String(); path != "" {
				c.paths[path] = true
			}
			return
		}
		for _, i := range c.fields[v.Type()] {
			c.collect(v.Field(i))
		}
	}
}

// leadsToFile says whether a value of this type can hold a File, and notes by which fields.
func (c *collector) leadsToFile(t reflect.Type) bool {
	if leads, known := c.leads[t]; known {
		return leads
	}
	c.leads[t] = true // a type that holds itself is looked into: that costs a little and misses nothing
	leads := t == fileType || t.Kind() == reflect.Interface
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		leads = c.leadsToFile(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); t != fileType && f.IsExported() && c.leadsToFile(f.Type) {
				leads, c.fields[t] = true, append(c.fields[t], i)
			}
		}
	}
	c.leads[t] = leads
	return leads
}

// hashing is a hash over files.
type hashing struct {
	sum  hash.Hash
	room []byte // to read by
}

// file adds a file's content. A folder counts as one that is there. It gives false for what is no file to be read once more.
func (h *hashing) file(path string) bool {
	io.WriteString(h.sum, path+"\x00")
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to opens at once
	if errors.Is(err, os.ErrNotExist) {
		io.WriteString(h.sum, "missing\x00")
		return true
	}
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return false
	case info.IsDir():
		io.WriteString(h.sum, "folder\x00")
		return true
	case !info.Mode().IsRegular():
		return false
	}
	return h.content(f)
}

// content adds what can be read, by a hash of its own: else the end of one file could be the beginning of the next.
func (h *hashing) content(r io.Reader) bool {
	if h.room == nil {
		h.room = make([]byte, 64<<10)
	}
	content := sha256.New()
	_, err := io.CopyBuffer(content, struct{ io.Reader }{r}, h.room) // a *os.File would make room of its own
	h.sum.Write(content.Sum(h.room[:0]))
	return err == nil
}
