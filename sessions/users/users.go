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

	"golang.org/x/crypto/argon2"

	"edge/sessions"
	"edge/sessions/internal/sqlitefile"
)

// schema: see sqlitefile.Open. An epoch outlives its user, so that who is given the name again does not inherit sessions.
var schema = []string{`
CREATE TABLE user(name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE epoch(name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
`, `
CREATE TABLE invite(h BLOB PRIMARY KEY, exp INTEGER NOT NULL, data TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX user_bcrypt ON user(json_extract(data, '$.bcrypt')) WHERE json_extract(data, '$.bcrypt') IS NOT NULL;
`, sqlitefile.LogSchema(userLog) + `
CREATE TRIGGER user_changed AFTER UPDATE ON user BEGIN INSERT INTO userlog(what) VALUES(new.name); END;
CREATE TRIGGER user_removed AFTER DELETE ON user BEGIN INSERT INTO userlog(what) VALUES(old.name); END;
CREATE TRIGGER user_added AFTER INSERT ON user BEGIN INSERT INTO userlog(what) VALUES(new.name); END;
CREATE TRIGGER epoch_changed AFTER UPDATE ON epoch BEGIN INSERT INTO userlog(what) VALUES(new.name); END;
`, passkeySchema, linkSchema}

// userLog has the name of every account of which anything changed. Triggers write it, so that no change can forget to.
const userLog = "userlog"

