package edge

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"edge/certs"
	"edge/conf"
	"edge/edge/accesslog"
	"edge/edge/forwarded"
	"edge/edge/guard"
	"edge/edge/htpasswd"
	"edge/edge/metrics"
	"edge/edge/ratelimit"
	"edge/edge/serve"
	"edge/edge/static"
	"edge/edge/upstream"
	"edge/edge/vhost"
	"edge/edge/wire"
	"edge/listeners"
	"edge/sessions"
	"edge/sessions/oidc"
	"edge/tlsconf"
)

// Snapshot is one configuration, compiled: all that a request needs. It does not change. What it replaces is not closed but left to the
// garbage collector, which keeps what requests still use; pools and sockets are retired by the swap.
type Snapshot struct {
	conf          *conf.Config
	inputs        inputs
	certs         *certs.Store
	tickets       *tlsconf.Tickets
	policies      map[place]*tlsconf.Policy
	tls           map[*tlsconf.Policy]*tlsconf.Settings // made from them
	upstreams     upstream.Set
	log           *accesslog.Log
	login         *sessions.Service // nil: none
	rulesNow      guard.Rules       // of whichever configuration is in force then
	theme         *sessions.Theme
	providers     map[string]*oidc.Client // who else may say who somebody is, by name
	assertions    *sessions.Assertions    // nil: no app wants any
	identityNames map[string]bool         // conf.Config.IdentityNames
	audit         *sessions.Audit         // nil: none
	listeners     map[string]*listener
	sockets       map[*listeners.Socket]*serve.Settings
	limits        map[string]*listeners.Limit // by listener
	rates         map[rate]*ratelimit.Limiter
	passwords     map[string]*htpasswd.File // by path
	texts         map[string]string         // the pages that answer in place of edge's texts, by path
	entries       map[*listeners.Socket]*entry
	counters      map[string]*metrics.Site // by virtual host
	files         map[folder]*static.Files
}

// listener is what answers on one listener.
type listener struct {
	conf     *conf.Listener
	port     int // of its first TCP socket; 0: it has none
	sites    vhost.Hosts[*site]
	trust    *forwarded.Trust  // nil: no proxy is trusted
	tls      *tlsconf.Settings // for names without a site; nil: no TLS
	redirect string            // ":port" of the listener to redirect to, "" for 443
	own      wire.Handler      // of a metrics listener, which answers for edge itself; else nil
	strays   *metrics.Site     // counts what no site is found for; nil: is not counted
}

// site is a virtual host, on one listener.
type site struct {
	id      string
	counter *metrics.Site
	tls     *tlsconf.Settings // nil: no TLS
	policy  tlsconf.ID        // that connections must have been made under
	access  []conf.Access     // of its routes
	rules   rules             // for what no route answers
	closed  *closed           // nil: it is open
	errors  wire.Pages
	paths   vhost.Paths[*route]
	pages   wire.Handler // what login keeps under /.edge/; nil: nothing
}

// certificates are those in force; nil: there was nothing before.
func (s *Snapshot) certificates() *certs.Store {
	if s == nil {
		return nil
	}
	return s.certs
}

// needsLogin says whether anything on the site does.
func (s *site) needsLogin() bool {
	for _, a := range s.access {
		if a.NeedsLogin() {
			return true
		}
	}
	return false
}

// route is one path and what answers there.
type route struct {
	path    string
	access  conf.Access
	rules   rules
	maxBody int64
	handler wire.Handler
}

// reserved is the path that login has on every site.
const reserved = "/.edge"

// serve answers one request that came by a listener. What is decided about it stands here, in its order: who the client is, the vhost, whether
// the connection is good for it, its response fields and error pages, maintenance, the client's address, its rate, the route, login or password, and in route.serve the body's
// size and the handler, of which a proxy has the rules for request fields.
//
// The route is looked up before the first rule, because a route's rules stand in place of its vhost's; what its path leads to, or that it
// leads nowhere, is said only to who passes them.
func (s *Snapshot) serve(l *listener, x *wire.Exchange) {
	l.trust.Read(x) // from here on x.Record.Client is the client
	if string(x.Path) == "*" {
		options(x)
		return
	}
	if l.own != nil {
		l.own.Serve(x)
		return
	}
	if l.conf.RedirectTo != nil {
		moved(x, "https://"+hostOnly(string(x.Authority))+l.redirect+x.Target())
		return
	}
	site, ok := l.sites.Match(x.Host)
	if !ok {
		wire.ReplyText(x, http.StatusMisdirectedRequest, "There is no site of this name here.")
		return
	}
	x.Record.Vhost, x.Record.Counter = site.id, site.counter
	if x.Conn.Policy != site.policy {
		l.misdirected(x)
		return
	}
	x.Pages = site.errors
	reserved := isReserved(x.Path)
	r, err := site.paths.Match(x.Path)
	rules := &site.rules
	if r != nil && !reserved {
		x.Record.Route, rules = r.path, &r.rules
	}
	rules.dress(x)
	switch {
	case !site.closed.pass(x):
	case !rules.admit(x):
	case !rules.takeTurn(x):
	case reserved:
		site.servePages(x)
	case err != nil:
		unrouted(x, r, err)
	case !guard.Pass(x, s.login, site.id, r.access, s.rulesNow):
	case !rules.known(x):
	default:
		r.serve(x)
	}
}

