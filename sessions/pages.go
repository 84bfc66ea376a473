package sessions

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"edge/conf"
)

// Pages is the login host: /login, /register for who may, /logout, and the account page.
func (s *Service) Pages() http.Handler {
	p := &loginPages{routes{service: s}, s}
	p.paths = s.withAssets("", map[string]route{
		"/":           {get: p.home},
		"/login":      {get: p.loginForm, post: p.logIn},
		"/logout":     {get: p.home, post: p.logOut},
		"/logged-out": {get: p.loggedOut},
		"/register":   {get: p.registerForm, post: p.register},
		jwksPath:      {get: p.jwks},
	})
	maps.Copy(p.paths, p.accountRoutes())
	maps.Copy(p.paths, p.factorRoutes())
	maps.Copy(p.paths, p.oidcRoutes())
	if s.conf.Elsewhere {
		p.paths["/login"] = route{get: p.loginForm}
		delete(p.paths, "/register")
		delete(p.paths, "/account/password")
		delete(p.paths, "/.well-known/change-password")
	}
	return p
}

func (s *Service) registers() bool { return s.conf.Registration == conf.Open }

// loginPages are the handlers of the login host.
type loginPages struct {
	routes
	*Service
}

// signedIn is the login of the browser's cookie; nil for none.
func (p *loginPages) signedIn(r *http.Request) (*live, error) {
	session, err := p.New(r, ssoCookie)
	return liveOf(session), err
}

func (p *loginPages) home(w http.ResponseWriter, r *http.Request) {
	l, err := p.signedIn(r)
	switch {
	case err != nil:
		p.down(w, r, err)
	case l == nil:
		p.show(w, r, http.StatusOK, "nobody", p.view())
	default:
		redirect(w, accountPath)
	}
}

func (p *loginPages) view() view {
	v := view{Register: p.registers(), choice: choice{Elsewhere: p.conf.Elsewhere}}
	for _, at := range p.conf.Providers {
		v.Providers = append(v.Providers, button{at.Name, at.Title})
		v.SendsOn = "https:" // a form leads there
	}
	return v
}

func (p *loginPages) loginForm(w http.ResponseWriter, r *http.Request) { p.form(w, r, "login") }

// form shows a form, or goes on without one where the browser is signed in already.
func (p *loginPages) form(w http.ResponseWriter, r *http.Request, page string) {
	req, v, ok := p.request(w, r, r.URL.Query().Get("f"))
	if !ok {
		return
	}
	v.Invite = r.URL.Query().Get("invite")
	l, err := p.signedIn(r)
	switch {
	case err != nil:
		p.down(w, r, err)
	case l != nil && (req == nil || req.Local == "" || p.isSure(l)):
		p.goOn(w, r, l, req)
	default:
		if l != nil { // who is to prove it anew
			v.Name = l.User
		}
		p.show(w, r, http.StatusOK, page, v)
	}
}

// request opens what a virtual host asks for; nil where nobody asks. Not ok: it has answered. The seal says that edge itself made it, but
// under a configuration that may have been another: the host must be served, and need a login, now.
func (p *loginPages) request(w http.ResponseWriter, r *http.Request, blob string) (req *request, v view, ok bool) {
	v = p.view()
	if blob == "" {
		return nil, v, true
	}
	req = &request{}
	if !p.db.blobs.open("", blob, req) {
		p.show(w, r, http.StatusBadRequest, "invalid", v)
		return nil, v, false
	}
	if req.Vhost == "" && req.Local != "" {
		v.Flow = blob
		return req, v, true
	}
	if id, ok := p.hosts.Vhost(req.Host); !ok || id != req.Vhost {
		p.show(w, r, http.StatusNotFound, "invalid", v)
		return nil, v, false
	}
	v.Flow, v.Host = blob, req.Host
	// Chrome applies form-action to the whole chain of redirects after a form, which ends wherever the application sends a newcomer.
	v.SendsOn = "https:"
	return req, v, true
}

