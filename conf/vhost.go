package conf

// vhost reads a [[vhost]] and its routes, its own action first.
func (l *loader) vhost(t *table) *Vhost {
	defer t.done()
	v := &Vhost{Pos: t.pos(), Hosts: hosts(t.need("hosts")), Maintenance: maintenance(t.get("maintenance")), ErrorPages: errorPages(t.get("error_pages"))}
	if len(v.Hosts) > 0 {
		v.ID = v.Hosts[0].Name
	}
	v.Identity = l.identityOfVhost(t.get("identity"))
	own, acts := l.route(t, Route{Path: "/"})
	v.Rules = own.Rules
	if acts {
		v.Routes = append(v.Routes, own)
	}
	routes := t.get("route").tables("[[vhost.route]]")
	for _, rt := range routes {
		r, acts := l.route(rt, Route{Path: routePath(rt.need("path")), Access: own.Access, MaxBody: own.MaxBody, Rules: own.Rules})
		proxyRules(rt)
		rt.done()
		if !acts {
			l.needsAction(r.Pos, rt.name, "")
		}
		v.Routes = append(v.Routes, r)
	}
	if !acts && len(routes) == 0 {
		l.needsAction(v.Pos, t.name, "; or a [[vhost.route]]")
	}
	proxyRules(t, routes...)
	l.uniquePaths(v)
	l.accessGiven(v)
	l.basicAuths(v)
	l.vhostListeners(v, t.get("listeners"))
	l.vhostTLS(v, t.get("tls"))
	return v
}

// vhostListeners reads which listeners serve v: by default every https one.
func (l *loader) vhostListeners(v *Vhost, names value) {
	if !names.given() {
		for _, ln := range l.config.Listeners {
			if ln.Protocol == HTTPS {
				v.Listeners = append(v.Listeners, ln)
			}
		}
		if len(v.Listeners) == 0 {
			l.mistake(v.Pos, `[[vhost]] needs "listeners": there is no https listener, which is the default`)
		}
		return
	}
	for _, item := range names.list() {
		if ln := l.vhostListener(v, item); ln != nil {
			v.Listeners = append(v.Listeners, ln)
		}
	}
}

// vhostListener reads one listener's name and reports why it cannot serve v.
func (l *loader) vhostListener(v *Vhost, item value) *Listener {
	name := item.str()
	if name == "" {
		return nil
	}
	ln := l.listeners[name]
	if ln == nil {
		item.mistake("no [[listener]] is named %q%s", name, didYouMean(name, namesOf(l.listeners)))
		return nil
	}
	switch {
	case ln.Protocol == TCP || ln.Protocol == TLS:
		item.mistake("listener %q speaks %s: it relays bytes and serves no [[vhost]]", name, ln.Protocol)
	case ln.Protocol == Metrics:
		item.mistake("listener %q speaks metrics: it answers for edge itself and serves no [[vhost]]", name)
	case ln.RedirectTo != nil:
		item.mistake("listener %q serves no [[vhost]]: it has redirect_to, %v", name, ln.Pos)
	case ln.Protocol == HTTP:
		l.refuseLogin(v, item)
		l.refusePasswords(v, item)
	}
	for _, other := range v.Listeners {
		if other == ln {
			item.mistake("listener %q is named twice", name)
			return nil
		}
	}
	return ln
}

// refuseLogin reports a route that needs a session where the session's cookie could be read by anyone on the way.
func (l *loader) refuseLogin(v *Vhost, listener value) {
	for _, r := range v.Routes {
		if r.Access.known() && r.Access.NeedsLogin() {
			listener.mistake("listener %q is plain http, and %s needs login, %v: sessions need https", listener.raw, r.Path, r.Access.Pos)
			return
		}
	}
}

func (l *loader) uniquePaths(v *Vhost) {
	first := map[string]Pos{}
	for _, r := range v.Routes {
		if at, ok := first[r.Path]; ok && r.Path != "" {
			l.mistake(r.Pos, "path %q is already at %v", r.Path, at)
			continue
		}
		first[r.Path] = r.Pos
	}
}

// uniqueHosts reports a host that two vhosts answer for on the same listener, or that is the login pages' own.
func (l *loader) uniqueHosts() {
	type key struct {
		ln   *Listener
		host string
	}
	first := map[key]Pos{}
	for _, v := range l.config.Vhosts {
		for _, h := range v.Hosts {
			if h.Name == l.loginHost.Name {
				l.mistake(h.Pos, "%q is the host of [login], %v: edge serves its own pages there", h.Name, l.loginHost.Pos)
			}
			for _, ln := range v.Listeners {
				if at, ok := first[key{ln, h.Name}]; ok {
					l.mistake(h.Pos, "host %q on listener %q is already at %v", h.Name, ln.Name, at)
					break
				}
				first[key{ln, h.Name}] = h.Pos
			}
		}
	}
}
