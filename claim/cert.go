package claim

// certPrefixes are the beginnings of names by which servers tell upstreams of the client's certificate: those of RFC 9440, which are ours, and those
// that the manuals of nginx, HAProxy, Apache, Caddy, IIS and AWS have taught applications. X-Forwarded-Tls-Client-Cert (Traefik) and
// X-Forwarded-Client-Cert (Envoy) are claims as it is.
var certPrefixes = []string{
	"client-cert", "client-verif", "ssl-", "tls-client-", "x-client-cert", "x-client-dn", "x-client-subject", "x-client-verif", "x-ssl-", "x-tls-client-",
	"x-arr-clientcert", "x-amzn-mtls-",
}

// ofCert says whether a field's name, as it is folded, tells of a client's certificate.
func ofCert(folded []byte) bool {
	if len(folded) == 0 || folded[0] != 'c' && folded[0] != 's' && folded[0] != 't' && folded[0] != 'x' {
		return false
	}
	for _, p := range certPrefixes {
		if len(folded) >= len(p) && string(folded[:len(p)]) == p {
			return true
		}
	}
	return false
}
