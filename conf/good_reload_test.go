package conf

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestReloadDeadline(t *testing.T) {
	for text, want := range map[string]time.Duration{http: time.Minute, "[reload]\ndeadline = \"2s\"\n" + http: 2 * time.Second} {
		if got := parse(t, text).Reload.Deadline; got != want {
			t.Errorf("%s\ngave %v", text, got)
		}
	}
}

// The sum changes with every file that is read, and every secret; and with nothing else.
func TestSum(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const main = "include = \"sites/*.toml\"\n" + http
	put("edge.toml", main)
	if err := os.Mkdir(filepath.Join(dir, "sites"), 0o700); err != nil {
		t.Fatal(err)
	}
	site := func(host string) string {
		return "[[vhost]]\nhosts = \"" + host + "\"\nlisteners = \"http\"\nrespond = { body = \"x\" }\n"
	}
	put("sites/a.toml", site("a.example.org"))
	sum := func() Sum {
		t.Helper()
		c, err := Load(filepath.Join(dir, "edge.toml"))
		if err != nil {
			t.Fatal(err)
		}
		return c.Sum
	}
	seen := map[Sum]string{}
	see := func(what string) {
		t.Helper()
		got := sum()
		if got != sum() {
			t.Errorf("%s: it is read twice and has two sums", what)
		}
		if before, ok := seen[got]; ok {
			t.Errorf("%s has the sum of %s", what, before)
		}
		seen[got] = what
	}
	see("the first")
	put("edge.toml", main+"\n# a comment\n")
	see("another main file")
	put("sites/a.toml", site("b.example.org"))
	see("another included file")
	put("sites/b.toml", site("c.example.org"))
	see("one more included file")
	if err := os.Rename(filepath.Join(dir, "sites/b.toml"), filepath.Join(dir, "sites/c.toml")); err != nil {
		t.Fatal(err)
	}
	see("an included file of another name")
	if err := os.Remove(filepath.Join(dir, "sites/c.toml")); err != nil {
		t.Fatal(err)
	}
	if seen[sum()] != "another included file" {
		t.Error("what was undone has another sum than before")
	}
}

// An edge that runs is found by a file that is full of mistakes.
func TestStateDir(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.toml")
	for text, want := range map[string]string{
		"": "/var/lib/edge",
		"state_dir = \"/srv/edge\"\nno TOML = = =": "/srv/edge",
		"# state_dir = \"/no\"\n\tstate_dir='s'":   filepath.Join(dir, "s"),
		"state_dir = \"a\\tb\" # tab":              filepath.Join(dir, "a\tb"),
		"[log]\nstate_dir = \"/not/this\"":         "/var/lib/edge",
		"state_directory = \"/not/this\"":          "/var/lib/edge",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := StateDir(file); got != want || err != nil {
			t.Errorf("%q gave %q, %v; want %q", text, got, err, want)
		}
	}
	if _, err := StateDir(filepath.Join(dir, "none")); err == nil {
		t.Error("no file, and no mistake")
	}
}
