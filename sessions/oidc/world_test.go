package oidc

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edge/conf"
	"edge/sessions"
	"edge/sessions/users"
)

var ctx = context.Background()

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hosts is one virtual host that lets everybody in who is somebody, the boss by name.
type hosts struct{}

func (hosts) Vhost(host string) (string, bool) { return "wiki", host == "wiki.test" }

func (hosts) Allowed(string, *sessions.Identity) bool { return true }

func (hosts) Listed(name string) bool { return name == "boss" }

// world is edge's login over a fresh folder, with real accounts, one provider and a clock.
type world struct {
	t     testing.TB
	dir   string
	idp   *provider
	at    *conf.Provider
	all   []*provider // idp, and what a test adds
	login *conf.Login
	clock *clock
	*process
}

// process is one edge; two may be over the same folder.
type process struct {
	service *sessions.Service
	users   *users.Store
	clients map[string]*Client
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), idp: newProvider(t), clock: &clock{now: time.Now()}}
	w.all = []*provider{w.idp}
	w.idp.now = w.clock.Now
	w.at = w.idp.conf()
	w.login = &conf.Login{Host: "login.test", Registration: conf.Closed, Idle: time.Hour, Lifetime: 24 * time.Hour, Providers: []*conf.Provider{w.at}}
	w.process = w.start(nil)
	return w
}

// start is one more process.
func (w *world) start(old map[string]*Client) *process {
	w.t.Helper()
	u, err := users.Open(w.dir, w.clock.Now)
	if err != nil {
		w.t.Fatal(err)
	}
	u.Cost = users.Cost{Memory: 8, Time: 1, Threads: 1}
	db, err := sessions.Open(w.dir, w.clock.Now)
	if err != nil {
		w.t.Fatal(err)
	}
	run, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); db.Run(run) }()
	w.t.Cleanup(func() { stop(); <-done; db.Close(); u.Close() })
	clients, wrong := Draft(w.login.Providers, old, w.clock.Now)
	if len(wrong) > 0 {
		w.t.Fatal(wrong)
	}
	p := &process{sessions.New(db, u, w.login, hosts{}), u, clients}
	p.service.Providers = map[string]sessions.Provider{}
	for name, c := range clients {
		p.service.Providers[name] = c
	}
	return p
}

func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host == "login.test" {
		p.service.Pages().ServeHTTP(w, r)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/.edge/") {
		p.service.Vhost("wiki").ServeHTTP(w, r)
		return
	}
	cookie := []byte(strings.Join(r.Header["Cookie"], "; "))
	who, err := p.service.Lookup(cookie, "wiki")
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case who == nil:
		location, set, err := p.service.Begin("wiki", r.Host, r.URL.RequestURI(), cookie)
		if err != nil {
			panic(err)
		}
		w.Header()["Set-Cookie"] = set
		http.Redirect(w, r, location, http.StatusFound)
	default:
		slices.Sort(who.Groups)
		fmt.Fprintf(w, "%s of %v at level %d at %s", who.User, who.Groups, who.Level, r.URL.RequestURI())
	}
}

// account makes one with the password "correct horse".
func (w *world) account(name, email string, groups ...string) {
	w.t.Helper()
	if err := w.users.Add(ctx, users.Account{Name: name, Email: email, Groups: groups}, "correct horse"); err != nil {
		w.t.Fatal(err)
	}
}

// browser keeps cookies by host and follows redirects, the provider's as well.
type browser struct {
	w      *world
	server http.Handler
	jar    map[string]map[string]string
	stop   string // a redirect to what begins so is not followed
}

func (w *world) browser() *browser {
	return &browser{w: w, server: w.process, jar: map[string]map[string]string{}}
}

type page struct {
	status int
	url    *url.URL
	body   string
	header http.Header
}

