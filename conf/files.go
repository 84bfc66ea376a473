package conf

// filesOptions reads what only a route with files has, besides its fallback.
func filesOptions(r *Route, t *table) {
	compress, browse := forFiles(r, t.get("compress")), forFiles(r, t.get("browse"))
	if r.Files != nil {
		r.Files.Compress, r.Files.Browse = compress, browse
	}
}

// forFiles reads true or false, which only files have.
func forFiles(r *Route, v value) bool {
	on, ok := v.raw.(bool)
	switch {
	case !v.given():
	case !ok:
		v.must("true or false")
	case r.Files == nil:
		v.mistakeAtKey("%q is for files only", v.key)
	}
	return on
}