// unrouted answers where no route does.
func unrouted(x *wire.Exchange, r *route, err error) {
	switch {
	case errors.Is(err, vhost.ErrAmbiguous):
		wire.ReplyText(x, http.StatusBadRequest, "The path can be read in more than one way.")
	case errors.Is(err, vhost.ErrSlash):
		moved(x, r.path+query(x))
	default:
		wire.ReplyText(x, http.StatusNotFound, "There is nothing here.")
	}
}

// options answers OPTIONS *, which asks the server and none of its sites whether it is there (RFC 9110 section 9.3.7).
func options(x *wire.Exchange) {
	err := x.Head(http.StatusNoContent, nil, 0)
	if err == nil {
		err = x.Finish(nil)
	}
	if err != nil {
		x.Abort(err)
	}
}

// isReserved says whether an upstream that decodes a path could read one of ours in it.
func isReserved(path []byte) bool {
	decoded := strings.TrimLeft(wire.Decode(string(path)), "/")
	return decoded == reserved[1:] || strings.HasPrefix(decoded, reserved[1:]+"/")
}

func (s *site) servePages(x *wire.Exchange) {
	if s.pages == nil || !strings.HasPrefix(string(x.Path), reserved+"/") {
		wire.ReplyText(x, http.StatusNotFound, "There is nothing here.")
		return
	}
	s.pages.Serve(x)
}

func (r *route) serve(x *wire.Exchange) {
	if r.maxBody > 0 && x.Length != 0 {
		if x.Length > r.maxBody {
			wire.ReplyText(x, http.StatusRequestEntityTooLarge, "The request's body is larger than this site takes.")
			return
		}
		x.Body = wire.Limit(x.Body, r.maxBody)
	}
	r.handler.Serve(x)
}

// hostOnly gives an authority without its port.
func hostOnly(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		return authority[:i]
	}
	return authority
}

func query(x *wire.Exchange) string { return strings.TrimPrefix(x.Target(), string(x.Path)) }

func moved(x *wire.Exchange, to string) { redirect(x, http.StatusPermanentRedirect, to) }

func redirect(x *wire.Exchange, status int, to string) {
	wire.Reply(x, status, "text/plain; charset=utf-8", to+"\n", wire.Field{Name: []byte("location"), Value: []byte(to)})
}

// entry is where the requests of a socket's connections come in.
type entry struct {
	server *Server
	socket *listeners.Socket
	last   atomic.Pointer[Snapshot] // the last one that had this socket and its protocol; nil: the one in force has
}

// snapshot is the configuration in force, so that a reload is seen on open connections too. The connections of a socket that is gone, or
// that speaks another protocol now, end on what was said of them last.
func (e *entry) snapshot() *Snapshot {
	snap := e.server.live.Load()
	if last := e.last.Load(); last != nil {
		return last
	}
	return snap
}

// Serve sees to it that every request is answered and logged.
func (e *entry) Serve(x *wire.Exchange) {
	snap := e.snapshot()
	l := e.listener(snap)
	begin(snap.log, l, x)
	defer account(snap.log, x.Record)
	defer e.survive(x)
	snap.serve(l, x)
}

// listener gives what a configuration says of the socket.
func (e *entry) listener(snap *Snapshot) *listener {
	return snap.listeners[snap.sockets[e.socket].Listener]
}

// survive answers for a handler that panicked, or that answered nothing.
func (e *entry) survive(x *wire.Exchange) {
	p := recover()
	if p != nil {
		e.server.log.Error("panic", "vhost", x.Record.Vhost, "route", x.Record.Route, "value", p, "stack", string(debug.Stack()))
		x.Record.Err = errors.New("panic")
		e.server.health.panics.Add(1)
	}
	switch {
	case x.Record.Status == 0:
		wire.ReplyText(x, http.StatusInternalServerError, "The site gave no answer.")
	case p != nil:
		x.Abort(x.Record.Err)
	}
	e.server.health.note(x.Record)
}

// retire tells the entries that next has no use for that their last word was spoken.
func (snap *Snapshot) retire(next *Snapshot) {
	for socket, e := range snap.entries {
		if next.entries[socket] != e {
			e.last.Store(snap)
		}
	}
}
