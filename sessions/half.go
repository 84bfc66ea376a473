package sessions

import (
	"errors"
	"net/http"
	"time"
)

const (
	halfCookie = cookiePrefix + "-half" // on the login host
	halfLife   = 10 * time.Minute
)

// half is a login of which the password was right and the second factor is missing. It is no session and has no row: only the page that asks
// for the second factor opens it, by a key of its own, so that it is worth nothing anywhere else.
type half struct {
	User    string   `json:"user"`
	Epoch   int64    `json:"epoch"`
	Request *request `json:"request"` // nil: nobody asked
	Issued  int64    `json:"issued"`
	Origin  *Origin  `json:"origin,omitempty"`
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
	sealed, err := p.db.factors.halves.seal(halfCookie, half{user.Name, user.Epoch, req, p.db.millis(), user.origin})
	if err != nil {
		p.down(w, r, err)
		return
	}
	http.SetCookie(w, newCookie(halfCookie, sealed, int(halfLife/time.Second)))
	redirect(w, "/second-factor")
}

// halfOf is whose login of this browser is half done, and what for; not ok: nobody's, or for too long, or the user's password changed since.
func (p *loginPages) halfOf(r *http.Request) (user User, req *request, ok bool, err error) {
	value, _ := onlyCookie(cookieField(r), halfCookie)
	var h half
	if len(value) == 0 || !p.db.factors.halves.open(halfCookie, string(value), &h) {
		return User{}, nil, false, nil
	}
	if p.db.now().Sub(time.UnixMilli(h.Issued)) > halfLife {
		return User{}, h.Request, false, nil
	}
	user, err = p.users.Get(r.Context(), h.User)
	if errors.Is(err, ErrNoUser) {
		return User{}, h.Request, false, nil
	}
	user.origin = h.Origin
	return user, h.Request, err == nil && user.Epoch == h.Epoch, err
}

// whole deletes the cookie of what has become a login.
func whole(w http.ResponseWriter, r *http.Request) {
	if _, n := onlyCookie(cookieField(r), halfCookie); n > 0 {
		http.SetCookie(w, newCookie(halfCookie, "", -1))
	}
}
