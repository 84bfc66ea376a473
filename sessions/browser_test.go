package sessions

import (
	"cmp"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// browser keeps cookies by host and follows redirects, as far as the tests need one.
type browser struct {
	t       testing.TB
	server  http.Handler
	jar     map[string]map[string]string // host, name, value
	off     bool                         // cookies are switched off
	stop    string                       // do not follow a redirect whose address holds this
	accept  string                       // Accept-Language
	referer string                       // Referer
	agent   string                       // User-Agent
	visited int
	from    string // its address; "": that of httptest
}

func (w *world) browser() *browser {
	return &browser{t: w.t, server: w.process, jar: map[string]map[string]string{}}
}

// page is what a browser shows.
type page struct {
	status int
	url    *url.URL
	body   string
	header http.Header
}

func (b *browser) get(address string) page { return b.send("GET", address, nil) }

// post sends a form from a page of the same origin.
func (b *browser) post(address string, form url.Values) page { return b.send("POST", address, form) }

func (b *browser) send(method, address string, form url.Values) page {
	b.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	for range 20 {
		p := b.once(method, u, form)
		location := p.header.Get("Location")
		if p.status < 300 || p.status > 399 || b.stop != "" && strings.Contains(location, b.stop) {
			return p
		}
		if u, err = u.Parse(location); err != nil {
			b.t.Fatal(err)
		}
		u.Fragment = "" // which a browser keeps for itself
		method, form = "GET", nil
	}
	b.t.Fatalf("redirected for ever, at last to %s", u)
	return page{}
}

func (b *browser) once(method string, u *url.URL, form url.Values) page {
	b.t.Helper()
	if u.Scheme != "https" {
		b.t.Fatalf("sent to %s", u)
	}
	r := httptest.NewRequest(method, u.String(), strings.NewReader(form.Encode()))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if b.accept != "" {
		r.Header.Set("Accept-Language", b.accept)
	}
	r.Header.Set("User-Agent", cmp.Or(b.agent, "Browser/1.0"))
	if b.referer != "" {
		r.Header.Set("Referer", b.referer)
	}
	for name, value := range b.jar[u.Host] {
		r.Header.Add("Cookie", name+"="+value)
	}
	if b.from != "" {
		r.RemoteAddr = b.from
	}
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, r)
	b.visited++
	b.keep(u.Host, w.Result().Cookies())
	return page{w.Code, u, w.Body.String(), w.Header()}
}

func (b *browser) keep(host string, cookies []*http.Cookie) {
	for _, c := range cookies {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			b.t.Errorf("cookie not as LOGIN.md §2b: %s", c.Raw)
		}
		switch {
		case b.off:
		case c.MaxAge < 0:
			delete(b.jar[host], c.Name)
		default:
			b.set(host, c.Name, c.Value)
		}
	}
}

func (b *browser) set(host, name, value string) {
	if b.jar[host] == nil {
		b.jar[host] = map[string]string{}
	}
	b.jar[host][name] = value
}

var hidden = regexp.MustCompile(`name="f" value="([^"]*)"`)

// fill sends the login form that a page shows.
func (b *browser) fill(p page, name, password string) page {
	b.t.Helper()
	f := hidden.FindStringSubmatch(p.body)
	if f == nil {
		b.t.Fatalf("no login form at %s: %d %s", p.url, p.status, p.body)
	}
	return b.post("https://"+loginHost+p.url.Path, url.Values{"f": {f[1]}, "name": {name}, "password": {password}})
}

// logIn opens a guarded page and logs alice in on the way.
func (b *browser) logIn(address string) page {
	b.t.Helper()
	return b.fill(b.get(address), "alice", "correct horse")
}

// callback logs in, but keeps the last redirect for the caller: the address with the code.
func (b *browser) callback(address string) string {
	b.t.Helper()
	b.stop = callbackPath
	defer func() { b.stop = "" }()
	p := b.get(address)
	if p.status == http.StatusOK {
		p = b.fill(p, "alice", "correct horse")
	}
	return p.header.Get("Location")
}

// sees wants a page of the application.
func (b *browser) sees(p page, want string) {
	b.t.Helper()
	if p.status != http.StatusOK || p.body != want {
		b.t.Errorf("%s: %d %.200q, want %q", p.url, p.status, p.body, want)
	}
}

// unknown wants the browser to be asked to log in.
func (b *browser) unknown(address string) {
	b.t.Helper()
	if p := b.get(address); p.url.Host != loginHost || !strings.Contains(p.body, "<h1>Log in</h1>") {
		b.t.Errorf("%s leads to %s, %d %.200q, want the login form", address, p.url, p.status, p.body)
	}
}
