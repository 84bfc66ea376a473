package conf

import (
	"path/filepath"
	"strings"
)

func (l *loader) certificate(t *table) *Certificate {
	defer t.done()
	c := &Certificate{Pos: t.pos(), Hosts: hosts(t.get("hosts"))}
	l.defaultCertificate(c, t.get("default"))
	cert, key, dir, ocsp := t.get("cert"), t.get("key"), t.get("dir"), t.get("ocsp")
	c.Issuer = l.issuer(t, cert.given() || key.given())
	switch c.Issuer {
	case "files":
		c.Cert, c.Key, c.OCSP = t.need("cert").path(), t.need("key").path(), ocsp.path()
		t.refuse(`is for issuer = "dev"`, "dir")
	case "dev":
		t.refuse(`is for issuer = "files"`, "cert", "key", "ocsp")
		t.need("hosts")
		l.developmentHosts(c.Hosts)
		c.Dir = filepath.Join(l.config.StateDir, "certs")
		if dir.given() {
			c.Dir = dir.path().Path
		}
	}
	return c
}

// defaultCertificate reads whether c is the one for names that none is for.
func (l *loader) defaultCertificate(c *Certificate, v value) {
	c.Default = v.boolean(false)
	for _, other := range l.config.Certificates {
		if c.Default && other.Default {
			v.mistakeAtKey("the default certificate is already at %v", other.Pos)
			return
		}
	}
}

// issuer returns "files", "dev", or "" after a mistake. Without a word, files mean "files".
func (l *loader) issuer(t *table, files bool) string {
	v := t.get("issuer")
	switch {
	case v.raw == any("acme"):
		v.mistake("%s = %q %s", v.key, v.raw, notBuilt)
	case v.given():
		return v.oneOf("", "files", "dev")
	case files:
		return "files"
	default:
		l.mistake(t.pos(), `%s needs "cert" and "key", or issuer = "dev"`, t.name)
	}
	return ""
}

// developmentHosts reports the names that the development authority cannot sign for.
func (l *loader) developmentHosts(hosts []Host) {
	for _, h := range hosts {
		if !developmentHost(h.Name) {
			l.mistake(h.Pos, `issuer "dev" is for localhost, names below .localhost, 127.0.0.1 and ::1, not for %q`, h.Name)
		}
	}
}

// developmentHost says whether a name lies within the name constraints of the development authority.
func developmentHost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "127.0.0.1" || name == "::1"
}

// certificateForTLS reports listeners that could not answer any handshake.
func (l *loader) certificateForTLS() {
	if len(l.config.Certificates) > 0 {
		return
	}
	for _, ln := range l.config.Listeners {
		if ln.Protocol.TLS() && (ln.Proxy != nil || len(ln.SNI) == 0) {
			l.mistake(ln.Pos, "protocol %q needs a [[certificate]]", ln.Protocol)
		}
	}
}
