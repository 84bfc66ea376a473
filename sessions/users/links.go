package users

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"edge/sessions"
	"edge/username"
)

// linkSchema is the step of the schema with the accounts of people whom a provider knows.
const linkSchema = `
CREATE TABLE link(issuer TEXT NOT NULL, subject TEXT NOT NULL, user TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY(issuer, subject)) WITHOUT ROWID;
CREATE INDEX link_user ON link(user);
`

// link is what data of a link's row holds. A link counts only for the account that it was made for: one that is given the name of one that was
// removed, by whatever binary, does not inherit it.
type link struct {
	Account int64 `json:"account"` // when that was created
	Made    int64 `json:"made"`

	Refused string `json:"refused,omitempty"` // the account that it was of, where it has been ended: the row's user is then "", nobody
	Forgone bool   `json:"forgone,omitempty"` // by its owner, who may link again; not by an administrator
}

// Link is an account's at a provider.
type Link struct {
	Issuer, Subject string
	Made            time.Time
}

// Linked implements sessions.Links, in one transaction: of two first logins at the same time one makes the account, the other finds it.
func (s *Store) Linked(ctx context.Context, who sessions.Stranger, terms sessions.Terms) (sessions.User, error) {
	var name string
	err := s.file.WriteDurable(ctx, func(tx *sql.Tx) (err error) {
		name, err = linkedTo(tx, who.Issuer, who.Subject)
		if errors.Is(err, sessions.ErrNotLinked) && terms.ByEmail && who.Email != "" {
			name, err = s.linkByEmail(tx, who)
		}
		if errors.Is(err, sessions.ErrNotLinked) && terms.Create {
			name, err = s.createLinked(tx, who, terms)
		}
		if err != nil {
			return err
		}
		return noteGroups(tx, name, who)
	})
	if err != nil {
		return sessions.User{}, err
	}
	return s.Get(ctx, name)
}

// linkedTo finds the account of a provider's subject: ErrNotLinked, ErrNotAllowed for one whose link was ended.
func linkedTo(tx *sql.Tx, issuer, subject string) (name string, err error) {
	name, l, err := readLink(tx, issuer, subject)
	switch {
	case err != nil:
		return "", err
	case l.Forgone:
		return "", fmt.Errorf("%w: %q has unlinked %q, only the account page there or \"edge user link\" links it again", sessions.ErrNotAllowed, l.Refused, subject)
	case l.Refused != "":
		return "", fmt.Errorf("%w: %q was taken from %q, only \"edge user link\" gives it back", sessions.ErrNotAllowed, subject, l.Refused)
	}
	rec, err := readIn(tx, name)
	if errors.Is(err, sessions.ErrNoUser) || err == nil && rec.Created != l.Account {
		return "", sessions.ErrNotLinked
	}
	return name, err
}

// readLink is the row of a provider's subject, whether or not it counts: ErrNotLinked where there is none.
func readLink(tx *sql.Tx, issuer, subject string) (name string, l link, err error) {
	var data []byte
	err = tx.QueryRow("SELECT user, data FROM link WHERE issuer = ? AND subject = ?", issuer, subject).Scan(&name, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return "", l, sessions.ErrNotLinked
	}
	if err != nil {
		return "", l, err
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return "", l, fmt.Errorf("link of %q: %w", name, err)
	}
	return name, l, nil
}

// forgone says whether the owner of this very account has unlinked the subject from it.
func forgone(tx *sql.Tx, name string, rec record, o sessions.Origin) bool {
	_, l, err := readLink(tx, o.Issuer, o.Subject)
	return err == nil && l.Forgone && l.Refused == name && l.Account == rec.Created
}

// linkByEmail links the one account of the stranger's address. An account that is linked to somebody of this provider already is not: the
// address has been given to another person there.
func (s *Store) linkByEmail(tx *sql.Tx, who sessions.Stranger) (name string, err error) {
	rows, err := tx.Query("SELECT name FROM user WHERE lower(json_extract(data, '$.email')) = ? LIMIT 2", strings.ToLower(who.Email))
	if err != nil {
		return "", err
	}
	n := 0
	for ; rows.Next(); n++ {
		err = errors.Join(err, rows.Scan(&name))
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return "", err
	}
	if n != 1 {
		return "", sessions.ErrNotLinked
	}
	rec, err := readIn(tx, name)
	if err != nil {
		return "", err
	}
	var other bool
	const same = "SELECT EXISTS(SELECT 1 FROM link WHERE user = ? AND issuer = ? AND json_extract(data, '$.account') = ?)"
	if err := tx.QueryRow(same, name, who.Issuer, rec.Created).Scan(&other); err != nil || other {
		return "", errors.Join(err, sessions.ErrNotLinked)
	}
	return name, s.putLink(tx, name, rec, who.Origin)
}

