package users

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/argon2"

	"edge/conf"
	"edge/sessions"
)

// watch holds the hashes that a store computes, each until it gets something from gate, and counts how many run at once, and what they take.
type watch struct {
	gate          chan struct{}
	mu            sync.Mutex
	running, peak int
	kib, peakKiB  uint32
	salts         []string // in the order in which they began
}

func watched(s *Store) *watch {
	w := &watch{gate: make(chan struct{})}
	s.argon2id = func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
		w.mu.Lock()
		w.running, w.kib = w.running+1, w.kib+memory
		w.peak, w.peakKiB = max(w.peak, w.running), max(w.peakKiB, w.kib)
		w.salts = append(w.salts, string(salt))
		w.mu.Unlock()
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.running, w.kib = w.running-1, w.kib-memory
		}()
		<-w.gate
		return argon2.IDKey(password, salt, time, memory, threads, keyLen)
	}
	return w
}

// waits is how many wait for a turn, and of how many networks.
func (s *Store) waits() (people, networks int) {
	s.turns.mu.Lock()
	defer s.turns.mu.Unlock()
	return s.turns.waiting, len(s.turns.order)
}

// until waits for a condition that nobody tells of.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(maxWait / 2); !holds(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Errorf("not in %v: %s", maxWait/2, what)
			return
		}
	}
}

// untilWaiting waits until so many do.
func untilWaiting(t *testing.T, s *Store, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d wait", n), func() bool { now, _ := s.waits(); return now == n })
}

// full takes every turn there is; free gives them back.
func full(s *Store) (free func()) {
	for range maxHashing {
		s.turns.take(ctx)
	}
	return func() {
		for range maxHashing {
			s.turns.done()
		}
	}
}

// LOGIN.md §2h 37: of many wrong names no more than maxHashing are hashed at once, and no fewer: while those are held none of the others has begun. They take
// the memory of so many, and do not keep others from logging in.
func TestFlood(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	w := watched(s)
	const flood = 300
	var wg sync.WaitGroup
	for i := range flood {
		wg.Go(func() {
			if _, err := s.Verify(ctx, fmt.Sprintf("user%d", i), "whatever it is"); !errors.Is(err, sessions.ErrBadCredentials) {
				t.Error(err)
			}
		})
	}
	untilWaiting(t, s, flood-maxHashing)
	until(t, "who has a turn has begun", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.running == maxHashing
	})
	close(w.gate)
	if _, err := s.Verify(ctx, "alice", "correct horse"); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if w.peak != maxHashing || w.peakKiB != maxHashing*cheap.Memory || len(w.salts) != flood+1 {
		t.Errorf("%d hashes, at most %d at once with %d KiB; want %d, %d with %d", len(w.salts), w.peak, w.peakKiB, flood+1, maxHashing, maxHashing*cheap.Memory)
	}
	if people, networks := s.waits(); people != 0 || networks != 0 || s.turns.working != 0 {
		t.Errorf("%d wait, of %d networks, and %d work", people, networks, s.turns.working)
	}
	free := full(s)
	defer free()
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Verify(gone, "alice", "correct horse"); !errors.Is(err, context.Canceled) {
		t.Errorf("no turn and no client: %v", err)
	}
}

// At the cost of real passwords a flood takes what LOGIN.md says, and what the garbage collector has not yet taken back.
func TestFloodMemory(t *testing.T) {
	s := open(t, t.TempDir())
	s.Cost = DefaultCost
	var most atomic.Uint64
	s.argon2id = func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
		key := argon2.IDKey(password, salt, time, memory, threads, keyLen)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		for old := most.Load(); m.HeapAlloc > old && !most.CompareAndSwap(old, m.HeapAlloc); old = most.Load() {
		}
		return key
	}
	runtime.GC()
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() { s.Verify(ctx, fmt.Sprintf("user%d", i), "whatever it is") })
	}
	wg.Wait()
	const hashing = maxHashing * 19 << 20
	if got := most.Load(); got < 19<<20 || got > 3*hashing {
		t.Errorf("a heap of %d MiB, want at most %d", got>>20, 3*hashing>>20)
	}
	t.Logf("a heap of at most %d MiB, of which %d are hashes under way", most.Load()>>20, hashing>>20)
}

// from is a context as of a form that an address sends, by way of the login page.
func (p *pages) from(addr string) (got context.Context) {
	p.t.Helper()
	p.see = func(ctx context.Context) { got = ctx }
	p.logIn("nobody", "x", addr)
	p.see = nil
	if got == nil {
		p.t.Fatal("nobody asked")
	}
	return context.WithoutCancel(got)
}

// pages are the login host's over a store, without a network.
type pages struct {
	t       testing.TB
	service *sessions.Service
	http    http.Handler
	see     func(context.Context) // of each Verify; nil: nobody looks
}

// seen is a store that tells with what it is asked.
type seen struct {
	*Store
	p *pages
}

func (s seen) Verify(ctx context.Context, name, password string) (sessions.User, error) {
	if s.p.see != nil {
		s.p.see(ctx)
	}
	return s.Store.Verify(ctx, name, password)
}

// nowhere is a configuration without virtual hosts.
type nowhere struct{}

func (nowhere) Vhost(string) (string, bool)             { return "", false }
func (nowhere) Allowed(string, *sessions.Identity) bool { return false }
func (nowhere) Listed(string) bool                      { return false }

