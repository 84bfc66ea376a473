package sessions

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// record is what data of a session's row holds.
type record struct {
	Secret []byte         `json:"secret"` // SHA-256 of the cookie's
	User   string         `json:"user"`
	Epoch  int64          `json:"epoch"`            // the user's when it was proved who this is
	Level  Level          `json:"aal,omitempty"`    // 0, of an older binary: AAL1
	Vhost  string         `json:"vhost"`            // whose cookie it is; "": the login itself
	Login  int64          `json:"login"`            // when it was proved
	Seen   int64          `json:"seen"`             // about when it was last used
	Values map[string]any `json:"values,omitempty"` // of the gorilla session

	// Of the browser when it logged in; only with a login.
	Address string `json:"ip,omitempty"`
	Agent   string `json:"ua,omitempty"`

	Proved int64   `json:"proved,omitempty"` // when the person gave the proof, where Login is only when a provider told of it; 0: then
	Origin *Origin `json:"origin,omitempty"` // by whose word the login was made; only with a login
}

// issuer is that of the provider by whose word the login was made; "": of none.
func (r *row) issuer() string {
	if r.Origin == nil {
		return r.above
	}
	return r.Origin.Issuer
}

func (r *record) since() time.Time { return time.UnixMilli(r.Login) }

// proved is when the person gave a proof of who it is.
func (r *record) proved() time.Time {
	if r.Proved != 0 {
		return time.UnixMilli(r.Proved)
	}
	return r.since()
}

func (r *record) level() Level { return max(r.Level, AAL1) }

// row is a session as it stands in the store.
type row struct {
	id, parent uuid.UUID
	expires    int64
	above      string // the issuer of its login's Origin
	record
}

// findRow joins the login, so that a session whose login has ended is not found.
const findRow = `SELECT s.parent, s.abs_exp, coalesce(json_extract(p.data, '$.origin.iss'), ''), s.data FROM session s JOIN session p ON p.id = s.parent WHERE s.id = ? AND s.abs_exp > ?`

// get finds a session by its id; nil where there is none. It does not wait for writers.
func (db *DB) get(id uuid.UUID) (*row, error) {
	db.reads.Add(1)
	found := &row{id: id}
	var parent, data sql.RawBytes
	// No context: with one that can end the driver starts a goroutine for every query, and this one reads a page or two.
	rows, err := db.find.Query(id[:], db.millis())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	if err := rows.Scan(&parent, &found.expires, &found.above, &data); err != nil {
		return nil, err
	}
	copy(found.parent[:], parent)
	if err := json.Unmarshal(data, &found.record); err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return found, nil
}

// errEnded says that what a new session depends on has ended while it was made.
var errEnded = errors.New("the login has ended")

// insert is how a session comes into being.
type insert struct {
	row      *row      // its expires is for a login; a session below one ends with it
	ticket   []byte    // hash of the code that it comes from; nil for a login
	replaces uuid.UUID // the session that the browser had before, and all below it, end; zero: none
	goesOn   bool      // it is the same login under a new id: what it replaces must not have ended
}

// create writes a new session, or answers errEnded. Its conditions are part of the statement: between a look and a write a logout or the
// code's second use could slip in.
func (db *DB) create(ctx context.Context, in insert) error {
	data, err := json.Marshal(in.row.record)
	if err != nil {
		return err
	}
	r := in.row
	return db.file.Write(ctx, func(tx *sql.Tx) error {
		if in.replaces != uuid.Nil {
			err := exactlyOne(tx.Exec("DELETE FROM session WHERE id = ?", in.replaces[:])) // what is below goes with it, see schema
			if err != nil && (in.goesOn || !errors.Is(err, errEnded)) {
				return err
			}
		}
		var res sql.Result
		if in.ticket == nil {
			res, err = tx.Exec("INSERT INTO session(id, parent, user, abs_exp, data) VALUES(?, ?, ?, ?, ?)",
				r.id[:], r.parent[:], r.User, r.expires, string(data))
		} else {
			res, err = tx.Exec(`INSERT INTO session(id, parent, user, abs_exp, data)
				SELECT ?, p.id, ?, p.abs_exp, ? FROM session p WHERE p.id = ? AND EXISTS(SELECT 1 FROM ticket WHERE h = ? AND child = ?)`,
				r.id[:], r.User, string(data), r.parent[:], in.ticket, r.id[:])
		}
		return exactlyOne(res, err)
	})
}

func exactlyOne(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return errEnded
}

// setValues replaces the values of a session that is still there.
func (db *DB) setValues(ctx context.Context, id uuid.UUID, values map[string]any) error {
	data, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return db.file.Write(ctx, func(tx *sql.Tx) error {
		return exactlyOne(tx.Exec("UPDATE session SET data = json_set(data, '$.values', json(?)) WHERE id = ?", string(data), id[:]))
	})
}

// end ends a login and every session below it, for good; also when the one who asked has closed the tab meanwhile.
func (db *DB) end(ctx context.Context, login uuid.UUID) error {
	return db.file.WriteDurable(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM session WHERE parent = ?", login[:])
		return err
	})
}
