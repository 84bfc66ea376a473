// Package claim knows the header fields by which a server is told who asks, from where, with which certificate, and where a body ends, and
// those that it may take for one of them.
package claim

import "bytes"

// names are fields that upstreams believe. The bare "proxy" is HTTP_PROXY to a CGI program and its HTTP client (CVE-2016-5385). What
// Proxy-Authorization says was said to us (RFC 9110 section 11.7.2).
var names = map[string]bool{
	"forwarded": true, "x-real-ip": true, "true-client-ip": true, "cf-connecting-ip": true, "x-client-ip": true, "x-cluster-client-ip": true,
	"client-ip": true, "fastly-client-ip": true, "x-original-forwarded-for": true, "remote-addr": true,
	"x-forwarded": true, "forwarded-for": true, "proxy-client-ip": true, "wl-proxy-client-ip": true, "http-client-ip": true, "http-x-forwarded-for": true,
	"cf-connecting-ipv6": true, "cf-pseudo-ipv4": true, "fly-client-ip": true, "x-appengine-user-ip": true, "x-azure-clientip": true, "x-envoy-external-address": true,
	"x-host": true, "x-original-host": true, "x-http-host-override": true,
	"x-original-url": true, "x-rewrite-url": true, "x-original-uri": true, "x-original-method": true,
	"proxy": true, "proxy-authorization": true, "x-request-id": true,

	// Framing, which only the engine sends: what stands among the fields is "Content_Length" or another look-alike.
	"content-length": true, "transfer-encoding": true, "connection": true, "keep-alive": true, "host": true, "te": true, "trailer": true,
	"upgrade": true, "expect": true,
}

var prefixes = []string{"remote-", "x-remote-", "x-forwarded-", "x-auth-request-", "x-authentik-", "x-webauth-", "x-token-", "x-vouch-", "x-edge-"}

// begins says of two bytes that begin a name, by place, whether some claim begins with them. Most of what a browser sends is done with after this look.
var begins = func() (t [32 * 32]bool) {
	add := func(name string) { t[place(name[0], name[1])] = true }
	for name := range names {
		add(name)
	}
	for _, list := range [][]string{prefixes, certPrefixes} {
		for _, p := range list {
			add(p)
		}
	}
	return t
}()

// place is the same for all bytes that Fold makes one of; it may be the same for others.
func place(a, b byte) int { return short(a)<<5 | short(b) }

func short(c byte) int {
	switch {
	case 'a' <= c && c <= 'z':
		return int(c - 'a' + 1)
	case '0' <= c && c <= '9':
		return 27
	}
	return 0
}

// Is says whether a field's name, in lower case, is one that only the server in front may set.
func Is(name []byte) bool {
	if len(name) < 2 || !begins[place(name[0], name[1])] {
		return false
	}
	var room [64]byte
	folded := Fold(room[:0], name)
	if names[string(folded)] {
		return true
	}
	for _, p := range prefixes {
		if len(folded) >= len(p) && string(folded[:len(p)]) == p {
			return true
		}
	}
	return ofCert(folded)
}

// Fold appends to room the form that all names have in common that an upstream may take for one another: CGI reads all that is no letter or
// digit as '_'. The name must be in lower case.
func Fold(room, name []byte) []byte {
	start := len(room)
	room = append(room, name...)
	for i, c := range room[start:] {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			room[start+i] = '-'
		}
	}
	return room[:start+len(bytes.TrimRight(room[start:], "-"))]
}
