package sessions

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"edge/sessions/internal/sqlitefile"
)

// schema: see sqlitefile.Open. Only what is searched for is a column; everything else is in data, as JSON of which an older binary
// leaves alone what it does not know. A login is its own parent. Times are Unix milliseconds.
var schema = []string{`
CREATE TABLE session(
	id      BLOB PRIMARY KEY,
	parent  BLOB NOT NULL,
	user    TEXT NOT NULL,
	abs_exp INTEGER NOT NULL,
	data    TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_parent ON session(parent);
CREATE INDEX session_user ON session(user);
CREATE INDEX session_abs_exp ON session(abs_exp);
CREATE TABLE ticket(
	h     BLOB PRIMARY KEY,
	exp   INTEGER NOT NULL,
	child BLOB,
	data  TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX ticket_exp ON ticket(exp);
`, guessSchema, sqlitefile.LogSchema(endLog) + `
CREATE TRIGGER session_ended AFTER DELETE ON session BEGIN INSERT INTO endlog(what) VALUES(old.id); END;
CREATE TRIGGER login_ended AFTER DELETE ON session WHEN old.id = old.parent BEGIN DELETE FROM session WHERE parent = old.id; END;
`}

// endLog has the id of every session that was ended. Triggers write it, in the transaction that ends it: no way to end one can forget to,
// nor can an older binary.
const endLog = "endlog"

// DB is DIR/sessions.db and the key of the login protocol. It outlives configurations, and a second process may have the same one open:
// what one writes, the other's next request sees. It is safe for concurrent use.
type DB struct {
	file  *sqlitefile.File
	find  *sql.Stmt
	now   func() time.Time
	cache *cache
	ear   *ear

	flows sealer // of the cookies of logins under way
	trips sealer // of those of logins under way at a provider
	blobs sealer // of what a virtual host tells the login host
	tags  tagger // of session cookies

	factors factorKeys
	guesses guesses

	reads atomic.Int64 // of sessions, by get
	mu    sync.Mutex
	seen  map[uuid.UUID]sighting // sessions used since the last write
}

type sighting struct {
	parent uuid.UUID
	at     int64
}

// Open opens the sessions of the folder dir (statefile.Dir), made if missing. now is the clock of everything that expires.
func Open(dir string, now func() time.Time) (*DB, error) {
	file, err := sqlitefile.Open(filepath.Join(dir, "sessions.db"), schema)
	if err != nil {
		return nil, err
	}
	db := &DB{file: file, now: now, cache: newCache(maxCached), seen: map[uuid.UUID]sighting{}}
	if err := db.prepare(dir); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) prepare(dir string) error {
	root, err := rootKey(dir)
	if err != nil {
		return err
	}
	var errs [8]error
	db.flows, errs[0] = newSealer(root, "flow")
	db.trips, errs[7] = newSealer(root, "oidc")
	db.blobs, errs[1] = newSealer(root, "blob")
	db.tags, errs[2] = newTagger(root)
	db.factors, errs[3] = newFactorKeys(root)
	db.find, errs[4] = db.file.Prepare(findRow)
	db.ear, errs[5] = newEar(db.file, db.cache)
	errs[6] = db.guesses.prepare(db, root)
	return errors.Join(errs[:]...)
}

// Close closes the file; Run must have returned, and no Service of this DB may be used any more.
func (db *DB) Close() error { return db.file.Close() }

func (db *DB) millis() int64 { return db.now().UnixMilli() }

const (
	flushEvery   = time.Second      // last-seen times are written in one go
	collectEvery = 30 * time.Second // what has expired is deleted
)

// Run listens to what other processes end, writes last-seen times and deletes what has expired, until ctx is done; then nil. Without it
// sessions work, but each Lookup asks the database what has ended, and they end by idleness although they are used. What cannot be written
// is logged; the next use of the session notes it anew.
func (db *DB) Run(ctx context.Context) error {
	var listening sync.WaitGroup
	listening.Go(func() { db.ear.listen(ctx) }) // on its own: a write may have to wait for another process
	defer listening.Wait()
	flush, collect := time.NewTicker(flushEvery), time.NewTicker(collectEvery)
	defer flush.Stop()
	defer collect.Stop()
	for {
		var err error
		select {
		case <-flush.C:
			err = errors.Join(db.writeSeen(ctx), db.guesses.write(ctx))
		case <-collect.C:
			err = db.collect(ctx)
			db.watchLog(alarmSize)
		case <-ctx.Done():
			return db.lastWrite()
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("the session store cannot be written", "error", err)
		}
	}
}

