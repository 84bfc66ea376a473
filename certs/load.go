package certs

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	"edge/certs/devcert"
	"edge/conf"
)

// Load reads the certificates of a configuration, and makes the development certificates that are missing or near their end.
// served are the names of all hosts that are served: a development certificate holds those that its own hosts cover.
// The error is a conf.Errors with everything that is wrong.
func Load(specs []*conf.Certificate, served []string, now time.Time) (*Store, error) {
	return Reload(nil, specs, served, now)
}

// Reload is Load where old, if it is not nil, has read most of it: a chain and a key that hold what they held are not parsed again.
func Reload(old *Store, specs []*conf.Certificate, served []string, now time.Time) (*Store, error) {
	l := loader{
		store:  &Store{byName: make(map[string][]*tls.Certificate), pairs: make(map[content]*tls.Certificate)},
		old:    old,
		dev:    make(map[string]*devcert.Files),
		claims: make(map[claim]holder),
		now:    now,
	}
	for _, spec := range specs {
		switch spec.Issuer {
		case "dev":
			l.addDev(spec, devHosts(specs, spec.Dir, served))
		default:
			l.addFiles(spec)
		}
	}
	if len(l.errs) > 0 {
		return nil, l.errs
	}
	l.addServed()
	for _, certs := range l.store.byName {
		slices.SortStableFunc(certs, func(a, b *tls.Certificate) int { return rank(a) - rank(b) })
	}
	l.store.first, l.store.fallback = l.store.byName[l.first], l.store.byName[l.fallback]
	return l.store, nil
}

// loader is a Load under way.
type loader struct {
	store    *Store
	old      *Store                    // nil: none
	first    string                    // a name of the first certificate
	fallback string                    // a name of the default one; "": there is none
	dev      map[string]*devcert.Files // by folder
	served   []servedByDev
	claims   map[claim]holder
	now      time.Time
	errs     conf.Errors
}

// claim is a name and the kind of a key: one certificate is used for both.
type claim struct {
	name string
	kind x509.PublicKeyAlgorithm
}

// holder is who has a claim.
type holder struct {
	at   conf.Pos
	cert *tls.Certificate
	said bool // in the configuration
}

// add makes the certificate answer for the spec's hosts or, if it has none, for these names, of which there is at least one.
func (l *loader) add(spec *conf.Certificate, cert *tls.Certificate, names []string) {
	hosts := spec.Hosts
	if len(hosts) == 0 {
		for _, name := range names {
			hosts = append(hosts, conf.Host{Pos: spec.Cert.Pos, Name: name})
		}
	}
	for _, host := range hosts {
		l.claim(host, cert, len(spec.Hosts) > 0)
	}
	if l.first == "" {
		l.first = hosts[0].Name
	}
	if spec.Default {
		l.fallback = hosts[0].Name
	}
}

// claim makes the certificate answer for the host, unless one that every client would like as well does already. A host that is said for a
// certificate counts more than one that the certificate itself holds; of two that only hold it, as before and after a renewal, the first counts.
func (l *loader) claim(host conf.Host, cert *tls.Certificate, said bool) {
	c := claim{host.Name, cert.Leaf.PublicKeyAlgorithm}
	was, ok := l.claims[c]
	switch {
	case ok && was.cert.Leaf.Equal(cert.Leaf), ok && was.said && !said:
		return
	case ok && was.said:
		l.fail(host.Pos, "a certificate with a key of the kind %v is for %s already, %v: one beside it must have a key of another kind", c.kind, c.name, was.at)
		return
	case ok && !said:
		l.warn(host.Pos, "this certificate is for %s, too, for which the one at %v is used", c.name, was.at)
		return
	case ok:
		l.store.byName[host.Name] = slices.DeleteFunc(l.store.byName[host.Name], func(other *tls.Certificate) bool { return other == was.cert })
	}
	l.claims[c] = holder{host.Pos, cert, said}
	l.store.byName[host.Name] = append(l.store.byName[host.Name], cert)
}

// rank orders certificates of one name by what handshakes cost: ECDSA first, RSA last.
func rank(cert *tls.Certificate) int {
	return slices.Index([]x509.PublicKeyAlgorithm{x509.ECDSA, x509.Ed25519, x509.RSA}, cert.Leaf.PublicKeyAlgorithm)
}

func (l *loader) fail(at conf.Pos, format string, args ...any) {
	l.errs = append(l.errs, at.Errorf(format, args...))
}

func (l *loader) warn(at conf.Pos, format string, args ...any) {
	l.store.Warnings = append(l.store.Warnings, at.Errorf(format, args...))
}

// hostNames gives the hosts' names alone.
func hostNames(hosts []conf.Host) []string {
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = host.Name
	}
	return names
}
