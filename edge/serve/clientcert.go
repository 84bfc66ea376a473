package serve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"

	"edge/edge/wire"
)

// clientCert gives the fields by which upstreams are told of the client's certificate (RFC 9440): Client-Cert is the certificate,
// Client-Cert-Chain what leads from it to the authority that is trusted, if anything does; that one is not among it. Only what was verified counts.
func clientCert(state *tls.ConnectionState) wire.Fields {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	chain := state.VerifiedChains[0] // the leaf first, the authority last: they may be one
	f := wire.Fields{{Name: []byte("client-cert"), Value: byteSequence(chain[0])}}
	if len(chain) > 2 {
		var list [][]byte
		for _, cert := range chain[1 : len(chain)-1] {
			list = append(list, byteSequence(cert))
		}
		f = append(f, wire.Field{Name: []byte("client-cert-chain"), Value: bytes.Join(list, []byte(", "))})
	}
	return f
}

// byteSequence writes a certificate as RFC 9651 section 3.3.5 wants bytes in a field.
func byteSequence(cert *x509.Certificate) []byte {
	return append(base64.StdEncoding.AppendEncode([]byte(":"), cert.Raw), ':')
}