// alarmSize is far beyond what the write-ahead log grows to at the pace of sqlitefile: something keeps it from being emptied.
const alarmSize = 64 << 20

func (db *DB) watchLog(alarm int64) {
	size, err := db.file.LogSize()
	if err == nil && size > alarm {
		slog.Warn("the session store's write-ahead log grows: does a process hold it open, or write without end?", "bytes", size)
	}
}

// Changes gets a value some time after a session has ended or a user has changed, in whatever process: what was let in may be no more.
func (db *DB) Changes() <-chan struct{} { return db.ear.changes }

// lastWrite is writeSeen once more after the end, bounded.
func (db *DB) lastWrite() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return errors.Join(db.writeSeen(ctx), db.guesses.write(ctx))
}

// saw notes that a session is in use, to be written soon; requests do not wait for it.
func (db *DB) saw(id, parent uuid.UUID, at int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.seen[id] = sighting{parent, at}
}

// writeSeen writes what saw noted, to the session and to its login: a login is in use as long as any session below it is.
func (db *DB) writeSeen(ctx context.Context) error {
	db.mu.Lock()
	seen := db.seen
	db.seen = map[uuid.UUID]sighting{}
	db.mu.Unlock()
	if len(seen) == 0 {
		return nil
	}
	return db.file.Write(ctx, func(tx *sql.Tx) error {
		for id, s := range seen {
			const set = "UPDATE session SET data = json_set(data, '$.seen', ?) WHERE id IN (?, ?)"
			if _, err := tx.Exec(set, s.at, id[:], s.parent[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	collectAtOnce = 1000   // in one transaction: a long one would keep the other process waiting
	maxSessions   = 10_000 // of one account, logins and what is below them: a program that logs in all the time does not fill the disk
)

// collect deletes expired rows, and of accounts that have too many those that were used least lately.
func (db *DB) collect(ctx context.Context) error {
	if err := db.collectExpired(ctx); err != nil {
		return err
	}
	return db.collectCrowds(ctx, maxSessions)
}

// collectCrowds leaves each account at most so many sessions.
func (db *DB) collectCrowds(ctx context.Context, most int) error {
	users, err := db.crowded(ctx, most)
	for _, user := range users {
		err = errors.Join(err, db.thin(ctx, user, most))
		slog.Warn("an account has too many sessions: the least used ones end", "user", user, "most", most)
	}
	return err
}

// crowded are the accounts that have more sessions than that.
func (db *DB) crowded(ctx context.Context, most int) (users []string, err error) {
	rows, err := db.file.Query(ctx, "SELECT user FROM session GROUP BY user HAVING count(*) > ?", most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var user string
		if err := rows.Scan(&user); err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return users, rows.Err()
}

// thin ends sessions of a user until there are no more than that.
func (db *DB) thin(ctx context.Context, user string, most int) error {
	const surplus = `DELETE FROM session WHERE id IN (SELECT id FROM session WHERE user = ?
		ORDER BY json_extract(data, '$.seen') DESC, id LIMIT ? OFFSET ?)`
	for more := true; more; {
		if err := db.file.Write(ctx, func(tx *sql.Tx) error {
			res, err := tx.Exec(surplus, user, collectAtOnce, most)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			more = n > 0
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) collectExpired(ctx context.Context) error {
	for more := true; more; {
		if err := db.file.Write(ctx, func(tx *sql.Tx) (err error) {
			more, err = collectSome(tx, db.millis())
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// collectSome says whether there may be more of them.
func collectSome(tx *sql.Tx, now int64) (more bool, err error) {
	for _, statement := range []string{
		"DELETE FROM session WHERE id IN (SELECT id FROM session WHERE abs_exp < ? LIMIT ?)",
		"DELETE FROM ticket WHERE h IN (SELECT h FROM ticket WHERE exp < ? LIMIT ?)",
	} {
		res, err := tx.Exec(statement, now, collectAtOnce)
		if err != nil {
			return false, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return false, err
		}
		more = more || n > 0 // less than were found: what goes with its login is not counted
	}
	return more, collectGuesses(tx, now, maxKept)
}
