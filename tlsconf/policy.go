package tlsconf

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
	"unique"

	"edge/conf"
)

// ID says which policy a handshake was made under: IDs are equal if and only if the policies ask the same of a client, whichever listeners,
// files and configurations they come from. The zero ID is what https asks where the configuration says nothing; there, and where there is
// no TLS at all, comparing two is all that policies cost.
type ID = unique.Handle[string]

// Policy is what handshakes are made under.
type Policy struct {
	id         ID
	minVersion uint16
	clientAuth tls.ClientAuthType
	clientCAs  *x509.CertPool
	alpn       []string
}

// ID gives the policy's.
func (p *Policy) ID() ID { return p.id }

// Policies reads the files of policies, each once. The zero value has read none.
type Policies struct {
	files map[string][]*x509.Certificate
	byKey map[string]*Policy
}

// Load gives the policy that a specification asks for. The error is a conf.Errors with everything that is wrong.
func (ps *Policies) Load(spec conf.TLSPolicy) (*Policy, error) {
	var cas []*x509.Certificate
	var wrong conf.Errors
	for _, file := range spec.ClientCA {
		list, err := ps.read(file)
		if err != nil {
			wrong = append(wrong, file.Pos.Errorf("client_ca %s: %v", file.Path, err))
		}
		cas = append(cas, list...)
	}
	if wrong != nil {
		return nil, wrong
	}
	key := keyOf(spec, cas)
	if ps.byKey == nil {
		ps.byKey = map[string]*Policy{}
	}
	if ps.byKey[key] == nil {
		ps.byKey[key] = newPolicy(spec, cas, key)
	}
	return ps.byKey[key], nil
}

// byDefault is the key of what https asks where the configuration says nothing.
var byDefault = keyOf((&conf.Listener{Protocol: conf.HTTPS}).TLSPolicy(nil), nil)

// keyOf says in one string all that a policy asks. The order of the authorities, and one that is there twice, make no difference.
func keyOf(spec conf.TLSPolicy, cas []*x509.Certificate) string {
	sums := make([][sha256.Size]byte, len(cas))
	for i, ca := range cas {
		sums[i] = sha256.Sum256(ca.Raw)
	}
	slices.SortFunc(sums, func(a, b [sha256.Size]byte) int { return slices.Compare(a[:], b[:]) })
	return fmt.Sprintf("%s %s %q %x", spec.MinVersion, spec.ClientAuth, spec.ALPN, slices.Compact(sums))
}

func newPolicy(spec conf.TLSPolicy, cas []*x509.Certificate, key string) *Policy {
	p := &Policy{minVersion: tls.VersionTLS12, alpn: slices.Clone(spec.ALPN)}
	if key != byDefault {
		p.id = unique.Make(key)
	}
	if spec.MinVersion == "1.3" {
		p.minVersion = tls.VersionTLS13
	}
	switch spec.ClientAuth {
	case conf.OptionalClientAuth:
		p.clientAuth = tls.VerifyClientCertIfGiven
	case conf.RequiredClientAuth:
		p.clientAuth = tls.RequireAndVerifyClientCert
	}
	if p.clientAuth != tls.NoClientCert {
		p.clientCAs = x509.NewCertPool() // never nil: crypto/x509 takes nil for the system's authorities
		for _, ca := range cas {
			p.clientCAs.AddCert(ca)
		}
	}
	return p
}

// maxCA bounds a file of authorities.
const maxCA = 16 << 20

// read gives the certificates of a PEM file, of which there is at least one.
func (ps *Policies) read(file conf.File) ([]*x509.Certificate, error) {
	if list, ok := ps.files[file.Path]; ok {
		return list, nil
	}
	data, err := file.Read(maxCA)
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return nil, pathErr.Err
	}
	list, err := parseCAs(data)
	if err != nil {
		return nil, err
	}
	if ps.files == nil {
		ps.files = map[string][]*x509.Certificate{}
	}
	ps.files[file.Path] = list
	return list, nil
}

// parseCAs does not skip what it cannot read, as x509.CertPool does: an authority that is missing shuts its clients out.
func parseCAs(data []byte) (list []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, ca)
	}
	if list == nil {
		return nil, errors.New(`no certificate in it (PEM, "-----BEGIN CERTIFICATE-----")`)
	}
	return list, nil
}

// verify looks, for a policy that asks for one, at the client's certificate of every handshake, also of one that resumes a session: crypto/tls takes over the chains that were
// verified when the session began, whatever has become of the authorities and of the certificates since (GO-2026-4337).
func (p *Policy) verify(state tls.ConnectionState, now time.Time) error {
	if len(state.PeerCertificates) == 0 {
		if p.clientAuth == tls.RequireAndVerifyClientCert {
			return errors.New("tlsconf: the client showed no certificate")
		}
		return nil
	}
	others := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		others.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: p.clientCAs, Intermediates: others, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}
