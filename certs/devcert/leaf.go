package devcert

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"
)

// ensureLeaf gives the leaf at path, made now if what is there is not good.
func ensureLeaf(path string, ca *tls.Certificate, want names, now time.Time) (*tls.Certificate, error) {
	leaf, err := readPair(path)
	if err != nil || leaf != nil && isGood(leaf.Leaf, ca.Leaf, want, now) {
		return leaf, err
	}
	return makePair(path, ca, &x509.Certificate{
		Subject:     pkix.Name{Organization: []string{"edge development certificate"}},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    want.dns,
		IPAddresses: want.ips,
	})
}

// isGood says whether clients that trust ca will take the leaf for exactly the wanted names, and for a while yet.
func isGood(leaf, ca *x509.Certificate, want names, now time.Time) bool {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now})
	return err == nil &&
		leaf.NotAfter.Sub(now) >= renewBefore &&
		want.equal(names{leaf.DNSNames, leaf.IPAddresses})
}
