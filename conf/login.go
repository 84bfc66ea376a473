package conf

import (
	"slices"
	"strings"
	"time"
)

func (l *loader) login(v value) {
	if !v.given() {
		return
	}
	l.hasLogin = true
	t := v.table("[login]")
	defer t.done()
	l.loginHost = exactHost(t.need("host"))
	lg := &Login{Pos: t.pos(), Host: l.loginHost.Name, Registration: registration(t.get("registration"))}
	lg.Port = t.get("public_port").integer(0, 1, 65535)
	lg.theme(t)
	lg.Audit, lg.AuditPos = l.audit(t.get("audit"), t.pos())
	lg.Identity = identityOfLogin(t.get("identity"))
	l.providers(t, lg)
	idle := t.get("idle")
	lg.Idle = idle.duration(12 * time.Hour)
	lg.Lifetime = t.get("lifetime").duration(168 * time.Hour)
	if lg.Idle > lg.Lifetime {
		idle.mistake("idle, %s, must not be longer than lifetime, %s", written(lg.Idle), written(lg.Lifetime))
	}
	https := func(ln *Listener) bool { return ln.Protocol == HTTPS }
	if !slices.ContainsFunc(l.config.Listeners, https) {
		l.mistake(lg.Pos, "[login] needs an https listener: its pages take passwords")
	}
	l.config.Login = lg
}

func registration(v value) Registration {
	return Registration(v.oneOf(string(Closed), string(Closed), string(Invite), string(Open)))
}

// warnOpen warns where anybody may let themselves in.
func (l *loader) warnOpen() {
	if l.config.Login == nil || l.config.Login.Registration != Open {
		return
	}
	var routes []string
	for _, v := range l.config.Vhosts {
		for _, r := range v.Routes {
			if r.Access.Login {
				routes = append(routes, v.ID+r.Path)
			}
		}
	}
	if len(routes) > 0 {
		l.warn(l.config.Login.Pos, `anybody can make an account, and access = "login" lets them in: %s`, strings.Join(routes, ", "))
	}
}
