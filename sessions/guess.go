package sessions

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// guessSchema: k is a keyed hash, so that what people type as their name, sometimes a password, is not in the store.
const guessSchema = `
CREATE TABLE guess(k BLOB PRIMARY KEY, n INTEGER NOT NULL, at INTEGER NOT NULL, exp INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX guess_exp ON guess(exp);
`

// tries are how often something may be tried: a password, a code. Nothing is ever locked, it only takes longer and longer.
type tries struct {
	name                  string
	pair, prefix, account slowing
	life                  time.Duration // of a counter, after the last wrong try

	// strict is what nobody can guess at who has not proved something already: the account's delay is the same for all addresses but
	// those from which it was entered before, and ends with a right try.
	strict bool
}

// slowing is a delay that doubles with each try beyond the free ones, up to most.
type slowing struct {
	free        int
	first, most time.Duration
}

func (s slowing) after(n int) time.Duration {
	n -= s.free
	if n < 0 {
		return 0
	}
	return min(s.first<<min(n, 20), s.most)
}

var (
	passwordTries = tries{
		name:    "password",
		pair:    slowing{5, time.Second, 15 * time.Minute},
		prefix:  slowing{50, time.Second, time.Minute}, // an office may be behind one address
		account: slowing{20, time.Second, 20 * time.Second},
		life:    time.Hour,
	}
	// factorTries are codes of six digits, tried by who has given the right password. Three codes are good at a time, so at one try an hour
	// a year's guesses are right with 1 chance in 38. Recovery codes, which nobody can guess, and passkeys are not counted.
	factorTries = tries{
		name:    "factor",
		pair:    slowing{5, time.Minute, time.Hour},
		prefix:  slowing{50, time.Second, time.Minute},
		account: slowing{5, time.Minute, time.Hour},
		life:    30 * 24 * time.Hour,
		strict:  true,
	}
	// registerTries are accounts that somebody makes where everybody may, and names found taken: each costs a hash and a row for good.
	registerTries = tries{
		name:    "register",
		pair:    slowing{20, time.Second, time.Minute},
		prefix:  slowing{20, time.Second, time.Minute},
		account: slowing{1 << 30, time.Second, time.Second}, // not known yet
		life:    time.Hour,
	}
	inviteTries = tries{
		name:    "invite",
		pair:    slowing{10, time.Second, time.Minute},
		prefix:  slowing{10, time.Second, time.Minute},
		account: slowing{1 << 30, time.Second, time.Second}, // there is no account to guard
		life:    time.Hour,
	}
	farewellTries = tries{ // of logouts elsewhere that are refused: how many are written down
		name:    "farewell",
		pair:    slowing{10, time.Second, time.Minute},
		prefix:  slowing{10, time.Second, time.Minute},
		account: slowing{1 << 30, time.Second, time.Second},
		life:    time.Hour,
	}
)

const (
	knownLife = 90 * 24 * time.Hour // since the last right one
	maxTally  = 1 << 14             // in memory
	maxKept   = 200_000             // in the store
)

type guessKey [16]byte

// tally is one counter. An address from which an account has been entered is one as well.
type tally struct {
	n       int
	at, exp int64 // Unix milliseconds; at: the last try, or when one was told to wait
	added   int   // of n, not yet in the store
	dirty   bool
	zeroed  bool // n was reset since the last write
}

// guesses counts tries per account, per address prefix (/32, /64) and per pair of them. A try counts before its outcome is known, so that
// many at once are no way around. What is counted is in the store a second later, for the other process and the next one; of two processes
// each may let the free tries pass in that second. It is safe for concurrent use.
type guesses struct {
	db   *DB
	find *sql.Stmt
	hash []byte // key

	mu   sync.Mutex
	all  map[guessKey]*tally
	turn sync.Mutex // of who writes
}

