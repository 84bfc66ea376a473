package sessions

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
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
`}

// DB is DIR/sessions.db and the key of the login protocol. It outlives configurations, and a second process may have the same one open:
// what one writes, the other's next request sees. It is safe for concurrent use.
type DB struct {
	file *sqlitefile.File
	find *sql.Stmt
	now  func() time.Time

	flows sealer // of the cookies of logins under way
	blobs sealer // of what a virtual host tells the login host

	factors factorKeys

	mu   sync.Mutex
	seen map[uuid.UUID]sighting // sessions used since the last write
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
	db := &DB{file: file, now: now, seen: map[uuid.UUID]sighting{}}
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
	var errs [4]error
	db.factors, errs[3] = newFactorKeys(root)
	db.flows, errs[0] = newSealer(root, "flow")
	db.blobs, errs[1] = newSealer(root, "blob")
	db.find, errs[2] = db.file.Prepare(findRow)
	return errors.Join(errs[:]...)
}

// Close closes the file; Run must have returned, and no Service of this DB may be used any more.
func (db *DB) Close() error { return db.file.Close() }

func (db *DB) millis() int64 { return db.now().UnixMilli() }

const (
	flushEvery   = time.Second      // last-seen times are written in one go
	collectEvery = 30 * time.Second // what has expired is deleted
)

// Run writes last-seen times and deletes what has expired, until ctx is done; then nil. Without it sessions work, but end by idleness
// although they are used. What cannot be written is logged; the next use of the session notes it anew.
func (db *DB) Run(ctx context.Context) error {
	flush, collect := time.NewTicker(flushEvery), time.NewTicker(collectEvery)
	defer flush.Stop()
	defer collect.Stop()
	for {
		var err error
		select {
		case <-flush.C:
			err = db.writeSeen(ctx)
		case <-collect.C:
			err = db.collect(ctx)
		case <-ctx.Done():
			return db.lastWrite()
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("the session store cannot be written", "error", err)
		}
	}
}

// lastWrite is writeSeen once more after the end, bounded.
func (db *DB) lastWrite() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return db.writeSeen(ctx)
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

// collect deletes expired rows, some at a time: a long transaction would keep the other process waiting.
func (db *DB) collect(ctx context.Context) error {
	now := db.millis()
	return db.file.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM session WHERE id IN (SELECT id FROM session WHERE abs_exp < ? LIMIT 1000)", now)
		_, err2 := tx.Exec("DELETE FROM ticket WHERE h IN (SELECT h FROM ticket WHERE exp < ? LIMIT 1000)", now)
		return errors.Join(err, err2)
	})
}
