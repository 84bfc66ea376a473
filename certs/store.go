// Package certs knows which certificate is for which name: from files, or made for development.
package certs

import (
	"crypto/tls"
	"net"
	"strings"
	"time"

	"edge/conf"
)

// Store holds the certificates of one configuration. It does not change after Load and is safe for concurrent use.
type Store struct {
	// Warnings are what is allowed, but clients will not like: a certificate that has expired, or will soon; what OCSP says and cannot be shown.
	Warnings []*conf.Error

	byName   map[string][]*tls.Certificate // names as in conf.Host; those of a name differ in the kind of their key, the cheapest first
	first    []*tls.Certificate            // for a client that names nothing; nil: there are no certificates
	fallback []*tls.Certificate            // for a name that none is for; nil: it is refused
	renewAt  time.Time
	pairs    map[content]*tls.Certificate // as parsed, of all certificates from files
	trust    []string
}

// Get chooses the certificate for a handshake: the one for exactly the name that the client asks for, else the one for "*." and what
// follows the name's first label, else the default one. A client that names nothing gets the certificate for the address that it connected
// to, else the first. Where several certificates are for one name it is the first that the client can use, in the order ECDSA, Ed25519, RSA.
//
// A name without a certificate gives nil and no error, which crypto/tls answers with the alert unrecognized_name; for an error of ours
// it would send internal_error. (The configuration must have no Certificates of its own, or it falls back on those.)
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" || net.ParseIP(hello.ServerName) != nil { // an address is no name there (RFC 6066 section 3), yet some send one
		return choose(hello, s.forAddress(hello.Conn)), nil
	}
	if certs := s.forName(strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))); certs != nil {
		return choose(hello, certs), nil
	}
	nameless := *hello
	nameless.ServerName = "" // else the client could use none of them
	return choose(&nameless, s.fallback), nil
}

func (s *Store) forName(name string) []*tls.Certificate {
	if certs := s.byName[name]; certs != nil {
		return certs
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return s.byName["*."+parent]
	}
	return nil
}

// Covers says whether there is a certificate for a name, or for all names that a pattern "*." stands for.
func (s *Store) Covers(name string) bool { return s.forName(name) != nil }

func (s *Store) forAddress(conn net.Conn) []*tls.Certificate {
	if conn == nil {
		return s.first
	}
	if tcp, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		ip := tcp.AddrPort().Addr().Unmap().WithZone("")
		if certs := s.byName[ip.String()]; certs != nil {
			return certs
		}
	}
	return s.first
}

// choose gives the first certificate that the client can use. Where it can use none, the first one lets crypto/tls say why.
func choose(hello *tls.ClientHelloInfo, certs []*tls.Certificate) *tls.Certificate {
	if len(certs) == 0 {
		return nil
	}
	if len(certs) > 1 {
		for _, cert := range certs {
			if hello.SupportsCertificate(cert) == nil {
				return cert
			}
		}
	}
	return certs[0]
}

// HasDefault says whether clients that ask for a name without a certificate are shown one.
func (s *Store) HasDefault() bool { return s.fallback != nil }

// RenewAt is when another Load has something to do: to make a development certificate anew because its end is near, to warn of the end of
// another one, again if need be, or to drop an OCSP response that has expired. Zero: never.
func (s *Store) RenewAt() time.Time { return s.renewAt }

// Trust says, in lines for people, how to trust the development authorities in use. It is empty where there are none.
func (s *Store) Trust() []string { return s.trust }
