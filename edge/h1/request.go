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
	if !ok1 || !ok2 || wire.CheckMethod(method) != nil || len(target) == 0 || bytes.IndexByte(version, ' ') >= 0 {
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
	if r.upgrade != nil && !r.mayUpgrade() {
		r.upgrade = nil // served as if it were not there, RFC 9110 section 7.8
	}
	if r.minor == 0 {
		r.expect = false // RFC 9110 section 10.1.1
	}
	return nil
}

// mayUpgrade says whether the upgrade is asked for in the way that one is, to one protocol, and not to h2c, which is not offered. Behind a
// body there is none: the body would run into the tunnel.
func (r *request) mayUpgrade() bool {
	name, version, ok := bytes.Cut(r.upgrade, []byte("/"))
	return r.wantsUp && r.minor == 1 && !r.chunked && r.length == 0 &&
		isToken(name) && (!ok || isToken(version)) && !bytes.EqualFold(name, []byte("h2c"))
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
	case string(target) == "*":
	default: // absolute-form
		var inTarget []byte
		var err error
		if inTarget, target, err = splitAbsolute(target); err != nil {
			return err
		}
		if r.hosts == 1 && !bytes.Equal(toLower(inTarget), toLower(authority)) {
			return errDiffer
		}
		authority = inTarget
		if len(target) == 0 && string(r.method) == http.MethodOptions { // RFC 9112 section 3.2.4
			target = asterisk
		}
	}
	if string(target) == "*" && string(r.method) == http.MethodOptions {
		r.path, r.query, r.hasQuery = target, nil, false
		return r.setHost(authority)
	}
	r.path, r.query, r.hasQuery = bytes.Cut(target, []byte("?"))
	if len(r.path) == 0 {
		r.path = slash
	}
	if err := wire.Check(r.path, r.query); err != nil {
		return &refusal{400, err.Error()}
	}
	return r.setHost(authority)
}

var slash, asterisk = []byte("/"), []byte("*")

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

// setHost checks a host as routing and upstreams will read it. It becomes lower case where it stands.
func (r *request) setHost(authority []byte) error {
	if host, ok := wire.PlainHost(toLower(authority)); ok {
		r.authority, r.host = authority, host
		return nil
	}
	a, h, err := wire.CanonicalHost(string(authority))
	if err != nil {
		return &refusal{400, err.Error()}
	}
	r.authority, r.host = []byte(a), []byte(h)
	return nil
}

// toLower makes b lower case, and gives it.
func toLower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return b
}

// keeps says whether the client keeps the connection after the answer, RFC 9112 section 9.3.
func (r *request) keeps() bool {
	return !r.close && (r.minor == 1 || r.keepAlive)
}
