package proxy

import (
	"bytes"

	"edge/edge/upstream"
	"edge/edge/wire"
)

// pairs calls f for each pair of a Cookie field until f says that it is enough.
func pairs(field []byte, f func(pair []byte) (enough bool)) {
	for len(field) > 0 {
		pair, rest, _ := bytes.Cut(field, []byte(";"))
		if f(bytes.Trim(pair, " \t")) {
			return
		}
		field = rest
	}
}

// valueOf gives the value of a pair that has this name.
func valueOf(pair []byte, name string) (value []byte, ok bool) {
	if len(pair) <= len(name) || string(pair[:len(name)]) != name || pair[len(name)] != '=' {
		return nil, false
	}
	return pair[len(name)+1:], true
}

// named gives the target that the client's cookie names; nil: there is none.
func named(u *upstream.Upstream, fields wire.Fields) (t *upstream.Target) {
	for _, f := range fields {
		if string(f.Name) != "cookie" {
			continue
		}
		pairs(f.Value, func(pair []byte) bool {
			if id, ok := valueOf(pair, u.Cookie); ok && t == nil {
				t = u.ByID(id)
			}
			return t != nil
		})
	}
	return t
}

// WithoutCookie gives what takes this cookie out of a Cookie field, besides those that strip takes out of it.
func WithoutCookie(strip func([]byte) []byte, name string) func([]byte) []byte {
	if name == "" {
		return strip
	}
	return func(field []byte) []byte {
		var kept []byte
		pairs(strip(field), func(pair []byte) bool {
			if _, ours := valueOf(pair, name); ours || len(pair) == 0 {
				return false
			}
			if kept != nil {
				kept = append(kept, "; "...)
			}
			kept = append(kept, pair...)
			return false
		})
		return kept
	}
}

var nameSetCookie = []byte("set-cookie")

// cookieOf is the field that leads a client back to a target.
func cookieOf(name string, t *upstream.Target, scheme []byte) wire.Field {
	value := name + "=" + t.ID + "; Path=/; HttpOnly; SameSite=Lax"
	if string(scheme) == "https" {
		value += "; Secure"
	}
	return wire.Field{Name: nameSetCookie, Value: []byte(value)}
}

// sticking adds the cookie to a target's answer.
type sticking struct {
	wire.Responder
	cookie wire.Field
}

func (s sticking) Head(status int, f wire.Fields, length int64) error {
	return s.Responder.Head(status, append(f, s.cookie), length)
}

func (s sticking) Tunnel(f wire.Fields) (wire.Stream, error) {
	return s.Responder.Tunnel(append(f, s.cookie))
}
