package edge

import (
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"

	"edge/conf"
)

// inputs are hashes over all that a configuration is made from. What edge itself writes is apart: it may change while it is read.
type inputs struct {
	given [sha256.Size]byte // the configuration's own text, and every file that it names: certificates, keys, pages, passwords, …
	made  [sha256.Size]byte // what is kept in the folders of development certificates
	known bool              // false: they are equal to nothing
}

// same says whether two configurations are made from the same.
func (i inputs) same(j inputs) bool { return i.known && i == j }

// inputsOf reads all that a configuration is made from.
func inputsOf(cfg *conf.Config) inputs {
	given, made := sha256.New(), sha256.New()
	given.Write(cfg.Sum[:])
	in := inputs{known: true}
	for _, path := range named(cfg) {
		in.known = in.known && hashFile(given, path)
	}
	for _, path := range ownPages(cfg) {
		in.known = in.known && hashFile(given, path)
	}
	for _, c := range cfg.Certificates {
		if c.Dir == "" {
			continue
		}
		entries, err := os.ReadDir(c.Dir)
		if err != nil {
			in.known = false
		}
		for _, e := range entries {
			hashFile(made, filepath.Join(c.Dir, e.Name()))
		}
	}
	given.Sum(in.given[:0])
	made.Sum(in.made[:0])
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
	paths := map[string]bool{}
	collect(reflect.ValueOf(cfg), paths, map[any]bool{})
	return slices.Sorted(maps.Keys(paths))
}

var fileType = reflect.TypeFor[conf.File]()

func collect(v reflect.Value, paths map[string]bool, seen map[any]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Interface()] {
			return
		}
		seen[v.Interface()] = true
		collect(v.Elem(), paths, seen)
	case reflect.Interface:
		collect(v.Elem(), paths, seen)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			collect(v.Index(i), paths, seen)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			collect(v.MapIndex(key), paths, seen)
		}
	case reflect.Struct:
		if v.Type() == fileType {
			if path := v.FieldByName("Path").String(); path != "" {
				paths[path] = true
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				collect(v.Field(i), paths, seen)
			}
		}
	}
}

// hashFile adds a file's content. A folder counts as one that is there. It gives false for what is no file to be read once more.
func hashFile(h io.Writer, path string) bool {
	io.WriteString(h, path+"\x00")
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to opens at once
	if errors.Is(err, os.ErrNotExist) {
		io.WriteString(h, "missing\x00")
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
		io.WriteString(h, "folder\x00")
		return true
	case !info.Mode().IsRegular():
		return false
	}
	content := sha256.New()
	_, err = io.Copy(content, f)
	h.Write(content.Sum(nil))
	return err == nil
}
