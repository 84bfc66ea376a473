package conf

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "12": 12, "12B": 12, "1kB": 1000, "1KB": 1000, "1MB": 1e6, "3GB": 3e9, "1TB": 1e12,
		"64KiB": 65536, "10MiB": 10 << 20, "1GiB": 1 << 30, "1 TiB": 1 << 40,
		"": -1, "KiB": -1, "-1": -1, "1.5MB": -1, "1mb": -1, "0x1": -1, "9223372036854775808": -1, "8388608TiB": -1, "1  B": -1,
	} {
		if n, ok := parseSize(s); ok != (want >= 0) || ok && n != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", s, n, ok, want)
		}
	}
}

// A Pos that nobody set would send whoever reads a later error to nowhere.
func TestEveryPosIsSet(t *testing.T) {
	text := `
[[vhost]]
hosts = ["a", "b"]
access = "login"
files = "site"
headers = { Server = "" }
	[[vhost.route]]
	path = "/a"
	proxy = "http://a"
[[vhost]]
hosts = "c"
access = "public"
proxy = "app"
[[upstream]]
name = "app"
targets = ["https://b"]
tls.ca = "ca.pem"
[[certificate]]
cert = "a"
key = "b"
` + https + http + login
	c := parse(t, text)
	// An address has the place of its value, a header that of its name.
	lines := strings.Split(text, "\n")
	if at := c.Listeners[0].Addresses[0].Pos; !strings.HasPrefix(lines[at.Line-1][at.Column-1:], `"127.0.0.1:8443"`) {
		t.Errorf("the address is not at %v", at)
	}
	if at := c.Vhosts[0].Headers[0].Pos; !strings.HasPrefix(lines[at.Line-1][at.Column-1:], "Server") {
		t.Errorf("the header is not at %v", at)
	}
	found := 0
	places("Config", c, func(path string, at *Pos) {
		found++
		optional := path == "Config.StateDirPos" || path == "Config.Log.Pos" || path == "Config.Drain.Pos" || path == "Config.Upgrade.Pos" || path == "Config.Reload.Pos"
		if at.File == "" || at.Line == 0 && !optional {
			t.Errorf("%s is %q", path, at)
		}
	})
	if found < 30 {
		t.Errorf("only %d places were found", found)
	}
}

// places calls f for each Pos that can be reached from c, and its path.
func places(path string, c *Config, f func(path string, at *Pos)) {
	seen := map[uintptr]bool{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() && !seen[v.Pointer()] {
				seen[v.Pointer()] = true
				walk(path, v.Elem())
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(path, v.Index(i))
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[netip.Prefix]() {
				return
			}
			switch s := v.Addr().Interface().(type) {
			case *Pos:
				f(path, s)
				return
			case *File:
				if s.Path == "" { // not given
					return
				}
			}
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	walk(path, reflect.ValueOf(c).Elem())
}

// Every struct of a configuration knows its place.
func TestEveryStructHasAPos(t *testing.T) {
	var look func(s reflect.Type)
	look = func(s reflect.Type) {
		switch s.Kind() {
		case reflect.Pointer, reflect.Slice:
			look(s.Elem())
		case reflect.Struct:
			if s.PkgPath() != reflect.TypeFor[Config]().PkgPath() || s == reflect.TypeFor[Secret]() { // as netip.Prefix: what holds it knows its place
				return
			}
			if _, ok := s.FieldByName("Pos"); !ok {
				t.Errorf("%v has no Pos", s)
			}
			for i := range s.NumField() {
				if f := s.Field(i).Type; f != s && f != reflect.TypeFor[Pos]() && f != reflect.TypeFor[Prefixes]() && f != reflect.TypeFor[*Listener]() && f != reflect.TypeFor[*Upstream]() {
					look(f)
				}
			}
		}
	}
	config := reflect.TypeFor[Config]() // whose place is File
	for i := range config.NumField() {
		if f := config.Field(i).Type; f != reflect.TypeFor[Pos]() {
			if f.Kind() == reflect.Slice {
				f = f.Elem()
			}
			if f.Kind() == reflect.Pointer {
				f = f.Elem()
			}
			look(f)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(file, []byte(`state_dir = "state"`+http), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	c, err := Load("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	if c.File != file || c.StateDir != filepath.Join(dir, "state") {
		t.Errorf("file %q, state_dir %q", c.File, c.StateDir)
	}
	_, err = Load("missing.toml")
	var mistakes Errors
	if !errors.As(err, &mistakes) || mistakes.Error() != "missing.toml: cannot be read: no such file or directory" {
		t.Errorf("a missing file: %v", err)
	}
}

func TestExample(t *testing.T) {
	if _, err := Load("edge.toml"); err != nil {
		t.Fatal(err)
	}
}
