package edge

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge/certs"
	"edge/conf"
	"edge/edge/accesslog"
	"edge/edge/guard"
	"edge/edge/proxy"
	"edge/edge/record"
	"edge/edge/serve"
	"edge/edge/static"
	"edge/edge/upstream"
	"edge/edge/wire"
	"edge/listeners"
	"edge/sessions"
	"edge/statefile"
	"edge/tlsconf"
)

// draft is a configuration of which everything that can fail has been done, and nothing is in force.
type draft struct {
	snap    *Snapshot
	sockets *listeners.Draft
}

// mistakes collects what is wrong with a configuration.
type mistakes conf.Errors

func (m *mistakes) add(list ...*conf.Error) { *m = append(*m, list...) }

// take adds an error that may be a list of mistakes already; pos is for one that is not.
func (m *mistakes) take(pos conf.Pos, err error) {
	var list conf.Errors
	var one *conf.Error
	switch {
	case err == nil:
	case errors.As(err, &list):
		m.add(list...)
	case errors.As(err, &one):
		m.add(one)
	default:
		m.add(pos.Errorf("%v", err))
	}
}

func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	slices.SortStableFunc(m, func(a, b *conf.Error) int {
		return cmp.Or(strings.Compare(a.Pos.File, b.Pos.File), a.Pos.Line-b.Pos.Line, a.Pos.Column-b.Pos.Column)
	})
	return conf.Errors(m)
}

// draft does everything that can fail: it reads certificates, makes pools, opens the log and the login's store, binds sockets. On an
// error it has closed what it opened, but for the login's stores, and the error lists every mistake.
func (s *Server) draft(cfg *conf.Config) (*draft, error) {
	old := s.live.Load()
	if old != nil && old.conf.StateDir != cfg.StateDir {
		return nil, cfg.StateDirPos.Errorf("state_dir cannot change while edge runs: stop it and start it anew")
	}
	snap := &Snapshot{conf: cfg, listeners: map[string]*listener{}, sockets: map[*listeners.Socket]*serve.Settings{}, limits: map[string]*listeners.Limit{},
		entries: map[*listeners.Socket]*entry{}}
	var wrong mistakes
	now := s.now()
	var err error
	snap.certs, err = certs.Load(cfg.Certificates, servedHosts(cfg), now)
	wrong.take(conf.Pos{File: cfg.File}, err)
	snap.tickets, err = tlsconf.LoadTickets(cfg.StateDir, now)
	wrong.take(cfg.StateDirPos, err)
	var oldSet upstream.Set
	if old != nil {
		oldSet = old.upstreams
	}
	var list []*conf.Error
	snap.upstreams, list = upstream.Draft(cfg.Upstreams, oldSet)
	wrong.add(list...)
	wrong.add(checkFolders(cfg)...)
	snap.log, err = s.openLog(old, cfg)
	wrong.take(cfg.Log.Pos, err)
	if cfg.Login != nil {
		wrong.take(cfg.Login.Pos, s.openLogin(cfg))
	}
	sockets, list := s.table.Draft(specs(cfg))
	wrong.add(list...)
	if err := wrong.err(); err != nil {
		if sockets != nil {
			sockets.Discard()
		}
		if snap.log != nil && (old == nil || snap.log != old.log) {
			snap.log.Close()
		}
		return nil, err
	}
	snap.compile(s, sockets)
	snap.settle(s, sockets)
	return &draft{snap, sockets}, nil
}

// Check says what is wrong with a configuration and the files that it names, and touches nothing. What is only doubtful it adds to the
// configuration's warnings.
func Check(cfg *conf.Config) error {
	var wrong mistakes
	if _, err := os.Stat(cfg.StateDir); err == nil {
		if err := statefile.SafeDir(cfg.StateDir); err != nil {
			wrong.add(cfg.StateDirPos.Errorf("state_dir: %v", err))
		}
	}
	if folder := filepath.Dir(cfg.Log.Access); filepath.IsAbs(cfg.Log.Access) && folder != cfg.StateDir {
		if _, err := os.Stat(folder); err != nil {
			wrong.add(cfg.Log.Pos.Errorf("access: %v", err))
		}
	}
	files := slices.DeleteFunc(slices.Clone(cfg.Certificates), func(c *conf.Certificate) bool { return c.Issuer != "files" })
	store, err := certs.Load(files, servedHosts(cfg), time.Now())
	wrong.take(conf.Pos{File: cfg.File}, err)
	if err == nil {
		cfg.Warnings = append(cfg.Warnings, store.Warnings...)
		if len(files) == len(cfg.Certificates) {
			cfg.Warnings = append(cfg.Warnings, uncovered(cfg, store)...)
		}
	}
	_, list := upstream.Draft(cfg.Upstreams, nil)
	wrong.add(list...)
	wrong.add(checkFolders(cfg)...)
	return wrong.err()
}

