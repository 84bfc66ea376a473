package users

import (
	"context"
	"database/sql"
	"slices"
)

// SetRecovery implements sessions.SecondFactors.
func (s *Store) SetRecovery(ctx context.Context, name string, hashes []string) error {
	return s.set(ctx, name, "$.recovery", hashes, false)
}

// UseRecovery implements sessions.SecondFactors.
func (s *Store) UseRecovery(ctx context.Context, name, hash string) (used bool, err error) {
	if rec, _, err := s.read(ctx, name); err != nil || !slices.Contains(rec.Recovery, hash) {
		return false, err // a wrong one costs no write
	}
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		rec, err := readIn(tx, name)
		if err != nil {
			return err
		}
		i := slices.Index(rec.Recovery, hash)
		if used = i >= 0; !used {
			return nil
		}
		return setField(tx, name, "$.recovery", slices.Delete(rec.Recovery, i, i+1))
	})
	return used && err == nil, err
}

// dropRecovery takes the recovery codes from a user who has no second factor any more.
func dropRecovery(tx *sql.Tx, name string) error {
	_, err := tx.Exec(`UPDATE user SET data = json_remove(data, '$.recovery')
		WHERE name = ?1 AND json_extract(data, '$.totp') IS NULL AND NOT EXISTS(SELECT 1 FROM passkey WHERE user = ?1)`, name)
	return err
}
