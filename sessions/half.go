package sessions

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	halfCookie = cookiePrefix + "-half" // on the login host
	halfLife   = 10 * time.Minute
)

// half is a login of which the password was right and the second factor is missing. It is no session and has no row: only the page that asks
// for the second factor opens it, by a key of its own, so that it is worth nothing anywhere else.
type half struct {
	User    string    `json:"user"`
	Epoch   int64     `json:"epoch"`
	Request *request  `json:"request"` // nil: nobody asked
	Issued  int64     `json:"issued"`
	Origin  *Origin   `json:"origin,omitempty"`
	Login   uuid.UUID `json:"login,omitzero"` // the login that is to be worth more, and ends with; zero: none yet
	Since   time.Time `json:"since,omitzero"` // as of User
}

// factorKeys are the sealers of what concerns second factors.
type factorKeys struct {
	halves     sealer
	seeds      sealer // of TOTP seeds, in the users' database and in the form that confirms one
	ceremonies sealer // of what a passkey is asked
}

func newFactorKeys(root []byte) (k factorKeys, err error) {
	var errs [3]error
	k.halves, errs[0] = newSealer(root, "half")
	k.seeds, errs[1] = newSealer(root, "totp seed")
	k.ceremonies, errs[2] = newSealer(root, "passkey")
	return k, errors.Join(errs[:]...)
}

// halfway asks for the second factor of a user who has proved the first.
func (p *loginPages) halfway(w http.ResponseWriter, r *http.Request, user User, req *request) {
	sealed, err := p.db.factors.halves.seal(halfCookie, half{user.Name, user.Epoch, req, p.db.millis(), user.origin, user.login, user.since})
	if err != nil {
		p.down(w, r, err)
		return
	}
	http.SetCookie(w, newCookie(halfCookie, sealed, int(halfLife/time.Second)))
	redirect(w, "/second-factor")
}

// halfOf is whose login of this browser is half done, and what for; not ok: nobody's, or for too long, or the user's password changed since, or it was
// ended as whole ones are, or began in a way that is no more.
func (p *loginPages) halfOf(r *http.Request) (user User, req *request, ok bool, err error) {
	value, _ := onlyCookie(cookieField(r), halfCookie)
	var h half
	if len(value) == 0 || !p.db.factors.halves.open(halfCookie, string(value), &h) {
		return User{}, nil, false, nil
	}
	if p.db.now().Sub(time.UnixMilli(h.Issued)) > halfLife || p.conf.Elsewhere && h.byPassword() {
		return User{}, h.Request, false, nil
	}
	user, err = p.users.Get(r.Context(), h.User)
	if errors.Is(err, ErrNoUser) {
		return User{}, h.Request, false, nil
	}
	if err != nil || user.Epoch != h.Epoch {
		return user, h.Request, false, err
	}
	user.origin, user.login, user.since = h.Origin, h.Login, h.Since
	ended, err := p.db.halfEnded(r.Context(), h)
	return user, h.Request, err == nil && !ended, err
}

// byPassword says whether a password alone has begun this login, and not a provider's word or a login that there is: the configuration may have become one
// in which nobody logs in so any more.
func (h half) byPassword() bool { return h.Origin == nil && h.Login == uuid.Nil }

// halvesOf names halves that end together: all there are, a user's, or those by the word of a provider. They have no rows, so what ends them is kept,
// beside the codes and as long as they could live: one byte longer than a code's hash, so that it never is one's.
func halvesOf(what ...string) []byte {
	h := sha256.Sum256([]byte("halves\x00" + strings.Join(what, "\x00")))
	return append(h[:], 'h')
}

func halvesOfUser(name string) []byte { return halvesOf("user", name) }

// halvesFrom are those of the subject, also where a farewell is said to one session of it; else of the session.
func halvesFrom(o Origin) []byte {
	if o.Subject != "" {
		return halvesOf("subject", o.Issuer, o.Subject)
	}
	return halvesOf("session", o.Issuer, o.Session)
}

// endHalves ends those that there are, whoever asks and leaves meanwhile.
func (db *DB) endHalves(ctx context.Context, which []byte) error {
	return db.file.WriteDurable(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		const end = "INSERT OR REPLACE INTO ticket(h, exp, data) VALUES(?, ?, json_object('ended', ?))"
		_, err := tx.Exec(end, which, db.now().Add(halfLife).UnixMilli(), db.millis())
		return err
	})
}

// halfEnded says whether a half has been ended since it was made: with the login that it goes on from, or as one of many.
func (db *DB) halfEnded(ctx context.Context, h half) (bool, error) {
	if h.Login != uuid.Nil {
		row, err := db.get(h.Login)
		return row == nil, err
	}
	args := []any{h.Issued, halvesOf(), halvesOfUser(h.User), nil, nil}
	if h.Origin != nil {
		args[3] = halvesFrom(Origin{Issuer: h.Origin.Issuer, Subject: h.Origin.Subject})
		args[4] = halvesFrom(Origin{Issuer: h.Origin.Issuer, Session: h.Origin.Session})
	}
	rows, err := db.file.Query(ctx, "SELECT 1 FROM ticket WHERE h IN (?2, ?3, ?4, ?5) AND json_extract(data, '$.ended') > ?1", args...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// whole deletes the cookie of what has become a login.
func whole(w http.ResponseWriter, r *http.Request) {
	if _, n := onlyCookie(cookieField(r), halfCookie); n > 0 {
		http.SetCookie(w, newCookie(halfCookie, "", -1))
	}
}
