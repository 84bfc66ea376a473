// Package tlsconf knows which TLS settings a connection gets: versions, ciphers, protocols, whose certificates clients show, session tickets.
//
// Settings are made once, from a policy, the certificates and the ticket keys; a handshake only chooses among them.
package tlsconf

import (
	"crypto/tls"
	"slices"
	"time"
)

// GetCertificate chooses the certificate for a handshake; nil without an error refuses it with the alert unrecognized_name.
type GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Settings are what servers keep a policy by. They are safe for concurrent use.
type Settings struct {
	id             ID
	modern, legacy *tls.Config
}

// Server gives the settings for a policy. A client that offers only protocols that the policy has not is refused (no_application_protocol).
//
// Sessions resume across everything that was made from the same Tickets, in whichever process, over TLS 1.3 only, and only where the client's
// certificate, if one is asked for, is good for the policy that they resume under.
func Server(get GetCertificate, tickets *Tickets, p *Policy) *Settings {
	s := &Settings{id: p.id, modern: p.settings(get), legacy: p.settings(get)}
	s.modern.SetSessionTicketKeys(tickets.Keys)
	s.legacy.SessionTicketsDisabled = true
	return s
}

// ID gives the policy's.
func (s *Settings) ID() ID { return s.id }

// For gives the settings for a client: what tls.Config.GetConfigForClient wants. It makes nothing.
func (s *Settings) For(hello *tls.ClientHelloInfo) *tls.Config {
	if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
		return s.modern
	}
	return s.legacy
}

// settings are what both have in common.
//
// The legacy ones, for clients without TLS 1.3, differ in one thing: no tickets. A TLS 1.2 ticket holds the master secret of the
// session that it comes from, so whoever gets the ticket keys can read all those sessions, recorded long ago; in TLS 1.3 every
// session has a key exchange of its own. They keep MaxVersion unset though they end up with 1.2: crypto/tls marks the ServerHello of a
// server that could have done better (RFC 8446 4.1.3), which is how a client notices that someone took TLS 1.3 out of its ClientHello.
func (p *Policy) settings(get GetCertificate) *tls.Config {
	c := &tls.Config{
		GetCertificate: get,
		NextProtos:     p.alpn,
		MinVersion:     p.minVersion,
		CipherSuites:   tls12Suites,
		ClientAuth:     p.clientAuth,
		ClientCAs:      p.clientCAs,

		DynamicRecordSizingDisabled: true, // an answer that fits into one record leaves in one, also a connection's first
	}
	if p.clientAuth != tls.NoClientCert {
		c.VerifyConnection = func(state tls.ConnectionState) error { return p.verify(state, time.Now()) }
	}
	return c
}

// tls12Suites are the suites of TLS 1.2 with forward secrecy and authenticated encryption; the standard library's default still has
// CBC among them. It does not heed the order: it prefers AES where both sides have it in hardware. TLS 1.3 has only good ones.
var tls12Suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}