// servedHosts are all the names that clients may ask for.
func servedHosts(cfg *conf.Config) (hosts []string) {
	for _, v := range cfg.Vhosts {
		for _, h := range v.Hosts {
			hosts = append(hosts, h.Name)
		}
	}
	if cfg.Login != nil {
		hosts = append(hosts, cfg.Login.Host)
	}
	return hosts
}

// uncovered warns of names that are served and that no certificate is for.
func uncovered(cfg *conf.Config, store *certs.Store) (list []*conf.Error) {
	for _, v := range cfg.Vhosts {
		secure := slices.ContainsFunc(v.Listeners, func(l *conf.Listener) bool { return l.Protocol == conf.HTTPS })
		for _, h := range v.Hosts {
			if ip := net.ParseIP(h.Name); secure && ip == nil && !store.Covers(h.Name) {
				list = append(list, h.Pos.Errorf("no [[certificate]] is for %s: clients are refused in the handshake", h.Name))
			}
		}
	}
	return list
}

// checkFolders looks for the folders that are to be served.
func checkFolders(cfg *conf.Config) (wrong []*conf.Error) {
	for _, v := range cfg.Vhosts {
		for _, r := range v.Routes {
			if r.Files == nil {
				continue
			}
			if info, err := os.Stat(r.Files.Root.Path); err != nil {
				wrong = append(wrong, r.Files.Root.Pos.Errorf("files: %v", err))
			} else if !info.IsDir() {
				wrong = append(wrong, r.Files.Root.Pos.Errorf("files: %s is no folder", r.Files.Root.Path))
			}
		}
	}
	return wrong
}

// openLog gives the access log, the one in use if it goes to the same place.
func (s *Server) openLog(old *Snapshot, cfg *conf.Config) (*accesslog.Log, error) {
	if old != nil && old.conf.Log.Access == cfg.Log.Access {
		return old.log, nil
	}
	return accesslog.Open(cfg.Log.Access)
}

// specs are the sockets that a configuration wants.
func specs(cfg *conf.Config) (list []listeners.Spec) {
	for _, l := range cfg.Listeners {
		for _, a := range l.Addresses {
			list = append(list, listeners.Spec{Pos: a.Pos, Name: l.Name, Network: a.Network, Address: a.Address})
		}
	}
	return list
}

