package sessions

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"edge/conf"
)

const (
	tripPrefix = cookiePrefix + "-oidc-" // on the login host
	tripLife   = 10 * time.Minute
	maxTrips   = 5 // at a time in one browser
)

// journey is a login under way at a provider, as its cookie holds it. No process keeps it: it ends in whichever comes to serve it.
type journey struct {
	ID       string    `json:"id"` // 128 bits in hex: the state
	Provider string    `json:"provider"`
	Issuer   string    `json:"iss"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Redirect string    `json:"redirect"`
	Request  *request  `json:"request,omitempty"` // nil: nobody asked
	Link     uuid.UUID `json:"link,omitzero"`     // the login whose account is to be linked; zero: somebody logs in
	Issued   int64     `json:"issued"`
}

func (j journey) cookieName() string { return tripPrefix + j.ID[:8] }

func (j journey) trip() Trip {
	return Trip{Redirect: j.Redirect, State: j.ID, Nonce: j.Nonce, Verifier: j.Verifier, Fresh: j.Request != nil && j.Request.Local != ""}
}

// random is 256 bits as text of 43 characters, what RFC 7636 wants of a verifier at least.
func random() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// oidcRoutes are the addresses of each provider.
func (p *loginPages) oidcRoutes() map[string]route {
	paths := map[string]route{}
	for _, at := range p.conf.Providers {
		if p.Providers[at.Name] == nil {
			continue
		}
		base := "/oidc/" + at.Name
		paths[base] = route{post: func(w http.ResponseWriter, r *http.Request) { p.depart(w, r, at) }}
		paths[base+"/callback"] = route{onlyGet: true, get: func(w http.ResponseWriter, r *http.Request) { p.arrive(w, r, at) }}
		paths[base+"/backchannel"] = route{server: func(w http.ResponseWriter, r *http.Request) { p.farewell(w, r, at) }}
		paths["/account"+base+"/unlink"] = route{post: func(w http.ResponseWriter, r *http.Request) { p.unlink(w, r, at) }}
		paths["/account"+base] = route{post: func(w http.ResponseWriter, r *http.Request) { p.departToLink(w, r, at) }}
	}
	return paths
}

// depart sends the browser to a provider.
func (p *loginPages) depart(w http.ResponseWriter, r *http.Request, at *conf.Provider) {
	if req, v, ok := p.request(w, r, r.PostForm.Get("f")); ok {
		v.Site = at.Title
		p.sendTo(w, r, at, journey{Request: req}, func(err error) { p.refuse(w, r, eventLogin, "login", v, err) })
	}
}

// departToLink sends the browser there for the account of who is signed in to be linked. That is one more way in, so it takes what a change of
// second factors takes.
func (p *loginPages) departToLink(w http.ResponseWriter, r *http.Request, at *conf.Provider) {
	l, _, _, ok := p.sure(w, r, "")
	if !ok {
		return
	}
	p.sendTo(w, r, at, journey{Link: l.id}, func(err error) { p.refuseAccount(w, r, l, place{"providers", at.Title}, err) })
}

func (p *loginPages) sendTo(w http.ResponseWriter, r *http.Request, at *conf.Provider, j journey, refuse func(error)) {
	_, port := p.reached(r.Host)
	var id [16]byte
	rand.Read(id[:])
	j.ID, j.Provider, j.Issuer, j.Nonce, j.Verifier = hex.EncodeToString(id[:]), at.Name, at.Issuer, random(), random()
	j.Redirect, j.Issued = p.loginURL(port)+"/oidc/"+at.Name+"/callback", p.db.millis()
	location, err := p.Providers[at.Name].Start(r.Context(), j.trip())
	if err != nil {
		refuse(err)
		return
	}
	sealed, err := p.db.trips.seal(j.cookieName(), j)
	if err != nil {
		p.down(w, r, err)
		return
	}
	for _, c := range p.surplusTrips(cookieField(r)) {
		http.SetCookie(w, c)
	}
	http.SetCookie(w, newCookie(j.cookieName(), sealed, int(tripLife/time.Second)))
	redirect(w, location)
}

// surplusTrips deletes the cookies of dead journeys, and of the oldest beyond maxTrips.
func (p *loginPages) surplusTrips(cookie []byte) (del []*http.Cookie) {
	return surplusOf(nil, cookie, tripPrefix, maxTrips, p.openTrip)
}

func (j journey) issued() int64 { return j.Issued }

func (s *Service) openTrip(name, value string) (j journey, ok bool) {
	ok = s.db.trips.open(name, value, &j) && s.db.now().Sub(time.UnixMilli(j.Issued)) <= tripLife
	return j, ok
}

// tripOf is the journey of this browser with this state.
func (s *Service) tripOf(cookie []byte, state string) (j journey, ok bool) {
	if raw, err := hex.DecodeString(state); err != nil || len(raw) != 16 {
		return journey{}, false
	}
	name := journey{ID: state}.cookieName()
	value, _ := onlyCookie(cookie, name)
	j, ok = s.openTrip(name, string(value))
	return j, ok && subtle.ConstantTimeCompare([]byte(j.ID), []byte(state)) == 1
}

// arrive is where the provider sends the browser back. What it brings counts only for the journey that this very browser began, to this provider,
// which must not have become another meanwhile.
func (p *loginPages) arrive(w http.ResponseWriter, r *http.Request, at *conf.Provider) {
	query := r.URL.Query()
	j, ok := p.tripOf(cookieField(r), query.Get("state"))
	if ok {
		http.SetCookie(w, newCookie(j.cookieName(), "", -1))
	}
	if !ok || j.Provider != at.Name || j.Issuer != at.Issuer {
		p.show(w, r, http.StatusBadRequest, "failed", view{Again: "/login"})
		return
	}
	if j.Link != uuid.Nil {
		p.own(func(w http.ResponseWriter, r *http.Request, l *live) { p.link(w, r, at, j, l) })(w, r)
		return
	}
	req, v, ok := p.asIfCome(w, r, j.Request)
	if !ok {
		return
	}
	who, err := p.Providers[at.Name].Finish(r.Context(), j.trip(), query)
	if err != nil {
		p.refuseStranger(w, r, at, v, err)
		return
	}
	user, err := p.users.Linked(r.Context(), who, Terms{ByEmail: at.LinkByEmail, Create: at.Create, Listed: p.hosts.Listed})
	if err != nil {
		p.refuseStranger(w, r, at, v, err)
		return
	}
	who.Said = p.db.millis()
	user.origin, user.proved = &who.Origin, p.provedThere(who).UnixMilli()
	if err := p.freshly(r, user, who, j.trip()); err != nil {
		p.refuseStranger(w, r, at, v, err)
		return
	}
	p.admit(w, r, user, who.Level, eventLogin, req)
}

// provedThere is when somebody proved to the provider who they are. A provider that remembers a browser sends whoever sits there back without a
// question, so that what it does not say was long ago.
func (p *loginPages) provedThere(who Stranger) time.Time {
	switch now := p.db.now(); {
	case who.Proved.Unix() <= 0:
		return time.UnixMilli(1)
	case who.Proved.After(now):
		return now
	}
	return who.Proved
}

// freshly wants the proof that a trip was made for to be given there, or now by the second factor here: ErrNotFresh.
func (p *loginPages) freshly(r *http.Request, user User, who Stranger, trip Trip) error {
	missing, err := p.misses(r, user, who.Level)
	if err == nil && trip.Fresh && !missing && !p.lately(p.provedThere(who)) {
		err = ErrNotFresh
	}
	return err
}

// refuseStranger shows the login page again, and why. The log has the reason in full.
func (p *loginPages) refuseStranger(w http.ResponseWriter, r *http.Request, at *conf.Provider, v view, err error) {
	status, text, ok := refusal(w, r, err)
	if !ok {
		p.failed(w, r, err)
		return
	}
	p.note(r, Entry{Event: eventLogin, Result: Refused, Detail: at.Name + ": " + err.Error()})
	v.Error, v.Site = text, at.Title
	p.show(w, r, status, "login", v)
}

// providerView is a provider on the account page.
type providerView struct {
	button
	Linked bool
}

func (p *loginPages) providersSection(r *http.Request, l *live, v *view) error {
	if v.Providers == nil {
		return nil
	}
	issuers, err := p.users.LinkedAt(r.Context(), l.User)
	for _, at := range p.conf.Providers {
		v.Linked = append(v.Linked, providerView{button{at.Name, at.Title}, slices.Contains(issuers, at.Issuer)})
	}
	return err
}

// link links the account of who is signed in, if it is the login that asked for it.
func (p *loginPages) link(w http.ResponseWriter, r *http.Request, at *conf.Provider, j journey, l *live) {
	if l.id != j.Link {
		p.show(w, r, http.StatusBadRequest, "failed", view{Again: accountPath})
		return
	}
	who, err := p.Providers[at.Name].Finish(r.Context(), j.trip(), r.URL.Query())
	if err == nil {
		err = p.users.Link(r.Context(), l.User, who.Origin)
	}
	if err != nil {
		p.refuseAccount(w, r, l, place{"providers", at.Title}, err)
		return
	}
	p.note(r, Entry{Event: EventLinked, User: l.User, Session: l.id.String(), Detail: at.Name})
	done(w, "linked")
}

// farewell ends the logins of who has logged out at the provider (OpenID Connect Back-Channel Logout 1.0 §2.5). Servers ask here, no browsers:
// the token alone says who may.
func (p *loginPages) farewell(w http.ResponseWriter, r *http.Request, at *conf.Provider) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	w.Header().Set("Content-Type", "application/json")
	bye, err := p.goodbye(r, at)
	switch {
	case errors.Is(err, errReplayed) || errors.Is(err, ErrNotSigned):
		p.noteBadFarewell(r, at, err)
		w.WriteHeader(http.StatusBadRequest)
		w.Write([]byte(`{"error":"invalid_request"}` + "\n"))
	case err != nil:
		p.noteBadFarewell(r, at, err)
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte(`{"error":"temporarily_unavailable"}` + "\n"))
	default:
		for _, l := range bye {
			p.note(r, Entry{Event: eventLogout, User: l.user, By: at.Name, Session: l.id.String()})
		}
		w.WriteHeader(http.StatusOK)
	}
}

// noteBadFarewell notes why a token was refused, in our words: anybody may send one, and any text in it. Of an address that sends many only some are
// noted, or it would fill the disk; a good token counts however many bad ones came with it.
func (p *loginPages) noteBadFarewell(r *http.Request, at *conf.Provider, err error) {
	if wait, err := p.db.guesses.Allow(r.Context(), farewellTries, "", r.RemoteAddr); wait > 0 || err != nil {
		return
	}
	reason := errUntold
	for _, known := range []error{errReplayed, ErrNotSigned, ErrProviderDown} {
		if errors.Is(err, known) {
			reason = known
		}
	}
	p.note(r, Entry{Event: eventFarewell, Result: Refused, Detail: at.Name + ": " + reason.Error()})
}

// goodbye gives the logins that it ended.
func (p *loginPages) goodbye(r *http.Request, at *conf.Provider) ([]owned, error) {
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil || len(r.PostForm["logout_token"]) != 1 {
		return nil, ErrNotSigned
	}
	bye, err := p.Providers[at.Name].LoggedOut(r.Context(), r.PostForm.Get("logout_token"))
	if err != nil {
		return nil, err
	}
	ctx := context.WithoutCancel(r.Context())
	if err := p.db.firstTime(ctx, bye); err != nil {
		return nil, err
	}
	err = p.db.endHalves(ctx, halvesFrom(bye.Origin))
	logins, err2 := p.db.originated(ctx, bye.Origin)
	err = errors.Join(err, err2)
	for _, l := range logins {
		if e := p.EndLogin(ctx, l.user, l.id); e != nil && !errors.Is(e, ErrNoLogin) {
			err = errors.Join(err, e)
		}
	}
	if err != nil { // the provider may say it again
		return nil, errors.Join(err, p.db.forget(ctx, bye))
	}
	return logins, nil
}

// What is noted of a logout elsewhere that is refused, beside what a Provider says.
var (
	errReplayed = errors.New("the token has come before")
	errUntold   = errors.New("the store does not answer")
)

// hash is where a token's coming is kept, beside the codes: one byte longer than those, so that it never is one's.
func (f Farewell) hash() []byte {
	h := sha256.Sum256([]byte(f.Issuer + "\x00" + f.ID))
	return append(h[:], 'l')
}

// firstTime keeps that a token has come, until nobody believes it any more: errReplayed for one that has, in whatever process.
func (db *DB) firstTime(ctx context.Context, f Farewell) error {
	return db.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		err := exactlyOne(tx.Exec("INSERT INTO ticket(h, exp, data) VALUES(?, ?, '{}') ON CONFLICT DO NOTHING", f.hash(), f.Expires))
		if errors.Is(err, errEnded) {
			return errReplayed
		}
		return err
	})
}

func (db *DB) forget(ctx context.Context, f Farewell) error {
	return db.file.WriteDurable(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM ticket WHERE h = ?", f.hash())
		return err
	})
}

// owned is a login and whose it is.
type owned struct {
	id   uuid.UUID
	user string
}

// originated finds the logins that were made by this provider's word for this subject, or in this session there. A login of which the
// provider did not say the session is in any of the subject's.
func (db *DB) originated(ctx context.Context, o Origin) (list []owned, err error) {
	rows, err := db.file.Query(ctx, `SELECT id, user, json_extract(data, '$.origin') FROM session
		WHERE id = parent AND abs_exp > ? AND json_extract(data, '$.origin.iss') = ?`, db.millis(), o.Issuer)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, data []byte
		var l owned
		var of Origin
		if err := rows.Scan(&id, &l.user, &data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &of); err != nil {
			return nil, err
		}
		if copy(l.id[:], id); o.covers(of) {
			list = append(list, l)
		}
	}
	return list, rows.Err()
}

// covers says whether a login of the origin of ends with what was said of o.
func (o Origin) covers(of Origin) bool {
	switch {
	case o.Issuer != of.Issuer || o.Subject != "" && o.Subject != of.Subject:
		return false
	case o.Session == "" || o.Session == of.Session:
		return o.Subject != "" || o.Session != ""
	}
	return o.Subject != "" && of.Session == ""
}
