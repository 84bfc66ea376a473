package proxy

import (
	"bytes"
	"strings"

	"edge/edge/wire"
)

// claims are the fields by which upstreams are told who asks and from where. What a client sends under these names, or under a name
// that an upstream may take for one of them, is dropped on every request before ours are set. The bare "proxy" is HTTP_PROXY to a CGI
// program and its HTTP client (CVE-2016-5385). What Proxy-Authorization says was said to us (RFC 9110 section 11.7.2).
var claims = map[string]bool{
	"forwarded": true, "x-real-ip": true, "true-client-ip": true, "cf-connecting-ip": true, "x-client-ip": true, "x-cluster-client-ip": true,
	"client-ip": true, "fastly-client-ip": true, "x-original-forwarded-for": true, "remote-addr": true,
	"x-host": true, "x-original-host": true, "x-http-host-override": true,
	"x-original-url": true, "x-rewrite-url": true, "x-original-uri": true, "x-original-method": true,
	"proxy": true, "proxy-authorization": true,
}

var claimPrefixes = []string{"remote-", "x-remote-", "x-forwarded-", "x-auth-request-", "x-authentik-", "x-webauth-", "x-token-", "x-vouch-", "x-edge-"}

// claim says whether a field's name, in lower case, is one that only we may set. CGI reads all that is no letter or digit as '_'.
func claim(name []byte) bool {
	folded := strings.TrimRight(string(bytes.Map(fold, name)), "-")
	if claims[folded] {
		return true
	}
	for _, p := range claimPrefixes {
		if strings.HasPrefix(folded, p) {
			return true
		}
	}
	return false
}

func fold(r rune) rune {
	if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
		return r
	}
	return '-'
}

// fields are the request's fields as the upstream gets them.
func (p *Proxy) fields(x *wire.Exchange) wire.Fields {
	f := make(wire.Fields, 0, len(x.Fields)+6)
	for _, field := range x.Fields {
		if claim(field.Name) {
			continue
		}
		if p.StripCookies != nil && string(field.Name) == "cookie" {
			if field.Value = p.StripCookies(field.Value); len(field.Value) == 0 {
				continue
			}
		}
		f = append(f, field)
	}
	if x.Conn.Remote.IsValid() {
		f = f.Add("x-forwarded-for", x.Conn.Remote.Addr().Unmap().WithZone("").String())
	}
	f = f.Add("x-forwarded-host", string(x.Authority)).Add("x-forwarded-proto", string(x.Scheme))
	if x.User != "" {
		f = f.Add("remote-user", x.User)
		if len(x.Groups) > 0 {
			f = f.Add("remote-groups", strings.Join(x.Groups, ","))
		}
	}
	return f
}
