package conf

import (
	"slices"
	"strings"
)

// framing are the fields that the engines own: a route that set them could make one response look like two.
var framing = []string{
	"connection", "content-length", "date", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// tokenChars are the bytes of a field's name (RFC 9110 section 5.6.2), in lower case.
const tokenChars = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"

// headers reads the response fields to set, sorted by name.
func headers(v value) []Header {
	return fieldRules(v, func(name string) string {
		if slices.Contains(framing, name) {
			return "edge makes it itself"
		}
		return ""
	})
}

// fieldRules reads fields to set or to remove, sorted by name. refused says what keeps a name, in lower case, from being set.
func fieldRules(v value, refused func(name string) string) []Header {
	t := v.table(v.key)
	first := map[string]Pos{}
	var hs []Header
	for _, key := range t.keys() {
		field := t.get(key)
		h := Header{Pos: field.place.key, Name: strings.ToLower(key), Value: field.text()}
		why := refused(h.Name)
		switch at, twice := first[h.Name]; {
		case h.Name == "" || strings.Trim(h.Name, tokenChars) != "":
			field.mistakeAtKey("%q is not the name of a header field", key)
		case why != "":
			field.mistakeAtKey("header %s cannot be set: %s", key, why)
		case twice:
			field.mistakeAtKey("header %s is already at %v", key, at)
		case strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			field.mistake("header %s holds a control byte", key)
		}
		first[h.Name] = h.Pos
		hs = append(hs, h)
	}
	slices.SortFunc(hs, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return hs
}
