// Package tlsconf knows which TLS settings a connection gets: versions, ciphers, protocols, session tickets.
//
// What Server returns is called once for each handshake, with the ClientHello, and makes nothing: the settings are built before.
package tlsconf

import (
	"crypto/tls"
	"slices"
)

// GetCertificate chooses the certificate for a handshake; nil without an error refuses it with the alert unrecognized_name.
type GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Server gives the settings for servers that speak the protocols alpn, the one they like best first; without any, ALPN is left alone.
// A client that offers other protocols only is refused (no_application_protocol). The function is what tls.Config.GetConfigForClient
// wants, is safe concurrently and never fails.
//
// Sessions resume across everything that was made from the same Tickets, in whichever process, over TLS 1.3 only.
func Server(get GetCertificate, tickets *Tickets, alpn ...string) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	modern := base(get, alpn)
	modern.SetSessionTicketKeys(tickets.Keys)
	legacy := base(get, alpn)
	legacy.SessionTicketsDisabled = true
	return func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedVersions, tls.VersionTLS13) {
			return modern, nil
		}
		return legacy, nil
	}
}

// base is what both settings have in common.
//
// The legacy ones, for clients without TLS 1.3, differ in one thing: no tickets. A TLS 1.2 ticket holds the master secret of the
// session that it comes from, so whoever gets the ticket keys can read all those sessions, recorded long ago; in TLS 1.3 every
// session has a key exchange of its own. They keep MaxVersion unset though they end up with 1.2: crypto/tls marks the ServerHello of a
// server that could have done better (RFC 8446 4.1.3), which is how a client notices that someone took TLS 1.3 out of its ClientHello.
func base(get GetCertificate, alpn []string) *tls.Config {
	return &tls.Config{
		GetCertificate: get,
		NextProtos:     slices.Clone(alpn),
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   tls12Suites,

		DynamicRecordSizingDisabled: true, // an answer that fits into one record leaves in one, also a connection's first
	}
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
