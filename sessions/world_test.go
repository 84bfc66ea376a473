package sessions

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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

	clock *clock
}

type account struct {
	User
	password string
	fakeFactors
}

func (a *accounts) set(name, password string, epoch int64, groups ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[name] = account{User: User{name, groups, epoch}, password: password}
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
	case who == nil && host != vaultName:
		send(w, r, p.Begin, id)
	case who == nil:
		send(w, r, p.StepUp, id)
	case !p.hosts.Allowed(id, who):
		p.Forbidden(who).ServeHTTP(w, r)
	case host == vaultName && who.Level < AAL2:
		send(w, r, p.StepUp, id)
	default:
		fmt.Fprintf(w, "%s at %s", who.User, r.URL.RequestURI())
	}
}

func send(w http.ResponseWriter, r *http.Request, begin func(string, string, string, []byte) (string, []string, error), id string) {
	location, set, err := begin(id, r.Host, r.URL.RequestURI(), cookieField(r))
	if err != nil {
		panic(err)
	}
	w.Header()["Set-Cookie"] = set
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusFound)
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
	w.users.clock = w.clock
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
	return &process{New(db, w.users, w.conf, hosts{"wiki.example": nil, "shop.invalid": nil, vaultName: nil}), db}
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

// exec changes the store behind everybody's back.
func (w *world) exec(statement string) {
	w.t.Helper()
	err := w.db.file.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(statement)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
