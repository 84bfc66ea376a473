package sessions

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"edge/conf"
)

// themed gives the theme of a folder with these files, and what is wrong with it.
func themed(t *testing.T, files map[string]string) (*Theme, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	theme, wrong := NewTheme(&conf.Login{Title: "Example Ltd", Color: "#ffd400", Templates: conf.File{Path: dir}})
	if wrong == nil {
		return theme, ""
	}
	return theme, strings.ReplaceAll(wrong.Error(), dir, "DIR")
}

// Own pages stand in place of ours by their file name; the others stay.
func TestOwnTemplates(t *testing.T) {
	theme, wrong := themed(t, map[string]string{
		"login.html":  `{{define "title"}}Enter{{end}}<h1>Enter, stranger</h1><form method="post"><input type="hidden" name="f" value="{{.Flow}}">{{if eq .Name "boom"}}{{index .Logins 7}}{{end}}</form>`,
		"layout.html": `<!doctype html><html lang="{{.Lang}}"><head><title>{{template "title" .}} @ {{.Title}}</title></head><body>{{template "page" .}}<footer>ours</footer></body></html>{{define "error"}}{{end}}`,
		"style.css":   "h1 { color: green }",
		"README":      "{{",
	})
	if wrong != "" {
		t.Fatal(wrong)
	}
	w := newWorld(t)
	w.Dressed(theme)
	b := w.browser()
	p := b.get("https://" + wiki + "/")
	wantTexts(t, p, "<title>Enter @ Example Ltd</title>", "<h1>Enter, stranger</h1>", "<footer>ours</footer>")
	wantTexts(t, b.get("https://"+loginHost+"/nothing"), "<h1>Nothing here</h1>", "<footer>ours</footer>")
	style := b.get("https://" + loginHost + "/style.css").body
	if !strings.HasPrefix(style, ":root { --accent: #ffd400;") || !strings.HasSuffix(style, "h1 { color: green }") {
		t.Error(style)
	}
	p = b.fill(p, "boom", "x") // it fails after all
	if p.status != http.StatusForbidden {
		t.Errorf("%d, want 403", p.status)
	}
	wantTexts(t, p, "<h1>Log in</h1>", "the name or the password is wrong")
}

// What is wrong with an own page is said before it is shown to anybody: where, and all of it.
func TestBadTemplates(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"templates: DIR/login.html:3: missing value for if\ntemplates: DIR/register.html:1: unclosed action": {
			"login.html": "<h1>\n</h1>\n{{if }}}{{end}}", "register.html": "{{.T"},
		`templates: DIR/login.html:2:35: executing "page" at <.Nam>: can't evaluate field Nam in type sessions.view`: {
			"login.html": "{{define \"title\"}}t{{end}}\n<p>{{with .User}}{{$.Nam}}{{end}}{{.Nam}}</p>"},
		`templates: DIR/login.html:1:44: no such template "nowhere"`:                                                        {"login.html": `{{define "title"}}t{{end}}<p></p>{{template "nowhere"}}`},
		"templates: DIR/longin.html: there is no page of this name":                                                         {"longin.html": "x"},
		"templates: DIR/login.html is larger than 256 KiB":                                                                  {"login.html": strings.Repeat("x", maxFile+1)},
		`templates: DIR/layout.html:1:2: executing "layout.html" at <.Nam>: can't evaluate field Nam in type sessions.view`: {"layout.html": "{{.Nam}}"},
	} {
		if _, wrong := themed(t, files); strings.ReplaceAll(wrong, ": templates:", "templates:") != want {
			t.Errorf("%s\nwant %s", wrong, want)
		}
	}
	_, wrong := NewTheme(&conf.Login{Color: "#123456", Templates: conf.File{Path: "/nowhere"}, Logo: conf.File{Path: "/nowhere/logo.png"}})
	if len(wrong) != 2 {
		t.Errorf("%v", wrong)
	}
}

