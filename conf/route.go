package conf

import (
	"errors"
	"fmt"
	"strings"
)

// route reads what a [[vhost]] and a [[vhost.route]] have in common into r, which holds what is inherited. It says whether there
// is an action, good or bad.
func (l *loader) route(t *table, r Route) (*Route, bool) {
	r.Pos = t.pos()
	inherited := r.Access.SecondFactor
	if v := t.get("access"); v.given() {
		r.Access = l.access(v)
	}
	r.Access.SecondFactor = l.require(t.get("require"), inherited, r.Access)
	r.MaxBody = t.get("max_body").size(r.MaxBody)
	l.rules(t, &r.Rules)
	stripPrefix(&r, t.get("strip_prefix"))
	acts := l.action(t, &r)
	filesOptions(&r, t)
	return &r, acts
}

// pathChars are the bytes of a path that stand for themselves (RFC 3986 section 3.3). A request holds any other byte
// percent-encoded, and one that finds different routes before and after decoding is refused: a route with such a byte never answers.
const pathChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/"

// routePath reads a path; "" is returned for none, and after a mistake.
func routePath(v value) string {
	s := v.str()
	if s == "" {
		return ""
	}
	if err := checkPath(s); err != nil {
		v.mistake("path %q %v", s, err)
		return ""
	}
	if strings.Contains(s, ";") {
		v.mistake(`path %q holds ";", where apps end a segment: it is no path of its own`, s)
		return ""
	}
	if s == "/.edge" || strings.HasPrefix(s, "/.edge/") {
		v.mistake("path %q is reserved: edge answers below /.edge/ itself", s)
		return ""
	}
	if below, all := strings.CutSuffix(s, "/*"); all {
		v.mistake(`path %q must end without "*": all below it is %q`, s, below+"/")
		return ""
	}
	return s
}

// checkPath says what keeps s from being a path in the form in which requests are matched.
func checkPath(s string) error {
	if s[0] != '/' {
		return errors.New(`must start with "/"`)
	}
	if bad := strings.TrimLeft(s, pathChars); bad != "" {
		return fmt.Errorf("holds %q, which has no place in a path", []rune(bad)[0])
	}
	if strings.Contains(s, "//") {
		return errors.New(`holds "//"`)
	}
	for segment := range strings.SplitSeq(s, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("holds the dot segment %q", segment)
		}
	}
	return nil
}