// record is what data of a user's row holds. Changes are made by json_set, so that a field of a newer binary stays.
type record struct {
	Hash     string   `json:"hash"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
	Created  int64    `json:"created"` // Unix milliseconds
	Email    string   `json:"email,omitempty"`
	Bcrypt   *int     `json:"bcrypt,omitempty"` // the cost of an imported hash, until the first login renews it
	factors

	Elsewhere map[string][]string `json:"elsewhere,omitempty"` // groups by the provider that says them
}

// Store is DIR/users.db. Several processes may have it open; what one writes, the others read at their next call. It is safe for
// concurrent use.
type Store struct {
	// Cost is what checking a password costs. It may be set before the first use; hashes of another cost are renewed when their user
	// logs in.
	Cost Cost

	file  *sqlitefile.File
	now   func() time.Time
	turns turns // of passwords to be hashed

	// argon2id is argon2.IDKey; tests watch it.
	argon2id func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte

	find *sql.Stmt // an account, or what is given in place of one
	slow *sql.Stmt // the highest cost of an imported hash
}

var (
	_ sessions.Users    = (*Store)(nil)
	_ sessions.Followed = (*Store)(nil)
)

// Account is what List tells of a user.
type Account struct {
	Name     string    `json:"name"`
	Groups   []string  `json:"groups"`
	Email    string    `json:"email,omitempty"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`

	Elsewhere map[string][]string `json:"elsewhere,omitempty"` // groups beside those, by the issuer that says them; only List tells it
}

// Open opens the users of the folder dir (statefile.Dir), made if missing.
func Open(dir string, now func() time.Time) (*Store, error) {
	file, err := sqlitefile.Open(filepath.Join(dir, "users.db"), schema)
	if err != nil {
		return nil, err
	}
	find, err := file.Prepare(`SELECT coalesce((SELECT data FROM user WHERE name = ?1), ?2), coalesce((SELECT n FROM epoch WHERE name = ?1), 0),
		EXISTS(SELECT 1 FROM user WHERE name = ?1)`)
	slow, err2 := file.Prepare("SELECT max(json_extract(data, '$.bcrypt')) FROM user WHERE json_extract(data, '$.bcrypt') IS NOT NULL")
	if err := errors.Join(err, err2); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Store{Cost: DefaultCost, file: file, find: find, slow: slow, now: now, argon2id: argon2.IDKey}, nil
}

// Close closes the file. No call may be running or follow.
func (s *Store) Close() error { return s.file.Close() }

// Follow implements sessions.Followed.
func (s *Store) Follow(changed func()) (func() (names []string, lost bool, err error), error) {
	log, err := s.file.Follow(userLog)
	if err != nil {
		return nil, err
	}
	s.file.OnCommit(changed)
	return log.Next, nil
}

// Get implements sessions.Users.
func (s *Store) Get(ctx context.Context, name string) (sessions.User, error) {
	rec, epoch, err := s.read(ctx, name)
	if err == nil && rec.Disabled {
		err = sessions.ErrNoUser
	}
	if err != nil {
		return sessions.User{}, err
	}
	return rec.user(name, epoch), nil
}

func (r record) user(name string, epoch int64) sessions.User {
	return sessions.User{Name: name, Groups: r.Groups, Elsewhere: r.Elsewhere, Email: r.Email, Epoch: epoch, NoPassword: r.Hash == ""}
}

func (s *Store) read(ctx context.Context, name string) (rec record, epoch int64, err error) {
	rec, epoch, exists, err := s.readOrDecoy(ctx, name)
	if err != nil {
		return record{}, 0, fmt.Errorf("user %q: %w", name, err)
	}
	if !exists {
		return record{}, 0, sessions.ErrNoUser
	}
	return rec, epoch, nil
}

// readOrDecoy reads an account. For a name that nobody has it does as much, so that the time that it takes tells nobody which there are: it looks into as
// many tables, and reads a record that is like one.
func (s *Store) readOrDecoy(ctx context.Context, name string) (rec record, epoch int64, exists bool, err error) {
	data, err := json.Marshal(record{Hash: s.decoy(), Groups: []string{"users"}})
	if err != nil {
		return rec, 0, false, err
	}
	if err = s.find.QueryRowContext(ctx, name, string(data)).Scan(&data, &epoch, &exists); err != nil {
		return rec, 0, false, err
	}
	err = json.Unmarshal(data, &rec)
	return rec, epoch, exists, err
}

// decoy is a hash of our cost that no password has, but with a chance of 1 in 2^256.
func (s *Store) decoy() string {
	return phc{cost: s.Cost, salt: make([]byte, saltLen), key: make([]byte, keyLen)}.String()
}

// Verify implements sessions.Users.
func (s *Store) Verify(ctx context.Context, name, password string) (sessions.User, error) {
	rec, canonical, epoch, err := s.verify(ctx, name, password)
	if err != nil {
		return sessions.User{}, err
	}
	s.renew(ctx, canonical, rec, password)
	return rec.user(canonical, epoch), nil
}

// verify is Verify, and changes nothing.
func (s *Store) verify(ctx context.Context, name, password string) (rec record, canonical string, epoch int64, err error) {
	if len(password) > maxPassword {
		return rec, "", 0, sessions.ErrBadCredentials
	}
	canonical, err = Canonical(name)
	if err != nil {
		canonical = "" // nobody's name: goes the way of an unknown user
	}
	rec, epoch, exists, err := s.readOrDecoy(ctx, canonical)
	if err != nil {
		return rec, "", 0, err
	}
	good, err := s.check(ctx, rec, password)
	if err == nil && (!good || !exists || rec.Disabled) {
		err = sessions.ErrBadCredentials
	}
	return rec, canonical, epoch, err
}

// Create implements sessions.Users: an account without groups.
func (s *Store) Create(ctx context.Context, name, password string) (sessions.User, error) {
	return s.create(ctx, Account{Name: name}, password, nil)
}

// Add makes an account of a's name, groups and e-mail address: ErrTaken, ErrBadName, ErrBadPassword, ErrBusy of package sessions.
func (s *Store) Add(ctx context.Context, a Account, password string) error {
	_, err := s.create(ctx, a, password, nil)
	return err
}

// create makes an account, if condition lets it: that is part of the transaction, and may add to the account. nil: always.
func (s *Store) create(ctx context.Context, a Account, password string, condition func(*sql.Tx, *record) error) (u sessions.User, err error) {
	name, err := Canonical(a.Name)
	if err != nil {
		return u, err
	}
	rec, err := s.draft(a)
	if err != nil {
		return u, err
	}
	if rec.Hash, err = s.hash(ctx, password); err != nil {
		return u, err
	}
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		if condition != nil {
			if err := condition(tx, &rec); err != nil {
				return err
			}
		}
		return insert(tx, name, rec)
	})
	if err != nil {
		return u, err
	}
	return s.Get(ctx, name)
}

// draft is an account without its password.
func (s *Store) draft(a Account) (rec record, err error) {
	groups, err := canonicalGroups(a.Groups)
	return record{Groups: groups, Email: a.Email, Created: s.now().UnixMilli()}, errors.Join(err, checkEmail(a.Email))
}

// insert writes a new account. The first one is the end of the link by which it might have been made.
func insert(tx *sql.Tx, name string, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	res, err := tx.Exec("INSERT INTO user(name, data) VALUES(?, ?) ON CONFLICT DO NOTHING", name, string(data))
	if err := changed(res, err, sessions.ErrTaken); err != nil {
		return err
	}
	if err := dropSetup(tx); err != nil {
		return err
	}
	return bump(tx, name)
}

// SetPassword changes a password and ends every session of the user. ErrNoUser, ErrBadPassword, ErrBusy.
func (s *Store) SetPassword(ctx context.Context, name, password string) error {
	hash, err := s.hash(ctx, password)
	if err != nil {
		return err
	}
	return s.change(ctx, name, func(tx *sql.Tx, name string) error {
		return errors.Join(setHash(tx, name, hash, nil, sessions.ErrNoUser), bump(tx, name))
	})
}

// ChangePassword implements sessions.Users. Of two who change it at once, the second's current password is not the current one.
func (s *Store) ChangePassword(ctx context.Context, name, current, password string) (sessions.User, error) {
	rec, name, _, err := s.verify(ctx, name, current)
	if err != nil {
		return sessions.User{}, err
	}
	hash, err := s.hash(ctx, password)
	if err != nil {
		return sessions.User{}, err
	}
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		return errors.Join(setHash(tx, name, hash, &rec.Hash, sessions.ErrBadCredentials), bump(tx, name))
	})
	if err != nil {
		return sessions.User{}, err
	}
	return s.Get(ctx, name)
}

// setHash replaces a hash, if it is still was; nil: whatever it is. Else otherwise.
func setHash(tx *sql.Tx, name, hash string, was *string, otherwise error) error {
	const set = `UPDATE user SET data = json_remove(json_set(data, '$.hash', ?1), '$.bcrypt')
		WHERE name = ?2 AND (?3 IS NULL OR json_extract(data, '$.hash') = ?3)`
	res, err := tx.Exec(set, hash, name, was)
	return changed(res, err, otherwise)
}

// SetGroups says which groups the user is in from now on, in its open sessions as well. ErrNoUser.
func (s *Store) SetGroups(ctx context.Context, name string, groups []string) error {
	groups, err := canonicalGroups(groups)
	if err != nil {
		return err
	}
	return s.set(ctx, name, "$.groups", groups, false)
}

// EditGroups adds the user to some groups and takes it out of others. What another adds or takes at the same time is not lost. ErrNoUser.
func (s *Store) EditGroups(ctx context.Context, name string, add, remove []string) error {
	add, err1 := canonicalGroups(add)
	remove, err2 := canonicalGroups(remove)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	return s.change(ctx, name, func(tx *sql.Tx, name string) error {
		rec, err := readIn(tx, name)
		if err != nil {
			return err
		}
		groups := slices.DeleteFunc(rec.Groups, func(g string) bool { return slices.Contains(remove, g) })
		return setField(tx, name, "$.groups", with(groups, add...))
	})
}

// with is list and all of more that it lacks.
func with(list []string, more ...string) []string {
	for _, m := range more {
		if !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}

// SetEmail says what the user's e-mail address is; "": none. ErrNoUser.
func (s *Store) SetEmail(ctx context.Context, name, email string) error {
	if err := checkEmail(email); err != nil {
		return err
	}
	return s.set(ctx, name, "$.email", email, false)
}

// Disable ends every session of the user, and no new one begins until Enable. ErrNoUser.
func (s *Store) Disable(ctx context.Context, name string) error {
	return s.set(ctx, name, "$.disabled", true, true)
}

// Enable is the end of Disable. ErrNoUser.
func (s *Store) Enable(ctx context.Context, name string) error {
	return s.set(ctx, name, "$.disabled", false, false)
}

// Remove deletes the account and ends its sessions. Whom it was linked to is refused, as by Unlink. ErrNoUser.
func (s *Store) Remove(ctx context.Context, name string) error {
	return s.change(ctx, name, func(tx *sql.Tx, name string) error {
		res, err := tx.Exec("DELETE FROM user WHERE name = ?", name)
		if err := changed(res, err, sessions.ErrNoUser); err != nil {
			return err
		}
		_, err = refuseLinks(tx, name, "")
		return errors.Join(err, dropPasskeys(tx, name), bump(tx, name))
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
		accounts = append(accounts, Account{name, slices.Clip(append([]string{}, rec.Groups...)), rec.Email, rec.Disabled, time.UnixMilli(rec.Created).UTC(), rec.Elsewhere})
	}
	return slices.Clip(accounts), rows.Err()
}

// set changes one field of a user's data, and where endSessions says so its epoch.
func (s *Store) set(ctx context.Context, name, field string, value any, endSessions bool) error {
	return s.change(ctx, name, func(tx *sql.Tx, name string) error {
		if err := setField(tx, name, field, value); err != nil || !endSessions {
			return err
		}
		return bump(tx, name)
	})
}

func setField(tx *sql.Tx, name, field string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	res, err := tx.Exec("UPDATE user SET data = json_set(data, ?, json(?)) WHERE name = ?", field, string(data), name)
	return changed(res, err, sessions.ErrNoUser)
}

// change writes for a name as somebody typed it.
func (s *Store) change(ctx context.Context, name string, do func(tx *sql.Tx, name string) error) error {
	name, err := Canonical(name)
	if err != nil {
		return err
	}
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error { return do(tx, name) })
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
