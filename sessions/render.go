package sessions

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// view is what a page shows. Everything in it is escaped by html/template.
type view struct {
	Base     string // before the addresses of the page's own style and forms: "" or "/.edge"
	User     string // who is signed in
	Name     string // what was typed as name
	Host     string // where the login leads, or was refused
	Flow     string // the sealed request, passed on by the forms
	Error    string
	Again    string // where to start over
	Register bool   // whether one may make an account
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

func policy(sendsOn string) string {
	return "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' " + sendsOn
}

// show writes the page of this name.
func (s *Service) show(w http.ResponseWriter, status int, name string, v view) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, v); err != nil {
		slog.Error("login page", "page", name, "error", err)
		status, page = http.StatusInternalServerError, *bytes.NewBufferString("internal error")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.TrimSpace(policy(v.SendsOn)))
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
