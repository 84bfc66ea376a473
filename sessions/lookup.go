package sessions

import (
	"crypto/subtle"
	"time"
)

// Lookup says who sent a request, given its Cookie field as it came and the id of its virtual host. nil and no error is anonymous;
// with an error nobody knows, and nobody may pass. A session that is known already costs no query and no allocation; a cookie that edge
// did not make costs no query.
func (s *Store) Lookup(cookie []byte, vhost string) (*Identity, error) {
	at := s.db.now()
	e, of, err := s.holder(cookie, vhost, at)
	if e == nil {
		return nil, err
	}
	now := at.UnixMilli()
	if unused := now - e.seen.Load(); unused > s.seenEvery().Milliseconds() {
		e.seen.Store(now)
		s.db.saw(e.id, e.login, now)
	}
	return e.identity(of, s.conf), nil
}

// Peek is Lookup for a connection that outlives its request: asking is no use of the session.
func (s *Store) Peek(cookie []byte, vhost string) (*Identity, error) {
	e, of, err := s.holder(cookie, vhost, s.db.now())
	if e == nil {
		return nil, err
	}
	return e.identity(of, s.conf), nil
}

// holder is the session of a virtual host's cookie that has not ended in any way, and its user; else nil.
func (s *Store) holder(cookie []byte, vhost string, now time.Time) (*entry, *state, error) {
	value, _ := onlyCookie(cookie, sessionCookie)
	h, ok := parseHandle(value)
	if !ok || vhost == "" { // that is how a login's own session is told
		return nil, nil, nil
	}
	if err := s.db.ear.current(); err != nil {
		return nil, nil, err
	}
	e, err := s.entry(&h)
	if e == nil {
		return nil, nil, err
	}
	hash := h.hash()
	if subtle.ConstantTimeCompare(hash[:], e.secret[:]) != 1 || e.vhost != vhost {
		return nil, nil, nil
	}
	if alive, err := s.alive(e, now); !alive {
		return nil, nil, err
	}
	of, err := e.person.state()
	if err != nil || of.gone || of.Epoch != e.epoch {
		return nil, nil, err
	}
	return e, of, nil
}

// entry finds a session, in the cache or in the store.
func (s *Store) entry(h *handle) (*entry, error) {
	e, gone := s.db.cache.find(&h.id)
	if e != nil || gone || !s.db.tags.made(*h) {
		return e, nil
	}
	drops := s.db.cache.drops.Load()
	r, err := s.db.get(h.id)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		s.db.cache.bury(&h.id)
		return nil, nil
	}
	e = newEntry(r, s.people.person(r.User))
	s.db.cache.keep(e, drops)
	return e, nil
}

// alive says whether time has not ended a session. The lifetime is also in the row, but the configuration may have become stricter since.
func (s *Store) alive(e *entry, now time.Time) (bool, error) {
	switch ms := now.UnixMilli(); {
	case ms >= e.expires || now.Sub(time.UnixMilli(e.since)) > s.lifetime:
		return false, nil
	case ms-e.seen.Load() <= s.idle.Milliseconds():
		return true, nil
	}
	return s.usedElsewhere(e, now)
}

// usedElsewhere looks whether another process has seen a session that this one has not for so long; once a second at most. Requests at the
// same time wait for what the first of them finds.
func (s *Store) usedElsewhere(e *entry, now time.Time) (bool, error) {
	ms := now.UnixMilli()
	e.look.Lock()
	defer e.look.Unlock()
	if ms-e.looked >= time.Second.Milliseconds() {
		r, err := s.db.get(e.id)
		if r == nil {
			return false, err
		}
		e.looked = ms
		e.seen.Store(max(r.Seen, e.seen.Load()))
	}
	return ms-e.seen.Load() <= s.idle.Milliseconds(), nil
}
