package sessions

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/google/uuid"
	gorilla "github.com/gorilla/sessions"

	"edge/conf"
)

// Store is the gorilla session store of one configuration: a DB, with the rules for how long a session lives and the users it may be
// of. It differs from gorilla's own stores where those are dangerous (LOGIN.md §3a): an id that it did not give out is never used, a
// cookie that cannot be read is nobody rather than an error, a new login has a new id, and nobody's session is not kept at all.
// It is safe for concurrent use; nothing to close.
type Store struct {
	db             *DB
	users          Users
	people         *people
	conf           *conf.Login
	idle, lifetime time.Duration
}

var _ gorilla.Store = (*Store)(nil)

func newStore(db *DB, users Users, login *conf.Login) *Store {
	return &Store{db: db, users: users, people: db.ear.people(users), conf: login, idle: login.Idle, lifetime: login.Lifetime}
}

// live is a session, and whose it is as of now.
type live struct {
	*row
	user User
}

func (s *Store) identity(l *live) *Identity {
	return l.user.identity(s.conf, l.issuer(), l.parent, l.Login, l.level())
}

// identity is the user in a session below this login, made by the word of this provider ("": of none), proved at since (Unix milliseconds).
func (u User) identity(at *conf.Login, issuer string, login uuid.UUID, since int64, level Level) *Identity {
	return &Identity{User: u.Name, Groups: u.groups(at, issuer), Email: u.Email, Session: login, Since: time.UnixMilli(since), Level: level}
}

// current is the session of a cookie, if it has not ended in any way; else nil.
func (s *Store) current(ctx context.Context, cookie []byte, name, vhost string) (*live, error) {
	r, err := s.present(cookie, name, vhost)
	if r == nil {
		return nil, err
	}
	return s.judge(ctx, r)
}

// present is the session of a cookie as it stands in the store: the secret is right, but it may be idle, and its user gone.
func (s *Store) present(cookie []byte, name, vhost string) (*row, error) {
	value, _ := onlyCookie(cookie, name)
	h, ok := parseHandle(value)
	if !ok || !s.db.tags.made(h) {
		return nil, nil
	}
	r, err := s.db.get(h.id)
	if r == nil {
		return nil, err
	}
	hash := h.hash()
	if subtle.ConstantTimeCompare(hash[:], r.Secret) != 1 || r.Vhost != vhost {
		return nil, nil
	}
	return r, nil
}

// judge is nil for a session that time or its user has ended. It notes that the others are in use.
func (s *Store) judge(ctx context.Context, r *row) (*live, error) {
	now := s.db.now()
	unused := now.Sub(time.UnixMilli(r.Seen))
	// The lifetime is also in the row, but the configuration may have become stricter since.
	if unused > s.idle || now.Sub(r.since()) > s.lifetime {
		return nil, nil
	}
	user, err := s.users.Get(ctx, r.User)
	if errors.Is(err, ErrNoUser) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("user of session %s: %w", r.id, err)
	}
	if user.Epoch != r.Epoch {
		return nil, nil
	}
	if unused > s.seenEvery() {
		s.db.saw(r.id, r.parent, now.UnixMilli())
	}
	user.origin = r.Origin // a second factor that it is asked for now makes a login that ends as this one would
	return &live{r, user}, nil
}

// seenEvery is how exact the last use is kept: not so that every request writes, but well within idle.
func (s *Store) seenEvery() time.Duration {
	return min(max(time.Minute, s.idle/10), s.idle/2)
}

type vhostKey struct{}

// onVhost marks a request as one to a virtual host, whose sessions New then looks for; without it, the login host's.
func onVhost(r *http.Request, vhost string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), vhostKey{}, vhost))
}

func vhostOf(r *http.Request) string {
	id, _ := r.Context().Value(vhostKey{}).(string)
	return id
}

// Get is New, once for a request.
func (s *Store) Get(r *http.Request, name string) (*gorilla.Session, error) {
	return gorilla.GetRegistry(r).Get(s, name)
}

// New is the session of the request's cookie of this name; a new, anonymous one where there is none that is good. It is never nil.
// An error means that the store is down.
func (s *Store) New(r *http.Request, name string) (*gorilla.Session, error) {
	session := gorilla.NewSession(s, name)
	session.IsNew = true
	c := newCookie(name, "", 0)
	session.Options = &gorilla.Options{Path: c.Path, Secure: c.Secure, HttpOnly: c.HttpOnly, SameSite: c.SameSite}
	l, err := s.current(r.Context(), cookieField(r), name, vhostOf(r))
	if l == nil {
		return session, err
	}
	session.ID, session.IsNew = l.id.String(), false
	session.Values[liveKey{}] = l
	for k, v := range l.Values {
		session.Values[k] = v
	}
	return session, nil
}

// liveKey is where a gorilla session holds what the store itself knows of it, a *live or an insert. Keys of other types but string
// are not kept.
type (
	liveKey   struct{}
	insertKey struct{}
)