func (g *guesses) prepare(db *DB, root []byte) (err error) {
	g.db, g.all = db, map[guessKey]*tally{}
	var err2 error
	g.hash, err = hkdf.Key(sha256.New, root, nil, "edge login guesses", sha256.Size)
	g.find, err2 = db.file.Prepare("SELECT n, at, exp FROM guess WHERE k = ? AND exp > ?")
	return errors.Join(err, err2)
}

func (g *guesses) key(kind, account, prefix string) (k guessKey) {
	mac := hmac.New(sha256.New, g.hash)
	for _, part := range []string{kind, account, prefix} {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	copy(k[:], mac.Sum(nil))
	return k
}

// prefixOf is whose an address is: one of IPv4, or a network of IPv6. addr may have a port. What is no address, a unix socket's client, is one.
func prefixOf(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if ap, err2 := netip.ParseAddrPort(addr); err2 == nil {
		ip, err = ap.Addr(), nil
	}
	if err != nil {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p.String()
}

type fromKey struct{}

// withFrom notes in the context of a request which network it comes from.
func withFrom(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), fromKey{}, prefixOf(r.RemoteAddr)))
}

// From is the network that a form came from, as tries are counted: an IPv4 /32 or an IPv6 /64; "": nobody knows, or it is no client of ours who asks.
// Users may let each have its turn.
func From(ctx context.Context) string {
	from, _ := ctx.Value(fromKey{}).(string)
	return from
}

// tried are the counters of one try.
type tried struct{ pair, prefix, account, known guessKey }

func (g *guesses) tried(t tries, account, addr string) tried {
	prefix := prefixOf(addr)
	return tried{g.key(t.name+" pair", account, prefix), g.key(t.name+" prefix", "", prefix), g.key(t.name+" account", account, ""), g.key(t.name+" known", account, prefix)}
}

// Allow says how long the account's next try from this address must wait; 0: it may come now, and counts as wrong until Succeeded or Void
// says otherwise. The account's name is canonical, or what was typed in place of one.
//
// The delay of the account alone runs from what this address did last, not from what others do: an outsider who tries all the time makes a
// person wait that long once, and keeps nobody out (but see strict). An address from which the account was entered before waits for its own
// mistakes only.
func (g *guesses) Allow(ctx context.Context, t tries, account, addr string) (wait time.Duration, err error) {
	ks, now := g.tried(t, account, addr), g.db.millis()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget()
	rows := map[guessKey]*tally{}
	for _, k := range []guessKey{ks.pair, ks.prefix, ks.account, ks.known} {
		if rows[k], err = g.get(ctx, k, now); err != nil {
			return 0, err
		}
	}
	pair, prefix, all := rows[ks.pair], rows[ks.prefix], rows[ks.account]
	wait = left(pair.at, t.pair.after(pair.n), now)
	if rows[ks.known].n == 0 {
		slow, since := t.account.after(all.n), all.at
		if !t.strict {
			if slow > 0 && pair.at == 0 {
				pair.at, pair.exp, pair.dirty = now, now+slow.Milliseconds()+t.life.Milliseconds(), true // told to wait
			}
			since = pair.at
		}
		wait = max(wait, left(prefix.at, t.prefix.after(prefix.n), now), left(since, slow, now))
	}
	if wait > 0 {
		return wait, nil
	}
	for _, row := range []*tally{pair, prefix, all} {
		row.add(1, now, t.life)
	}
	return 0, nil
}

// left is what is left of a delay.
func left(since int64, delay time.Duration, now int64) time.Duration {
	return max(0, delay-time.Duration(now-since)*time.Millisecond)
}

func (t *tally) add(n int, now int64, life time.Duration) {
	t.n, t.added, t.dirty = max(0, t.n+n), t.added+n, true
	t.at, t.exp = now, now+life.Milliseconds()
}

// Void takes a try back that came to nothing: nobody looked whether it was right.
func (g *guesses) Void(ctx context.Context, t tries, account, addr string) {
	g.undo(ctx, t, account, addr, false)
}

