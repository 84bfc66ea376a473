// Package users keeps the accounts of people who log in here: names, password hashes, groups, and the epoch by which all sessions of a
// user end at once. They lie in a database of their own, DIR/users.db, where every change is on the disk before it is acknowledged.
package users

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"edge/sessions"
	"edge/sessions/internal/sqlitefile"
)

// schema: see sqlitefile.Open. An epoch outlives its user, so that who is given the name again does not inherit sessions.
var schema = []string{`
CREATE TABLE user(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epoch(name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
`, passkeySchema}

// record is what data of a user's row holds. Changes are made by json_set, so that a field of a newer binary stays.
type record struct {
	Hash     string   `json:"hash"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
	Created  int64    `json:"created"` // Unix milliseconds
	factors
}

// Store is DIR/users.db. Several processes may have it open; what one writes, the others read at their next call. It is safe for
// concurrent use.
type Store struct {
	// Cost is what checking a password costs. It may be set before the first use; hashes of another cost are renewed when their user
	// logs in.
	Cost Cost

	file  *sqlitefile.File
	find  *sql.Stmt
	now   func() time.Time
	slots chan struct{} // passwords being hashed
}

var _ sessions.Users = (*Store)(nil)

// Account is what List tells of a user.
type Account struct {
	Name     string
	Groups   []string
	Disabled bool
	Created  time.Time
}

// Open opens the users of the folder dir (statefile.Dir), made if missing.
func Open(dir string, now func() time.Time) (*Store, error) {
	file, err := sqlitefile.Open(filepath.Join(dir, "users.db"), schema)
	if err != nil {
		return nil, err
	}
	find, err := file.Prepare("SELECT u.data, e.n FROM user u JOIN epoch e ON e.name = u.name WHERE u.name = ?")
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Store{Cost: DefaultCost, file: file, find: find, now: now, slots: make(chan struct{}, maxHashing)}, nil
}

// Close closes the file. No call may be running or follow.
func (s *Store) Close() error { return s.file.Close() }

// Get implements sessions.Users.
func (s *Store) Get(ctx context.Context, name string) (sessions.User, error) {
	rec, epoch, err := s.read(ctx, name)
	if err == nil && rec.Disabled {
		err = sessions.ErrNoUser
	}
	if err != nil {
		return sessions.User{}, err
	}
	return sessions.User{Name: name, Groups: rec.Groups, Epoch: epoch}, nil
}

func (s *Store) read(ctx context.Context, name string) (rec record, epoch int64, err error) {
	var data []byte
	err = s.find.QueryRowContext(ctx, name).Scan(&data, &epoch)
	if errors.Is(err, sql.ErrNoRows) {
		return record{}, 0, sessions.ErrNoUser
	}
	if err == nil {
		err = json.Unmarshal(data, &rec)
	}
	if err != nil {
		return record{}, 0, fmt.Errorf("user %q: %w", name, err)
	}
	return rec, epoch, nil
}

// Verify implements sessions.Users.
func (s *Store) Verify(ctx context.Context, name, password string) (sessions.User, error) {
	if len(password) > maxPassword {
		return sessions.User{}, sessions.ErrBadCredentials
	}
	canonical, err := Canonical(name)
	if err != nil {
		canonical = "" // nobody's name: goes the way of an unknown user
	}
	rec, epoch, err := s.read(ctx, canonical)
	if err != nil && !errors.Is(err, sessions.ErrNoUser) {
		return sessions.User{}, err
	}
	good, err := s.check(ctx, rec.Hash, password)
	if err != nil {
		return sessions.User{}, err
	}
	if !good || rec.Disabled {
		return sessions.User{}, sessions.ErrBadCredentials
	}
	s.renew(ctx, canonical, rec.Hash, password)
	return sessions.User{Name: canonical, Groups: rec.Groups, Epoch: epoch}, nil
}

// Create implements sessions.Users: an account without groups.
func (s *Store) Create(ctx context.Context, name, password string) (sessions.User, error) {
	if err := s.Add(ctx, name, password, nil); err != nil {
		return sessions.User{}, err
	}
	canonical, err := Canonical(name)
	if err != nil {
		return sessions.User{}, err
	}
	return s.Get(ctx, canonical)
}

// Add makes an account: ErrTaken, ErrBadName, ErrBadPassword, ErrBusy of package sessions.
func (s *Store) Add(ctx context.Context, name, password string, groups []string) error {
	name, err := Canonical(name)
	if err != nil {
		return err
	}
	if err := checkGroups(groups); err != nil {
		return err
	}
	hash, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	data, err := json.Marshal(record{Hash: hash, Groups: groups, Created: s.now().UnixMilli()})
	if err != nil {
		return err
	}
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec("INSERT INTO user(name, data) VALUES(?, ?) ON CONFLICT DO NOTHING", name, string(data))
		if err := changed(res, err, sessions.ErrTaken); err != nil {
			return err
		}
		return bump(tx, name)
	})
}

// SetPassword changes a password and ends every session of the user. ErrNoUser, ErrBadPassword, ErrBusy.
func (s *Store) SetPassword(ctx context.Context, name, password string) error {
	hash, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.set(ctx, name, "$.hash", hash, true)
}

// SetGroups says which groups the user is in from now on, in its open sessions as well. ErrNoUser.
func (s *Store) SetGroups(ctx context.Context, name string, groups []string) error {
	if err := checkGroups(groups); err != nil {
		return err
	}
	return s.set(ctx, name, "$.groups", groups, false)
}

// Disable ends every session of the user, and no new one begins until Enable. ErrNoUser.
func (s *Store) Disable(ctx context.Context, name string) error {
	return s.set(ctx, name, "$.disabled", true, true)
}

// Enable is the end of Disable. ErrNoUser.
func (s *Store) Enable(ctx context.Context, name string) error {
	return s.set(ctx, name, "$.disabled", false, false)
}

// Remove deletes the account and ends its sessions. ErrNoUser.
func (s *Store) Remove(ctx context.Context, name string) error {
	name, err := Canonical(name)
	if err != nil {
		return err
	}
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec("DELETE FROM user WHERE name = ?", name)
		if err := changed(res, err, sessions.ErrNoUser); err != nil {
			return err
		}
		return errors.Join(dropPasskeys(tx, name), bump(tx, name))
	})
}

// List returns all accounts by name.
func (s *Store) List(ctx context.Context) (accounts []Account, err error) {
	rows, err := s.file.Query(ctx, "SELECT name, data FROM user ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var data []byte
		var rec record
		if err := rows.Scan(&name, &data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &rec); err != nil {
			return nil, fmt.Errorf("user %q: %w", name, err)
		}
		accounts = append(accounts, Account{name, rec.Groups, rec.Disabled, time.UnixMilli(rec.Created)})
	}
	return slices.Clip(accounts), rows.Err()
}

// set changes one field of a user's data, and where endSessions says so its epoch.
func (s *Store) set(ctx context.Context, name, field string, value any, endSessions bool) error {
	name, err := Canonical(name)
	if err != nil {
		return err
	}
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec("UPDATE user SET data = json_set(data, ?, json(?)) WHERE name = ?", field, string(data), name)
		if err := changed(res, err, sessions.ErrNoUser); err != nil || !endSessions {
			return err
		}
		return bump(tx, name)
	})
}

// bump gives the name an epoch that it never had.
func bump(tx *sql.Tx, name string) error {
	_, err := tx.Exec("INSERT INTO epoch(name, n) VALUES(?, 1) ON CONFLICT(name) DO UPDATE SET n = n + 1", name)
	return err
}

// changed is otherwise where a statement ran well but found nothing to do.
func changed(res sql.Result, err, otherwise error) error {
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return otherwise
	}
	return err
}
