package sessions

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
)

const (
	ticketLife    = 30 * time.Second // from the login host to the virtual host is one redirect
	tombstoneLife = 60 * time.Second // how long a used code is remembered
)

// ticket is what a code stands for. The code itself is not kept, only its SHA-256.
type ticket struct {
	Login   uuid.UUID `json:"login"`
	Request request   `json:"request"`
	Expires int64     `json:"expires"`
}

func hashCode(code string) []byte {
	h := sha256.Sum256([]byte(code))
	return h[:]
}

// issue makes a code that works once, soon.
func (db *DB) issue(ctx context.Context, login uuid.UUID, req request) (code string, err error) {
	var raw [32]byte
	rand.Read(raw[:])
	code = base64.RawURLEncoding.EncodeToString(raw[:])
	t := ticket{Login: login, Request: req, Expires: db.now().Add(ticketLife).UnixMilli()}
	data, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return code, db.file.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO ticket(h, exp, data) VALUES(?, ?, ?)", hashCode(code), t.Expires, string(data))
		return err
	})
}

// redeem uses a code up for the session child, which the caller may then create. Whoever comes first has it; the row stays as a
// tombstone. A second use ends the session that the first one made or is about to make: one of the two was a thief (RFC 6749 §4.1.2).
// The ticket is nil where the code is unknown; valid is false as well where it is used or too old.
func (db *DB) redeem(ctx context.Context, code string, child uuid.UUID) (t *ticket, valid bool, err error) {
	if known, err := db.issued(ctx, code); !known {
		return nil, false, err
	}
	now := db.now()
	err = db.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		const use = "UPDATE ticket SET child = ?, exp = ? WHERE h = ? AND child IS NULL RETURNING data"
		var data []byte
		err := tx.QueryRow(use, child[:], now.Add(tombstoneLife).UnixMilli(), hashCode(code)).Scan(&data)
		valid = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			data, err = reused(tx, code)
		}
		if err != nil || data == nil {
			return err
		}
		t = &ticket{}
		return json.Unmarshal(data, t)
	})
	if err != nil {
		return nil, false, err
	}
	return t, valid && t.Expires > now.UnixMilli(), nil
}

// issued says whether there is such a code, used or not. Strangers, who can send any, must not take turns with those who write.
func (db *DB) issued(ctx context.Context, code string) (known bool, err error) {
	rows, err := db.file.Query(ctx, "SELECT 1 FROM ticket WHERE h = ?", hashCode(code))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// reused buries the code and what came of it. Without its tombstone no session can be created, should the first user be that slow.
func reused(tx *sql.Tx, code string) (data []byte, err error) {
	var child []byte
	err = tx.QueryRow("DELETE FROM ticket WHERE h = ? RETURNING child, data", hashCode(code)).Scan(&child, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = tx.Exec("DELETE FROM session WHERE id = ?", child)
	return data, err
}