// createLinked makes an account without a password. ErrTaken: a name that somebody has is not given to a second one, whoever says so, nor one that
// is listed. A name that looks like an e-mail address is taken for one by whoever is told of it, so it must be the verified one.
func (s *Store) createLinked(tx *sql.Tx, who sessions.Stranger, terms sessions.Terms) (name string, err error) {
	name, err = Canonical(who.Name)
	switch {
	case err != nil:
		return "", err
	case strings.Contains(name, "@") && name != who.Email:
		return "", fmt.Errorf("%w: the name %q is an e-mail address, but not the verified one", sessions.ErrNotAllowed, name)
	case terms.Listed != nil && terms.Listed(name):
		return "", fmt.Errorf("%w: access lists %q, only \"edge user add\" makes it", sessions.ErrTaken, name)
	}
	rec, err := s.draft(Account{Name: name, Email: who.Email})
	if err != nil {
		return "", err
	}
	if err := insert(tx, name, rec); err != nil {
		return "", err
	}
	return name, s.putLink(tx, name, rec, who.Origin)
}

// putLink replaces a link that counts no more.
func (s *Store) putLink(tx *sql.Tx, name string, rec record, o sessions.Origin) error {
	data, err := json.Marshal(link{Account: rec.Created, Made: s.now().UnixMilli()})
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT OR REPLACE INTO link(issuer, subject, user, data) VALUES(?, ?, ?, ?)", o.Issuer, o.Subject, name, string(data))
	return err
}

// noteGroups keeps the groups that came with a login until the next one. What is no name of a group here is none. ErrNotAllowed: the account
// is disabled.
func noteGroups(tx *sql.Tx, name string, who sessions.Stranger) error {
	rec, err := readIn(tx, name)
	if err != nil {
		return err
	}
	if rec.Disabled {
		return fmt.Errorf("%w: %q is disabled", sessions.ErrNotAllowed, name)
	}
	var groups []string
	for _, g := range who.Groups {
		if g, err := username.Canonical(g); err == nil {
			groups = with(groups, g)
		}
	}
	if slices.Equal(groups, rec.Elsewhere[who.Issuer]) {
		return nil
	}
	if rec.Elsewhere == nil {
		rec.Elsewhere = map[string][]string{}
	}
	rec.Elsewhere[who.Issuer] = groups
	return setField(tx, name, "$.elsewhere", rec.Elsewhere)
}

// Link implements sessions.Links.
func (s *Store) Link(ctx context.Context, name string, o sessions.Origin) error {
	return s.link(ctx, name, o, false)
}

// Readmit is Link by an administrator: it also links who was refused by Forgo, Unlink or Remove.
func (s *Store) Readmit(ctx context.Context, name string, o sessions.Origin) error {
	return s.link(ctx, name, o, true)
}

func (s *Store) link(ctx context.Context, name string, o sessions.Origin, refused bool) error {
	return s.change(ctx, name, func(tx *sql.Tx, name string) error {
		rec, err := readIn(tx, name)
		if err != nil {
			return err
		}
		owner, err := linkedTo(tx, o.Issuer, o.Subject)
		switch {
		case errors.Is(err, sessions.ErrNotLinked), errors.Is(err, sessions.ErrNotAllowed) && (refused || forgone(tx, name, rec, o)):
			return s.putLink(tx, name, rec, o)
		case err != nil:
			return err
		case owner != name:
			return sessions.ErrLinked
		}
		return nil
	})
}

