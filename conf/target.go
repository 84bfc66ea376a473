package conf

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// target reads one server's URL.
func (l *loader) target(v value) (Target, bool) {
	s := v.str()
	if s == "" {
		return Target{}, false
	}
	t := Target{Pos: v.pos()}
	var err error
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		t.Scheme = "unix"
		t.Address, err = v.targetSocket(path)
	} else {
		t.Scheme, t.Address, err = targetURL(s)
	}
	if err != nil {
		v.mistake("target %q %v", s, err)
	}
	return t, err == nil
}

func (v value) targetSocket(path string) (string, error) {
	switch {
	case strings.HasPrefix(path, "@"):
		return "", errors.New("must be a path: anyone on the machine may take an abstract name")
	case strings.HasPrefix(path, "//"):
		return "", errors.New("must be unix:/path, with one slash")
	}
	return v.socketPath(path)
}

// defaultPorts holds the schemes of URLs and the port that each of them implies.
var defaultPorts = map[string]string{"http": "80", "https": "443", "h2": "443", "h2c": "80", "tcp": ""}

func targetURL(s string) (scheme, address string, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	port, known := defaultPorts[scheme]
	switch {
	case !ok || !known:
		return "", "", errors.New("must begin with http://, https://, h2://, h2c://, tcp:// or unix:/")
	case strings.ContainsAny(rest, "/?#@"):
		return "", "", errors.New("must be scheme://host:port: no user, path, query or fragment, not even a last slash")
	}
	host, given, ok := cutPort(rest)
	if ok {
		port = given
	}
	if port, err = parsePort(port, 1); err != nil {
		return "", "", err
	}
	host, err = targetHost(host)
	return scheme, net.JoinHostPort(host, port), err
}

// cutPort parts a URL's host, which keeps its brackets, from its port, if it has one.
func cutPort(authority string) (host, port string, ok bool) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || i < strings.LastIndexByte(authority, ']') {
		return authority, "", false
	}
	return authority[:i], authority[i+1:], true
}

// targetHost is laxer than canonicalHost: the names of containers hold "_".
func targetHost(s string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil && ip.Is6() == (bare != s) {
		return ip.String(), nil
	}
	name := strings.ToLower(s)
	if name == "" || len(name) > 253 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return "", errors.New(`must have a host: an IP address (IPv6 in "[]"), or a name of letters, digits, "-", "_" and "."`)
	}
	return name, nil
}
