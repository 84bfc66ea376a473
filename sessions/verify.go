package sessions

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"edge/username"
)

// errWait is that too much was tried; a waitError says how long to wait.
var errWait = errors.New("too many tries")

type waitError time.Duration

func (w waitError) Error() string        { return w.in(english) }
func (w waitError) Is(target error) bool { return target == errWait }

func (w waitError) in(l language) string {
	if w.seconds() == 1 {
		return l.T("please wait a second and try again")
	}
	return l.T("please wait %d seconds and try again", w.seconds())
}

func (w waitError) seconds() int { return int(math.Ceil(time.Duration(w).Seconds())) }

// counted is the name under which tries of a name are counted, whether or not somebody has it.
func counted(name string) string {
	if canonical, err := username.Canonical(name); err == nil {
		return canonical
	}
	return "\x00" + name // no account's
}

// mayTry lets the next try of an account through, as counted names it, and counts it as wrong; or answers a waitError.
func (s *Service) mayTry(r *http.Request, t tries, account string) error {
	wait, err := s.db.guesses.Allow(r.Context(), t, account, r.RemoteAddr)
	if err == nil && wait > 0 {
		err = waitError(wait)
	}
	return err
}

// try runs a check, if it is time for another one, and counts how it went.
func (s *Service) try(r *http.Request, t tries, account string, check func() error) error {
	if err := s.mayTry(r, t, account); err != nil {
		return err
	}
	err := check()
	ctx := context.WithoutCancel(r.Context())
	switch {
	case err == nil || errors.Is(err, ErrBadPassword): // which is said of the new one, after the current one proved right
		s.db.guesses.Succeeded(ctx, t, account, r.RemoteAddr)
	case !errors.Is(err, ErrBadCredentials) && !errors.Is(err, ErrBadCode):
		s.db.guesses.Void(ctx, t, account, r.RemoteAddr)
	}
	return err
}

// verify is try for a password. The answer for a name that nobody has is the same in all.
func (s *Service) verify(r *http.Request, name string, check func() (User, error)) (user User, err error) {
	err = s.try(r, passwordTries, counted(name), func() (err error) { user, err = check(); return err })
	return user, err
}

// newPassword changes the password of the browser's own login l. The login goes on under a new id, and every other one of the user ends.
// Errors are those of Users.ChangePassword, and errWait.
func (p *loginPages) newPassword(w http.ResponseWriter, r *http.Request, l *live, current, password string) (*live, error) {
	user, err := p.verify(r, l.User, func() (User, error) { return p.users.ChangePassword(r.Context(), l.User, current, password) })
	if err != nil {
		p.noteRefused(r, eventPassword, l.User, err)
		return nil, err
	}
	since := p.db.now()
	if l.level() > AAL1 {
		since, user.proved = l.since(), l.Proved // a password alone does not prove anew what more was proved
	}
	renewed, err := p.newLogin(w, r, user, l.level(), since)
	if err == nil {
		p.note(r, Entry{Event: eventPassword, User: user.Name, By: user.Name, Session: renewed.id.String()})
	}
	return renewed, err
}
