package certs

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge/certs/devcert"
	"edge/conf"
)

// addDev adds a development certificate. Specs that share a folder share its leaf, which holds hosts: what all of them need.
func (l *loader) addDev(spec *conf.Certificate, hosts []string) {
	if !l.permitted(spec) {
		return
	}
	files := l.dev[spec.Dir]
	if files == nil {
		made, err := devcert.Ensure(spec.Dir, hosts, l.now)
		if err != nil {
			l.fail(spec.Pos, "%v", err)
			return
		}
		files = &made
		l.dev[spec.Dir] = files
		l.store.trust = append(l.store.trust, trust(made)...)
		l.store.renewAt = earlier(l.store.renewAt, made.RenewAt)
		l.served = append(l.served, servedByDev{&files.Certificate, hosts})
	}
	l.add(spec, &files.Certificate, nil)
}

// servedByDev is a development leaf and all that it holds.
type servedByDev struct {
	cert  *tls.Certificate
	hosts []string
}

// addServed makes the development leaves answer for the names that they hold and that nobody has named.
func (l *loader) addServed() {
	for _, s := range l.served {
		for _, name := range s.hosts {
			if l.store.byName[name] == nil {
				l.store.byName[name] = []*tls.Certificate{s.cert}
			}
		}
	}
}

// permitted reports every host of the spec that no development certificate may hold.
func (l *loader) permitted(spec *conf.Certificate) bool {
	ok := true
	for _, host := range spec.Hosts {
		if err := devcert.Permitted(host.Name); err != nil {
			l.fail(host.Pos, "%v", err)
			ok = false
		}
	}
	return ok
}

// devHosts gives the names that the leaf in dir must hold: the hosts of the specs of that folder and, one by one, the names served that
// they cover. "*.localhost" alone is not enough: OpenSSL (curl), GnuTLS, NSS (Firefox) and Chromium refuse a wildcard for all of a
// top-level domain, and X.509 has none for names two levels below.
func devHosts(specs []*conf.Certificate, dir string, served []string) []string {
	var hosts []string
	for _, spec := range specs {
		if spec.Issuer == "dev" && spec.Dir == dir {
			hosts = append(hosts, hostNames(spec.Hosts)...)
		}
	}
	own := slices.Clip(hosts)
	for _, name := range served {
		if covers(own, name) {
			hosts = append(hosts, name)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// covers says whether name, which may be a wildcard itself, is below a wildcard among the hosts, however deep.
func covers(hosts []string, name string) bool {
	return slices.ContainsFunc(hosts, func(host string) bool {
		parent, wildcard := strings.CutPrefix(host, "*")
		return wildcard && strings.HasSuffix(name, parent)
	})
}

func trust(files devcert.Files) []string {
	made := ""
	if files.Made {
		made = ", made now"
	}
	return []string{
		fmt.Sprintf("development CA%s: %s; for curl: --cacert %[2]s; for browsers: see README.md", made, files.CA),
		fmt.Sprintf("for all of Debian: cp %s /usr/local/share/ca-certificates/edge-dev.crt && update-ca-certificates", files.CA),
	}
}

// earlier gives the earlier of two times, where zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
