package sessions

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge/conf"
)

// at is a browser with an address of its own.
func (w *world) at(address string) *browser {
	b := w.browser()
	b.from = address
	return b
}

// try sends a name and a password.
func (b *browser) try(name, password string) page {
	return b.post("https://"+loginHost+"/login", url.Values{"name": {name}, "password": {password}})
}

// entered says whether a try was right.
func (b *browser) entered(p page) bool { return p.status == http.StatusOK && p.url.Path == accountPath }

// Wrong passwords for one account from one address take longer and longer; the page says how long, and the right one is not looked at before.
func TestWrongPasswordsSlowDown(t *testing.T) {
	w := newWorld(t)
	b := w.at("192.0.2.1:1000")
	for i := range passwordTries.pair.free {
		if p := b.try("alice", "wrong"); p.status != http.StatusForbidden {
			t.Fatalf("try %d: %d", i, p.status)
		}
	}
	for _, want := range []int{1, 2, 4, 8} {
		p := b.try("alice", "correct horse")
		if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") != strconv.Itoa(want) || !strings.Contains(p.body, waitError(time.Duration(want)*time.Second).Error()) ||
			!strings.Contains(p.body, `name="password"`) {
			t.Fatalf("%d, after %q, want %d: %s", p.status, p.header.Get("Retry-After"), want, p.body)
		}
		b.from = "192.0.2.1:1001" // another connection is the same address
		w.clock.pass(time.Duration(want)*time.Second - time.Millisecond)
		if p := b.try(" ALICE ", "correct horse"); p.status != http.StatusTooManyRequests { // nor is another spelling another account
			t.Errorf("%d before its time", p.status)
		}
		w.clock.pass(time.Millisecond)
		if p := b.try("alice", "wrong"); p.status != http.StatusForbidden {
			t.Errorf("%d when it was time", p.status)
		}
	}
	w.clock.pass(16 * time.Second)
	if p := b.try("alice", "correct horse"); !b.entered(p) {
		t.Fatalf("%d", p.status)
	}
	for i := range passwordTries.pair.free { // the right one forgives the wrong ones
		if p := b.try("alice", "wrong"); p.status != http.StatusForbidden {
			t.Errorf("after a right one, try %d: %d", i, p.status)
		}
	}
}

func TestSlowingIsBounded(t *testing.T) {
	for _, tries := range []tries{passwordTries, factorTries, registerTries, inviteTries} {
		for _, s := range []slowing{tries.pair, tries.prefix, tries.account} {
			if s.after(s.free-1) != 0 || s.after(s.free) != s.first || s.after(1<<31) > s.most || s.most > time.Hour {
				t.Errorf("%s: %+v", tries.name, s)
			}
		}
	}
}

// LOGIN.md §2h 37: 300 names from one address slow that address down, not those elsewhere, nor who has entered from there before.
func TestManyNamesFromOneAddress(t *testing.T) {
	w := newWorld(t)
	office := w.at("198.51.100.7:1")
	if p := office.try("alice", "correct horse"); !office.entered(p) {
		t.Fatal(p.status)
	}
	evil, slowed := w.at("198.51.100.7:6666"), 0
	for i := range 300 {
		if p := evil.try(fmt.Sprintf("user%d", i), "whatever"); p.status == http.StatusTooManyRequests {
			slowed++
		}
	}
	if slowed < 200 {
		t.Errorf("only %d of 300 were slowed down", slowed)
	}
	if p := evil.try("bob", "battery staple"); p.status != http.StatusTooManyRequests {
		t.Errorf("one more name: %d", p.status)
	}
	for _, address := range []string{"198.51.100.8:1", "[2001:db8::7]:1"} {
		if b := w.at(address); !b.entered(b.try("bob", "battery staple")) {
			t.Errorf("%s is slowed down", address)
		}
	}
	if b := w.at("198.51.100.7:2"); !b.entered(b.try("alice", "correct horse")) {
		t.Error("alice, who has entered from here, is slowed down")
	}
	w.clock.pass(passwordTries.prefix.most)
	if b := w.at("198.51.100.7:3"); !b.entered(b.try("bob", "battery staple")) {
		t.Error("the address is locked, not slowed down")
	}
}

