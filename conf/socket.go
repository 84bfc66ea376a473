package conf

import (
	"io/fs"
	"slices"
	"strconv"
	"time"
)

// What the kernel takes for the time of a keep-alive: whole seconds, and no more than that.
const (
	defaultKeepAlive = 15 * time.Second
	leastKeepAlive   = time.Second
	mostKeepAlive    = 32767 * time.Second
)

func keepAlive(v value) time.Duration {
	d := v.delay(defaultKeepAlive)
	if d != 0 && (d < leastKeepAlive || d > mostKeepAlive) {
		v.mistake(`%s must be "0s", or from %v to %v`, v.key, leastKeepAlive, mostKeepAlive)
		return defaultKeepAlive
	}
	return d
}

// defaultSocketMode lets in edge's own user and no other.
const defaultSocketMode fs.FileMode = 0o600

// socketMode reads the mode of a listener's unix sockets, of which the addresses are known.
func socketMode(ln *Listener, v value) fs.FileMode {
	s := v.str()
	if s == "" {
		return defaultSocketMode
	}
	n, err := strconv.ParseUint(s, 8, 16)
	onPath := func(a Address) bool { return a.Network == "unix" && a.Address[0] != '@' }
	switch {
	case err != nil || len(s) < 3 || len(s) > 4 || n > 0o777:
		v.mistake(`%s must be three octal digits like "0660", is %q`, v.key, s)
	case n&0o222 == 0:
		v.mistake("%s %q lets nobody in: to connect is to write", v.key, s)
	case !slices.ContainsFunc(ln.Addresses, onPath):
		v.mistakeAtKey("%q is for unix sockets, and this listener has none with a path", v.key)
	default:
		return fs.FileMode(n)
	}
	return defaultSocketMode
}
