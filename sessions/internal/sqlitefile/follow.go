package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
)

// Kept is how many entries a log made by LogSchema keeps. Who is further behind has lost some, and is told so.
const Kept = 10_000

// LogSchema makes a table in which triggers note what changed, in the transaction of the change: whoever made it, in whatever process and
// by whatever statement. Its entries are numbered without a gap.
func LogSchema(table string) string {
	return fmt.Sprintf(`
CREATE TABLE %[1]s(seq INTEGER PRIMARY KEY AUTOINCREMENT, what NOT NULL);
CREATE TRIGGER %[1]s_kept AFTER INSERT ON %[1]s BEGIN DELETE FROM %[1]s WHERE seq <= new.seq - %[2]d; END;
`, table, Kept)
}

// Log is a reader of a table that LogSchema made, on a connection of its own. One caller at a time; it ends with the file.
type Log struct {
	next, last *sql.Stmt
	seq        int64 // the last entry that was read; 0: none
}

// Follow reads a log from its present end on.
func (f *File) Follow(table string) (*Log, error) {
	l := &Log{}
	var err error
	// From the last one read on: it is still there, or some behind it may be missing as well.
	if l.next, err = f.follower.Prepare("SELECT seq, what FROM " + table + " WHERE seq >= ? ORDER BY seq"); err != nil {
		return nil, err
	}
	if l.last, err = f.follower.Prepare("SELECT coalesce(max(seq), 0) FROM " + table); err != nil {
		return nil, err
	}
	return l, l.skip()
}

// Next gives what was noted since the last call. lost says that it cannot tell, so that anything may have changed. With an error the next
// call gives what this one did not.
func (l *Log) Next() (what []string, lost bool, err error) {
	// No context: see sessions.DB.get. Nobody waits for a reader in a write-ahead log.
	rows, err := l.next.Query(l.seq)
	if err != nil {
		return nil, false, err
	}
	seq := l.seq
	found := seq == 0
	for rows.Next() {
		var at int64
		var key sql.RawBytes
		if err := rows.Scan(&at, &key); err != nil {
			rows.Close()
			return nil, false, err
		}
		switch {
		case at == l.seq:
			found = true
		case at == seq+1:
			seq, what = at, append(what, string(key))
		default:
			found = false
		}
		if !found {
			break
		}
	}
	if err := rows.Close(); err != nil { // before another query: there is one connection
		return nil, false, err
	}
	if err := rows.Err(); err != nil {
		return nil, false, err
	}
	if !found {
		return nil, true, l.skip()
	}
	l.seq = seq
	return what, false, nil
}

func (l *Log) skip() error { return l.last.QueryRow().Scan(&l.seq) }

// bells are called after every commit of this process.
type bells struct {
	mu   sync.Mutex
	list []func()
}

// OnCommit has ring called after each commit of this process, before the Write that made it returns. It must not write.
func (f *File) OnCommit(ring func()) {
	f.bells.mu.Lock()
	defer f.bells.mu.Unlock()
	f.bells.list = append(f.bells.list, ring)
}

func (b *bells) ring() {
	b.mu.Lock()
	list := b.list
	b.mu.Unlock()
	for _, ring := range list {
		ring()
	}
}

// take is a turn to write, when it comes and the pace allows.
func (f *File) take(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := f.pace.wait(ctx); err != nil {
		<-f.turn
		return err
	}
	return nil
}
