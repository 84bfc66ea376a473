package devcert

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"os"
	"slices"
	"time"

	"edge/statefile"
)

// The bounds of every authority. RFC 5280 4.2.1.10 lets "localhost" stand for the names below it too; ".localhost" is said as well
// for verifiers that take the first for that one name.
var (
	permittedNames  = []string{"localhost", ".localhost"}
	permittedRanges = []*net.IPNet{
		{IP: net.IPv4(127, 0, 0, 1).To4(), Mask: net.CIDRMask(32, 32)},
		{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
	}
)

// ensureAuthority gives the authority at path, made now if there is none that can be used.
func ensureAuthority(path string, now time.Time) (ca *tls.Certificate, made bool, err error) {
	ca, err = readPair(path)
	if err != nil || ca != nil && canSign(ca.Leaf, now) {
		return ca, false, err
	}
	ca, err = makeAuthority(path, now)
	return ca, true, err
}

// canSign says whether the authority outlives a leaf made now and is bound as it would be bound today.
func canSign(ca *x509.Certificate, now time.Time) bool {
	return ca.IsCA && ca.PermittedDNSDomainsCritical &&
		slices.Equal(ca.PermittedDNSDomains, permittedNames) &&
		slices.EqualFunc(ca.PermittedIPRanges, permittedRanges, func(a, b *net.IPNet) bool { return a.String() == b.String() }) &&
		!now.Before(ca.NotBefore) && now.Add(leafLife).Before(ca.NotAfter)
}

func makeAuthority(path string, now time.Time) (*tls.Certificate, error) {
	return makePair(path, nil, &x509.Certificate{
		Subject:                     pkix.Name{Organization: []string{"edge"}, CommonName: authorityName()},
		NotBefore:                   now.Add(-clockSkew),
		NotAfter:                    now.Add(authorityLife),
		KeyUsage:                    x509.KeyUsageCertSign,
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, // nor can it vouch for mail or programs
		BasicConstraintsValid:       true,
		IsCA:                        true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         permittedNames,
		PermittedIPRanges:           permittedRanges,
	})
}

// authorityName tells people which machine's authority they have imported. It is never the same twice: a client that holds two
// authorities of one name may try the wrong one.
func authorityName() string {
	host, _ := os.Hostname()
	if host == "" {
		host = "unnamed"
	}
	return "edge development CA " + host[:min(len(host), 24)] + " " + rand.Text()[:6] // at most 64 bytes, RFC 5280 ub-common-name
}

// publish keeps the certificate at path, for everyone to read.
func publish(path string, cert *x509.Certificate) error {
	want := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want) {
		if err := statefile.Write(path, want); err != nil {
			return err
		}
	}
	return os.Chmod(path, 0o644)
}
