// Package vhost matches: a host to its virtual host, a path to its route. Pure functions of tables that do not change once in use.
package vhost

import (
	"bytes"
	"errors"
	"strings"

	"edge/edge/wire"
)

// Hosts finds what belongs to a host. Fill it with Add; then it is read-only and safe for concurrent use.
type Hosts[T any] struct{ exact, wildcard map[string]T }

// Add says what belongs to a pattern: a name, an address, or "*." and a name, which stands for one label before that name.
func (h *Hosts[T]) Add(pattern string, v T) {
	if h.exact == nil {
		h.exact, h.wildcard = map[string]T{}, map[string]T{}
	}
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		h.wildcard[rest] = v
		return
	}
	h.exact[pattern] = v
}

// Match finds the value of a canonical host: the exact name first, then the wildcard above it.
func (h *Hosts[T]) Match(host []byte) (v T, ok bool) {
	if v, ok = h.exact[string(host)]; ok {
		return v, true
	}
	if _, parent, cut := bytes.Cut(host, []byte(".")); cut {
		v, ok = h.wildcard[string(parent)]
	}
	return v, ok
}

// Paths finds what belongs to a path. Fill it with Add; then it is read-only and safe for concurrent use.
type Paths[T comparable] struct {
	routes  map[string]T
	longest int // of their paths
}

// Add says what belongs to a path: "/assets/" is a subtree, "/ping" that path alone.
func (p *Paths[T]) Add(path string, v T) {
	if p.routes == nil {
		p.routes = map[string]T{}
	}
	p.routes[path], p.longest = v, max(p.longest, len(path))
}

// What Match says in place of a route.
var (
	ErrNotFound  = errors.New("no route has this path")
	ErrSlash     = errors.New("the path is a subtree's without its last slash")
	ErrAmbiguous = errors.New("the path means another route in another reading")
)

// Match finds the route of a checked path: that path alone, else the longest subtree that holds it. A path with '%', ';' or "//" is matched
// as it came and as upstreams may read it: decoded and with its slashes merged; with each segment cut at a ';' (wire.Check says who does), before
// or after it is decoded; and with a host in it. Where they differ no answer is safe.
func (p *Paths[T]) Match(path []byte) (T, error) {
	v, err := p.match(path)
	if bytes.IndexByte(path, '%') < 0 && bytes.IndexByte(path, ';') < 0 && !bytes.Contains(path, []byte("//")) {
		return v, err
	}
	decoded := wire.Decode(string(path))
	for _, read := range [...]string{decoded, cutParameters(decoded), wire.Decode(cutParameters(string(path))), wire.Decode(cutHost(string(path)))} {
		if w, readErr := p.match(merge(read)); w != v || readErr != err {
			return v, ErrAmbiguous
		}
	}
	return v, err
}

func (p *Paths[T]) match(path []byte) (v T, err error) {
	if v, ok := p.routes[string(path)]; ok {
		return v, nil
	}
	if v, ok := p.routes[string(path)+"/"]; ok {
		return v, ErrSlash
	}
	for end := min(len(path), p.longest); end > 0; { // what no route is as long as is not looked up: the client chooses how many slashes there are
		end = bytes.LastIndexByte(path[:end], '/')
		if end < 0 {
			break
		}
		if v, ok := p.routes[string(path[:end+1])]; ok {
			return v, nil
		}
	}
	return v, ErrNotFound
}

// cutParameters cuts each segment at its first ';', as servlet containers do: "/admin;x/y" is their "/admin/y".
func cutParameters(path string) string {
	if strings.IndexByte(path, ';') < 0 {
		return path
	}
	b, cut := make([]byte, 0, len(path)), false
	for i := range len(path) {
		if cut = path[i] == ';' || cut && path[i] != '/'; !cut {
			b = append(b, path[i])
		}
	}
	return string(b)
}

// cutHost cuts what begins with two slashes, and the segment behind them: "//host/admin/" is "/admin/" to who reads a request target as a URL
// reference, as new URL(target, base) does. What stands in front may be cut off on the way, as strip_prefix does.
func cutHost(path string) string {
	i := strings.Index(path, "//")
	if i < 0 {
		return path
	}
	_, rest, _ := strings.Cut(strings.TrimLeft(path[i:], "/"), "/")
	return path[:i] + "/" + rest
}

// merge makes one slash out of several.
func merge(path string) []byte {
	b := make([]byte, 0, len(path))
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			b = append(b, path[i])
		}
	}
	return b
}
