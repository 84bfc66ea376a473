package conf

import (
	"strings"

	"edge/username"
)

// known says whether an access was given, and without a mistake.
func (a Access) known() bool {
	return a.Public || a.Login || len(a.Users) > 0 || len(a.Groups) > 0
}

// access reads who may pass. After a mistake it is nobody.
func (l *loader) access(v value) Access {
	a := Access{Pos: v.pos()}
	items := v.list()
	for _, item := range items {
		switch s := item.str(); {
		case s == "":
		case s != "public" && s != "login" && item.raw == v.raw:
			v.mistake(`access must be "public", "login", or a list of who: [%q]`, s)
		case s != "public" && s != "login":
			a.addWho(item, s)
		case len(items) > 1:
			item.mistake("access %q stands alone, not in a list with others", s)
		default:
			a.Public, a.Login = s == "public", s == "login"
		}
	}
	if a.known() && a.NeedsLogin() && !l.hasLogin {
		v.mistake("access for some needs a [login] table, there is none")
	}
	return a
}

// addWho adds one user or group, in the form in which accounts are kept.
func (a *Access) addWho(v value, s string) {
	who, list := s, &a.Users
	if group, ok := strings.CutPrefix(s, "group:"); ok {
		who, list = group, &a.Groups
	}
	name, err := username.Canonical(who)
	if err != nil {
		v.mistake(`access %q must be "public", "login", a user or "group:" and a group; %v`, s, err)
		return
	}
	*list = append(*list, name)
}

// accessGiven makes sure that every route of v has an access. Once there is a login it must be said: what was forgotten would be
// open to everyone, or to nobody.
func (l *loader) accessGiven(v *Vhost) {
	said := true
	for _, r := range v.Routes {
		if r.Access.Pos != (Pos{}) {
			continue
		}
		said = false
		r.Access = Access{Pos: r.Pos, Public: true}
	}
	if !said && l.hasLogin {
		l.mistake(v.Pos, `[[vhost]] needs "access" because there is a [login]: "public", "login" (anyone with an account), `+
			`or who: ["group:staff", "alice"]`)
	}
}
