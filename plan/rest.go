package plan

import (
	"cmp"
	"path/filepath"
	"strings"

	"edge/conf"
)

// certificates compares the certificates by their file, or folder; one that is for the same hosts is the same from another file.
func (d *differ) certificates() {
	for _, p := range pair(d.old.Certificates, d.new.Certificates, certificateFile, func(c *conf.Certificate) string { return "for " + text(c.Hosts) }) {
		was, is := p[0], p[1]
		switch {
		case was == nil:
			d.add(Adds, d.called(is), []Key{{"hosts", "", text(is.Hosts)}}, none)
		case is == nil:
			d.add(Removes, d.called(was), []Key{{"hosts", text(was.Hosts), ""}}, none)
		default:
			d.compare(d.called(was), certificateFacts(was), certificateFacts(is))
		}
	}
	first := func(cfg *conf.Config) string {
		if len(cfg.Certificates) == 0 {
			return ""
		}
		return certificateFile(cfg.Certificates[0])
	}
	if was, is := first(d.old), first(d.new); was != "" && is != "" {
		d.compare("certificates", []fact{{"shown to who names no host", was, none}}, []fact{{"shown to who names no host", is, none}})
	}
}

func certificateFile(c *conf.Certificate) string {
	if c.Issuer == "dev" {
		return "dev in " + c.Dir
	}
	return c.Cert.Path
}

// called names a certificate as the file does: by a path that starts at the file's folder, where it lies below.
func (d *differ) called(c *conf.Certificate) string {
	if c.Issuer == "dev" {
		return "certificate dev for " + text(c.Hosts)
	}
	path := c.Cert.Path
	if rel, err := filepath.Rel(filepath.Dir(d.new.File), path); err == nil && !strings.HasPrefix(rel, "..") {
		path = rel
	}
	return "certificate " + path
}

// certificateFacts are what a [[certificate]] says. A handshake finds the certificate in force; connections keep what they were shown.
func certificateFacts(c *conf.Certificate) []fact {
	return []fact{
		{"hosts", c.Hosts, none}, {"issuer", c.Issuer, none}, {"cert", c.Cert, none}, {"key", c.Key, none}, {"ocsp", c.OCSP, none},
		{"dir", c.Dir, none}, {"default", c.Default, none},
	}
}

// rest compares what there is once.
func (d *differ) rest() {
	d.login()
	// edge/draft.go, draft
	fixed := cost{words: "refused while edge runs: stop it and start it anew"}
	d.compare("state_dir", []fact{{"state_dir", d.old.StateDir, fixed}}, []fact{{"state_dir", d.new.StateDir, fixed}})
	d.compare("drain", drainFacts(d.old.Drain), drainFacts(d.new.Drain))
	d.compare("upgrade", upgradeFacts(d.old.Upgrade), upgradeFacts(d.new.Upgrade))
	d.compare("reload", []fact{{"deadline", d.old.Reload.Deadline, none}}, []fact{{"deadline", d.new.Reload.Deadline, none}})
	d.compare("log", logFacts(d.old.Log), logFacts(d.new.Log))
}

func (d *differ) login() {
	was, is := d.old.Login, d.new.Login
	switch {
	case was == nil && is == nil:
	case was == nil:
		d.add(Adds, "login", []Key{{"host", "", is.Host}}, none)
	case is == nil: // the stores live as long as the process (edge/login.go, openLogin)
		d.add(Removes, "login", []Key{{"host", was.Host, ""}}, cost{words: "accounts and sessions are kept, and count again once there is a login"})
	default:
		d.compare("login", loginFacts(was), loginFacts(is))
		d.providers(was.Providers, is.Providers)
	}
}

// loginFacts are what [login] says. Sessions are looked at by each request, under what is in force (sessions.New).
func loginFacts(l *conf.Login) []fact {
	at := cost{words: "the browsers' cookies are the old host's: who wants to enter another vhost logs in again", loses: true}
	all := cost{words: "holds for sessions that are open, too"}
	port := any("as browsers say")
	if l.Port != 0 {
		port = l.Port
	}
	return []fact{{"host", l.Host, at}, {"public_port", port, none}, {"registration", string(l.Registration), none}, {"idle", l.Idle, all}, {"lifetime", l.Lifetime, all},
		{"title", l.Title, none}, {"logo", l.Logo.Path, none}, {"color", l.Color, none}, {"templates", l.Templates.Path, none},
		{"audit", cmp.Or(l.Audit, "off"), none}, {"identity", identity(l.Identity), none},
		{"local", !l.Elsewhere, none}}
}

func drainFacts(c conf.Drain) []fact {
	return []fact{{"spread", c.Spread, none}, {"stop", c.Stop, none}, {"hard", c.Hard, none}}
}

func upgradeFacts(c conf.Upgrade) []fact {
	return []fact{{"ready", c.Ready, none}, {"probation", c.Probation, none}, {"max_generations", c.MaxGenerations, none}}
}

// logFacts are what [log] says. The file is kept by its path (edge/accesslog, Open).
func logFacts(c conf.Log) []fact {
	moves := cost{words: "requests in flight are still written to the old file; no connection is touched"}
	return []fact{
		{"access", c.Access, moves}, {"format", string(c.Format), none}, {"hide", c.Hide, none}, {"return_id", c.ReturnID, none}, {"level", c.Level, none},
	}
}
