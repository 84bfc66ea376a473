package claim

import "testing"

// Names by which a client could tell of a certificate that it has not shown are claims, and their neighbours are not.
func TestCert(t *testing.T) {
	for name, want := range map[string]bool{
		"client-cert": true, "client_cert": true, "client.cert_": true, "client-cert-chain": true, "client-certificate": true, "client-verify": true,
		"x-client-cert": true, "x_client_cert": true, "x-client-dn": true, "x-client-subject": true, "x-client-verify": true, "x-client-verified": true,
		"ssl-client-cert": true, "ssl_client_s_dn": true, "x-ssl-client-cn": true, "x-ssl-cert": true, "tls-client-cert": true, "x-tls-client-subject": true,
		"x-forwarded-client-cert": true, "x-forwarded-tls-client-cert-info": true, "x-arr-clientcert": true, "x-amzn-mtls-clientcert-subject": true,
		"x-client-version": false, "x-client-info": false, "client": false, "ssl": false, "x-ssl": false, "sec-ch-ua": false, "content-type": false, "x-cert": false, "-": false,
	} {
		if Is([]byte(name)) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
