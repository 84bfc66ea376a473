package conf

import "strings"

// filesOptions reads what only a route with files has.
func filesOptions(r *Route, t *table) {
	for _, key := range []string{"fallback", "compress", "browse"} {
		if v := t.get(key); v.given() && r.Files == nil {
			v.mistakeAtKey("%q is for files only", key)
		}
	}
	f := r.Files
	if f == nil {
		f = new(Files)
	}
	f.Fallback = fallback(t.get("fallback"))
	f.Compress, f.Browse = t.get("compress").boolean(false), t.get("browse").boolean(false)
}

func fallback(v value) string {
	s := v.str()
	if s == "" {
		return ""
	}
	if strings.HasSuffix(s, "/") {
		v.mistake("fallback %q must be a file, not a folder", s)
	} else if err := checkPath(s); err != nil {
		v.mistake("fallback %q %v", s, err)
	}
	return s
}
