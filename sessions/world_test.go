package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/conf"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	goleak.VerifyTestMain(m)
}

const (
	loginHost = "login.test:8443"
	wiki      = "wiki.example:8443" // two virtual hosts on domains that have nothing in common
	shop      = "shop.invalid:8443"
)

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

// accounts are users in memory.
type accounts struct {
	mu   sync.Mutex
	all  map[string]account
	down error
}

type account struct {
	User
	password string
}

func (a *accounts) set(name, password string, epoch int64, groups ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[name] = account{User{name, groups, epoch}, password}
}

func (a *accounts) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, name)
}

func (a *accounts) Get(_ context.Context, name string) (User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u, ok := a.all[name]; ok || a.down != nil {
		return u.User, a.down
	}
	return User{}, ErrNoUser
}

func (a *accounts) Verify(ctx context.Context, name, password string) (User, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u, ok := a.all[name]; ok && u.password == password {
		return u.User, a.down
	}
	return User{}, fmt.Errorf("in memory: %w", ErrBadCredentials)
}

func (a *accounts) Create(ctx context.Context, name, password string) (User, error) {
	if _, err := a.Get(ctx, name); !errors.Is(err, ErrNoUser) {
		return User{}, ErrTaken
	}
	a.set(name, password, 1)
	return a.Get(ctx, name)
}

// hosts is a running configuration: canonical host to vhost id, and who may use it; nobody named: everybody.
type hosts map[string][]string

func (h hosts) Vhost(host string) (string, bool) {
	_, ok := h[host]
	return "id of " + host, ok
}

func (h hosts) Allowed(id string, who *Identity) bool {
	names := h[strings.TrimPrefix(id, "id of ")]
	return len(names) == 0 || slices.Contains(names, who.User)
}

// process is one edge that serves all hosts: the login pages, /.edge/ and a guarded application everywhere else.
type process struct {
	*Service
	db *DB
}

func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host == loginHost {
		p.Pages().ServeHTTP(w, r)
		return
	}
	host, _ := splitAuthority(r.Host)
	id, _ := p.hosts.Vhost(host)
	if strings.HasPrefix(r.URL.Path, "/.edge/") {
		p.Service.Vhost(id).ServeHTTP(w, r)
		return
	}
	who, err := p.Lookup(cookieField(r), id)
	switch {
	case err != nil:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case who == nil:
		location, set, err := p.Begin(id, r.Host, r.URL.RequestURI(), cookieField(r))
		if err != nil {
			panic(err)
		}
		w.Header()["Set-Cookie"] = set
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	case !p.hosts.Allowed(id, who):
		p.Forbidden(who).ServeHTTP(w, r)
	default:
		fmt.Fprintf(w, "%s at %s", who.User, r.URL.RequestURI())
	}
}

// world is everything that a test needs: a process over a fresh folder, a clock and the users alice and bob.
type world struct {
	t testing.TB
	*process
	dir   string
	clock *clock
	users *accounts
	conf  *conf.Login
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, dir: t.TempDir(),
		clock: &clock{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)},
		users: &accounts{all: map[string]account{}},
		conf:  &conf.Login{Host: "login.test", Registration: conf.Closed, Idle: 12 * time.Hour, Lifetime: 168 * time.Hour},
	}
	w.users.set("alice", "correct horse", 1, "staff")
	w.users.set("bob", "battery staple", 1)
	w.process = w.start()
	return w
}

// start is one more process over the same folder.
func (w *world) start() *process {
	w.t.Helper()
	db, err := Open(w.dir, w.clock.Now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	return &process{New(db, w.users, w.conf, hosts{"wiki.example": nil, "shop.invalid": nil}), db}
}

// rows counts the rows of a table.
func (w *world) rows(table string) (n int) {
	w.t.Helper()
	rows, err := w.db.file.Query(context.Background(), "SELECT count(*) FROM "+table)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	rows.Next()
	rows.Scan(&n)
	return n
}

// browser keeps cookies by host and follows redirects, as far as the tests need one.
type browser struct {
	t       testing.TB
	server  http.Handler
	jar     map[string]map[string]string // host, name, value
	off     bool                         // cookies are switched off
	stop    string                       // do not follow a redirect whose address holds this
	visited int
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
	for name, value := range b.jar[u.Host] {
		r.Header.Add("Cookie", name+"="+value)
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