// Unlink takes an account's links to a provider and the groups from there, and ends its sessions; issuer "" is every provider. Whom it was linked to
// is refused until Readmit: else the next login would link them again, by e-mail, or make another account. It says how many links there were.
// ErrNoUser.
func (s *Store) Unlink(ctx context.Context, name, issuer string) (n int64, err error) {
	err = s.change(ctx, name, func(tx *sql.Tx, name string) error {
		rec, err := readIn(tx, name)
		if err != nil {
			return err
		}
		if n, err = refuseLinks(tx, name, issuer); err != nil {
			return err
		}
		maps.DeleteFunc(rec.Elsewhere, func(of string, _ []string) bool { return of == issuer || issuer == "" })
		return errors.Join(setField(tx, name, "$.elsewhere", rec.Elsewhere), bump(tx, name))
	})
	return n, err
}

// Forgo implements sessions.Links. That a way in is left is looked at in the same transaction: of two providers that are unlinked at the same time one
// stays.
func (s *Store) Forgo(ctx context.Context, name, issuer string, ways sessions.Ways) error {
	return s.change(ctx, name, func(tx *sql.Tx, name string) error {
		rec, err := readIn(tx, name)
		if err != nil {
			return err
		}
		at, err := issuersOf(tx, name, rec)
		if err != nil {
			return err
		}
		if !slices.Contains(at, issuer) {
			return sessions.ErrNotLinked
		}
		other := func(of string) bool { return of != issuer && slices.Contains(ways.Issuers, of) }
		if !(ways.Password && rec.Hash != "") && !slices.ContainsFunc(at, other) {
			return sessions.ErrLastWay
		}
		const end = `UPDATE link SET user = '', data = json_set(data, '$.refused', user, '$.forgone', json('true')) WHERE user = ? AND issuer = ?`
		if _, err := tx.Exec(end, name, issuer); err != nil {
			return err
		}
		delete(rec.Elsewhere, issuer)
		return setField(tx, name, "$.elsewhere", rec.Elsewhere)
	})
}

// issuersOf are those at which an account has links that count.
func issuersOf(tx *sql.Tx, name string, rec record) (list []string, err error) {
	rows, err := tx.Query("SELECT DISTINCT issuer FROM link WHERE user = ? AND json_extract(data, '$.account') = ?", name, rec.Created)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var issuer string
		if err := rows.Scan(&issuer); err != nil {
			return nil, err
		}
		list = append(list, issuer)
	}
	return list, rows.Err()
}

// Elsewhere gives the groups of an account that are not its own, by the issuer that says them. ErrNoUser.
func (s *Store) Elsewhere(ctx context.Context, name string) (map[string][]string, error) {
	name, err := Canonical(name)
	if err != nil {
		return nil, err
	}
	rec, _, err := s.read(ctx, name)
	return rec.Elsewhere, err
}

// Links gives what an account is linked to.
func (s *Store) Links(ctx context.Context, name string) (list []Link, err error) {
	rec, _, err := s.read(ctx, name)
	if err != nil {
		return nil, err
	}
	rows, err := s.file.Query(ctx, "SELECT issuer, subject, data FROM link WHERE user = ? ORDER BY issuer, subject", name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l Link
		var data []byte
		var d link
		if err := rows.Scan(&l.Issuer, &l.Subject, &data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &d); err != nil {
			return nil, fmt.Errorf("link of %q: %w", name, err)
		}
		if d.Account == rec.Created {
			l.Made = time.UnixMilli(d.Made)
			list = append(list, l)
		}
	}
	return list, rows.Err()
}

// LinkedAt implements sessions.Links.
func (s *Store) LinkedAt(ctx context.Context, name string) (issuers []string, err error) {
	list, err := s.Links(ctx, name)
	for _, l := range list {
		issuers = with(issuers, l.Issuer)
	}
	return issuers, err
}

// refuseLinks ends an account's links at a provider, or at all (""), so that those whom they were of come in no more by themselves, nor whom its owner
// has unlinked before. An older binary takes such a row for the link of an account that has gone.
func refuseLinks(tx *sql.Tx, name, issuer string) (n int64, err error) {
	const again = `UPDATE link SET data = json_remove(data, '$.forgone') WHERE user = '' AND json_extract(data, '$.refused') = ?1 AND (issuer = ?2 OR ?2 = '')`
	if _, err := tx.Exec(again, name, issuer); err != nil {
		return 0, err
	}
	const end = `UPDATE link SET user = '', data = json_set(data, '$.refused', user) WHERE user = ?1 AND (issuer = ?2 OR ?2 = '')`
	res, err := tx.Exec(end, name, issuer)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
