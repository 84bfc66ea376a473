package edge

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"edge/conf"
	"edge/edge/forwarded"
	"edge/edge/metrics"
	"edge/edge/proxy"
	"edge/edge/record"
	"edge/edge/serve"
	"edge/edge/static"
	"edge/edge/tunnel"
	"edge/edge/wire"
	"edge/listeners"
	"edge/sessions"
)

// compile makes the tables that requests are matched by.
func (snap *Snapshot) compile(s *Server, sockets *listeners.Draft) {
	cfg := snap.conf
	snap.identityNames = cfg.IdentityNames()
	snap.keepFiles(s.live.Load())
	ports := ports(sockets)
	if cfg.Login != nil {
		snap.rulesNow = s.ruleInForce
		snap.login = sessions.New(s.sessions, s.users, cfg.Login, hosts{snap}).Dressed(snap.theme)
		snap.login.Audit = snap.audit
		snap.login.Providers = snap.elsewhere()
		snap.login.SetAssertions(snap.assertions)
	}
	for _, l := range cfg.Listeners {
		c := &listener{conf: l, port: ports[l.Name], trust: trust(l)}
		if l.Protocol == conf.Metrics {
			c.own = s.ownSite(l.Pprof)
		} else {
			c.strays = snap.counter(s, noSite)
		}
		if l.Protocol != conf.TLS || l.Proxy != nil { // else no TLS is ended here
			c.tls = snap.settings(l, nil)
		}
		if l.Protocol == conf.HTTPS && cfg.Login != nil {
			c.sites.Add(cfg.Login.Host, loginSite(cfg.Login.Host, snap.login, snap.counter(s, cfg.Login.Host)).on(snap, l, nil))
		}
		if l.RedirectTo != nil {
			c.redirect = suffix(l.RedirectTo, ports[l.RedirectTo.Name])
		}
		snap.listeners[l.Name] = c
	}
	for _, v := range cfg.Vhosts {
		site := snap.site(v, &s.tunnels)
		site.counter = snap.counter(s, v.ID)
		if s.Fault == serve.FaultPanics && s.generation > 1 {
			site.paths = panicking()
		}
		for _, l := range v.Listeners {
			here := site.on(snap, l, v)
			for _, h := range v.Hosts {
				snap.listeners[l.Name].sites.Add(h.Name, here)
			}
		}
	}
}

// ports gives the port of each listener's first TCP socket.
func ports(sockets *listeners.Draft) map[string]int {
	ports := map[string]int{}
	for socket, name := range sockets.Sockets() {
		if tcp, ok := socket.Addr().(*net.TCPAddr); ok && ports[name] == 0 {
			ports[name] = tcp.Port
		}
	}
	return ports
}

// suffix gives ":port" as a URL wants it: nothing where the scheme implies the port.
func suffix(l *conf.Listener, port int) string {
	if port == 0 || port == map[conf.Protocol]int{conf.HTTP: 80, conf.HTTPS: 443}[l.Protocol] {
		return ""
	}
	return ":" + strconv.Itoa(port)
}

func loginSite(host string, login *sessions.Service, counter *metrics.Site) *site {
	pages := unlogged(login.Pages())
	s := &site{id: host, counter: counter, pages: pages}
	s.paths.Add("/", &route{path: "/", access: conf.Access{Public: true}, handler: pages})
	return s
}

// unlogged serves the login's pages. What their queries hold is nobody's to read in a log: codes, invitations, sealed requests.
func unlogged(pages http.Handler) wire.Handler {
	adapted := wire.HTTP(pages)
	return wire.HandlerFunc(func(x *wire.Exchange) {
		x.Record.Query = nil
		adapted.Serve(x)
	})
}

func (snap *Snapshot) site(v *conf.Vhost, tunnels *tunnel.Registry) *site {
	s := &site{id: v.ID, rules: snap.rules(v.ID, "", &v.Rules), closed: snap.closed(v.Maintenance), errors: snap.pages(v.ErrorPages)}
	for _, r := range v.Routes {
		s.access = append(s.access, r.Access)
		rules := snap.rules(v.ID, limitPath(v, r), &r.Rules)
		s.paths.Add(r.Path, &route{path: r.Path, access: r.Access, rules: rules, maxBody: r.MaxBody, handler: snap.handler(v, r, tunnels)})
	}
	if snap.login != nil && s.needsLogin() {
		s.pages = unlogged(snap.login.Vhost(v.ID))
	}
	return s
}

// trust is who a listener believes.
func trust(l *conf.Listener) *forwarded.Trust {
	if l.TrustedProxies == nil && !l.TrustsUnix {
		return nil
	}
	return &forwarded.Trust{Proxies: l.TrustedProxies, Unix: l.TrustsUnix}
}

// handler is what a route's action does.
func (snap *Snapshot) handler(v *conf.Vhost, r *conf.Route, tunnels *tunnel.Registry) wire.Handler {
	switch {
	case r.Proxy != nil:
		u := snap.upstreams[r.Proxy]
		p := &proxy.Proxy{
			Upstream: u, OwnCookie: proxy.OrCookie(sessions.OwnCookie, u.Cookie), Tunnels: tunnels,
			Rules: requestRules(&r.Rules), Identity: proxy.NewIdentity(v.Identity, snap.identityNames), Forwarded: r.Forwarded || r.Proxy.Forwarded,
		}
		if r.StripPrefix {
			p.Strip = len(r.Path) - len("/")
		}
		return intercepting(p, r.InterceptErrors)
	case r.Files != nil:
		return snap.files[folderOf(r)]
	case r.Redirect != nil:
		return wire.HandlerFunc(func(x *wire.Exchange) { redirect(x, r.Redirect.Status, destination(r.Redirect.To, x)) })
	case r.Respond != nil:
		return wire.HandlerFunc(func(x *wire.Exchange) {
			wire.Reply(x, r.Respond.Status, "text/plain; charset=utf-8", r.Respond.Body)
		})
	}
	return wire.HandlerFunc(echo)
}

