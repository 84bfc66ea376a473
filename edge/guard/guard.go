// Package guard decides who may pass: an Exchange and what sessions knows of its cookie become a pass, a way to the login, 401 or 403.
package guard

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"edge/conf"
	"edge/edge/wire"
	"edge/sessions"
)

// Sessions is what the guard asks. A *sessions.Service is one.
type Sessions interface {
	Lookup(cookie []byte, vhost string) (*sessions.Identity, error)
	Peek(cookie []byte, vhost string) (*sessions.Identity, error)
	Begin(vhost, authority, target string, cookie []byte) (location string, setCookies []string, err error)
	StepUp(vhost, authority, target string, cookie []byte) (location string, setCookies []string, err error)
	Forbidden(who *sessions.Identity) http.Handler
	Assert(who *sessions.Identity, vhost string) (token string, err error)
}

// Place is where an upgrade was let in.
type Place struct{ Listener, Vhost, Host, Path string }

// Rules says what the configuration in force has for a place: whose sessions count, and who may pass. Not ok: it has nothing for it any more.
// Nil has never anything.
type Rules func(Place) (s Sessions, a conf.Access, ok bool)

// Allows says whether a rule lets who pass; nil is anybody.
func Allows(a conf.Access, who *sessions.Identity) bool {
	switch {
	case a.Public:
		return true
	case who == nil:
		return false
	case a.Login || slices.Contains(a.Users, who.User):
		return true
	}
	return slices.ContainsFunc(who.Groups, func(g string) bool { return slices.Contains(a.Groups, g) })
}

// Pass says whether x may pass, and then has written into it who asks; else x has been answered. A store that does not answer lets nobody pass.
// An upgrade that passes is asked about later, by what rules say then.
func Pass(x *wire.Exchange, s Sessions, vhost string, a conf.Access, rules Rules) bool {
	if a.Public {
		return true
	}
	cookie, n := x.Fields.Get("cookie")
	if n > 1 {
		cookie = nil // two Cookie fields: which one an upstream would read is anybody's guess
	}
	who, err := s.Lookup(cookie, vhost)
	switch {
	case err != nil:
		x.Record.Err = err
		wire.ReplyText(x, http.StatusServiceUnavailable, "The login service does not answer. Please try again in a moment.")
		return false
	case who == nil:
		unknown(x, s, vhost, a, cookie)
		return false
	}
	x.Record.User = who.User
	switch {
	case !Allows(a, who):
		wire.HTTP(s.Forbidden(who)).Serve(x)
		return false
	case !proved(a, who):
		unknown(x, s, vhost, a, cookie)
		return false
	case !stays(x):
		return false
	}
	token, err := s.Assert(who, vhost)
	if err != nil {
		x.Record.Err = err
		wire.ReplyText(x, http.StatusInternalServerError, "The login could not be told to the site.")
		return false
	}
	x.User, x.Groups, x.Email, x.Assertion = who.User, who.Groups, who.Email, token
	if x.Upgrade != nil {
		at := Place{x.Record.Listener, vhost, string(x.Host), string(x.Path)}
		x.Holds = holds(bytes.Clone(cookie), at, s, a, rules)
	}
	x.KeepPrivate()
	return true
}

// unheard is how long a connection that outlives its request stays while the store does not answer whether it may.
const unheard = 10 * time.Second

// proved says whether who has proved as much as a rule wants.
func proved(a conf.Access, who *sessions.Identity) bool {
	return !a.SecondFactor || who.Level >= sessions.AAL2
}

// holds asks again what Pass has decided, of the session that was let in and by the rule of now; where there is none any more, by the last there was.
// A place that became public still ends with the session: its app was told whose it is.
func holds(cookie []byte, at Place, s Sessions, a conf.Access, rules Rules) func() bool {
	var since time.Time // when the store was first found not to answer; zero: it does
	return func() bool {
		if rules != nil {
			if sNow, aNow, ok := rules(at); ok {
				s, a = sNow, aNow
			}
		}
		who, err := s.Peek(cookie, at.Vhost)
		switch {
		case err == nil:
			since = time.Time{}
			return who != nil && Allows(a, who) && proved(a, who)
		case since.IsZero():
			since = time.Now()
		}
		return time.Since(since) < unheard
	}
}

// unknown sends a person to the login and tells a program that it needs one. Only a navigation starts a login: a page's many
// background requests would fill the cookie jar with flows that nobody finishes. Who is known too little is unknown: the login asks for no
// more than what is missing.
func unknown(x *wire.Exchange, s Sessions, vhost string, a conf.Access, cookie []byte) {
	begin, first := s.Begin, "Log in first."
	if a.SecondFactor {
		begin, first = s.StepUp, "Log in with a second factor first."
	}
	if !navigation(x) {
		wire.ReplyText(x, http.StatusUnauthorized, first, field("cache-control", "no-store"))
		return
	}
	location, cookies, err := begin(vhost, string(x.Authority), x.Target(), cookie)
	if err != nil {
		x.Record.Err = err
		wire.ReplyText(x, http.StatusInternalServerError, "The login could not be started.")
		return
	}
	more := []wire.Field{field("location", location), field("cache-control", "no-store")}
	for _, c := range cookies {
		more = append(more, field("set-cookie", c))
	}
	wire.Reply(x, http.StatusFound, "text/plain; charset=utf-8", first+"\n", more...)
}

func field(name, value string) wire.Field {
	return wire.Field{Name: []byte(name), Value: []byte(value)}
}

// navigation says whether a person waits for a page: by the fetch metadata that browsers send, else by the wish for HTML.
func navigation(x *wire.Exchange) bool {
	if m := string(x.Method); m != http.MethodGet && m != http.MethodHead || x.Upgrade != nil {
		return false
	}
	if mode, n := x.Fields.Get("sec-fetch-mode"); n > 0 {
		dest, _ := x.Fields.Get("sec-fetch-dest")
		return n == 1 && string(mode) == "navigate" && string(dest) == "document"
	}
	accept, _ := x.Fields.Get("accept")
	return strings.Contains(string(accept), "text/html")
}

// stays says whether x is no upgrade that a foreign page asks for; else x has been answered.
func stays(x *wire.Exchange) bool {
	if x.Upgrade == nil || sameOrigin(x) {
		return true
	}
	x.Record.Err = errors.New("an upgrade from a foreign origin")
	wire.ReplyText(x, http.StatusForbidden, "This page may not open a connection to this site.")
	return false
}

// sameOrigin says whether an upgrade comes from a page of this very site. A WebSocket carries cookies and passwords from any page and answers to
// no preflight, so this is what stands between a foreign page and the session (cross-site WebSocket hijacking).
func sameOrigin(x *wire.Exchange) bool {
	if site, n := x.Fields.Get("sec-fetch-site"); n > 0 && string(site) != "same-origin" && string(site) != "none" {
		return false
	}
	origin, n := x.Fields.Get("origin")
	if n == 0 {
		return true // no browser
	}
	u, err := url.Parse(string(origin))
	return err == nil && n == 1 && u.Scheme == string(x.Scheme) && strings.EqualFold(u.Host, string(x.Authority))
}