// goOn is after every proof of who the browser's user is: back to where it came from, with a code.
func (p *loginPages) goOn(w http.ResponseWriter, r *http.Request, l *live, req *request) {
	if req == nil {
		redirect(w, "/")
		return
	}
	if req.Local != "" {
		p.goLocal(w, r, *req)
		return
	}
	// The port is that of the configuration or of this request, not one that the request names: a link made by somebody else must not send a code to another
	// server on the same machine.
	_, port := p.reached(r.Host)
	origin := httpsURL(req.Host, port)
	if p.db.now().Sub(time.UnixMilli(req.Issued)) > flowLife {
		redirect(w, origin+returnPath(req.Return)) // the form was open for long: its cookie has gone, a new flow starts there
		return
	}
	if !p.hosts.Allowed(req.Vhost, p.identity(l)) {
		v := p.view()
		v.User, v.Host = l.User, req.Host
		p.show(w, r, http.StatusForbidden, "forbidden", v)
		return
	}
	if l.level() < req.Level {
		p.stepUp(w, r, l, req)
		return
	}
	code, err := p.db.issue(r.Context(), l.id, *req)
	if err != nil {
		p.down(w, r, err)
		return
	}
	redirect(w, origin+callbackPath+"?"+url.Values{"code": {code}, "flow": {req.Flow}}.Encode())
}

func (p *loginPages) logIn(w http.ResponseWriter, r *http.Request) {
	p.enter(w, r, eventLogin, "login", func(name, password string) (User, error) {
		return p.verify(r, name, func() (User, error) { return p.users.Verify(r.Context(), name, password) })
	})
}

// enter takes a form with name and password, makes a login of it and goes on; or shows the form again and says why not. A wrong password
// is 403, not 401, which would promise a WWW-Authenticate.
func (p *loginPages) enter(w http.ResponseWriter, r *http.Request, event, page string, prove func(name, password string) (User, error)) {
	req, v, ok := p.request(w, r, r.PostForm.Get("f"))
	if !ok {
		return
	}
	v.Name, v.Invite = r.PostForm.Get("name"), r.PostForm.Get("invite")
	user, err := prove(v.Name, r.PostForm.Get("password"))
	if err != nil {
		p.refuse(w, r, event, page, v, err)
		return
	}
	p.admit(w, r, user, AAL1, event, req)
}

// admit is after every proof: it makes a login of this level and goes on, or asks for the second factor where the user has one. by says in
// the log what the proof was.
func (p *loginPages) admit(w http.ResponseWriter, r *http.Request, user User, level Level, by string, req *request) {
	missing, err := p.misses(r, user, level)
	if err != nil {
		p.down(w, r, err)
		return
	}
	if missing {
		p.halfway(w, r, user, req)
		return
	}
	since := p.db.now()
	if !user.since.IsZero() { // a code alone does not say anew who sits there: the login is worth more, but lives no longer
		since = user.since
	}
	l, err := p.newLogin(w, r, user, level, since)
	if errors.Is(err, ErrNotLinked) {
		whole(w, r)
		if _, v, ok := p.asIfCome(w, r, req); ok {
			p.refuse(w, r, by, "login", v, err)
		}
		return
	}
	if err != nil {
		p.down(w, r, err)
		return
	}
	whole(w, r)
	p.note(r, Entry{Event: by, User: l.User, Session: l.id.String(), Vhost: req.vhost()})
	p.goOn(w, r, l, req)
}

// vhost is "" where nobody asks.
func (req *request) vhost() string {
	if req == nil {
		return ""
	}
	return req.Vhost
}