// folder is the spec of what serves files: one that is the same keeps its open folder over reloads.
type folder struct {
	root, prefix, fallback string
	compress, browse       bool
}

func folderOf(r *conf.Route) folder {
	return folder{r.Files.Root.Path, r.Path, r.Files.Fallback, r.Files.Compress, r.Files.Browse}
}

// keepFiles makes what serves files, but for what old has.
func (snap *Snapshot) keepFiles(old *Snapshot) {
	snap.files = map[folder]*static.Files{}
	for _, v := range snap.conf.Vhosts {
		for _, r := range v.Routes {
			if r.Files == nil {
				continue
			}
			f := folderOf(r)
			if old != nil && old.files[f] != nil {
				snap.files[f] = old.files[f]
			} else if snap.files[f] == nil {
				snap.files[f] = &static.Files{Root: f.root, Prefix: f.prefix, Fallback: f.fallback, Compress: f.compress, Browse: f.browse}
			}
		}
	}
}

// destination is where a redirect leads: an origin alone gets the request's path and query.
func destination(to string, x *wire.Exchange) string {
	if _, rest, absolute := strings.Cut(to, "://"); absolute && !strings.Contains(rest, "/") {
		return to + x.Target()
	}
	return to
}

// settle says what each socket's connections are served by.
func (snap *Snapshot) settle(s *Server, d *listeners.Draft) {
	for socket, name := range d.Sockets() {
		l := snap.listeners[name]
		if _, ok := snap.limits[name]; !ok {
			snap.limits[name] = s.limit(l.conf, d)
		}
		st := &serve.Settings{Listener: name, Timeouts: l.conf.Timeouts, MaxHeader: int(l.conf.MaxHeader),
			KeepAlive: l.conf.KeepAlive, Announcers: announcers(l.conf), Passthrough: snap.passthrough(l.conf, &s.tunnels)}
		if l.conf.Protocol.HTTP() {
			snap.entries[socket] = snap.entry(s, socket, l.conf.Protocol)
			st.Handler, st.Refused = snap.entries[socket], snap.entries[socket].refused
		} else {
			st.Tunnel = snap.tunnel(l.conf, &s.tunnels)
		}
		switch {
		case l.conf.Protocol == conf.HTTPS:
			st.TLS = snap.entries[socket].handshake
		case l.tls != nil:
			st.TLS = wholeListener(l.tls)
		}
		snap.sockets[socket] = st
	}
}

// entry gives the entry of a socket's connections, the one in use if the protocol has not changed.
func (snap *Snapshot) entry(s *Server, socket *listeners.Socket, protocol conf.Protocol) *entry {
	if old := s.live.Load(); old != nil && old.entries[socket] != nil && old.protocol(socket) == protocol {
		return old.entries[socket]
	}
	return &entry{server: s, socket: socket}
}

// protocol is what a socket speaks.
func (snap *Snapshot) protocol(socket *listeners.Socket) conf.Protocol {
	return snap.listeners[snap.sockets[socket].Listener].conf.Protocol
}

// limit gives a listener's limit, the one in use of its sockets if it has not changed, whatever the listener is called: what is open already
// counts.
func (s *Server) limit(l *conf.Listener, d *listeners.Draft) *listeners.Limit {
	old := s.live.Load()
	for socket, name := range d.Sockets() {
		if name != l.Name || old == nil || old.sockets[socket] == nil {
			continue
		}
		if was := old.sockets[socket].Listener; old.listeners[was].conf.MaxConnections == l.MaxConnections {
			return old.limits[was]
		}
	}
	return listeners.NewLimit(l.MaxConnections)
}

// tunnel relays the connections of a tcp or tls listener that are for nobody else; nil where all are.
func (snap *Snapshot) tunnel(l *conf.Listener, tunnels *tunnel.Registry) serve.Relay {
	if l.Proxy == nil {
		return nil
	}
	return snap.relay(l.Protocol, l.Proxy, tunnels)("")
}

// relay gives what relays connections to an upstream. The name is what the client has asked for, if its TLS is not opened.
func (snap *Snapshot) relay(protocol conf.Protocol, to *conf.Upstream, tunnels *tunnel.Registry) func(name string) serve.Relay {
	up, log := snap.upstreams[to], snap.log // a tunnel keeps no Snapshot
	return func(name string) serve.Relay {
		return func(ctx context.Context, c *serve.Conn) {
			info := c.Info()
			now := time.Now()
			r := &record.Record{ID: record.NewID(now), Start: now, Listener: info.Listener, Client: info.Remote, Proto: string(protocol), Vhost: name, Tunnel: true, Event: record.TunnelFailed}
			if info.TLS != nil {
				r.TLS = info.TLS.Version
			}
			defer account(log, r)
			proxy.Relay(ctx, up, tunnels, c, r, func() { accountOpened(log, r) })
		}
	}
}