func TestLogo(t *testing.T) {
	dir := t.TempDir()
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`
	for name, c := range map[string]struct{ content, kind string }{
		"logo.svg":  {svg, "image/svg+xml"},
		"logo.png":  {"\x89PNG\x0d\x0a\x1a\x0a", "image/png"},
		"logo":      {"\xff\xd8\xff\xe0", "image/jpeg"},
		"logo.html": {svg, ""},
		"logo.txt":  {"hello", ""},
		"large.svg": {svg + strings.Repeat(" ", maxFile), ""},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		theme, wrong := NewTheme(&conf.Login{Color: conf.DefaultColor, Logo: conf.File{Path: path}})
		if (wrong == nil) != (c.kind != "") {
			t.Errorf("%s: %v", name, wrong)
		}
		if wrong != nil {
			continue
		}
		w := newWorld(t)
		w.Dressed(theme)
		for _, at := range []string{loginHost, wiki + "/.edge"} {
			p := w.browser().get("https://" + at + "/logo")
			csp := p.header.Get("Content-Security-Policy")
			if p.body != c.content || p.header.Get("Content-Type") != c.kind || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "sandbox") {
				t.Errorf("%s at %s: %d %v", name, at, p.status, p.header)
			}
		}
		wantTexts(t, w.browser().get("https://"+wiki+"/.edge/logout"), `<img src="/.edge/logo?v=`+theme.version+`" alt="">`)
	}
	if p := newWorld(t).browser().get("https://" + loginHost + "/logo"); p.status != http.StatusNotFound {
		t.Errorf("no logo: %d", p.status)
	}
}

var (
	lightRoot = regexp.MustCompile(`(?m)^:root \{([^}]*)\}`)
	darkRoot  = regexp.MustCompile(`@media \(prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}`)
	variable  = regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
)

// variables are what a style sheet sets in the rules that root finds.
func variables(style string, root *regexp.Regexp) map[string]rgb {
	set := map[string]rgb{}
	for _, rule := range root.FindAllStringSubmatch(style, -1) {
		for _, m := range variable.FindAllStringSubmatch(rule[1], -1) {
			set[m[1]] = parseColor(m[2])
		}
	}
	return set
}

// Every text can be read, in both themes and whatever the accent is (WCAG 2.2 §1.4.3, §1.4.11).
func TestContrast(t *testing.T) {
	colors := []string{conf.DefaultColor, "#000000", "#ffffff", "#ffd400", "#ff0000", "#00ff00", "#0000ff", "#808080", "#767676", "#777777", "#12151c", "#e0115f"}
	for _, color := range colors {
		theme, _ := NewTheme(&conf.Login{Color: color})
		for scheme, root := range map[string]*regexp.Regexp{"light": lightRoot, "dark": darkRoot} {
			c := variables(string(theme.style), root)
			for _, pair := range [][2]string{
				{"text", "card"}, {"text", "page"}, {"soft", "card"}, {"soft", "page"}, {"bad", "bad-ground"}, {"bad", "card"}, {"good", "good-ground"},
				{"link", "card"}, {"link", "page"}, {"on-accent", "accent"}, {"on-accent", "accent-hover"},
			} {
				a, okA := c[pair[0]]
				b, okB := c[pair[1]]
				if got := contrast(a, b); !okA || !okB || got < readable {
					t.Errorf("%s, %s: %s on %s: %s on %s, %.2f", color, scheme, pair[0], pair[1], a, b, got)
				}
			}
			if got := contrast(c["field"], c["card"]); got < visible {
				t.Errorf("%s: the frame of a field: %.2f", scheme, got)
			}
		}
	}
	if got := contrast(black, white); got != 21 {
		t.Errorf("black on white: %v", got)
	}
	if got := parseColor("#767676"); contrast(got, white) < 4.54 || contrast(got, white) > 4.55 {
		t.Errorf("#767676 on white: %v", contrast(got, white)) // WebAIM says 4.54
	}
}

// A color is taken as it is, with dark text where it is light.
func TestAccent(t *testing.T) {
	for color, want := range map[string]string{
		"#ffd400": "--accent: #ffd400; --accent-hover: #ffda26; --on-accent: #10141d;",
		"#3557d4": "--accent: #3557d4; --accent-hover: #2d4ab4; --on-accent: #ffffff;",
	} {
		if got := accentStyle(color); !strings.HasPrefix(got, ":root { "+want) {
			t.Errorf("%s: %s", color, got)
		}
	}
	theme, _ := NewTheme(&conf.Login{Color: "#0a7d4f"})
	if !strings.Contains(string(theme.icon), `fill="#0a7d4f"`) {
		t.Errorf("%s", theme.icon)
	}
}
