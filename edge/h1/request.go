package h1

import (
	"bytes"
	"net/http"

	"edge/edge/wire"
)

// request is a parsed request head.
type request struct {
	head
	method          []byte
	authority, host []byte // canonical
	path, query     []byte
	hasQuery        bool
}

// parse reads a request's head: text is everything from the first line to the empty line, without that. Fields keep their place in text.
func (r *request) parse(text []byte) error {
	line, rest, err := cutLine(text)
	if err != nil {
		return err
	}
	method, target, version, err := splitRequestLine(line)
	if err != nil {
		return err
	}
	minor, err := parseVersion(version)
	if err != nil {
		return err
	}
	r.head.reset(minor)
	r.method = method
	if err := r.parseFields(rest); err != nil {
		return err
	}
	if err := r.framing(); err != nil {
		return err
	}
	return r.route(target)
}

// splitRequestLine splits "GET /path HTTP/1.1": one space between, and none inside.
func splitRequestLine(line []byte) (method, target, version []byte, err error) {
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) || len(target) == 0 || bytes.IndexByte(version, ' ') >= 0 {
		return nil, nil, nil, errStartLine
	}
	return method, target, version, nil
}

// framing says how long the body is, RFC 9112 section 6.3.
func (r *request) framing() error {
	if !r.chunked && r.length == wire.Unknown {
		r.length = 0
	}
	if r.upgrades > 1 {
		return errUpgrades
	}
	if r.upgrade != nil && (!r.wantsUp || r.minor == 0 || !isToken(bytes.ReplaceAll(r.upgrade, []byte("/"), nil)) ||
		bytes.EqualFold(r.upgrade, []byte("h2c"))) {
		r.upgrade = nil // not asked for in the way that one is, or what is not offered: served as if it were not there
	}
	if r.minor == 0 {
		r.expect = false // RFC 9110 section 10.1.1
	}
	return nil
}

// route makes the canonical target and host.
func (r *request) route(target []byte) error {
	if r.hosts > 1 || r.hosts == 0 && r.minor == 1 {
		return errHost
	}
	authority := r.head.host
	switch {
	case string(r.method) == http.MethodConnect:
		return errMethod
	case target[0] == '/':
	case string(target) == "*" && string(r.method) == http.MethodOptions:
		r.path, r.query, r.hasQuery = target, nil, false
		return r.setHost(authority)
	default: // absolute-form
		var inTarget []byte
		var err error
		if inTarget, target, err = splitAbsolute(target); err != nil {
			return err
		}
		if r.hosts == 1 && !bytes.EqualFold(inTarget, authority) {
			return errDiffer
		}
		authority = inTarget
	}
	r.path, r.query, r.hasQuery = bytes.Cut(target, []byte("?"))
	if len(r.path) == 0 {
		r.path = slash
	}
	if err := wire.Check(string(r.path), string(r.query)); err != nil {
		return &refusal{400, err.Error()}
	}
	return r.setHost(authority)
}

var slash = []byte("/")

// splitAbsolute splits "http://host/path".
func splitAbsolute(target []byte) (authority, rest []byte, err error) {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
		return nil, nil, errTarget
	}
	i := bytes.IndexAny(rest, "/?")
	if i < 0 {
		i = len(rest)
	}
	return rest[:i], rest[i:], nil
}

// setHost checks a host as routing and upstreams will read it.
func (r *request) setHost(authority []byte) error {
	a, h, err := wire.CanonicalHost(string(authority))
	if err != nil {
		return &refusal{400, err.Error()}
	}
	r.authority, r.host = []byte(a), []byte(h)
	return nil
}

// keeps says whether the client keeps the connection after the answer, RFC 9112 section 9.3.
func (r *request) keeps() bool {
	return !r.close && (r.minor == 1 || r.keepAlive)
}
