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

	"github.com/google/uuid"
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
	invited map[string]Invitation
	linked  map[string]string // accounts by the subject that a provider knows
	clock   *clock

	mu     sync.Mutex
	all    map[string]account
	down   error
	log    []string // who changed
	bells  []func()
	asked  int    // times that Get was called
	during func() // called in the middle of Get, after the look
}

// Follow implements Followed.
func (a *accounts) Follow(changed func()) (func() ([]string, bool, error), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bells = append(a.bells, changed)
	n := len(a.log)
	return func() (names []string, lost bool, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.down == nil {
			names, n = a.log[n:], len(a.log)
		}
		return names, false, a.down
	}, nil
}

// changed tells everybody who follows. It is called with the lock, and gives it back.
func (a *accounts) changed(name string) {
	a.log = append(a.log, name)
	bells := a.bells
	a.mu.Unlock()
	for _, ring := range bells {
		ring()
	}
}

type account struct {
	User
	password string
	fakeFactors
}

func (a *accounts) set(name, password string, epoch int64, groups ...string) {
	a.mu.Lock()
	a.all[name] = account{User: User{Name: name, Groups: groups, Epoch: epoch}, password: password}
	a.changed(name)
}

func (a *accounts) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.down = err
}

func (a *accounts) remove(name string) {
	a.mu.Lock()
	delete(a.all, name)
	a.changed(name)
}

func (a *accounts) Get(_ context.Context, name string) (User, error) {
	a.mu.Lock()
	a.asked++
	u, ok := a.all[name]
	down, during := a.down, a.during
	a.mu.Unlock()
	if during != nil {
		during()
	}
	if ok || down != nil {
		return u.User, down
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

// Linked, Link and LinkedAt: few of these accounts are linked; package oidc tests the real ones.
func (a *accounts) Linked(ctx context.Context, s Stranger, _ Terms) (User, error) {
	if name := a.linked[s.Subject]; name != "" {
		return a.Get(ctx, name)
	}
	return User{}, ErrNotLinked
}

func (a *accounts) Link(context.Context, string, Origin) error { return ErrNoUser }

func (a *accounts) Forgo(context.Context, string, string, Ways) error { return ErrNotLinked }

// LinkedAt: all that are linked at all are at the one provider that there is.
func (a *accounts) LinkedAt(_ context.Context, name string) ([]string, error) {
	for _, linked := range a.linked {
		if linked == name {
			return []string{"https://id.test"}, nil
		}
	}
	return nil, nil
}

func (a *accounts) ChangePassword(ctx context.Context, name, current, password string) (User, error) {
	if _, err := a.Verify(ctx, name, current); err != nil {
		return User{}, err
	}
	a.mu.Lock()
	u := a.all[name]
	u.password, u.Epoch = password, u.Epoch+1
	a.all[name] = u
	a.changed(name)
	return a.Get(ctx, name)
}

func (a *accounts) Invited(_ context.Context, code string) (Invitation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i, ok := a.invited[code]; ok {
		return i, a.down
	}
	return Invitation{}, fmt.Errorf("in memory: %w", ErrNoInvite)
}

func (a *accounts) Redeem(ctx context.Context, code, name, password string) (User, error) {
	if _, err := a.Invited(ctx, code); err != nil {
		return User{}, err
	}
	u, err := a.Create(ctx, name, password)
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.invited, code)
	}
	return u, err
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

func (h hosts) Listed(name string) bool {
	for _, names := range h {
		if slices.Contains(names, name) {
			return true
		}
	}
	return false
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

// strange is a cookie that looks like one of ours.
func (w *world) strange() string {
	h := tagger{[]byte("a stranger's key")}.tagged(uuid.New())
	return h.String()
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
