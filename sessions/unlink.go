package sessions

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"edge/conf"
)

// unlink is the end of a way in by a provider, as who is signed in wishes: it takes what a change of second factors takes, and another way that is left. The
// logins by that provider's word end with it, this browser's as well if it is one.
func (p *loginPages) unlink(w http.ResponseWriter, r *http.Request, at *conf.Provider) {
	l, _, _, ok := p.sure(w, r, "")
	if !ok {
		return
	}
	err := p.users.Forgo(r.Context(), l.User, at.Issuer, p.ways())
	if err == nil {
		p.note(r, Entry{Event: EventUnlinked, User: l.User, Session: l.id.String(), Detail: at.Name})
	}
	if err == nil || errors.Is(err, ErrNotLinked) { // in another tab: those logins may still be ending
		err = p.db.endFrom(r.Context(), l.User, at.Issuer)
	}
	switch {
	case errors.Is(err, ErrLastWay):
		p.noteRefused(r, EventUnlinked, l.User, err)
		p.refuseAccount(w, r, l, place{"providers", at.Title}, err)
	case err != nil:
		p.down(w, r, err)
	case l.issuer() == at.Issuer:
		redirect(w, "/logged-out")
	default:
		done(w, "unlinked")
	}
}

// ways are those by which this configuration lets people in who have no login. A passkey is none: it opens no account without a password by itself.
func (p *loginPages) ways() Ways {
	ways := Ways{Password: !p.conf.Elsewhere}
	for _, at := range p.conf.Providers {
		ways.Issuers = append(ways.Issuers, at.Issuer)
	}
	return ways
}

// endFrom ends the logins of a user that were made by a provider's word.
func (db *DB) endFrom(ctx context.Context, user, issuer string) error {
	_, err := db.endWhere(ctx, "user = ? AND json_extract(data, '$.origin.iss') = ?", user, issuer)
	return err
}

// stillLinked ends a login by a provider's word, which has just been made, where the account is no longer linked there: ErrNotLinked. Unlinking ends
// logins after the link, so whichever of the two comes first, none is left.
func (p *loginPages) stillLinked(w http.ResponseWriter, r *http.Request, l *live) error {
	if l.Origin == nil {
		return nil
	}
	issuers, err := p.users.LinkedAt(r.Context(), l.User)
	if err == nil && slices.Contains(issuers, l.Origin.Issuer) {
		return nil
	}
	if err == nil || errors.Is(err, ErrNoUser) {
		err = ErrNotLinked
	}
	http.SetCookie(w, newCookie(ssoCookie, "", -1))
	if ended := p.db.end(r.Context(), l.id); ended != nil {
		return ended
	}
	return err
}