func newPages(t testing.TB, s *Store) *pages {
	t.Helper()
	db, err := sessions.Open(t.TempDir(), s.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	p := &pages{t: t}
	p.service = sessions.New(db, seen{s, p}, &conf.Login{Host: "login.test", Registration: conf.Closed, Idle: time.Hour, Lifetime: time.Hour}, nowhere{})
	p.http = p.service.Pages()
	return p
}

// loginRequest is the form of the login page, from an address.
func loginRequest(name, password, addr string) *http.Request {
	r := httptest.NewRequest("POST", "https://login.test/login", strings.NewReader(url.Values{"name": {name}, "password": {password}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.RemoteAddr = addr
	return r
}

func (p *pages) logIn(name, password, addr string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.http.ServeHTTP(w, loginRequest(name, password, addr))
	return w
}

// One address that has as many logins waiting as the counters let it keeps somebody from elsewhere waiting for one turn, not for all of its own; and who comes
// from its own network waits with it.
func TestFloodFromOneAddress(t *testing.T) {
	s := open(t, t.TempDir())
	if err := add(s, "alice", "correct horse", nil); err != nil {
		t.Fatal(err)
	}
	p, w := newPages(t, s), watched(s)
	var wg sync.WaitGroup
	var refused atomic.Int64
	const flood, passes = 80, 50 // passes: docs/LOGIN.md, "Guessing"
	for i := range flood {
		wg.Go(func() {
			if p.logIn(fmt.Sprintf("user%d", i), "x", fmt.Sprintf("[2001:db8::%x]:1", i+1)).Code == http.StatusTooManyRequests {
				refused.Add(1)
			}
		})
	}
	untilWaiting(t, s, passes-maxHashing)
	rec, _, _ := s.read(ctx, "alice")
	h, _ := parsePHC(rec.Hash)
	var code int
	wg.Go(func() { code = p.logIn("alice", "correct horse", "192.0.2.1:1").Code })
	untilWaiting(t, s, passes-maxHashing+1)
	if _, networks := s.waits(); networks != 2 {
		t.Errorf("%d networks wait, want 2", networks)
	}
	for range 2 { // one of each network
		w.gate <- struct{}{}
	}
	until(t, "alice has her turn", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Contains(w.salts, string(h.salt))
	})
	close(w.gate)
	wg.Wait()
	if code != http.StatusSeeOther || refused.Load() != flood-passes {
		t.Errorf("alice is answered %d; %d of the flood are refused, want %d", code, refused.Load(), flood-passes)
	}
}

// Networks have their turns one after the other, whoever has most waiting; each has at most half of the places, and all have no more than there are. Who cannot
// hope for a turn is told so at once, and who waits too long then.
func TestTurns(t *testing.T) {
	s := open(t, t.TempDir())
	p := newPages(t, s)
	contexts := map[string]context.Context{}
	for network, addr := range map[string]string{"a": "192.0.2.1:1", "b": "192.0.2.2:2", "c": "[2001:db8::1]:1"} {
		contexts[network] = p.from(addr)
	}
	if again := sessions.From(p.from("[2001:db8::2]:2")); again == "" || again != sessions.From(contexts["c"]) {
		t.Fatalf("another address of the network is of %q", again)
	}
	synctest.Test(t, func(t *testing.T) {
		var wait turns
		var mu sync.Mutex
		var order string
		errs := map[error]int{}
		ask := func(network string, times int) {
			for range times {
				go func() {
					err := wait.take(contexts[network])
					mu.Lock()
					defer mu.Unlock()
					if errs[err]++; err == nil {
						order += network
					}
				}()
				synctest.Wait()
			}
		}
		ask("a", maxHashing+5)
		ask("b", 2)
		ask("c", 1)
		for range 8 {
			wait.done()
			synctest.Wait()
		}
		if want := strings.Repeat("a", maxHashing) + "abcabaaa"; order != want {
			t.Errorf("the order is %s, want %s", order, want)
		}
		order, errs = "", map[error]int{}
		ask("a", maxFrom+1)
		if errs[sessions.ErrBusy] != 1 {
			t.Errorf("%d of one network wait", wait.waiting)
		}
		ask("b", maxFrom)
		ask("c", 1)
		if wait.waiting != maxQueue || errs[sessions.ErrBusy] != 2 || errs[nil] != 0 {
			t.Errorf("%d wait, %v", wait.waiting, errs)
		}
		time.Sleep(maxWait - time.Nanosecond)
		wait.done()
		synctest.Wait()
		if order != "a" {
			t.Errorf("at last %q has a turn", order)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if errs[sessions.ErrBusy] != maxQueue+1 || errs[nil] != 1 || wait.waiting != 0 || len(wait.queues) != 0 || len(wait.order) != 0 || wait.working != maxHashing {
			t.Errorf("after %v: %v; %d wait, %d work", maxWait, errs, wait.waiting, wait.working)
		}
		for range maxHashing {
			wait.done()
		}
		if ask("c", 1); order != "ac" || wait.working != 1 {
			t.Errorf("a turn is lost: %q, %d work", order, wait.working)
		}
	})
}

// Who gives up in the moment in which the turn comes gives it to the next one.
func TestTurnForNobody(t *testing.T) {
	var wait turns
	for range maxHashing {
		wait.enter("a")
	}
	gone, _ := wait.enter("a")
	next, _ := wait.enter("b")
	wait.done()
	<-gone
	wait.leave("a", gone)
	select {
	case <-next:
	default:
		t.Error("nobody has the turn")
	}
}

// Where too many wait the page says so, and when to come again.
func TestBusyPage(t *testing.T) {
	s := open(t, t.TempDir())
	s.turns.working, s.turns.waiting = maxHashing, maxQueue
	if w := newPages(t, s).logIn("alice", "x", "192.0.2.1:1"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
}