// A whole network of addresses that guesses one account's password, all the time, keeps its owner out for no longer than the account's one short
// delay, and not at all where it has entered before.
func TestOutsidersCannotLockOut(t *testing.T) {
	w := newWorld(t)
	home := w.at("203.0.113.5:1")
	if p := home.try("alice", "correct horse"); !home.entered(p) {
		t.Fatal(p.status)
	}
	attack := func() {
		for n := range 50 {
			w.at(fmt.Sprintf("[2001:db8:0:%x::1]:1", n)).try("alice", "wrong")
		}
	}
	for range 3 {
		attack()
		w.clock.pass(20 * time.Second)
	}
	attack()
	if b := w.at("203.0.113.5:2"); !b.entered(b.try("alice", "correct horse")) {
		t.Error("alice is slowed down at home")
	}
	hotel := w.at("192.0.2.77:1")
	p := hotel.try("alice", "correct horse")
	if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") != "20" {
		t.Fatalf("elsewhere, under attack: %d, %s", p.status, p.header.Get("Retry-After"))
	}
	for range 20 {
		w.clock.pass(time.Second)
		attack()
	}
	if p := hotel.try("alice", "correct horse"); !hotel.entered(p) {
		t.Errorf("after the delay: %d, %s", p.status, p.header.Get("Retry-After"))
	}
}

