package conf

import "path/filepath"

// audit reads where the audit log lies: a file in the state directory if nothing else is said, none for "off".
func (l *loader) audit(v value, login Pos) (path string, at Pos) {
	switch {
	case !v.given():
		return filepath.Join(l.config.StateDir, "audit.log"), login
	case v.raw == any("off"):
		return "", v.pos()
	}
	f := v.path()
	if f.Path != "" && f.Path == l.config.Log.Access {
		v.mistake("audit must not be the access log's file")
	}
	return f.Path, v.pos()
}
