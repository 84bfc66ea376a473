package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"

	"edge/conf"
)

// staple has the certificate shown with what its authority says of it, if there is a file of that; what clients would not take is left out, with
// a warning: without it they take the certificate as it is.
func (l *loader) staple(spec *conf.Certificate, cert *tls.Certificate) {
	if spec.OCSP.Path == "" {
		return
	}
	der, err := spec.OCSP.Read(maxFile)
	if err != nil {
		l.fail(spec.OCSP.Pos, "ocsp %s: %s", spec.OCSP.Path, reason(err))
		return
	}
	end, err := checkOCSP(der, cert, l.now)
	if err != nil {
		l.warn(spec.OCSP.Pos, "ocsp %s is not shown to clients: %v", spec.OCSP.Path, err)
		return
	}
	cert.OCSPStaple = der
	if !end.IsZero() {
		l.store.renewAt = earlier(l.store.renewAt, end)
	}
}

// checkOCSP says why a response (RFC 6960, DER) does not speak well of the certificate at the moment, or when it ends; zero: nobody knows.
func checkOCSP(der []byte, cert *tls.Certificate, now time.Time) (end time.Time, err error) {
	if len(cert.Certificate) < 2 {
		return end, errors.New("the certificate's file does not hold the certificate of its authority, by which it is checked")
	}
	issuer, err := x509.ParseCertificate(cert.Certificate[1])
	if err != nil {
		return end, err
	}
	r, err := ocsp.ParseResponseForCert(der, cert.Leaf, issuer)
	switch {
	case err != nil:
		return end, err
	case r.Status == ocsp.Revoked:
		return end, fmt.Errorf("the certificate was revoked on %s", r.RevokedAt.Format(time.DateTime))
	case r.Status != ocsp.Good:
		return end, errors.New("the authority does not know the certificate")
	case now.Before(r.ThisUpdate):
		return end, fmt.Errorf("it is not valid before %s", r.ThisUpdate.Format(time.DateTime))
	case !r.NextUpdate.IsZero() && !now.Before(r.NextUpdate):
		return end, fmt.Errorf("it has expired on %s", r.NextUpdate.Format(time.DateTime))
	}
	return r.NextUpdate, nil
}
