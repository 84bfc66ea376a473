package sessions

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
)

//go:embed pages
var files embed.FS

var pages = parsePages(files)

// parsePages reads the pages, by name. NAME.html says what stands in the layout's "page", and defines its "title". What is called layout
// or account-… is part of every page.
func parsePages(fsys fs.FS) map[string]*template.Template {
	names, err := fs.Glob(fsys, "pages/*.html")
	shared := template.New("")
	texts := map[string]string{}
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		text, readErr := fs.ReadFile(fsys, file)
		err = cmp.Or(err, readErr)
		if name == "layout" || strings.HasPrefix(name, "account-") {
			template.Must(shared.New(name).Parse(string(text)))
		} else {
			texts[name] = string(text)
		}
	}
	if err != nil {
		panic(err)
	}
	parsed := map[string]*template.Template{}
	for name, text := range texts {
		set := template.Must(shared.Clone())
		page := template.Must(set.New(name).Parse(text))
		template.Must(set.AddParseTree("page", page.Tree))
		parsed[name] = set.Lookup("layout")
	}
	return parsed
}

// view is what a page shows. Everything in it is escaped by html/template.
type view struct {
	language        // of the texts, given by show
	Base     string // before the addresses of the page's own style and forms: "" or "/.edge"
	User     string // who is signed in
	Name     string // what was typed as name
	Host     string // where the login leads, or was refused
	Flow     string // the sealed request, passed on by the forms
	Error    string
	Again    string // where to start over
	Register bool   // whether one may make an account
	Factor   *factorView
	SendsOn  string // a source for CSP: where a form's answer redirects to, beside this origin
}

// setPageHeaders is for every answer of ours, redirects as well.
func setPageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	// Not no-referrer: the browser would send "Origin: null" with our own forms.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// scripted are the pages that have passkey.js.
var scripted = map[string]bool{"login": true, "second-factor": true, "passkeys": true}

func policy(page string, v view) string {
	p := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
	if scripted[page] {
		p += "script-src 'self'; connect-src 'self'; "
	}
	return strings.TrimSpace(p + "form-action 'self' " + v.SendsOn)
}

// show writes the page of this name, in the language of the request.
func (s *Service) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.language = languageOf(r)
	var page bytes.Buffer
	if err := pages[name].Execute(&page, v); err != nil {
		slog.Error("login page", "page", name, "error", err)
		status, page = http.StatusInternalServerError, *bytes.NewBufferString("internal error")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy(name, v))
	w.WriteHeader(status)
	w.Write(page.Bytes())
}

// asset serves an embedded file beside the pages.
func asset(name, contentType string) route {
	data, err := files.ReadFile("pages/" + name)
	if err != nil {
		panic(err)
	}
	return route{get: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Write(data)
	}}
}

// withAssets adds the files that every page asks for.
func withAssets(base string, paths map[string]route) map[string]route {
	paths[base+"/style.css"] = asset("style.css", "text/css; charset=utf-8")
	paths[base+"/icon.svg"] = asset("icon.svg", "image/svg+xml")
	return paths
}
