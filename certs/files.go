package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"edge/conf"
)

// addFiles adds a certificate from files, or reports all that is wrong with it.
func (l *loader) addFiles(spec *conf.Certificate) {
	cert := l.readPair(spec)
	if cert == nil {
		return
	}
	names := hostNames(spec.Hosts)
	if len(names) == 0 {
		names = namesOf(cert.Leaf)
	}
	if len(names) == 0 {
		l.fail(spec.Cert.Pos, "the certificate in %s holds no name that it is for (a common name alone is not one)", spec.Cert.Path)
		return
	}
	for _, host := range spec.Hosts {
		if !holds(cert.Leaf, host.Name) {
			l.fail(host.Pos, "the certificate in %s is not for %s: it holds %s", spec.Cert.Path, host.Name, list(namesOf(cert.Leaf)))
		}
	}
	l.checkTime(spec.Cert, cert.Leaf, names)
	l.staple(spec, cert)
	l.add(spec, cert, names)
}

// maxFile bounds a chain, a key and a response.
const maxFile = 1 << 20

// readPair reads the chain and its key; it reports what is wrong and gives nil.
func (l *loader) readPair(spec *conf.Certificate) *tls.Certificate {
	chain, err := spec.Cert.Read(maxFile)
	key, keyErr := spec.Key.Read(maxFile)
	id := contentOf(chain, key)
	if was := l.parsed(id); was != nil && err == nil && keyErr == nil {
		return l.keep(id, was)
	}
	if err == nil {
		err = checkChain(chain)
	}
	if err != nil {
		l.fail(spec.Cert.Pos, "certificate %s: %v", spec.Cert.Path, reason(err))
	}
	if keyErr != nil {
		l.fail(spec.Key.Pos, "key %s: %v", spec.Key.Path, reason(keyErr))
	}
	if err != nil || keyErr != nil {
		return nil
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		l.fail(spec.Key.Pos, "key %s does not go with the certificate %s: %s", spec.Key.Path, spec.Cert.Path, reason(err))
		return nil
	}
	return l.keep(id, &pair)
}

// content is a hash over a chain and a key.
type content [sha256.Size]byte

func contentOf(chain, key []byte) content {
	h := sha256.New()
	binary.Write(h, binary.BigEndian, int64(len(chain))) // else what ends the chain could begin the key
	h.Write(chain)
	h.Write(key)
	return content(h.Sum(nil))
}

// parsed gives the pair of this content, if it has been read before.
func (l *loader) parsed(id content) *tls.Certificate {
	if l.old == nil {
		return nil
	}
	return l.old.pairs[id]
}

// keep has the next Reload find the pair, and gives one to be changed.
func (l *loader) keep(id content, pair *tls.Certificate) *tls.Certificate {
	l.store.pairs[id] = pair
	own := *pair // what is stapled to it is not in its files
	return &own
}

// checkChain says what is wrong with the chain in itself, so that the mistake is told of the certificate and not of its key.
func checkChain(data []byte) error {
	found := false
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
		found = true
	}
	if !found {
		return errors.New(`no certificate in it (PEM, "-----BEGIN CERTIFICATE-----")`)
	}
	return nil
}

// A certificate's end is told of from so long before it, and so often.
const (
	warnBefore = 14 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
)

// checkTime warns of a certificate that is out of its time, or soon will be, and sees to it that another Load comes to warn in time.
func (l *loader) checkTime(file conf.File, leaf *x509.Certificate, names []string) {
	begin := leaf.NotAfter.Add(-warnBefore)
	switch {
	case l.now.After(leaf.NotAfter):
		l.warn(file.Pos, "certificate %s for %s has expired on %s: clients refuse it", file.Path, list(names), leaf.NotAfter.Format(time.DateTime))
	case l.now.Before(leaf.NotBefore):
		l.warn(file.Pos, "certificate %s for %s is not valid before %s: clients refuse it", file.Path, list(names), leaf.NotBefore.Format(time.DateTime))
	case !l.now.Before(begin):
		l.warn(file.Pos, "certificate %s for %s expires on %s, %s from now", file.Path, list(names), leaf.NotAfter.Format(time.DateTime), days(leaf.NotAfter.Sub(l.now)))
	}
	if !l.now.Before(begin) {
		begin = l.now.Add(warnEvery)
	}
	l.store.renewAt = earlier(l.store.renewAt, begin)
}

// days writes a time in whole days, or less than one.
func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); n {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}

// namesOf gives what the certificate is for, written as in conf.Host.
func namesOf(leaf *x509.Certificate) []string {
	var names []string
	for _, name := range leaf.DNSNames {
		names = append(names, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	for _, ip := range leaf.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			names = append(names, addr.Unmap().String())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// holds says whether clients will take the certificate for the host. A wildcard must stand in it as it is.
func holds(leaf *x509.Certificate, host string) bool {
	if strings.HasPrefix(host, "*.") {
		return slices.Contains(namesOf(leaf), host)
	}
	return leaf.VerifyHostname(host) == nil
}

// list writes the first few of the names: a certificate may hold a hundred.
func list(names []string) string {
	const most = 5
	switch {
	case len(names) == 0:
		return "no names"
	case len(names) > most:
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// reason gives what went wrong without the prefixes that the message has already said.
func reason(err error) string {
	if pathErr := (*os.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "tls: "), "x509: ")
}