// One network of IPv6, whose owner has all of its addresses, is one address; so is an IPv4 one that came mapped.
func TestPrefixOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1/32", "192.0.2.1": "192.0.2.1/32", "[::ffff:192.0.2.1]:80": "192.0.2.1/32",
		"[2001:db8::1]:80": "2001:db8::/64", "2001:db8::ffff:1": "2001:db8::/64", "[fe80::1%eth0]:1": "fe80::/64", "@": "", "": "",
	} {
		if got := prefixOf(addr); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

// Many at once are no way around: each counts before it is known to be wrong.
func TestTriesAtOnce(t *testing.T) {
	w, passed := newWorld(t), 0
	for range 100 { // none of them has an outcome yet
		if wait, err := w.db.guesses.Allow(context.Background(), passwordTries, "alice", "192.0.2.1:1"); err != nil {
			t.Fatal(err)
		} else if wait == 0 {
			passed++
		}
	}
	if passed != passwordTries.pair.free {
		t.Errorf("%d passed, want %d", passed, passwordTries.pair.free)
	}
}

// A try that nobody looked at, because the server was busy, does not count.
func TestVoid(t *testing.T) {
	w := newWorld(t)
	g := &w.db.guesses
	for range 100 {
		if wait, err := g.Allow(context.Background(), passwordTries, "alice", "192.0.2.1:1"); wait != 0 || err != nil {
			t.Fatal(wait, err)
		}
		g.Void(context.Background(), passwordTries, "alice", "192.0.2.1:1")
	}
}

// The counters are in the store: another process goes on with them, adds its own, and what has ended is deleted. Names are not there.
func TestGuessesAreKept(t *testing.T) {
	w := newWorld(t)
	one, two := w.process, w.start()
	ctx := context.Background()
	try := func(p *process) (wait time.Duration) {
		t.Helper()
		wait, err := p.db.guesses.Allow(ctx, passwordTries, "alice", "192.0.2.1:1")
		if err := p.db.guesses.write(ctx); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return wait
	}
	for i := range passwordTries.pair.free {
		if wait := try([]*process{one, two}[i%2]); wait != 0 {
			t.Fatalf("try %d: %s", i, wait)
		}
	}
	for _, p := range []*process{one, two, w.start()} {
		if wait := try(p); wait != time.Second {
			t.Errorf("wait %s, want 1s", wait)
		}
	}
	two.db.guesses.Succeeded(ctx, passwordTries, "alice", "192.0.2.1:1")
	if err := two.db.guesses.write(ctx); err != nil {
		t.Fatal(err)
	}
	if wait := try(one); wait != 0 {
		t.Errorf("after a right one in the other process: %s", wait)
	}
	if n := w.rows("guess"); n != 4 {
		t.Errorf("%d counters, want 4", n)
	}
	if len(one.db.guesses.all) != 0 {
		t.Error("counters are kept in memory beside the store")
	}
	w.clock.pass(passwordTries.life + time.Millisecond)
	if err := one.db.collect(ctx); err != nil {
		t.Fatal(err)
	}
	if n := w.rows("guess"); n != 1 {
		t.Errorf("%d counters an hour later, want 1: alice is known there", n)
	}
	w.clock.pass(knownLife)
	if err := one.db.collect(ctx); err != nil || w.rows("guess") != 0 {
		t.Error(err, w.rows("guess"))
	}
}

// However many names are tried, memory is bounded, and so is what is kept.
func TestGuessesAreBounded(t *testing.T) {
	w := newWorld(t)
	g := &w.db.guesses
	for _, dirty := range []bool{false, true} {
		for i := range maxTally {
			g.all[guessKey{byte(i), byte(i >> 8)}] = &tally{dirty: dirty}
		}
		if wait, err := g.Allow(context.Background(), passwordTries, "alice", "192.0.2.1:1"); wait != 0 || err != nil {
			t.Fatal(wait, err)
		}
		if n := len(g.all); n > 8 {
			t.Errorf("%d counters in memory", n)
		}
	}
	w.exec(`WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i < 500)
		INSERT INTO guess SELECT randomblob(16), i, 1, 1e15 + i FROM c`)
	err := w.db.file.Write(context.Background(), func(tx *sql.Tx) error { return collectGuesses(tx, w.db.millis(), 400) })
	if err != nil || w.rows("guess") != 400 {
		t.Errorf("%d rows, %v", w.rows("guess"), err)
	}
	if w.rows("guess WHERE n <= 100") != 0 {
		t.Error("others went than those that end first")
	}
}

// The same answer, whether a name is an account, was one or could be none, also when it is time to wait.
func TestSameAnswerForUnknown(t *testing.T) {
	w := newWorld(t)
	answers := map[string]bool{}
	for i, name := range []string{"alice", "nobody", "not a name"} {
		b := w.at(fmt.Sprintf("192.0.2.%d:1", i+1))
		text := ""
		for range passwordTries.pair.free + 2 {
			p := b.try(name, "wrong")
			text += fmt.Sprintln(p.status, p.header.Get("Retry-After"), strings.ReplaceAll(p.body, `value="`+name+`"`, ""))
		}
		answers[text] = true
	}
	if len(answers) != 1 {
		t.Errorf("%d different answers", len(answers))
	}
}

// While the counters cannot be read nobody gets in.
func TestGuessesDown(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	w.db.Close()
	if p := b.try("alice", "correct horse"); p.status != http.StatusServiceUnavailable {
		t.Errorf("%d, want 503", p.status)
	}
}

// Where everybody may make accounts, one address makes so many, and then slowly more; another is not kept waiting.
func TestRegistrationsSlowDown(t *testing.T) {
	w := newWorld(t)
	w.conf.Registration = conf.Open
	register := func(from, name string) page {
		return w.at(from).post("https://"+loginHost+"/register", url.Values{"name": {name}, "password": {"long enough"}})
	}
	for i := range registerTries.prefix.free {
		if p := register("192.0.2.1:1", fmt.Sprint("user", i)); p.status != http.StatusOK {
			t.Fatalf("account %d: %d", i, p.status)
		}
	}
	wantPage(t, register("192.0.2.1:2", "onemore"), http.StatusTooManyRequests, "please wait a second")
	if p := register("192.0.2.2:1", "elsewhere"); p.status != http.StatusOK {
		t.Errorf("elsewhere: %d", p.status)
	}
	w.clock.pass(time.Second)
	if p := register("192.0.2.1:2", "onemore"); p.status != http.StatusOK {
		t.Errorf("after a second: %d", p.status)
	}
}
