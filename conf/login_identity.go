package conf

import (
	"slices"
	"strings"

	"edge/claim"
)

// Identity are the fields by which an app is told who asks. Their names are in lower case; "": it is not told.
type Identity struct {
	Pos                 Pos
	User, Groups, Email string
	JWT                 string // a signed token that says all of it; only with [login]
}

// names are those that are not "", folded as claim.Fold does.
func (i Identity) names() (list []string) {
	for _, name := range []string{i.User, i.Groups, i.Email, i.JWT} {
		if name != "" {
			list = append(list, string(claim.Fold(nil, []byte(name))))
		}
	}
	return list
}

// IdentityNames are all names of fields by which any app is told who asks, folded as claim.Fold does, without those that no client may send
// as it is (claim.Is). nil: there are no others.
func (c *Config) IdentityNames() map[string]bool {
	var all map[string]bool
	for _, v := range c.Vhosts {
		for _, name := range v.Identity.names() {
			if claim.Is([]byte(name)) {
				continue
			}
			if all == nil {
				all = map[string]bool{}
			}
			all[name] = true
		}
	}
	return all
}

// Asserts says whether any virtual host is told by a token.
func (c *Config) Asserts() bool {
	return slices.ContainsFunc(c.Vhosts, func(v *Vhost) bool { return v.Identity.JWT != "" })
}

var defaultIdentity = Identity{User: "remote-user", Groups: "remote-groups", Email: "remote-email"}

// identityOfLogin reads what [login] says for all virtual hosts.
func identityOfLogin(v value) Identity { return identity(v, defaultIdentity) }

// identityOfVhost reads what a virtual host says in place of it, key by key.
func (l *loader) identityOfVhost(v value) Identity {
	if l.config.Login != nil {
		return identity(v, l.config.Login.Identity)
	}
	i := identity(v, defaultIdentity)
	if i.JWT != "" && !l.hasLogin {
		v.mistake("identity: jwt needs a [login] table, there is none")
	}
	return i
}

func identity(v value, otherwise Identity) Identity {
	if !v.given() {
		otherwise.Pos = v.pos()
		return otherwise
	}
	t := v.table("identity")
	defer t.done()
	i := Identity{
		Pos: v.pos(), User: identityField(t.get("user"), otherwise.User), Groups: identityField(t.get("groups"), otherwise.Groups),
		Email: identityField(t.get("email"), otherwise.Email), JWT: identityField(t.get("jwt"), otherwise.JWT),
	}
	seen := map[string]bool{}
	for _, name := range i.names() {
		if seen[name] {
			v.mistake("identity: two of user, groups, email and jwt have the same name, or one that an app may take for it: %s", name)
			break
		}
		seen[name] = true
	}
	return i
}

// identityField reads the name of a field, "" for none.
func identityField(v value, otherwise string) string {
	if !v.given() {
		return otherwise
	}
	name := strings.ToLower(v.text())
	folded := claim.Fold(nil, []byte(name))
	switch {
	case strings.Trim(name, tokenChars) != "":
		v.mistake("%s = %q is not the name of a header field", v.key, name)
	case name != "" && len(folded) == 0, slices.Contains(notIdentity, string(folded)), claim.Is(folded) && !identifies(string(folded)):
		v.mistake(`%s cannot be %q: the field has another meaning`, v.key, name)
	}
	return name
}

// notIdentity are fields that apps have need of as clients send them.
var notIdentity = []string{
	"accept", "accept-encoding", "accept-language", "authorization", "content-encoding", "content-type", "cookie", "date", "origin", "range", "referer",
	"user-agent", "http2-settings", "via",
}

// identityPrefixes are how the names begin by which apps are used to be told who asks.
var identityPrefixes = []string{
	"remote-", "x-remote-", "x-forwarded-user", "x-forwarded-groups", "x-forwarded-email", "x-forwarded-preferred-username", "x-auth-request-",
	"x-authentik-", "x-webauth-", "x-token-", "x-vouch-", "x-edge-",
}

// identifies says whether a field that clients may not send is one that tells who asks.
func identifies(folded string) bool {
	return folded != "remote-addr" && slices.ContainsFunc(identityPrefixes, func(p string) bool { return strings.HasPrefix(folded, p) })
}

// identityAlone reports request_headers that set or remove what tells some app who asks.
func (l *loader) identityAlone() {
	names := l.config.IdentityNames()
	told := map[Pos]bool{}
	for _, v := range l.config.Vhosts {
		for _, r := range v.Routes {
			for _, h := range r.RequestHeaders {
				if names[string(claim.Fold(nil, []byte(h.Name)))] && !told[h.Pos] {
					told[h.Pos] = true
					l.mistake(h.Pos, "header %s cannot be set: identity names it, so edge alone says it", h.Name)
				}
			}
		}
	}
}
