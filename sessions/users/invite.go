package users

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"edge/sessions"
)

// MaxInvites bounds how many links are good at the same time.
const MaxInvites = 1000

// AdminGroup is what the account is in that the setup link makes.
const AdminGroup = "admin"

// setupLife is how long a setup link lasts. It lies in a log, and makes somebody who may do everything; the next start makes another one.
const setupLife = 24 * time.Hour

// Invite is a link that makes one account. Its code is not kept.
type Invite struct {
	ID      string    `json:"id"` // to name it by; no secret
	Groups  []string  `json:"groups,omitempty"`
	Email   string    `json:"email,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Setup   bool      `json:"setup,omitempty"` // it makes the first account
}

func inviteHash(code string) []byte {
	h := sha256.Sum256([]byte("edge invite " + code))
	return h[:]
}

// Invite makes a code that makes one account, of i's groups and e-mail address, until i.Expires.
func (s *Store) Invite(ctx context.Context, i Invite) (code string, made Invite, err error) {
	i.Groups, err = canonicalGroups(i.Groups)
	if err := errors.Join(err, checkEmail(i.Email)); err != nil {
		return "", i, err
	}
	i.Setup = false
	return s.addInvite(ctx, i, func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM invite WHERE exp <= ?", s.now().UnixMilli()); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM invite").Scan(&n); err != nil || n < MaxInvites {
			return err
		}
		return fmt.Errorf("%d invitations are open: revoke some, or wait until they end", n)
	})
}

// errNoSetup is that there are accounts.
var errNoSetup = errors.New("there are accounts")

// Setup makes the code that makes the first account, as long as there is none; else code is "". One made before is good no more.
func (s *Store) Setup(ctx context.Context) (code string, err error) {
	i := Invite{Groups: []string{AdminGroup}, Setup: true, Expires: s.now().Add(setupLife)}
	code, _, err = s.addInvite(ctx, i, func(tx *sql.Tx) error { return errors.Join(noAccount(tx), dropSetup(tx)) })
	if errors.Is(err, errNoSetup) {
		return "", nil
	}
	return code, err
}

func noAccount(tx *sql.Tx) error {
	var some bool
	err := tx.QueryRow("SELECT EXISTS(SELECT 1 FROM user)").Scan(&some)
	if err == nil && some {
		return errNoSetup
	}
	return err
}

// dropSetup ends the setup link.
func dropSetup(tx *sql.Tx) error {
	_, err := tx.Exec("DELETE FROM invite WHERE json_extract(data, '$.setup')")
	return err
}

func (s *Store) addInvite(ctx context.Context, i Invite, condition func(*sql.Tx) error) (code string, made Invite, err error) {
	var random [32 + 4]byte
	rand.Read(random[:])
	code, i.ID = base64.RawURLEncoding.EncodeToString(random[:32]), hex.EncodeToString(random[32:])
	i.Created, i.Expires = s.now().UTC(), i.Expires.UTC().Truncate(time.Millisecond)
	data, err := json.Marshal(i)
	if err != nil {
		return "", i, err
	}
	err = s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		if err := condition(tx); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO invite(h, exp, data) VALUES(?, ?, ?)", inviteHash(code), i.Expires.UnixMilli(), string(data))
		return err
	})
	if err != nil {
		return "", i, err
	}
	return code, i, nil
}

// Invites lists the links that are good, the next to end first.
func (s *Store) Invites(ctx context.Context) (list []Invite, err error) {
	rows, err := s.file.Query(ctx, "SELECT data FROM invite WHERE exp > ?", s.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var data []byte
		var i Invite
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &i); err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b Invite) int { return a.Expires.Compare(b.Expires) })
	return list, rows.Err()
}

// Revoke ends a link by its id: sessions.ErrNoInvite.
func (s *Store) Revoke(ctx context.Context, id string) error {
	return s.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec("DELETE FROM invite WHERE json_extract(data, '$.id') = ?", id)
		return changed(res, err, sessions.ErrNoInvite)
	})
}

// Invited implements sessions.Users.
func (s *Store) Invited(ctx context.Context, code string) (sessions.Invitation, error) {
	rows, err := s.file.Query(ctx, "SELECT data FROM invite WHERE h = ? AND exp > ?", inviteHash(code), s.now().UnixMilli())
	if err != nil {
		return sessions.Invitation{}, err
	}
	defer rows.Close()
	if !rows.Next() {
		return sessions.Invitation{}, errors.Join(sessions.ErrNoInvite, rows.Err())
	}
	var data []byte
	var i Invite
	if err := rows.Scan(&data); err != nil {
		return sessions.Invitation{}, err
	}
	err = json.Unmarshal(data, &i)
	return sessions.Invitation{ID: i.ID, Setup: i.Setup}, err
}

// Redeem implements sessions.Users. The code is used up by the very transaction that makes the account: if that fails, the code is still good.
func (s *Store) Redeem(ctx context.Context, code, name, password string) (sessions.User, error) {
	if _, err := s.Invited(ctx, code); err != nil { // before the work of hashing
		return sessions.User{}, err
	}
	return s.create(ctx, Account{Name: name}, password, func(tx *sql.Tx, rec *record) error {
		var data []byte
		err := tx.QueryRow("DELETE FROM invite WHERE h = ? AND exp > ? RETURNING data", inviteHash(code), s.now().UnixMilli()).Scan(&data)
		if errors.Is(err, sql.ErrNoRows) {
			return sessions.ErrNoInvite
		}
		var i Invite
		if err := errors.Join(err, json.Unmarshal(data, &i)); err != nil {
			return err
		}
		if i.Setup {
			if err := noAccount(tx); err != nil {
				return errors.Join(sessions.ErrNoInvite, err)
			}
		}
		rec.Groups, rec.Email = i.Groups, i.Email
		return nil
	})
}
