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

// OrCookie says of the cookie of this name, too, that it is ours.
func OrCookie(ours func(pair []byte) bool, name string) func(pair []byte) bool {
	if name == "" {
		return ours
	}
	return func(pair []byte) bool {
		_, leads := valueOf(pair, name)
		return leads || ours(pair)
	}
}

// addOthers is add, for a Cookie field without our cookies. Where there is none of ours it is the field as it came.
func (s *fieldScratch) addOthers(field []byte, ours func(pair []byte) bool) []byte {
	found := false
	pairs(field, func(pair []byte) bool {
		found = ours(pair)
		return found
	})
	if !found {
		return field
	}
	start := len(s.text)
	pairs(field, func(pair []byte) bool {
		if len(pair) == 0 || ours(pair) {
			return false
		}
		if len(s.text) > start {
			s.text = append(s.text, "; "...)
		}
		s.text = append(s.text, pair...)
		return false
	})
	return s.text[start:]
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
