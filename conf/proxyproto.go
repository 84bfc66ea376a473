package conf

import "slices"

// announces reads which version of the PROXY header an upstream's targets get; 0: none.
func (l *loader) announces(u *Upstream, v value) int {
	word := v.oneOf("", "v1", "v2")
	i := slices.IndexFunc(u.Targets, func(t Target) bool { return t.Scheme != "tcp" && t.Scheme != "unix" })
	switch {
	case word == "":
		return 0
	case i >= 0:
		v.mistakeAtKey("%q is for tcp and unix targets that bytes are relayed to: connections to %s targets carry the requests of many clients", v.key, u.Targets[i].Scheme)
		return 0
	}
	return int(word[1] - '0')
}
