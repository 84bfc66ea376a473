package sessions

import (
	"bytes"
	"net/http"
	"strings"
)

// Our cookies. All have the __Host- prefix: a browser takes them only over TLS, for one host, and no sibling domain can set them.
const (
	cookiePrefix  = "__Host-edge"
	sessionCookie = cookiePrefix          // on a virtual host
	ssoCookie     = cookiePrefix + "-sso" // on the login host
	flowPrefix    = cookiePrefix + "-flow-"
)

// nextCookie splits the first pair off a Cookie field.
func nextCookie(field []byte) (pair, rest []byte) {
	pair, rest, _ = bytes.Cut(field, []byte(";"))
	return bytes.Trim(pair, " \t"), rest
}

// onlyCookie returns the value of the one cookie of this name. Two of them are none: somebody else put one there (LOGIN.md §2b).
func onlyCookie(field []byte, name string) (value []byte, count int) {
	for len(field) > 0 {
		var pair []byte
		pair, field = nextCookie(field)
		if v, ok := cookieValue(pair, name); ok {
			value, count = v, count+1
		}
	}
	if count != 1 {
		return nil, count
	}
	return value, 1
}

func cookieValue(pair []byte, name string) (value []byte, ok bool) {
	if len(pair) <= len(name) || string(pair[:len(name)]) != name || pair[len(name)] != '=' {
		return nil, false
	}
	return pair[len(name)+1:], true
}

// StripCookies returns the Cookie field without our cookies, for an upstream; nil when nothing is left. Where there is none of ours
// it is the same slice and nothing is allocated; else a new one.
func StripCookies(field []byte) []byte {
	ours := false
	for rest := field; len(rest) > 0 && !ours; {
		var pair []byte
		pair, rest = nextCookie(rest)
		ours = OwnCookie(pair)
	}
	if !ours {
		return field
	}
	var kept []byte
	for len(field) > 0 {
		var pair []byte
		pair, field = nextCookie(field)
		if len(pair) == 0 || OwnCookie(pair) {
			continue
		}
		if kept != nil {
			kept = append(kept, "; "...)
		}
		kept = append(kept, pair...)
	}
	return kept
}

// OwnCookie says whether a pair of a Cookie field is a cookie of ours: by its prefix, whatever the case.
func OwnCookie(pair []byte) bool {
	return len(pair) >= len(cookiePrefix) && bytes.EqualFold(pair[:len(cookiePrefix)], []byte(cookiePrefix))
}

// cookieField is the request's Cookie field as one: HTTP/2 may send it in pieces.
func cookieField(r *http.Request) []byte { return []byte(strings.Join(r.Header["Cookie"], "; ")) }

// newCookie is a cookie of ours for so many seconds; below zero deletes it.
func newCookie(name, value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, MaxAge: seconds,
		// Lax must be said: without the attribute Chrome sends the cookie with a cross-site POST for two minutes. Not Strict: the
		// browser comes back from the login host by a cross-site redirect.
		Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}
