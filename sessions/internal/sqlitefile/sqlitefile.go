// Package sqlitefile opens one SQLite database that two generations of edge use at the same time, in the only order that was measured
// to lose nothing (SESSION-STORE.md): it owns locking, modes and pragmas, and knows nothing of what the tables hold.
//
// Nothing else in the process may open, copy or close the database or its -shm file: closing any descriptor of them drops SQLite's
// locks, and acknowledged commits are lost without an error.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"modernc.org/sqlite"

	"edge/statefile"
)

// File is an open database. It is safe for concurrent use.
type File struct {
	path     string
	readers  *sql.DB       // query only
	follower *sql.DB       // one connection, query only: who follows a log waits for no other reader
	writer   *sql.DB       // one connection: a commit survives the process, not always a power cut
	durable  *sql.DB       // one connection: a commit is on the disk
	turn     chan struct{} // one writer at a time: waiting here is fair and ends with the context, waiting in SQLite is neither
	pace     pace          // of who has the turn
	bells    bells
}

// Open opens the database at path, made if missing, in a folder that statefile.Dir accepts. The schema is a list of steps, each run
// once in the life of the file; steps may only add, because the older binary goes on using the file. A file that a newer binary took
// further is used as it is.
func Open(path string, schema []string) (*File, error) {
	if err := ofdLocking(); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := statefile.Dir(dir); err != nil {
		return nil, err
	}
	if err := local(dir); err != nil {
		return nil, err
	}
	// One opener at a time: a cold start of two gets SQLITE_BUSY in about one of a hundred, whatever busy_timeout says. The lock
	// is a file of its own, because of the package comment.
	unlock, err := statefile.Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := create(path); err != nil {
		return nil, err
	}
	f := &File{
		path:     path,
		readers:  pool(path, "NORMAL", runtime.GOMAXPROCS(0)+1, "&_query_only=1"),
		follower: pool(path, "NORMAL", 1, "&_query_only=1"),
		writer:   pool(path, "NORMAL", 1, ""),
		durable:  pool(path, "FULL", 1, ""),
		turn:     make(chan struct{}, 1),
	}
	if err := f.prepare(schema); err != nil {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(err, f.Close()))
	}
	return f, nil
}

// ofdLocking makes the process's locks belong to the open file, not to the process: a second belt should somebody break the rule of
// the package comment. Only the first call of a process can do it.
var ofdLocking = sync.OnceValue(func() error {
	_, err := sqlite.OFDLocking(true)
	if errors.Is(err, sqlite.ErrOFDLockingUnavailable) {
		return nil // the rule alone must do
	}
	return err
})

// create makes an empty database that only its owner can read; -wal and -shm inherit the mode. An existing one is not even opened.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// pool opens nothing yet: database/sql connects at the first use.
func pool(path, synchronous string, conns int, more string) *sql.DB {
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_busy_timeout=5000&_journal_mode=WAL&_txlock=immediate" +
		"&_pragma=journal_size_limit(8388608)&_synchronous=" + synchronous + more
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		panic(err) // only for an unknown driver
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db
}

// prepare checks that the file is what two processes can share, and takes its schema to the newest step.
func (f *File) prepare(schema []string) error {
	var mode string
	if err := f.durable.QueryRow("PRAGMA journal_mode").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("SQLite uses journal mode %q here, not wal", mode)
	}
	return f.WriteDurable(context.Background(), func(tx *sql.Tx) error {
		var done int
		if err := tx.QueryRow("PRAGMA user_version").Scan(&done); err != nil {
			return err
		}
		for ; done < len(schema); done++ {
			if _, err := tx.Exec(schema[done]); err != nil {
				return fmt.Errorf("schema step %d: %w", done, err)
			}
			if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", done+1)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Prepare prepares a query; it ends with the file.
func (f *File) Prepare(query string) (*sql.Stmt, error) { return f.readers.Prepare(query) }

// Query runs a query of the reader's kind; close the rows soon, an open one keeps the log from shrinking.
func (f *File) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return f.readers.QueryContext(ctx, query, args...)
}

// Write runs do in one transaction that holds the write lock from its start. A power cut may undo it.
func (f *File) Write(ctx context.Context, do func(*sql.Tx) error) error {
	return f.write(ctx, f.writer, do)
}

// WriteDurable is Write, but on the disk when it returns: for everything that takes a right away.
func (f *File) WriteDurable(ctx context.Context, do func(*sql.Tx) error) error {
	return f.write(ctx, f.durable, do)
}

func (f *File) write(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	err := f.transact(ctx, db, do)
	if err == nil {
		f.bells.ring()
	}
	return err
}

func (f *File) transact(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	if err := f.take(ctx); err != nil {
		return err
	}
	defer func() { <-f.turn }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Close closes the database. No call may be running or follow.
func (f *File) Close() error {
	return errors.Join(f.readers.Close(), f.follower.Close(), f.writer.Close(), f.durable.Close())
}