func liveOf(session *gorilla.Session) *live {
	l, _ := session.Values[liveKey{}].(*live)
	return l
}

var errAnonymous = errors.New("sessions: an anonymous session is not kept")

// Save keeps a session. One with Options.MaxAge below zero ends, and with it its whole login. One that login or below prepared is
// created under a new id and its cookie set; what the browser's cookie named before ends. Else its values are written if they changed.
func (s *Store) Save(r *http.Request, w http.ResponseWriter, session *gorilla.Session) error {
	in, creating := session.Values[insertKey{}].(insert)
	switch l := liveOf(session); {
	case session.Options.MaxAge < 0:
		_, err := s.end(r, w, session.Name())
		return err
	case creating:
		return s.create(r, w, session, in)
	case l == nil:
		return errAnonymous
	default:
		values := stringKeys(session.Values)
		if len(values) == len(l.Values) && (len(values) == 0 || reflect.DeepEqual(values, l.Values)) {
			return nil
		}
		return s.db.setValues(r.Context(), l.id, values)
	}
}

func stringKeys(values map[any]any) map[string]any {
	out := map[string]any{}
	for k, v := range values {
		if k, ok := k.(string); ok {
			out[k] = v
		}
	}
	return out
}

// end ends the login of the request's cookie, also when idleness has ended the session before, and returns what it was; nil for none.
func (s *Store) end(r *http.Request, w http.ResponseWriter, name string) (old *row, err error) {
	old, err = s.present(cookieField(r), name, vhostOf(r))
	if err != nil {
		return nil, err
	}
	if old != nil {
		if err := s.db.end(r.Context(), old.parent); err != nil {
			return nil, err
		}
	}
	http.SetCookie(w, newCookie(name, "", -1))
	return old, nil
}

func (s *Store) create(r *http.Request, w http.ResponseWriter, session *gorilla.Session, in insert) error {
	old, err := s.present(cookieField(r), session.Name(), vhostOf(r))
	if err != nil {
		return err
	}
	if old != nil && !in.goesOn {
		in.replaces = old.id
	}
	h := s.db.newHandle()
	if in.row.id != uuid.Nil { // of a session that a code already knows
		h = s.db.tags.tagged(in.row.id)
	}
	hash := h.hash()
	in.row.id, in.row.Secret, in.row.Values = h.id, hash[:], stringKeys(session.Values)
	if in.row.parent == uuid.Nil {
		in.row.parent = h.id
		in.row.noteBrowser(r)
	}
	if err := s.db.create(r.Context(), in); err != nil {
		return err
	}
	session.ID, session.IsNew = h.id.String(), false
	delete(session.Values, insertKey{})
	http.SetCookie(w, newCookie(session.Name(), h.String(), int(s.lifetime/time.Second)))
	return nil
}

// login prepares a session to be saved as the login of a user who has proved to be it, at since; Save completes the row.
func (s *Store) login(session *gorilla.Session, user User, level Level, since time.Time) *row {
	r := &row{expires: since.Add(s.lifetime).UnixMilli(), record: record{
		User: user.Name, Epoch: user.Epoch, Level: level, Login: since.UnixMilli(), Seen: s.db.millis(), Origin: user.origin, Proved: user.proved,
	}}
	if o := user.origin; o != nil && o.Said != 0 { // what was proved here after a provider's word does not make that newer
		r.expires = min(r.expires, time.UnixMilli(o.Said).Add(s.lifetime).UnixMilli())
	}
	session.Values = map[any]any{insertKey{}: insert{row: r}}
	return r
}

// raise makes a higher level of a login whose user has proved more: under a new id, and what was below the old one ends, so that no
// cookie from before is worth more than it was. Virtual hosts ask for theirs anew, silently. It lives no longer than the login would have.
// errEnded where that is over.
func (s *Store) raise(r *http.Request, w http.ResponseWriter, l *live, level Level) (*live, error) {
	rec := l.record
	rec.Level, rec.Seen = max(level, l.level()), s.db.millis()
	raised := &row{expires: l.expires, record: rec}
	session := gorilla.NewSession(s, ssoCookie)
	session.Options = &gorilla.Options{}
	for k, v := range l.Values {
		session.Values[k] = v
	}
	if err := s.create(r, w, session, insert{row: raised, replaces: l.id, goesOn: true}); err != nil {
		return nil, err
	}
	return &live{raised, l.user}, nil
}

// below prepares a session to be saved as the one of a virtual host below a login, with the id for which a code was redeemed.
func (s *Store) below(session *gorilla.Session, login *live, id uuid.UUID, vhost, code string) {
	rec := login.record
	rec.Vhost, rec.Seen, rec.Values, rec.Address, rec.Agent, rec.Origin = vhost, s.db.millis(), nil, "", "", nil
	session.Values = map[any]any{insertKey{}: insert{
		row:    &row{id: id, parent: login.id, record: rec},
		ticket: hashCode(code),
	}}
}
