package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// folder writes files into a new folder, and gives the main one's path.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	return filepath.Join(dir, "edge.toml")
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func loadGood(t *testing.T, file string) *Config {
	t.Helper()
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// oneVhost is a file with a vhost that is served by the listener http.
func oneVhost(host string) string {
	return fmt.Sprintf("[[vhost]]\nhosts = %q\nlisteners = \"http\"\necho = true\n", host)
}

func hostsOf(c *Config) (names []string) {
	for _, v := range c.Vhosts {
		names = append(names, v.ID)
	}
	return names
}

func TestInclude(t *testing.T) {
	file := folder(t, map[string]string{
		"edge.toml":        `include = ["vhosts.d/*.toml", "*/more/[ab].toml", "vhosts.d/b.toml", "none/*"]` + "\n" + oneVhost("main") + http,
		"vhosts.d/b.toml":  oneVhost("b"),
		"vhosts.d/a.toml":  oneVhost("a1") + oneVhost("a2"),
		"vhosts.d/c.toml~": "no TOML",
		"vhosts.d/.c.toml": "no TOML",
		"x/more/b.toml":    oneVhost("more"),
		"x/more/c.toml":    "no TOML",
		"vhosts.d/z.toml": `
[[listener]]
name = "l"
address = ["unix:l.sock", "127.0.0.1:1"]
protocol = "https"
[[certificate]]
cert = "cert.pem"
key = "../key.pem"
[[upstream]]
name = "app"
targets = "unix:app.sock"
[[vhost]]
hosts = "z"
proxy = "app"
[[vhost.route]]
path = "/files/"
files = "site"
`,
	})
	c := loadGood(t, file)
	if got, want := hostsOf(c), []string{"main", "a1", "a2", "b", "z", "more"}; !slices.Equal(got, want) {
		t.Errorf("vhosts %q, want %q", got, want)
	}
	dir := filepath.Dir(file)
	l, z := c.Listeners[1], c.Vhosts[4]
	got := []string{l.Addresses[0].Address, c.Certificates[0].Cert.Path, c.Certificates[0].Key.Path, z.Routes[0].Proxy.Targets[0].Address, z.Routes[1].Files.Root.Path}
	want := []string{dir + "/vhosts.d/l.sock", dir + "/vhosts.d/cert.pem", dir + "/key.pem", dir + "/vhosts.d/app.sock", dir + "/vhosts.d/site"}
	if !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	if c.File != file || z.Pos.String() != dir+"/vhosts.d/z.toml:12:1" {
		t.Errorf("file %s, z at %v", c.File, z.Pos)
	}
}

// A folder's own name is no pattern, and what is named from elsewhere has its whole path.
func TestIncludeInAFolderLikeAPattern(t *testing.T) {
	other := filepath.Join(t.TempDir(), "o.toml")
	put(t, other, oneVhost("o"))
	file := folder(t, map[string]string{
		"[a]*/edge.toml": fmt.Sprintf("include = [\"v/*\", \"w[.toml\", %q]\n", other) + http,
		"[a]*/v/x":       oneVhost("x"),
	})
	main := filepath.Join(filepath.Dir(file), "[a]*", "edge.toml")
	_, err := Load(main)
	want := main + `:1:19: include "w[.toml" is no pattern: syntax error in pattern`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	put(t, main, fmt.Sprintf("include = [\"v/*\", %q]\n", other)+http)
	t.Chdir(filepath.Dir(filepath.Dir(main)))
	c := loadGood(t, "[a]*/edge.toml")
	if got := fmt.Sprint(hostsOf(c), c.Vhosts[0].Pos, c.Vhosts[1].Pos); got != "[x o] [a]*/v/x:1:1 "+other+":1:1" {
		t.Error(got)
	}
}

// A reload is another Load.
func TestIncludeIsReadAnew(t *testing.T) {
	file := folder(t, map[string]string{"edge.toml": `include = "v/*"` + http, "v/a": oneVhost("a")})
	loadGood(t, file)
	put(t, filepath.Join(filepath.Dir(file), "v/a"), oneVhost("c"))
	put(t, filepath.Join(filepath.Dir(file), "v/b"), oneVhost("b"))
	if got := hostsOf(loadGood(t, file)); !slices.Equal(got, []string{"c", "b"}) {
		t.Errorf("vhosts %q", got)
	}
}

func TestIncludeIsBounded(t *testing.T) {
	many := map[string]string{"edge.toml": "include = [\"v/*\", \"v/0001\"]\n" + http}
	for i := range maxIncluded {
		many[fmt.Sprintf("v/%04d", i)] = ""
	}
	file := folder(t, many)
	loadGood(t, file)
	put(t, filepath.Join(filepath.Dir(file), "v/more"), "")
	expect(t, file, `edge.toml:1:12: include "v/*": v/more: is one file too many: at most 1000 are included`)

	large := "#" + strings.Repeat("a", maxText-1)
	file = folder(t, map[string]string{"edge.toml": "include = \"v/*\"\n" + http, "v/a": large})
	loadGood(t, file)
	put(t, filepath.Join(filepath.Dir(file), "v/a"), large+"a")
	expect(t, file, `edge.toml:1:11: include "v/*": v/a: is larger than 1048576 bytes`)

	for i := range maxIncludedText/maxText + 1 {
		put(t, filepath.Join(filepath.Dir(file), fmt.Sprintf("v/%04d", i)), large)
	}
	os.Remove(filepath.Join(filepath.Dir(file), "v/a"))
	expect(t, file, `edge.toml:1:11: include "v/*": v/0016: is too much: all included files may have 16777216 bytes`)
}

// A pipe would keep a reload waiting for ever.
func TestIncludeOfAPipe(t *testing.T) {
	file := folder(t, map[string]string{"edge.toml": "include = \"v/*\"\n" + http, "v/a": ""})
	if err := syscall.Mkfifo(filepath.Join(filepath.Dir(file), "v/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, file, `edge.toml:1:11: include "v/*": v/pipe: is no regular file`)
}

// expect loads a file, from its folder, that has one mistake.
func expect(t *testing.T, file, want string) {
	t.Helper()
	t.Chdir(filepath.Dir(file))
	if _, err := Load(filepath.Base(file)); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
