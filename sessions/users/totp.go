package users

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"edge/sessions"
)

var _ sessions.SecondFactors = (*Store)(nil)

// factors are the fields of a user's record about second proofs. The seed is sealed by who brings it: nothing here can read it.
type factors struct {
	TOTP     *totp    `json:"totp,omitempty"`
	Recovery []string `json:"recovery,omitempty"` // hashes of unused codes
	Handle   []byte   `json:"handle,omitempty"`
}

type totp struct {
	Seed string `json:"seed"`
	Step int64  `json:"step"` // the last that was used
}

// Factors implements sessions.SecondFactors.
func (s *Store) Factors(ctx context.Context, name string) (sessions.Factors, error) {
	rec, _, err := s.read(ctx, name)
	if err == nil && rec.Disabled {
		err = sessions.ErrNoUser
	}
	if err != nil {
		return sessions.Factors{}, err
	}
	f := sessions.Factors{Recovery: len(rec.Recovery), Handle: rec.Handle}
	if rec.TOTP != nil {
		f.TOTP = rec.TOTP.Seed
	}
	f.Passkeys, err = s.passkeys(ctx, name, rec.Handle)
	return f, err
}

// SetTOTP implements sessions.SecondFactors.
func (s *Store) SetTOTP(ctx context.Context, name, seed string, step int64) error {
	return s.set(ctx, name, "$.totp", totp{seed, step}, false)
}

// RemoveTOTP implements sessions.SecondFactors.
func (s *Store) RemoveTOTP(ctx context.Context, name string) error {
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec("UPDATE user SET data = json_remove(data, '$.totp') WHERE name = ?", name)
		if err := changed(res, err, sessions.ErrNoUser); err != nil {
			return err
		}
		return dropRecovery(tx, name)
	})
}

// UseTOTP implements sessions.SecondFactors, in one statement: of two requests with the same code, in whatever process, one has it.
func (s *Store) UseTOTP(ctx context.Context, name, seed string, step int64) (bool, error) {
	const use = `UPDATE user SET data = json_set(data, '$.totp.step', ?1)
		WHERE name = ?2 AND json_extract(data, '$.totp.seed') = ?3 AND json_extract(data, '$.totp.step') < ?1`
	return s.once(ctx, use, step, name, seed)
}

// once runs a statement that changes a row, and says whether it did.
func (s *Store) once(ctx context.Context, statement string, args ...any) (done bool, err error) {
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(statement, args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		done = n == 1
		return err
	})
	return done && err == nil, err
}

// readIn reads a user inside a transaction that holds the write lock.
func readIn(tx *sql.Tx, name string) (rec record, err error) {
	var data []byte
	err = tx.QueryRow("SELECT data FROM user WHERE name = ?", name).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return record{}, sessions.ErrNoUser
	}
	if err == nil {
		err = json.Unmarshal(data, &rec)
	}
	if err != nil {
		return record{}, fmt.Errorf("user %q: %w", name, err)
	}
	return rec, nil
}

// ResetFactors takes every second proof from an account, for who has lost theirs, and ends its sessions. ErrNoUser.
func (s *Store) ResetFactors(ctx context.Context, name string) error {
	name, err := Canonical(name)
	if err != nil {
		return err
	}
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec("UPDATE user SET data = json_remove(data, '$.totp', '$.recovery', '$.handle') WHERE name = ?", name)
		if err := changed(res, err, sessions.ErrNoUser); err != nil {
			return err
		}
		return errors.Join(dropPasskeys(tx, name), bump(tx, name))
	})
}
