package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// hosts reads host patterns.
func hosts(v value) []Host {
	var hosts []Host
	for _, item := range v.list() {
		if h := host(item); h.Name != "" {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// host reads one host pattern; its Name is empty where there is none, or a wrong one.
func host(v value) Host {
	s := v.str()
	if s == "" {
		return Host{}
	}
	name, err := canonicalHost(s)
	if err != nil {
		v.mistake("host %q %v", s, err)
	}
	return Host{Pos: v.pos(), Name: name}
}

// exactHost reads a host name: no wildcard, no IP address.
func exactHost(v value) Host {
	h := host(v)
	switch {
	case strings.HasPrefix(h.Name, "*."):
		v.mistake("%s must be one name, without a wildcard", v.key)
	case isIP(h.Name):
		v.mistake("%s must be a name, not an IP address", v.key)
	default:
		return h
	}
	return Host{}
}

// names maps and checks as browsers do (UTS 46), and allows only what may stand in the DNS.
var names = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// canonicalHost gives a host pattern the form that Host describes.
func canonicalHost(s string) (string, error) {
	if ip, ok := parseIP(s); ok {
		return ip, nil
	}
	switch {
	case strings.Contains(s, "://"):
		return "", errors.New("is a URL: write its host alone")
	case strings.ContainsAny(s, "/?#"):
		return "", errors.New("has a path: paths go into a [[vhost.route]]")
	case strings.Contains(s, ":"):
		return "", errors.New("has a port, or is no IPv6 address: ports belong to a [[listener]]")
	}
	name, wild := strings.CutPrefix(s, "*.")
	if strings.Contains(name, "*") {
		return "", errors.New(`may have "*" only as its whole first label, with a name after it: "*.example.org"`)
	}
	name, err := names.ToASCII(strings.TrimSuffix(name, "."))
	if err != nil {
		return "", fmt.Errorf("is not a host name: %s", strings.TrimPrefix(err.Error(), "idna: "))
	}
	switch last := name[strings.LastIndexByte(name, '.')+1:]; {
	case last == "":
		return "", errors.New("is not a host name: its last label is empty")
	case strings.Trim(last, "0123456789") == "":
		return "", errors.New("is neither an IP address nor a name: no name ends in a number")
	}
	if wild {
		name = "*." + name
	}
	return name, nil
}

func parseIP(s string) (string, bool) {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return "", false
	}
	return ip.String(), true
}

func isIP(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}
