package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What [login] names of the pages' look is read at each reload, and at no other time; what is wrong with it changes nothing.
func TestThemeReloads(t *testing.T) {
	dir := t.TempDir()
	page := func(text string) string { return `{{define "title"}}x{{end}}<h1>` + text + "</h1>\n" }
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "pages"), 0o700); err != nil {
		t.Fatal(err)
	}
	put("logo.svg", "<svg>one</svg>")
	put("pages/login.html", page("first"))
	p := startIn(t, dir, "edge", config+fmt.Sprintf(`
[login]
host = %q
title = "Example Ltd"
logo = "logo.svg"
color = "#0a7d4f"
templates = "pages"
`, "login.localhost"))
	get := func(path string) string {
		t.Helper()
		resp, err := p.person().Get(p.url("login.localhost", path))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	reload := func(want string) {
		t.Helper()
		if out, _ := p.cli("reload"); !strings.Contains(out, want) {
			t.Errorf("a reload says %s, want %s", out, want)
		}
	}
	wants(t, get("/login"), "<title>x – Example Ltd</title>", "<h1>first</h1>", `src="/logo?v=`)
	wants(t, get("/style.css"), "--accent: #0a7d4f;")
	reload("nothing has changed")
	put("pages/login.html", page("second"))
	wants(t, get("/login"), "<h1>first</h1>")
	reload("in force")
	wants(t, get("/login"), "<h1>second</h1>")
	put("logo.svg", "<svg>two</svg>")
	reload("in force")
	wants(t, get("/logo"), "<svg>two</svg>")
	put("pages/nothing.css", "is no page, and counts as one all the same")
	reload("in force")
	reload("nothing has changed")
	put("pages/register.html", page("{{.Nobody}}"))
	put("logo.svg", "no picture")
	for _, command := range []string{"reload", "check"} {
		out, code := p.cli(command)
		if code == 0 {
			t.Errorf("%s is content", command)
		}
		wants(t, out, "templates: "+filepath.Join(dir, "pages/register.html")+":1:", "can't evaluate field Nobody", "logo: "+filepath.Join(dir, "logo.svg")+" is none of svg")
	}
	wants(t, get("/login"), "<h1>second</h1>")
	wants(t, get("/logo"), "<svg>two</svg>")
}
