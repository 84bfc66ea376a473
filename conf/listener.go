package conf

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A request's head is bounded both ways: below the first no request fits, above the second a few clients fill the memory.
const (
	leastHeader = 1 << 10
	mostHeader  = 16 << 20
)

// listenerTables reads every [[listener]], then what they say about each other.
func (l *loader) listenerTables() {
	tables := l.tables("listener", "[[listener]]")
	if len(tables) == 0 {
		l.tops[0].get("listener").mistake("there is no [[listener]]")
	}
	for _, t := range tables {
		l.config.Listeners = append(l.config.Listeners, l.listener(t))
	}
	for i, t := range tables { // it may name a later one
		l.redirectTo(l.config.Listeners[i], t.get("redirect_to"))
		t.done()
	}
	l.uniqueAddresses()
}

func (l *loader) listener(t *table) *Listener {
	ln := &Listener{Pos: t.pos(), MaxConnections: t.get("max_connections").integer(0, 0, math.MaxInt32)}
	l.listenerName(ln, t.need("name"))
	for _, v := range t.need("address").list() {
		if a, ok := l.address(v); ok {
			ln.Addresses = append(ln.Addresses, a)
		}
	}
	if v := t.need("protocol"); v.given() {
		// A wrong one stays empty, so that nothing else is said about it.
		ln.Protocol = Protocol(v.oneOf("", string(HTTP), string(HTTPS), string(TCP), string(TLS), string(Metrics)))
	}
	ln.Timeouts = listenerTimeouts(t.get("timeouts").table("timeouts"))
	maxHeader(ln, t.get("max_header"))
	ln.KeepAlive, ln.SocketMode = keepAlive(t.get("keepalive")), socketMode(ln, t.get("mode"))
	announcers := t.get("proxy_protocol")
	ln.ProxyProtocol = announcers.given()
	ln.ProxyFrom, ln.ProxyUnix = peers(ln, announcers)
	l.sni(ln, t.get("sni"))
	l.listenerProxy(ln, t.get("proxy"))
	trustedProxies(ln, t.get("trusted_proxies"))
	l.listenerTLS(ln, t.get("tls"))
	l.metricsListener(ln, t.get("pprof"))
	return ln
}

// refuses reports a key that is for listeners of other protocols, which fits says. About one without a protocol enough is said already.
func (ln *Listener) refuses(v value, fits bool, protocols string) bool {
	if fits || !v.given() || ln.Protocol == "" {
		return false
	}
	v.mistakeAtKey("%q is for %s listeners, this one speaks %s", v.key, protocols, ln.Protocol)
	return true
}

func (l *loader) listenerName(ln *Listener, v value) {
	ln.Name = v.str()
	if ln.Name == "" {
		return
	}
	if len(ln.Name) > 32 || strings.Trim(ln.Name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		v.mistake(`name must be 1 to 32 of a-z, 0-9, "_" and "-", is %q`, ln.Name)
	}
	if first := l.listeners[ln.Name]; first != nil {
		v.mistake("listener %q is already at %v", ln.Name, first.Pos)
		return
	}
	l.listeners[ln.Name] = ln
}

func listenerTimeouts(t *table) ListenerTimeouts {
	defer t.done()
	return ListenerTimeouts{
		Pos:    t.pos(),
		Header: t.get("header").duration(10 * time.Second),
		Body:   t.get("body").duration(60 * time.Second),
		Write:  t.get("write").duration(60 * time.Second),
		Idle:   t.get("idle").duration(6 * time.Minute),
		Tunnel: t.get("tunnel").duration(time.Hour),
	}
}

func maxHeader(ln *Listener, v value) {
	ln.MaxHeader = v.size(64 << 10)
	switch {
	case ln.refuses(v, ln.Protocol.HTTP(), "http and https"):
	case ln.MaxHeader < leastHeader || ln.MaxHeader > mostHeader:
		v.mistake("max_header must be from 1KiB to 16MiB")
	}
}

func (l *loader) listenerProxy(ln *Listener, v value) {
	switch ln.Protocol {
	case HTTP, HTTPS, Metrics:
		if v.given() {
			v.mistakeAtKey("%q belongs in a [[vhost]]: this listener speaks %s", v.key, ln.Protocol)
		}
	case TCP, TLS:
		if !v.given() && len(ln.SNI) == 0 {
			or := map[Protocol]string{TLS: ` or "sni"`}[ln.Protocol]
			l.mistake(ln.Pos, `protocol %q needs "proxy"%s`, ln.Protocol, or)
		}
		ln.Proxy = l.proxy(v, overTCP)
	}
}

func (l *loader) redirectTo(ln *Listener, v value) {
	name := v.str()
	if name == "" {
		return
	}
	to := l.listeners[name]
	switch {
	case ln.refuses(v, ln.Protocol == HTTP, "http"):
	case to == nil:
		v.mistake("no [[listener]] is named %q%s", name, didYouMean(name, namesOf(l.listeners)))
	case to.Protocol != "" && to.Protocol != HTTPS:
		v.mistake("redirect_to must name an https listener, %q speaks %s", name, to.Protocol)
	default:
		ln.RedirectTo = to
	}
}

// namesOf gives the names that may have been meant, in no order: none where they are so many that one is always close.
func namesOf[T any](byName map[string]T) []string {
	if len(byName) > 1000 {
		return nil
	}
	return slices.Collect(maps.Keys(byName))
}
