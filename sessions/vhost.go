package sessions

import (
	"errors"
	"net/http"

	"github.com/google/uuid"
)

const (
	reserved     = "/.edge/" // on every virtual host; nothing below it ever reaches an upstream
	callbackPath = reserved + "auth/callback"
)

// Vhost serves /.edge/ on the virtual host with this id: where a login arrives, and where one logs out.
func (s *Service) Vhost(id string) http.Handler {
	v := &vhostPages{routes{service: s, base: "/.edge"}, s, id}
	v.paths = s.withAssets("/.edge", map[string]route{
		callbackPath:        {get: v.callback, onlyGet: true}, // a link preview's HEAD must not use up the code
		reserved + "logout": {get: v.logoutForm, post: v.logOut},
		jwksPath:            {get: v.jwks},
	})
	return v
}

// Forbidden is the page (403) that tells who that this virtual host is not for them, and lets them log out.
func (s *Service) Forbidden(who *Identity) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port := s.reached(r.Host)
		setPageHeaders(w.Header())
		s.show(w, r, http.StatusForbidden, "forbidden", view{Base: "/.edge", User: who.User, Host: host, SendsOn: s.loginURL(port)})
	})
}

// vhostPages are the handlers below /.edge/.
type vhostPages struct {
	routes
	*Service
	id string
}

func (v *vhostPages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.routes.ServeHTTP(w, onVhost(r, v.id))
}

// callback ends a login under way: the code, used up whatever comes of it, and the flow's cookie together make a session.
func (v *vhostPages) callback(w http.ResponseWriter, r *http.Request) {
	query, cookie := r.URL.Query(), cookieField(r)
	code, child := query.Get("code"), uuid.New()
	t, valid, err := v.db.redeem(r.Context(), code, child)
	if err != nil {
		v.down(w, r, err)
		return
	}
	f, ours := v.flowOf(cookie, query.Get("flow"))
	if ours {
		http.SetCookie(w, newCookie(f.cookieName(), "", -1))
	}
	entered := false
	if valid && ours && f.began(t.Request) && t.Request.Vhost == v.id {
		if entered, err = v.enter(w, r, t.Login, f.Level, child, code); err != nil {
			v.down(w, r, err)
			return
		}
	}
	switch {
	case entered:
		redirect(w, returnPath(f.Return))
	case ours:
		v.restart(w, r, f)
	case t != nil && t.Request.Vhost == v.id: // the cookie has gone: too many tabs, or cookies are off
		v.restart(w, r, flow{Return: t.Request.Return, Hops: t.Request.Hops, Level: t.Request.Level})
	default:
		v.show(w, r, http.StatusBadRequest, "failed", view{Base: v.base, Again: "/"})
	}
}

// enter makes the session below a login that is still good, and good enough: a login host of an older binary knows of no level.
func (v *vhostPages) enter(w http.ResponseWriter, r *http.Request, login uuid.UUID, least Level, child uuid.UUID, code string) (ok bool, err error) {
	row, err := v.db.get(login)
	if row == nil {
		return false, err
	}
	l, err := v.judge(r.Context(), row)
	if l == nil || l.level() < least {
		return false, err
	}
	session, err := v.New(r, sessionCookie)
	if err != nil {
		return false, err
	}
	v.below(session, l, child, v.id, code)
	err = v.Save(r, w, session)
	if errors.Is(err, errEnded) {
		return false, nil
	}
	return err == nil, err
}

// restart begins the login again, but not forever: with cookies off it would go round and round.
func (v *vhostPages) restart(w http.ResponseWriter, r *http.Request, before flow) {
	if before.Hops >= maxHops {
		v.show(w, r, http.StatusBadRequest, "failed", view{Base: v.base, Again: returnPath(before.Return)})
		return
	}
	f := newFlow(v.id, before.Return, before.Hops+1, v.db.now())
	f.Level = before.Level
	location, setCookies, err := v.begin(f, r.Host, cookieField(r))
	if err != nil {
		v.down(w, r, err)
		return
	}
	for _, c := range setCookies {
		w.Header().Add("Set-Cookie", c)
	}
	redirect(w, location)
}

func (v *vhostPages) logoutForm(w http.ResponseWriter, r *http.Request) {
	_, port := v.reached(r.Host)
	v.show(w, r, http.StatusOK, "logout", view{Base: v.base, SendsOn: v.loginURL(port)})
}

func (v *vhostPages) logOut(w http.ResponseWriter, r *http.Request) {
	old, err := v.end(r, w, sessionCookie)
	if err != nil {
		v.down(w, r, err)
		return
	}
	v.loggedOutBy(r, old)
	forgetPages(w)
	_, port := v.reached(r.Host)
	redirect(w, v.loginURL(port)+"/logged-out")
}