func (b *browser) send(method, address string, form url.Values) page {
	b.w.t.Helper()
	for range 12 {
		u, err := url.Parse(address)
		if err != nil {
			b.w.t.Fatal(err)
		}
		p := b.once(method, u, form)
		location := p.header.Get("Location")
		if location == "" || b.stop != "" && strings.HasPrefix(location, b.stop) {
			return p
		}
		if at := b.w.providerAt(location); at != nil {
			location = at.authorize(location)
			if b.stop != "" && strings.HasPrefix(location, b.stop) {
				p.header.Set("Location", location)
				return p
			}
		}
		next, err := u.Parse(location)
		if err != nil {
			b.w.t.Fatal(err)
		}
		method, form, address = "GET", nil, next.String()
	}
	b.w.t.Fatal("redirected for ever")
	return page{}
}

// providerAt is whose address it is; nil: no provider's.
func (w *world) providerAt(address string) *provider {
	for _, p := range w.all {
		if strings.HasPrefix(address, p.server.URL+"/") {
			return p
		}
	}
	return nil
}

func (b *browser) once(method string, u *url.URL, form url.Values) page {
	r := httptest.NewRequest(method, u.String(), strings.NewReader(form.Encode()))
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, value := range b.jar[u.Host] {
		r.Header.Add("Cookie", name+"="+value)
	}
	w := httptest.NewRecorder()
	b.server.ServeHTTP(w, r)
	if b.jar[u.Host] == nil {
		b.jar[u.Host] = map[string]string{}
	}
	for _, c := range w.Result().Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			b.w.t.Errorf("cookie %s", c.Raw)
		}
		if c.MaxAge < 0 {
			delete(b.jar[u.Host], c.Name)
		} else {
			b.jar[u.Host][c.Name] = c.Value
		}
	}
	return page{w.Code, u, w.Body.String(), w.Header()}
}

// press presses the provider's button on a page.
func (b *browser) press(p page) page {
	b.w.t.Helper()
	return b.pressFor("corp", p)
}

// pressFor presses the button of the provider of this name.
func (b *browser) pressFor(name string, p page) page {
	b.w.t.Helper()
	f := regexp.MustCompile(`action="/oidc/` + name + `">\s*(?:<input type="hidden" name="f" value="([^"]*)">)?`).FindStringSubmatch(p.body)
	if f == nil {
		b.w.t.Fatalf("no button at %s: %d %s", p.url, p.status, p.body)
	}
	form := url.Values{}
	if f[1] != "" {
		form.Set("f", f[1])
	}
	return b.send("POST", "https://login.test/oidc/"+name, form)
}

// enter opens the wiki and logs in by the provider on the way.
func (b *browser) enter() page {
	b.w.t.Helper()
	return b.press(b.send("GET", "https://wiki.test/page?x=1", nil))
}

// back presses the button and stops where the provider has sent the browser back: at the address with the code.
func (b *browser) back() string {
	b.w.t.Helper()
	b.stop = "https://login.test/oidc/corp/callback"
	defer func() { b.stop = "" }()
	return b.enter().header.Get("Location")
}

// sees wants what the wiki shows.
func (b *browser) sees(p page, want string) {
	b.w.t.Helper()
	if p.status != http.StatusOK || p.body != want {
		b.w.t.Errorf("%s: %d %.600s, want %q", p.url, p.status, p.body, want)
	}
}

// refused wants the login page, with a reason, and no session.
func (b *browser) refused(p page, status int, reason string) {
	b.w.t.Helper()
	if p.status != status || !strings.Contains(p.body, reason) {
		b.w.t.Errorf("%s: %d %.1200s, want %d and %q", p.url, p.status, p.body, status, reason)
	}
	if b.jar["login.test"]["__Host-edge-sso"] != "" || b.jar["wiki.test"]["__Host-edge"] != "" {
		b.w.t.Error("there is a session")
	}
	if list, err := b.w.service.Logins(ctx, ""); err != nil || len(list) != 0 {
		b.w.t.Errorf("%d logins, %v", len(list), err)
	}
}
