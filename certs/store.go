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
	Warnings []*conf.Error // what is allowed, but clients will not like: a certificate that has expired

	byName  map[string][]*tls.Certificate // names as in conf.Host; those of a name in the order of the configuration
	first   []*tls.Certificate            // for a client that names nothing; nil: there are no certificates
	renewAt time.Time
	trust   []string
}

// Get chooses the certificate for a handshake: the one for exactly the name that the client asks for, else the one for "*." and what
// follows the name's first label. A client that names nothing gets the certificate for the address that it connected to, else the
// first. Where several certificates are for one name it is the first that the client can use.
//
// A name without a certificate gives nil and no error, which crypto/tls answers with the alert unrecognized_name; for an error of ours
// it would send internal_error. (The configuration must have no Certificates of its own, or it falls back on those.)
func (s *Store) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" || net.ParseIP(hello.ServerName) != nil { // an address is no name there (RFC 6066 section 3), yet some send one
		return choose(hello, s.forAddress(hello.Conn)), nil
	}
	return choose(hello, s.forName(strings.ToLower(strings.TrimSuffix(hello.ServerName, ".")))), nil
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

// RenewAt is when another Load would make a development certificate anew because its end is near; zero: never.
func (s *Store) RenewAt() time.Time { return s.renewAt }

// Trust says, in lines for people, how to trust the development authorities in use. It is empty where there are none.
func (s *Store) Trust() []string { return s.trust }