// refused are the errors that the person who typed can do something about, and what each answers.
var refused = []struct {
	err    error
	status int
}{
	{ErrBadCredentials, http.StatusForbidden},
	{ErrTaken, http.StatusConflict},
	{ErrBadName, http.StatusUnprocessableEntity},
	{errAddress, http.StatusUnprocessableEntity},
	{ErrBadPassword, http.StatusUnprocessableEntity},
	{errCurrent, http.StatusForbidden},
	{errDiffer, http.StatusUnprocessableEntity},
	{ErrBusy, http.StatusServiceUnavailable},
	{ErrNoInvite, http.StatusForbidden},
	{ErrBadCode, http.StatusForbidden},
	{ErrTooLate, http.StatusForbidden},
	{ErrBadPasskey, http.StatusForbidden},
	{ErrTooMany, http.StatusConflict},
	{errWait, http.StatusTooManyRequests},
	{ErrProviderDown, http.StatusServiceUnavailable},
	{ErrNotSigned, http.StatusForbidden},
	{ErrNotAllowed, http.StatusForbidden},
	{ErrCanceled, http.StatusForbidden},
	{ErrNotLinked, http.StatusForbidden},
	{ErrLinked, http.StatusConflict},
	{ErrNotFresh, http.StatusForbidden},
	{ErrElsewhere, http.StatusForbidden},
	{ErrLastWay, http.StatusConflict},
}

// reasonOf gives the error of refused that err is, and its status; nil: nobody who asks can do something about it.
func reasonOf(err error) (status int, reason error) {
	for _, known := range refused {
		if errors.Is(err, known.err) {
			return known.status, known.err
		}
	}
	return 0, nil
}

// refusal gives what the person is told of an error that it can do something about; not ok: it is none.
func refusal(w http.ResponseWriter, r *http.Request, err error) (status int, text string, ok bool) {
	status, reason := reasonOf(err)
	if reason == nil {
		return 0, "", false
	}
	var wait waitError
	if errors.As(err, &wait) {
		w.Header().Set("Retry-After", strconv.Itoa(wait.seconds()))
		return status, wait.in(languageOf(r)), true
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	return status, reason.Error(), true
}

// refuse shows a form again. It does not log a name that is nobody's: people type passwords there.
func (p *loginPages) refuse(w http.ResponseWriter, r *http.Request, event, page string, v view, err error) {
	status, text, ok := refusal(w, r, err)
	if !ok {
		p.failed(w, r, err)
		return
	}
	p.noteRefused(r, event, v.Name, err)
	v.Error = text
	p.show(w, r, status, page, v)
}

// failed answers for an error that nobody who asks can do something about.
func (p *loginPages) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil { // else the client has left while it waited
		p.down(w, r, err)
	}
}

// newLogin makes the browser's login, always under a new id: what its cookie named before ends. since is when the level was proved.
func (p *loginPages) newLogin(w http.ResponseWriter, r *http.Request, user User, level Level, since time.Time) (*live, error) {
	session, err := p.New(r, ssoCookie)
	if err != nil {
		return nil, err
	}
	old := liveOf(session)
	if user.origin == nil && old != nil && old.User == user.Name {
		user.origin = old.Origin // a login that goes on ends as it would have
	}
	made := p.login(session, user, level, since)
	if err := p.Save(r, w, session); err != nil {
		return nil, err
	}
	l := &live{made, user}
	return l, p.stillLinked(w, r, l)
}

func (p *loginPages) logOut(w http.ResponseWriter, r *http.Request) {
	old, err := p.end(r, w, ssoCookie)
	if err != nil {
		p.down(w, r, err)
		return
	}
	p.loggedOutBy(r, old)
	redirect(w, "/logged-out")
}

// loggedOut is where a logout ends, also one of a virtual host, which cannot delete this host's cookie. It is a GET, so it does so only
// when the login has ended already.
func (p *loginPages) loggedOut(w http.ResponseWriter, r *http.Request) {
	l, err := p.signedIn(r)
	switch {
	case err != nil:
		p.down(w, r, err)
	case l != nil:
		redirect(w, "/")
	default:
		http.SetCookie(w, newCookie(ssoCookie, "", -1))
		p.show(w, r, http.StatusOK, "logged-out", p.view())
	}
}