// Succeeded takes a try back that was right, and all wrong ones of this pair with it; from this address the account is not slowed by what
// others try any more.
func (g *guesses) Succeeded(ctx context.Context, t tries, account, addr string) {
	g.undo(ctx, t, account, addr, true)
}

func (g *guesses) undo(ctx context.Context, t tries, account, addr string, right bool) {
	ks, now := g.tried(t, account, addr), g.db.millis()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget()
	for _, k := range []guessKey{ks.pair, ks.prefix, ks.account, ks.known} {
		row, err := g.get(ctx, k, now)
		switch {
		case err != nil: // it goes on counting as wrong
		case k == ks.known && right:
			row.n, row.at, row.exp, row.zeroed, row.dirty = 1, now, now+knownLife.Milliseconds(), true, true
		case k == ks.known:
		case right && (k == ks.pair || t.strict && k == ks.account):
			row.n, row.added, row.at, row.zeroed, row.dirty = 0, 0, 0, true, true
		case row.n > 0:
			row.n, row.added, row.dirty = row.n-1, row.added-1, true
		}
	}
}

// get gives a counter, from the store if it is not here. g.mu is held.
func (g *guesses) get(ctx context.Context, k guessKey, now int64) (*tally, error) {
	if row := g.all[k]; row != nil {
		if row.exp <= now {
			*row = tally{zeroed: true}
		}
		return row, nil
	}
	row := &tally{}
	err := g.find.QueryRowContext(ctx, k[:], now).Scan(&row.n, &row.at, &row.exp)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	g.all[k] = row
	return row, nil
}

// forget makes room: it drops what the store has as well; and if that is nothing, because nobody could write, everything, since memory is
// bounded. g.mu is held.
func (g *guesses) forget() {
	if len(g.all) < maxTally {
		return
	}
	for k, row := range g.all {
		if !row.dirty {
			delete(g.all, k)
		}
	}
	if len(g.all) >= maxTally {
		clear(g.all)
	}
}

// write brings what has changed into the store, and drops it here, so that what the other process counts is seen.
func (g *guesses) write(ctx context.Context) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	changed := map[guessKey]tally{}
	g.mu.Lock()
	for k, row := range g.all {
		if row.dirty {
			changed[k] = *row
			row.added, row.dirty, row.zeroed = 0, false, false
		}
	}
	g.mu.Unlock()
	err := g.store(ctx, changed)
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, row := range g.all {
		was, sent := changed[k]
		switch {
		case sent && err != nil:
			row.added, row.dirty, row.zeroed = row.added+was.added, true, row.zeroed || was.zeroed
		case !row.dirty:
			delete(g.all, k)
		}
	}
	return err
}

func (g *guesses) store(ctx context.Context, changed map[guessKey]tally) error {
	if len(changed) == 0 {
		return nil
	}
	const add = `INSERT INTO guess(k, n, at, exp) VALUES(?1, max(0, ?2), ?3, ?4)
		ON CONFLICT(k) DO UPDATE SET n = max(0, n + ?5), at = ?3, exp = ?4`
	const put = `INSERT INTO guess(k, n, at, exp) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(k) DO UPDATE SET n = ?2, at = ?3, exp = ?4`
	return g.db.file.Write(ctx, func(tx *sql.Tx) error {
		for k, row := range changed {
			var err error
			if row.zeroed {
				_, err = tx.Exec(put, k[:], row.n, row.at, row.exp)
			} else {
				_, err = tx.Exec(add, k[:], row.added, row.at, row.exp, row.added)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// collectGuesses deletes what counts no more, and beyond most what would be the next to.
func collectGuesses(tx *sql.Tx, now int64, most int) error {
	_, err := tx.Exec("DELETE FROM guess WHERE k IN (SELECT k FROM guess WHERE exp <= ? LIMIT 10000)", now)
	_, err2 := tx.Exec(`DELETE FROM guess WHERE k IN
		(SELECT k FROM guess ORDER BY exp LIMIT min(10000, max(0, (SELECT count(*) FROM guess) - ?)))`, most)
	return errors.Join(err, err2)
}