// compile makes the tables that requests are matched by.
func (snap *Snapshot) compile(s *Server, sockets *listeners.Draft) {
	cfg := snap.conf
	ports := ports(sockets)
	if cfg.Login != nil {
		snap.login = sessions.New(s.sessions, s.users, cfg.Login, hosts{snap})
	}
	for _, l := range cfg.Listeners {
		c := &listener{conf: l, port: ports[l.Name]}
		switch l.Protocol {
		case conf.HTTPS:
			c.tls = tlsconf.Server(snap.certs.Get, snap.tickets, "h2", "http/1.1")
			if cfg.Login != nil {
				c.sites.Add(cfg.Login.Host, loginSite(cfg.Login.Host, snap.login))
			}
		case conf.TLS:
			c.tls = tlsconf.Server(snap.certs.Get, snap.tickets)
		}
		if l.RedirectTo != nil {
			c.redirect = suffix(l.RedirectTo, ports[l.RedirectTo.Name])
		}
		snap.listeners[l.Name] = c
	}
	for _, v := range cfg.Vhosts {
		site := snap.site(v)
		for _, l := range v.Listeners {
			for _, h := range v.Hosts {
				snap.listeners[l.Name].sites.Add(h.Name, site)
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

func loginSite(host string, login *sessions.Service) *site {
	s := &site{id: host}
	s.paths.Add("/", &route{path: "/", access: conf.Access{Public: true}, handler: wire.HTTP(login.Pages())})
	return s
}

func (snap *Snapshot) site(v *conf.Vhost) *site {
	s := &site{id: v.ID, headers: v.Headers}
	for _, r := range v.Routes {
		s.access = append(s.access, r.Access)
		s.paths.Add(r.Path, &route{path: r.Path, access: r.Access, maxBody: r.MaxBody, handler: snap.handler(r)})
	}
	if snap.login != nil && s.needsLogin() {
		s.pages = wire.HTTP(snap.login.Vhost(v.ID))
	}
	return s
}

// handler is what a route's action does.
func (snap *Snapshot) handler(r *conf.Route) wire.Handler {
	switch {
	case r.Proxy != nil:
		return &proxy.Proxy{Upstream: snap.upstreams[r.Proxy], StripCookies: sessions.StripCookies}
	case r.Files != nil:
		return &static.Files{Root: r.Files.Root.Path, Prefix: r.Path, Fallback: r.Files.Fallback}
	case r.Redirect != nil:
		return wire.HandlerFunc(func(x *wire.Exchange) { redirect(x, r.Redirect.Status, destination(r.Redirect.To, x)) })
	case r.Respond != nil:
		return wire.HandlerFunc(func(x *wire.Exchange) {
			wire.Reply(x, r.Respond.Status, "text/plain; charset=utf-8", r.Respond.Body)
		})
	}
	return wire.HandlerFunc(echo)
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
			snap.limits[name] = s.limit(l.conf)
		}
		st := &serve.Settings{Listener: name, TLS: l.tls, Timeouts: l.conf.Timeouts, MaxHeader: int(l.conf.MaxHeader)}
		if l.conf.Protocol.HTTP() {
			snap.entries[socket] = snap.entry(s, socket, l.conf.Protocol)
			st.Handler = snap.entries[socket]
		} else {
			st.Tunnel = snap.tunnel(l)
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

// limit gives a listener's limit, the one in use if it has not changed: what is open already counts.
func (s *Server) limit(l *conf.Listener) *listeners.Limit {
	if old := s.live.Load(); old != nil && old.listeners[l.Name] != nil && old.listeners[l.Name].conf.MaxConnections == l.MaxConnections {
		return old.limits[l.Name]
	}
	return listeners.NewLimit(l.MaxConnections)
}

// tunnel relays a connection of a tcp or tls listener.
func (snap *Snapshot) tunnel(l *listener) func(context.Context, *serve.Conn) {
	up, log := snap.upstreams[l.conf.Proxy], snap.log // a tunnel keeps no Snapshot
	return func(ctx context.Context, c *serve.Conn) {
		info := c.Info()
		r := &record.Record{Start: time.Now(), Listener: l.conf.Name, Client: info.Remote, Proto: string(l.conf.Protocol), Tunnel: true}
		if info.TLS != nil {
			r.TLS = info.TLS.Version
		}
		log.Write(r, "tunnel opened")
		r.BytesIn, r.BytesOut, r.Upstream, r.Err = proxy.Relay(ctx, up, c)
		log.Write(r, "tunnel ended")
	}
}

// hosts is what the login must know of a configuration.
type hosts struct{ snap *Snapshot }

// Vhost finds the virtual host of a name among those that need a login.
func (h hosts) Vhost(host string) (id string, ok bool) {
	for _, l := range h.snap.conf.Listeners {
		if site, ok := h.snap.listeners[l.Name].sites.Match([]byte(host)); ok && site.pages != nil {
			return site.id, true
		}
	}
	return "", false
}

// Allowed says whether anything on the virtual host lets who in.
func (h hosts) Allowed(id string, who *sessions.Identity) bool {
	for _, v := range h.snap.conf.Vhosts {
		if v.ID != id {
			continue
		}
		for _, r := range v.Routes {
			if r.Access.NeedsLogin() && guard.Allows(r.Access, who) {
				return true
			}
		}
	}
	return false
}

// echo answers with the request as it was understood, but for what is secret: cookies of ours and credentials.
func echo(x *wire.Exchange) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/%d.%d\nhost: %s\n", x.Method, x.Target(), x.Major, x.Minor, x.Authority)
	f := slices.Clone(x.Fields)
	slices.SortStableFunc(f, func(a, b wire.Field) int { return bytes.Compare(a.Name, b.Name) })
	for _, field := range f {
		switch string(field.Name) {
		case "cookie":
			if field.Value = sessions.StripCookies(field.Value); len(field.Value) == 0 {
				continue
			}
		case "authorization", "proxy-authorization":
			field.Value = []byte("(hidden)")
		}
		fmt.Fprintf(&b, "%s: %s\n", field.Name, field.Value)
	}
	if x.User != "" {
		fmt.Fprintf(&b, "\nYou are %s.\n", x.User)
	}
	wire.Reply(x, http.StatusOK, "text/plain; charset=utf-8", b.String(), wire.Field{Name: []byte("cache-control"), Value: []byte("no-store")})
}
