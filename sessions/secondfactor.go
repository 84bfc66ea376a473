package sessions

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// sureFor is how long after a proof of who somebody is second factors may be changed.
const sureFor = 10 * time.Minute

// factorView is what pages about second factors show.
type factorView struct {
	Factors
	QR     *qrCode
	Secret string // for who types it
	Seed   string // the same, sealed
	Codes  []string
	For    string // what a passkey is asked for
}

// factorRoutes are what second factors add.
func (p *loginPages) factorRoutes() map[string]route {
	return map[string]route{
		"/second-factor":           {get: p.secondForm, post: p.second},
		"/passkey.js":              fixed(passkeyScript, "text/javascript; charset=utf-8"),
		"/passkey/begin":           {post: p.passkeyBegin},
		"/passkey/login":           {post: p.passkeyLogin},
		"/account/totp":            {get: p.totpPage, post: p.totpConfirm},
		"/account/totp/remove":     {post: p.totpRemove},
		"/account/recovery":        {post: p.recoveryRenew},
		"/account/passkeys":        {get: p.passkeysPage, post: p.passkeyAdd},
		"/account/passkeys/remove": {post: p.passkeyRemove},
	}
}

// secondForm asks for the second factor.
func (p *loginPages) secondForm(w http.ResponseWriter, r *http.Request) {
	user, req, ok, err := p.halfOf(r)
	switch {
	case err != nil:
		p.down(w, r, err)
	case !ok:
		p.loginAgain(w, r, req)
	default:
		p.askSecond(w, r, user, req, nil)
	}
}

// loginAgain is for what was half done and is void.
func (p *loginPages) loginAgain(w http.ResponseWriter, r *http.Request, req *request) {
	whole(w, r)
	f, err := p.sealed(req)
	if err != nil {
		p.down(w, r, err)
		return
	}
	redirect(w, "/login"+f)
}

// sealed is the query that carries a request; "" for none.
func (p *loginPages) sealed(req *request) (query string, err error) {
	if req == nil {
		return "", nil
	}
	blob, err := p.db.blobs.seal("", req)
	return "?f=" + blob, err
}

// asIfCome is request for one that is under way, as if it had just come: its virtual host may have gone meanwhile.
func (p *loginPages) asIfCome(w http.ResponseWriter, r *http.Request, req *request) (*request, view, bool) {
	blob, err := p.sealed(req)
	if err != nil {
		p.down(w, r, err)
		return nil, view{}, false
	}
	return p.request(w, r, strings.TrimPrefix(blob, "?f="))
}

// factorsSection fills in what the templates account-totp and account-passkeys show.
func (p *loginPages) factorsSection(r *http.Request, l *live, v *view) error {
	f, err := p.users.Factors(r.Context(), l.User)
	v.Factor = &factorView{Factors: f}
	return err
}

// askSecond shows the page of the second factor, with what was wrong with the one before.
func (p *loginPages) askSecond(w http.ResponseWriter, r *http.Request, user User, req *request, wrong error) {
	f, err := p.users.Factors(r.Context(), user.Name)
	if err != nil {
		p.down(w, r, err)
		return
	}
	_, v, ok := p.asIfCome(w, r, req)
	if !ok {
		return
	}
	v.User, v.Factor = user.Name, &factorView{Factors: f, For: forSecond}
	status := http.StatusOK
	if wrong != nil {
		status, v.Error, _ = refusal(w, r, wrong)
	}
	p.show(w, r, status, "second-factor", v)
}

// second takes a code. The form names what it is for, not the cookie: another tab may have begun another login meanwhile.
func (p *loginPages) second(w http.ResponseWriter, r *http.Request) {
	req, _, ok := p.request(w, r, r.PostForm.Get("f"))
	if !ok {
		return
	}
	user, _, ok, err := p.halfOf(r)
	if err != nil {
		p.down(w, r, err)
		return
	}
	if !ok {
		p.loginAgain(w, r, req) // which goes on at once where another tab has logged in
		return
	}
	by := eventTOTP
	if code := r.PostForm.Get("recovery"); code != "" {
		by = eventRecovery
		err = p.useRecovery(r.Context(), user.Name, code)
	} else {
		err = p.useTOTP(r, user.Name, r.PostForm.Get("code"))
	}
	switch {
	case err == nil:
		p.admit(w, r, user, AAL2, by, req)
	case errors.Is(err, ErrBadCode) || errors.Is(err, errWait):
		p.noteRefused(r, by, user.Name, err)
		p.askSecond(w, r, user, req, err)
	default:
		p.down(w, r, err)
	}
}

