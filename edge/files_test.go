package edge

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the configuration says of files is what is served.
func TestFilesOptions(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "site"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("all the same, "), 1000)
	if err := os.WriteFile(filepath.Join(dir, "site", "a.txt"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, dir, "", base+`
[[vhost]]
hosts = ["files.localhost"]
files = "site"
  [[vhost.route]]
  path = "/compressed/"
  files = "site"
  compress = true
  [[vhost.route]]
  path = "/listed/"
  files = "site"
  browse = true
`)
	for path, want := range map[string]struct {
		status int
		begins string
	}{
		"/a.txt": {200, "|all the same, "}, "/compressed/a.txt": {200, "|\x1f\x8b"}, "/listed/a.txt": {200, "|all the same, "},
		"/": {404, ""}, "/compressed/": {404, ""}, "/listed/": {200, "|<!doctype html>"},
	} {
		status, answer := ask(t, s, "GET "+path+" HTTP/1.1\nHost: files.localhost\nAccept-Encoding: gzip")
		if status != want.status || !strings.HasPrefix(answer, want.begins) {
			t.Errorf("%s: %d %.40q", path, status, answer)
		}
	}
}
