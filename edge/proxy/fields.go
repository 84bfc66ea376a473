package proxy

import (
	"bytes"
	"net/netip"
	"strings"

	"edge/edge/wire"
)

// claims are the fields by which upstreams are told who asks, from where, and where a body ends. What a client sends under these names, or under a name
// that an upstream may take for one of them, is dropped on every request before ours are set. The bare "proxy" is HTTP_PROXY to a CGI
// program and its HTTP client (CVE-2016-5385). What Proxy-Authorization says was said to us (RFC 9110 section 11.7.2).
var claims = map[string]bool{
	"forwarded": true, "x-real-ip": true, "true-client-ip": true, "cf-connecting-ip": true, "x-client-ip": true, "x-cluster-client-ip": true,
	"client-ip": true, "fastly-client-ip": true, "x-original-forwarded-for": true, "remote-addr": true,
	"x-host": true, "x-original-host": true, "x-http-host-override": true,
	"x-original-url": true, "x-rewrite-url": true, "x-original-uri": true, "x-original-method": true,
	"proxy": true, "proxy-authorization": true,

	// Framing, which only the engine sends: what stands among the fields is "Content_Length" or another look-alike.
	"content-length": true, "transfer-encoding": true, "connection": true, "keep-alive": true, "host": true, "te": true, "trailer": true,
	"upgrade": true, "expect": true,
}

var claimPrefixes = []string{"remote-", "x-remote-", "x-forwarded-", "x-auth-request-", "x-authentik-", "x-webauth-", "x-token-", "x-vouch-", "x-edge-"}

// claim says whether a field's name, in lower case, is one that only we may set. CGI reads all that is no letter or digit as '_'.
func claim(name []byte) bool {
	var room [64]byte
	folded := append(room[:0], name...)
	for i, c := range folded {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			folded[i] = '-'
		}
	}
	folded = bytes.TrimRight(folded, "-")
	if claims[string(folded)] {
		return true
	}
	for _, p := range claimPrefixes {
		if len(folded) >= len(p) && string(folded[:len(p)]) == p {
			return true
		}
	}
	return false
}

// fieldScratch is what a request's fields are made in, to be used again.
type fieldScratch struct {
	fields wire.Fields
	text   []byte
}

// maxScratch bounds what is kept for the next request.
const maxScratch = 64

func (s *fieldScratch) reset() {
	if cap(s.fields) > maxScratch {
		s.fields = nil
	}
	clear(s.fields)
	s.fields, s.text = s.fields[:0], s.text[:0]
}

// add gives the bytes of a text, which stand until reset.
func (s *fieldScratch) add(text string) []byte {
	start := len(s.text)
	s.text = append(s.text, text...)
	return s.text[start:]
}

// addAddr is add, for an address.
func (s *fieldScratch) addAddr(a netip.Addr) []byte {
	start := len(s.text)
	s.text = a.AppendTo(s.text)
	return s.text[start:]
}

var (
	nameFor, nameHost, nameProto = []byte("x-forwarded-for"), []byte("x-forwarded-host"), []byte("x-forwarded-proto")
	nameUser, nameGroups         = []byte("remote-user"), []byte("remote-groups")
)

// fields are the request's fields as the upstream gets them. They stand until the scratch is reset.
func (p *Proxy) fields(x *wire.Exchange, s *fieldScratch) wire.Fields {
	f := s.fields[:0]
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
		f = append(f, wire.Field{Name: nameFor, Value: s.addAddr(x.Conn.Remote.Addr().Unmap().WithZone(""))})
	}
	f = append(f, wire.Field{Name: nameHost, Value: x.Authority}, wire.Field{Name: nameProto, Value: x.Scheme})
	if x.User != "" {
		f = append(f, wire.Field{Name: nameUser, Value: s.add(x.User)})
		if len(x.Groups) > 0 {
			f = append(f, wire.Field{Name: nameGroups, Value: s.add(strings.Join(x.Groups, ","))})
		}
	}
	s.fields = f
	return f
}
