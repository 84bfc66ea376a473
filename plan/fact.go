package plan

import (
	"fmt"
	"net/netip"
	"strings"

	"edge/conf"
)

// fact is a key and its value, as it counts: a default is as good as the same value given.
type fact struct {
	key  string
	is   any
	cost cost // of another value
}

// same says whether two facts say the same. Where they stand in a file is no part of it.
func (f fact) same(g fact) bool {
	switch is := f.is.(type) {
	case conf.Secret:
		other, ok := g.is.(conf.Secret)
		return ok && is.Equal(other)
	case veiled:
		return is == g.is
	}
	return text(f.is) == text(g.is)
}

// veiled is a text that counts and that is not shown.
type veiled struct{ shown, is string }

func (v veiled) String() string             { return v.shown }
func (v veiled) Format(f fmt.State, _ rune) { fmt.Fprint(f, v.shown) }

// text gives a value as it is shown. A Secret reads "-".
func text(v any) string {
	switch v := v.(type) {
	case []string:
		return strings.Join(v, ", ")
	case conf.File:
		return v.Path
	case []conf.File:
		return list(v, func(f conf.File) string { return f.Path })
	case conf.Prefixes:
		return list(v, func(p netip.Prefix) string { return p.String() })
	case []conf.Host:
		return list(v, func(h conf.Host) string { return h.Name })
	case []conf.Header:
		return list(v, func(h conf.Header) string { return fmt.Sprintf("%s = %q", h.Name, h.Value) })
	}
	return fmt.Sprint(v)
}

// list gives a list as text.
func list[T any](items []T, write func(T) string) string {
	var parts []string
	for _, item := range items {
		parts = append(parts, write(item))
	}
	return strings.Join(parts, ", ")
}

// of gives what is said of a thing; nil: it is not there.
func of[T any](thing *T, say func(*T) string) string {
	if thing == nil {
		return ""
	}
	return say(thing)
}
