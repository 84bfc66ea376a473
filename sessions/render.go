package sessions

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// view is what a page shows. Everything in it is escaped by html/template.
type view struct {
	language        // of the texts, given by show
	choice          // of ways to log in
	Title    string // the name of the place; given by show, as Logo and Version
	Logo     string // below Base
	Version  string // of what pages ask for, so that no old one is shown
	Base     string // before the addresses of the page's own style and forms: "" or "/.edge"
	User     string // who is signed in
	Name     string // what was typed as name
	Host     string // where the login leads, or was refused
	Flow     string // the sealed request, passed on by the forms
	Invite   string // the code of an invitation, passed on by the forms
	Error    string
	place           // of Error
	Done     string // what a form of the account page did
	Logins   []loginView
	Again    string // where to start over
	Register bool   // whether one may make an account
	Factor   *factorView
	SendsOn  string // a source for CSP: where a form's answer redirects to, beside this origin
}

// place is what an error is about.
type place struct {
	ErrorIn string // the section of the account page whose form it is
	Site    string // the provider's title
}

// choice is how one may log in, beside a passkey.
type choice struct {
	Elsewhere bool // not by password
	Providers []button
	Linked    []providerView // on the account page
}

// button leads to a provider.
type button struct{ Name, Title string }

// dress puts in what the theme says.
func (v *view) dress(t *Theme) {
	v.Title, v.Logo, v.Version = t.title, "icon.svg", t.version
	if t.logo != nil {
		v.Logo = "logo"
	}
}

// samples are views that own templates are tried with.
var samples = []view{
	{language: english, Again: "/", Factor: &factorView{}},
	{
		language: languages[1], Base: "/.edge", User: "alice", Name: "alice", Host: "wiki.example.org", Flow: "f", Error: ErrBadCredentials.Error(),
		Again: "/", Register: true, place: place{"password", "Corp"}, choice: choice{Providers: []button{{"corp", "Corp"}}, Linked: []providerView{{button{"corp", "Corp"}, true}, {button{"club", "Club"}, false}}}, Logins: []loginView{{Here: true}}, Factor: &factorView{},
	},
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

// show writes the page of this name, in the language of the request. Where an own template fails after all, ours is shown.
func (s *Service) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) {
	v.language = languageOf(r)
	v.dress(s.theme)
	page, err := s.theme.pages.render(name, v)
	if err != nil {
		slog.Error("login page", "page", name, "error", err)
		page, err = builtIn.render(name, v)
	}
	if err != nil {
		status, page = http.StatusInternalServerError, []byte("internal error")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy(name, v))
	w.WriteHeader(status)
	w.Write(page)
}

func (set pageSet) render(name string, v view) ([]byte, error) {
	page, ok := set[name]
	if !ok {
		return nil, fmt.Errorf("there is no page %q", name)
	}
	var out bytes.Buffer
	err := page.Execute(&out, v)
	return out.Bytes(), err
}

// fixed serves what stays the same for the life of a theme.
func fixed(data []byte, contentType string) route {
	return route{get: func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", "public, max-age=3600")
		// A picture may be opened as a page of its own, on the host that takes passwords.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
		w.Write(data)
	}}
}

// withAssets adds the files that every page asks for.
func (s *Service) withAssets(base string, paths map[string]route) map[string]route {
	paths[base+"/style.css"] = fixed(s.theme.style, "text/css; charset=utf-8")
	paths[base+"/icon.svg"] = fixed(s.theme.icon, "image/svg+xml")
	if s.theme.logo != nil {
		paths[base+"/logo"] = fixed(s.theme.logo, s.theme.kind)
	}
	return paths
}
