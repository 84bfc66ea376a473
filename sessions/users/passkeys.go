package users

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"edge/sessions"
)

// passkeySchema is the step of the schema with the passkeys. What is searched for is a column, the rest JSON in data.
const passkeySchema = `
CREATE TABLE passkey(id BLOB PRIMARY KEY, user TEXT NOT NULL, data TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX passkey_user ON passkey(user);
`

// passkey is what data of a passkey's row holds. A passkey counts only for the handle it was made for: an account that is given the name of
// one that was removed, by whatever binary, does not inherit it.
type passkey struct {
	Handle     []byte          `json:"handle"`
	Name       string          `json:"name"`
	Created    int64           `json:"created"`
	Used       int64           `json:"used"`
	Count      uint32          `json:"count"`
	Credential json.RawMessage `json:"credential"`
}

// passkeys are those of a user, the oldest first.
func (s *Store) passkeys(ctx context.Context, name string, handle []byte) (found []sessions.Passkey, err error) {
	if handle == nil {
		return nil, nil
	}
	rows, err := s.file.Query(ctx, "SELECT id, data FROM passkey WHERE user = ? ORDER BY json_extract(data, '$.created'), id", name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, data []byte
		if err := rows.Scan(&id, &data); err != nil {
			return nil, err
		}
		var p passkey
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, fmt.Errorf("passkey %x: %w", id, err)
		}
		if string(p.Handle) == string(handle) {
			found = append(found, sessions.Passkey{
				ID: id, Name: p.Name, Created: time.UnixMilli(p.Created), Used: time.UnixMilli(p.Used), Count: p.Count, Credential: p.Credential,
			})
		}
	}
	return found, rows.Err()
}

// PasskeyHandle implements sessions.SecondFactors.
func (s *Store) PasskeyHandle(ctx context.Context, name string) (handle []byte, err error) {
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		rec, err := readIn(tx, name)
		if err != nil || rec.Handle != nil {
			handle = rec.Handle
			return err
		}
		handle = make([]byte, 32)
		rand.Read(handle)
		return setField(tx, name, "$.handle", handle)
	})
	return handle, err
}

// AddPasskey implements sessions.SecondFactors.
func (s *Store) AddPasskey(ctx context.Context, name string, handle []byte, p sessions.Passkey) error {
	now := s.now().UnixMilli()
	data, err := json.Marshal(passkey{Handle: handle, Name: p.Name, Created: now, Used: now, Count: p.Count, Credential: p.Credential})
	if err != nil {
		return err
	}
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		rec, err := readIn(tx, name)
		if err != nil {
			return err
		}
		var has int
		if err := tx.QueryRow("SELECT count(*) FROM passkey WHERE user = ?", name).Scan(&has); err != nil {
			return err
		}
		switch {
		case string(rec.Handle) != string(handle):
			return sessions.ErrNoUser // the account of this name is another by now
		case has >= sessions.MaxPasskeys:
			return sessions.ErrTooMany
		}
		res, err := tx.Exec("INSERT INTO passkey(id, user, data) VALUES(?, ?, ?) ON CONFLICT DO NOTHING", p.ID, name, string(data))
		return changed(res, err, sessions.ErrTaken)
	})
}

// PasskeyOwner implements sessions.SecondFactors.
func (s *Store) PasskeyOwner(ctx context.Context, id []byte) (name string, err error) {
	rows, err := s.file.Query(ctx, "SELECT user FROM passkey WHERE id = ?", id)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	if !rows.Next() {
		return "", errors.Join(sessions.ErrNoUser, rows.Err())
	}
	return name, rows.Scan(&name)
}

// UsePasskey implements sessions.SecondFactors. A counter that does not rise is a copy of the passkey, or of its answer.
func (s *Store) UsePasskey(ctx context.Context, id []byte, count uint32) (bool, error) {
	const use = `UPDATE passkey SET data = json_set(data, '$.count', ?1, '$.used', ?2)
		WHERE id = ?3 AND (json_extract(data, '$.count') < ?1 OR ?1 = 0 AND json_extract(data, '$.count') = 0)`
	return s.once(ctx, use, count, s.now().UnixMilli(), id)
}

// RemovePasskey implements sessions.SecondFactors.
func (s *Store) RemovePasskey(ctx context.Context, name string, id []byte) error {
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM passkey WHERE user = ? AND id = ?", name, id); err != nil {
			return err
		}
		return dropRecovery(tx, name)
	})
}

func dropPasskeys(tx *sql.Tx, name string) error {
	_, err := tx.Exec("DELETE FROM passkey WHERE user = ?", name)
	return err
}
