package sessions

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/uuid"
)

const accountPath = "/account"

// accountRoutes are the account page and its forms. Each feature of a login has its own forms below /account/.
func (p *loginPages) accountRoutes() map[string]route {
	return map[string]route{
		accountPath:                    {get: p.account},
		"/account/sessions/end":        {post: p.own(p.endSession)},
		"/account/sessions/end-all":    {post: p.own(p.endSessions)},
		"/account/password":            {post: p.own(p.changePassword)},
		"/.well-known/change-password": {get: toPassword},
	}
}

// sections fill in their part of the account page, which the template account-NAME shows.
func (p *loginPages) sections() []func(r *http.Request, l *live, v *view) error {
	return []func(r *http.Request, l *live, v *view) error{p.sessionsSection, p.factorsSection, p.providersSection}
}

// own lets through who is signed in: what a form of the account page does, it does to the login of the browser that sent it.
func (p *loginPages) own(do func(w http.ResponseWriter, r *http.Request, l *live)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l, err := p.signedIn(r)
		switch {
		case err != nil:
			p.down(w, r, err)
		case l == nil:
			redirect(w, "/login")
		default:
			do(w, r, l)
		}
	}
}

// account shows the page. What ?done= may say is fixed.
func (p *loginPages) account(w http.ResponseWriter, r *http.Request) {
	p.own(func(w http.ResponseWriter, r *http.Request, l *live) {
		v := p.view()
		v.Done = r.URL.Query().Get("done")
		p.showAccount(w, r, http.StatusOK, l, v)
	})(w, r)
}

// showAccount shows the page to whom l is, with what a form had to say.
func (p *loginPages) showAccount(w http.ResponseWriter, r *http.Request, status int, l *live, v view) {
	v.User, v.language = l.User, languageOf(r)
	v.Elsewhere = v.Elsewhere || l.user.NoPassword
	for _, fill := range p.sections() {
		if err := fill(r, l, &v); err != nil {
			p.down(w, r, err)
			return
		}
	}
	p.show(w, r, status, "account", v)
}

// refuseAccount shows the page again, with the reason in the section where the form is.
func (p *loginPages) refuseAccount(w http.ResponseWriter, r *http.Request, l *live, at place, err error) {
	status, text, ok := refusal(w, r, err)
	if !ok {
		p.failed(w, r, err)
		return
	}
	v := p.view()
	v.place, v.Error = at, text
	p.showAccount(w, r, status, l, v)
}

// done leads back to the account page, which says what was done.
func done(w http.ResponseWriter, what string) {
	redirect(w, accountPath+"?"+url.Values{"done": {what}}.Encode())
}

// loginView is one of the person's logins.
type loginView struct {
	ID          string
	Here        bool // it is the one that asks
	Device      string
	Address     string
	Seen, Since moment
}

func (p *loginPages) sessionsSection(r *http.Request, l *live, v *view) error {
	logins, err := p.Logins(r.Context(), l.User)
	if err != nil {
		return err
	}
	for _, login := range logins {
		v.Logins = append(v.Logins, loginView{
			ID: login.ID.String(), Here: login.ID == l.id, Device: device(v.language, login.Agent), Address: login.Address,
			Seen: v.moment(login.Seen, p.db.now()), Since: v.moment(login.Since, p.db.now()),
		})
	}
	slices.SortStableFunc(v.Logins, func(a, b loginView) int { // this browser's first, then the last used
		switch {
		case a.Here == b.Here:
			return 0
		case a.Here:
			return -1
		}
		return 1
	})
	return nil
}

// endSession logs out another browser, or this one. One that has ended already is as it should be.
func (p *loginPages) endSession(w http.ResponseWriter, r *http.Request, l *live) {
	id, err := uuid.Parse(r.PostForm.Get("id"))
	if err != nil {
		p.show(w, r, http.StatusBadRequest, "foreign", p.view())
		return
	}
	if id == l.id {
		p.logOut(w, r)
		return
	}
	switch err := p.EndLogin(r.Context(), l.User, id); {
	case err == nil:
		p.note(r, Entry{Event: EventRevoked, User: l.User, Session: id.String()})
	case !errors.Is(err, ErrNoLogin):
		p.down(w, r, err)
		return
	}
	done(w, "session")
}

// endSessions logs out everywhere, or everywhere else.
func (p *loginPages) endSessions(w http.ResponseWriter, r *http.Request, l *live) {
	if r.PostForm.Get("but") == "this" {
		if _, err := p.EndAll(r.Context(), l.User, l.id); err != nil {
			p.down(w, r, err)
			return
		}
		p.note(r, Entry{Event: EventRevoked, User: l.User, Detail: "all but " + l.id.String()})
		done(w, "others")
		return
	}
	if _, err := p.EndAll(r.Context(), l.User, uuid.Nil); err != nil {
		p.down(w, r, err)
		return
	}
	p.note(r, Entry{Event: EventRevoked, User: l.User, Detail: "all"})
	redirect(w, "/logged-out")
}

// What a change of the password is refused for, beside what Users say.
var (
	errDiffer  = errors.New("the new password is not the same both times")
	errCurrent = errors.New("the current password is wrong")
)

// changePassword ends every session of the user, and gives this browser a new one.
func (p *loginPages) changePassword(w http.ResponseWriter, r *http.Request, l *live) {
	form := r.PostForm
	if form.Get("new") != form.Get("again") {
		p.refuseAccount(w, r, l, place{ErrorIn: "password"}, errDiffer)
		return
	}
	_, err := p.newPassword(w, r, l, form.Get("current"), form.Get("new"))
	if errors.Is(err, ErrBadCredentials) {
		err = errCurrent
	}
	if err != nil {
		p.refuseAccount(w, r, l, place{ErrorIn: "password"}, err)
		return
	}
	done(w, "password")
}

// toPassword is where password managers look for the form (W3C, A Well-Known URL for Changing Passwords).
func toPassword(w http.ResponseWriter, _ *http.Request) { redirect(w, accountPath+"#password") }
