package conf

import "slices"

// ClientAuth says whether clients show a certificate.
type ClientAuth string

// What a handshake asks of its client.
const (
	NoClientAuth       ClientAuth = "none"
	OptionalClientAuth ClientAuth = "optional" // one that is shown must be valid
	RequiredClientAuth ClientAuth = "required"
)

// TLSPolicy is a table "tls" of a listener or of a virtual host: what it asks of handshakes. What it does not say is zero.
type TLSPolicy struct {
	Pos        Pos
	MinVersion string // "1.2" or "1.3"
	ClientAuth ClientAuth
	ClientCA   []File // who signs the clients' certificates, PEM
	ALPN       []string
}

// TLSPolicy gives what the listener, which must be one of TLS, asks of handshakes for a virtual host; nil: for a name that it has none for.
// What neither says is the default; only ClientCA and ALPN may be empty: nobody's certificate is asked for, and ALPN is left alone.
func (ln *Listener) TLSPolicy(v *Vhost) TLSPolicy {
	p := TLSPolicy{Pos: ln.Pos, MinVersion: "1.2", ClientAuth: NoClientAuth}
	if ln.Protocol == HTTPS {
		p.ALPN = alpn
	}
	p = p.overlaid(ln.TLS)
	if v != nil {
		p = p.overlaid(v.TLS)
	}
	if p.ClientAuth == NoClientAuth {
		p.ClientCA = nil
	}
	return p
}

// overlaid gives p with what over says, if it is there, in place of its own.
func (p TLSPolicy) overlaid(over *TLSPolicy) TLSPolicy {
	if over == nil {
		return p
	}
	p.Pos = over.Pos
	if over.MinVersion != "" {
		p.MinVersion = over.MinVersion
	}
	if over.ClientAuth != "" {
		p.ClientAuth = over.ClientAuth
	}
	if over.ClientCA != nil {
		p.ClientCA = over.ClientCA
	}
	if over.ALPN != nil {
		p.ALPN = over.ALPN
	}
	return p
}

// alpn are the protocols of https, the one that we like best first.
var alpn = []string{"h2", "http/1.1"}

// tlsPolicy reads a table "tls"; nil: it is not there. any says that every protocol may be named, not only those of https.
func tlsPolicy(v value, any bool) *TLSPolicy {
	if !v.given() {
		return nil
	}
	t := v.table("tls")
	defer t.done()
	p := &TLSPolicy{Pos: t.pos(), MinVersion: t.get("min_version").oneOf("", "1.2", "1.3")}
	p.ClientAuth = clientAuth(t.get("client_auth"))
	for _, item := range t.get("client_ca").list() {
		p.ClientCA = append(p.ClientCA, item.path())
	}
	for _, item := range t.get("alpn").list() {
		if name := protocolName(item, any); slices.Contains(p.ALPN, name) {
			item.mistake("alpn has %q already", name)
		} else if name != "" {
			p.ALPN = append(p.ALPN, name)
		}
	}
	return p
}

// clientAuth reads it; after a mistake it is one that goes with a client_ca.
func clientAuth(v value) ClientAuth {
	a := ClientAuth(v.oneOf("", string(NoClientAuth), string(OptionalClientAuth), string(RequiredClientAuth)))
	if v.given() && a == "" {
		return OptionalClientAuth
	}
	return a
}

// protocolName reads the name of a protocol, which has at most 255 bytes (RFC 7301 section 3.1).
func protocolName(v value, any bool) string {
	if !any {
		return v.oneOf("", alpn...)
	}
	name := v.str()
	if len(name) > 255 {
		v.mistake("alpn %.20q… is longer than 255 bytes", name)
		return ""
	}
	return name
}

// listenerTLS reads a listener's policy.
func (l *loader) listenerTLS(ln *Listener, v value) {
	switch {
	case ln.refuses(v, ln.Protocol.TLS(), "https and tls"):
	case v.given() && len(ln.SNI) > 0 && ln.Proxy == nil:
		v.mistakeAtKey(`%q needs "proxy": this listener relays by names only, and ends no TLS`, v.key)
	}
	if ln.TLS = tlsPolicy(v, ln.Protocol == TLS); ln.TLS != nil {
		l.clientCA(ln.TLS, ln.TLSPolicy(nil))
	}
}

// vhostTLS reads a virtual host's policy. Its listeners are known.
func (l *loader) vhostTLS(v *Vhost, val value) {
	if v.TLS = tlsPolicy(val, false); v.TLS == nil {
		return
	}
	secure, right := false, true
	for _, ln := range v.Listeners {
		switch {
		case ln.Protocol == HTTPS:
			secure, right = true, right && l.clientCA(v.TLS, ln.TLSPolicy(v))
		case ln.Protocol == HTTP && v.TLS.ClientAuth == RequiredClientAuth:
			val.mistakeAtKey(`listener %q is plain http, and client_auth = "required" needs https`, ln.Name)
		}
	}
	if !secure && len(v.Listeners) > 0 {
		val.mistakeAtKey("%q is for a [[vhost]] with an https listener", val.key)
	}
}

// clientCA reports a table whose policy asks for certificates that nobody can have signed, or says who signs those that nobody asks for.
func (l *loader) clientCA(table *TLSPolicy, effective TLSPolicy) (right bool) {
	switch {
	case table.ClientAuth != "" && effective.ClientAuth != NoClientAuth && len(effective.ClientCA) == 0:
		l.mistake(table.Pos, `client_auth = %q needs "client_ca": who signs the clients' certificates`, table.ClientAuth)
	case effective.ClientAuth == NoClientAuth && len(table.ClientCA) > 0 && table.ClientCA[0].Path != "":
		l.mistake(table.ClientCA[0].Pos, `client_ca needs client_auth = "optional" or "required"`)
	default:
		return true
	}
	return false
}
