package sessions

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edge/conf"
)

//go:embed pages
var files embed.FS

// builtIn are our own pages, by name.
var builtIn, builtInTexts = func() (pageSet, map[string]string) {
	texts := ownTexts()
	set, err := parsePages(texts)
	if err != nil {
		panic(err)
	}
	return set, texts
}()

func ownTexts() map[string]string {
	texts := map[string]string{}
	names, err := fs.Glob(files, "pages/*.html")
	for _, name := range names {
		text, readErr := files.ReadFile(name)
		err = errors.Join(err, readErr)
		texts[filepath.Base(name)] = string(text)
	}
	if err != nil {
		panic(err)
	}
	return texts
}

// pageSet are the pages of a site, by name.
type pageSet map[string]*template.Template

// shared says whether a file is part of every page: the layout, and the sections of the account page.
func shared(file string) bool { return file == "layout.html" || strings.HasPrefix(file, "account-") }

// parsePages makes pages of texts by file name. NAME.html says what stands in the layout's "page", and defines its "title".
func parsePages(texts map[string]string) (pageSet, error) {
	base := template.New("")
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		if shared(file) {
			if _, err := base.New(file).Parse(texts[file]); err != nil {
				return nil, err
			}
		}
	}
	set := pageSet{}
	for file, text := range texts {
		if shared(file) {
			continue
		}
		page, err := parsePage(base, file, text)
		if err != nil {
			return nil, err
		}
		set[strings.TrimSuffix(file, ".html")] = page
	}
	return set, nil
}

func parsePage(base *template.Template, file, text string) (*template.Template, error) {
	set, err := base.Clone()
	if err != nil {
		return nil, err
	}
	page, err := set.New(file).Parse(text)
	if err != nil {
		return nil, err
	}
	if _, err := set.AddParseTree("page", page.Tree); err != nil {
		return nil, err
	}
	return set.Lookup("layout.html"), nil
}

// Theme is how the pages look: what [login] says of it, read and tried. It is read-only.
type Theme struct {
	title   string
	pages   pageSet
	style   []byte
	icon    []byte
	logo    []byte // nil: none
	kind    string // the logo's media type
	version string // of all that pages ask for
}

// NewTheme reads what a configuration names. Every mistake is given with its place in the configuration, and where it is in a page with that
// page's file and line.
func NewTheme(login *conf.Login) (*Theme, conf.Errors) {
	t := &Theme{title: login.Title, pages: builtIn, style: asset("style.css")}
	t.icon = bytes.ReplaceAll(asset("icon.svg"), []byte(conf.DefaultColor), []byte(login.Color))
	t.style = append([]byte(accentStyle(login.Color)), t.style...)
	var wrong conf.Errors
	if login.Logo.Path != "" {
		if err := t.readLogo(login.Logo.Path); err != nil {
			wrong = append(wrong, login.Logo.Pos.Errorf("logo: %v", err))
		}
	}
	if login.Templates.Path != "" {
		for _, err := range t.readTemplates(login.Templates.Path) {
			wrong = append(wrong, login.Templates.Pos.Errorf("templates: %v", err))
		}
	}
	sum := sha256.Sum256(slices.Concat(t.style, t.icon, t.logo))
	t.version = hex.EncodeToString(sum[:6])
	return t, wrong
}

// plain is the theme of a configuration that says nothing.
var plain, _ = NewTheme(&conf.Login{Color: conf.DefaultColor})

const maxFile = 256 << 10 // of a logo or a page

// readFile reads an ordinary file that is not too large.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d KiB", name, maxFile>>10)
	}
	return data, err
}

// pictures are the logos that every browser shows.
var pictures = []string{"image/png", "image/jpeg", "image/webp", "image/gif"}

func (t *Theme) readLogo(name string) (err error) {
	if t.logo, err = readFile(name); err != nil {
		return err
	}
	if filepath.Ext(name) == ".svg" && bytes.Contains(t.logo, []byte("<svg")) {
		t.kind = "image/svg+xml"
	} else if t.kind = http.DetectContentType(t.logo); !slices.Contains(pictures, t.kind) {
		return fmt.Errorf("%s is none of svg, png, jpeg, webp and gif", name)
	}
	return nil
}

// readTemplates takes the pages of a folder in place of ours.
func (t *Theme) readTemplates(dir string) (wrong []error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []error{err}
	}
	texts := maps.Clone(builtInTexts)
	own := map[string]string{}
	for _, e := range entries {
		name := e.Name()
		if name != "style.css" && filepath.Ext(name) != ".html" {
			continue
		}
		data, err := readFile(filepath.Join(dir, name))
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case name == "style.css":
			t.style = slices.Concat(t.style, []byte("\n"), data)
		case texts[name] == "":
			wrong = append(wrong, fmt.Errorf("%s: there is no page of this name", filepath.Join(dir, name)))
		default:
			own[name] = string(data)
		}
	}
	return append(wrong, t.tryOn(dir, texts, own)...)
}

// tryOn puts own pages in the place of others, each for itself first so that every mistake is found.
func (t *Theme) tryOn(dir string, texts, own map[string]string) (wrong []error) {
	for _, file := range slices.Sorted(maps.Keys(own)) {
		_, err := template.New(file).Parse(own[file])
		if err == nil {
			texts[file] = own[file]
			continue
		}
		wrong = append(wrong, inFile(dir, err))
	}
	if wrong != nil {
		return wrong
	}
	set, err := parsePages(texts)
	if err != nil {
		return []error{inFile(dir, err)}
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		for _, v := range samples {
			v.dress(t)
			if err := set[name].Execute(io.Discard, v); err != nil {
				wrong = append(wrong, inFile(dir, err))
				break
			}
		}
	}
	t.pages = set
	return compactErrors(wrong)
}

// compactErrors leaves one of several errors that say the same: a mistake in the layout is one in every page.
func compactErrors(list []error) []error {
	return slices.CompactFunc(list, func(a, b error) bool { return a.Error() == b.Error() })
}

// inFile names the folder in what html/template says of a file: "template: login.html:3: …".
func inFile(dir string, err error) error {
	text := err.Error()
	for _, before := range []string{"html/template:", "template: "} {
		text = strings.TrimPrefix(text, before)
	}
	return errors.New(filepath.Join(dir, text))
}

func asset(name string) []byte {
	data, err := files.ReadFile("pages/" + name)
	if err != nil {
		panic(err)
	}
	return data
}
