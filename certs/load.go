package certs

import (
	"crypto/tls"
	"time"

	"edge/certs/devcert"
	"edge/conf"
)

// Load reads the certificates of a configuration, and makes the development certificates that are missing or near their end.
// served are the names of all hosts that are served: a development certificate holds those that its own hosts cover.
// The error is a conf.Errors with everything that is wrong.
func Load(specs []*conf.Certificate, served []string, now time.Time) (*Store, error) {
	l := loader{
		store: &Store{byName: make(map[string][]*tls.Certificate)},
		dev:   make(map[string]devcert.Files),
		now:   now,
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
	l.store.first = l.store.byName[l.first]
	return l.store, nil
}

// loader is a Load under way.
type loader struct {
	store *Store
	first string                   // a name of the first certificate
	dev   map[string]devcert.Files // by folder
	now   time.Time
	errs  conf.Errors
}

// add makes the certificate answer for these names, of which there is at least one.
func (l *loader) add(cert *tls.Certificate, names []string) {
	if l.first == "" {
		l.first = names[0]
	}
	for _, name := range names {
		l.store.byName[name] = append(l.store.byName[name], cert)
	}
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
