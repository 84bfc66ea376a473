package proxy

import (
	"strings"

	"edge/claim"
	"edge/conf"
	"edge/edge/wire"
)

// Identity is by which fields an upstream is told who asks. It does not change, and is safe for concurrent use.
type Identity struct {
	user, groups, email, assertion []byte // in lower case; nil: it is not told
	names                          map[string]bool
}

// NewIdentity makes what a configuration says. names are those of all virtual hosts, conf.Config.IdentityNames: no client's field of such a name
// goes to any upstream.
func NewIdentity(c conf.Identity, names map[string]bool) *Identity {
	return &Identity{user: []byte(c.User), groups: []byte(c.Groups), email: []byte(c.Email), assertion: []byte(c.JWT), names: names}
}

var defaultIdentity = NewIdentity(conf.Identity{User: "remote-user", Groups: "remote-groups", Email: "remote-email"}, nil)

// claims says whether a field, its name in lower case, tells some upstream who asks, or may be taken for one that does.
func (i *Identity) claims(name []byte) bool {
	if i == nil || i.names == nil {
		return false
	}
	var room [64]byte
	return i.names[string(claim.Fold(room[:0], name))]
}

// tell adds the fields that say who asks. What holds a control byte is not said: names and groups may come from elsewhere. They stand as long as
// the scratch does.
func (i *Identity) tell(f wire.Fields, x *wire.Exchange, s *fieldScratch) wire.Fields {
	if i == nil {
		i = defaultIdentity
	}
	f = i.add(f, i.user, s.add(x.User))
	if len(i.groups) > 0 {
		f = i.add(f, i.groups, s.addGroups(x.Groups))
	}
	f = i.add(f, i.email, s.add(x.Email))
	return i.add(f, i.assertion, s.add(x.Assertion))
}

func (i *Identity) add(f wire.Fields, name, value []byte) wire.Fields {
	if len(name) == 0 || len(value) == 0 || !printable(value) {
		return f
	}
	return append(f, wire.Field{Name: name, Value: value})
}

// printable says whether text has no control byte, and neither begins nor ends with a space, which an app would not see.
func printable[text string | []byte](v text) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] == 0x7f {
			return false
		}
	}
	return len(v) == 0 || v[0] != ' ' && v[len(v)-1] != ' '
}

// addGroups is add for groups, with commas between them. One with a comma in it would be two, of which its owner may be in neither: it is left out.
func (s *fieldScratch) addGroups(groups []string) []byte {
	start := len(s.text)
	for _, g := range groups {
		if g == "" || strings.Contains(g, ",") || !printable(g) {
			continue
		}
		if len(s.text) > start {
			s.text = append(s.text, ',')
		}
		s.text = append(s.text, g...)
	}
	return s.text[start:]
}
