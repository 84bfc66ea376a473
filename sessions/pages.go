package sessions

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"edge/conf"
)

// Pages is the login host: /login, /register where registration is open, /logout, and / that says who you are.
func (s *Service) Pages() http.Handler {
	p := &loginPages{routes{service: s}, s}
	p.paths = withAssets("", p.factorPaths(map[string]route{
		"/":           {get: p.home},
		"/login":      {get: p.loginForm, post: p.logIn},
		"/logout":     {get: p.home, post: p.logOut},
		"/logged-out": {get: p.loggedOut},
	}))
	if s.registers() {
		p.paths["/register"] = route{get: p.registerForm, post: p.register}
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
		v := p.view()
		v.User = l.User
		if err := p.factorsSection(r, l, &v); err != nil {
			p.down(w, r, err)
			return
		}
		p.show(w, r, http.StatusOK, "home", v)
	}
}

func (p *loginPages) view() view { return view{Register: p.registers()} }

func (p *loginPages) loginForm(w http.ResponseWriter, r *http.Request) { p.form(w, r, "login") }

func (p *loginPages) registerForm(w http.ResponseWriter, r *http.Request) { p.form(w, r, "register") }

// form shows a form, or goes on without one where the browser is signed in already.
func (p *loginPages) form(w http.ResponseWriter, r *http.Request, page string) {
	req, v, ok := p.request(w, r, r.URL.Query().Get("f"))
	if !ok {
		return
	}
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
	// The port is that of this request, not one that the request names: a link made by somebody else must not send a code to another
	// server on the same machine.
	_, port := splitAuthority(r.Host)
	origin := httpsURL(req.Host, port)
	if p.db.now().Sub(time.UnixMilli(req.Issued)) > flowLife {
		redirect(w, origin+returnPath(req.Return)) // the form was open for long: its cookie has gone, a new flow starts there
		return
	}
	if !p.hosts.Allowed(req.Vhost, l.identity()) {
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
	p.enter(w, r, "login", func(name, password string) (User, error) {
		return p.users.Verify(r.Context(), name, password)
	})
}

func (p *loginPages) register(w http.ResponseWriter, r *http.Request) {
	p.enter(w, r, "register", func(name, password string) (User, error) {
		return p.users.Create(r.Context(), name, password)
	})
}

// enter takes a form with name and password, makes a login of it and goes on; or shows the form again and says why not. A wrong password
// is 403, not 401, which would promise a WWW-Authenticate.
func (p *loginPages) enter(w http.ResponseWriter, r *http.Request, page string, prove func(name, password string) (User, error)) {
	req, v, ok := p.request(w, r, r.PostForm.Get("f"))
	if !ok {
		return
	}
	v.Name = r.PostForm.Get("name")
	user, err := prove(v.Name, r.PostForm.Get("password"))
	if err != nil {
		p.refuse(w, r, page, v, err)
		return
	}
	p.admit(w, r, user, AAL1, page, req)
}

// admit is after every proof: it makes a login of this level and goes on, or asks for the second factor where the user has one. by says in the log what the proof was.
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
	l, err := p.newLogin(w, r, user, level)
	if err != nil {
		p.down(w, r, err)
		return
	}
	whole(w, r)
	slog.Info(by, "user", l.User, "session", l.id, "client", r.RemoteAddr)
	p.goOn(w, r, l, req)
}

// refused are the errors that the person who typed can do something about, and what each answers.
var refused = []struct {
	err    error
	status int
}{
	{ErrBadCredentials, http.StatusForbidden},
	{ErrTaken, http.StatusConflict},
	{ErrBadName, http.StatusUnprocessableEntity},
	{ErrBadPassword, http.StatusUnprocessableEntity},
	{ErrBusy, http.StatusServiceUnavailable},
	{ErrBadCode, http.StatusForbidden},
	{ErrTooManyCodes, http.StatusTooManyRequests},
	{ErrTooLate, http.StatusForbidden},
	{ErrBadPasskey, http.StatusForbidden},
	{ErrTooMany, http.StatusConflict},
}

// refusal is the one of refused that err is, and what it answers; nil for none.
func refusal(err error) (status int, known error) {
	for _, r := range refused {
		if errors.Is(err, r.err) {
			return r.status, r.err
		}
	}
	return http.StatusOK, nil
}

// refuse does not log the name: people type passwords there.
func (p *loginPages) refuse(w http.ResponseWriter, r *http.Request, page string, v view, err error) {
	if status, known := refusal(err); known != nil {
		slog.Info(page+" refused", "reason", known, "client", r.RemoteAddr)
		v.Error = known.Error()
		p.show(w, r, status, page, v)
		return
	}
	if r.Context().Err() == nil { // else the client has left while it waited
		p.down(w, r, err)
	}
}

// newLogin makes the browser's login, always under a new id: what its cookie named before ends.
func (p *loginPages) newLogin(w http.ResponseWriter, r *http.Request, user User, level Level) (*live, error) {
	session, err := p.New(r, ssoCookie)
	if err != nil {
		return nil, err
	}
	made := p.login(session, user, level)
	if err := p.Save(r, w, session); err != nil {
		return nil, err
	}
	return &live{made, user}, nil
}

func (p *loginPages) logOut(w http.ResponseWriter, r *http.Request) {
	if err := p.end(r, w, ssoCookie); err != nil {
		p.down(w, r, err)
		return
	}
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