// misses says whether the account has a second factor, which a login of this level has not seen.
func (p *loginPages) misses(r *http.Request, user User, level Level) (bool, error) {
	if level >= AAL2 {
		return false, nil
	}
	f, err := p.users.Factors(r.Context(), user.Name)
	return f.Any(), err
}

// stepUp is where a request wants more than the browser's login is worth: the second factor is asked for, or offered to who has none.
func (p *loginPages) stepUp(w http.ResponseWriter, r *http.Request, l *live, req *request) {
	missing, err := p.misses(r, l.user, l.level())
	f, err2 := p.sealed(req)
	switch {
	case errors.Join(err, err2) != nil:
		p.down(w, r, errors.Join(err, err2))
	case missing:
		p.halfway(w, r, l.goesOn(), req)
	default:
		v := p.view()
		v.User, v.Host, v.Flow = l.User, req.Host, strings.TrimPrefix(f, "?f=")
		p.show(w, r, http.StatusForbidden, "second-factor-needed", v)
	}
}

// goesOn is the user of a login that is to be worth more.
func (l *live) goesOn() User {
	user := l.user
	user.login, user.since = l.id, l.since()
	return user
}

// sure is the login of a browser in which it was proved lately, and as well as the account allows, who sits there. Not ok: it has answered,
// with the way to prove it and to come back. what is the sealed request that this is on the way to.
func (p *loginPages) sure(w http.ResponseWriter, r *http.Request, what string) (l *live, f Factors, v view, ok bool) {
	req, v, ok := p.request(w, r, what)
	if !ok {
		return nil, f, v, false
	}
	l, err := p.signedIn(r)
	if err == nil && l != nil {
		f, err = p.users.Factors(r.Context(), l.User)
	}
	if err != nil {
		p.down(w, r, err)
		return nil, f, v, false
	}
	if l != nil && p.isSure(l) && (l.level() >= AAL2 || !f.Any()) {
		v.User, v.Factor = l.User, &factorView{Factors: f}
		v.Elsewhere = v.Elsewhere || l.user.NoPassword
		return l, f, v, true
	}
	if l != nil && p.isSure(l) {
		p.halfway(w, r, l.goesOn(), req.at(r.URL.Path))
		return nil, f, v, false
	}
	query, err := p.sealed(req.at(r.URL.Path))
	if err != nil {
		p.down(w, r, err)
	} else {
		redirect(w, "/login"+query)
	}
	return nil, f, v, false
}

func (p *loginPages) isSure(l *live) bool { return p.lately(l.proved()) }

func (p *loginPages) lately(proved time.Time) bool { return p.db.now().Sub(proved) <= sureFor }

// localPages are those that a request may go to on the login host itself, by what is asked for on them.
var localPages = map[string]string{
	"/account/totp": "/account/totp", "/account/totp/remove": "/account/totp", "/account/recovery": "/account/totp",
	"/account/passkeys": "/account/passkeys", "/account/passkeys/remove": "/account/passkeys",
}

// at is the request to go to a page of the login host first, and then where req leads, if it is not nil.
func (req *request) at(path string) *request {
	first := request{}
	if req != nil {
		first = *req
	}
	first.Local = cmp.Or(localPages[path], accountPath)
	return &first
}

// goLocal goes to the page of the login host that comes first.
func (p *loginPages) goLocal(w http.ResponseWriter, r *http.Request, req request) {
	at := req.Local
	req.Local = ""
	if req.Vhost == "" {
		redirect(w, at)
		return
	}
	query, err := p.sealed(&req)
	if err != nil {
		p.down(w, r, err)
		return
	}
	redirect(w, at+query)
}

// enrolled is after the first proof by a new factor: the login is worth more from now on, under a new id, and who has no recovery codes
// gets some.
func (p *loginPages) enrolled(w http.ResponseWriter, r *http.Request, l *live, f Factors, v view, by, page string) {
	p.noteAccount(r, l, by+" added")
	if l.level() < AAL2 {
		_, err := p.raise(r, w, l, AAL2)
		switch {
		case errors.Is(err, errEnded): // meanwhile, in another browser
			redirect(w, "/login")
			return
		case err != nil:
			p.down(w, r, err)
			return
		}
	}
	if f.Recovery == 0 {
		p.showRecovery(w, r, l.User, v)
		return
	}
	if v.Flow != "" {
		page = "/login?" + url.Values{"f": {v.Flow}}.Encode()
	}
	redirect(w, page)
}

// Account is where the pages about an account's factors lead back to.
func (view) Account() string { return accountPath }
