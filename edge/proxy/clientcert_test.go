package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"edge/edge/wire"
)

// certClaimed are names by which a client could tell of a certificate that it has not shown.
var certClaimed = []string{
	"Client-Cert", "client_cert", "CLIENT.CERT_", "Client-Cert-Chain", "Client-Certificate", "Client-Verify", "X-Client-Cert", "X_Client_Cert", "X-Client-Certificate",
	"X-Client-DN", "X-Client-Subject", "X-Client-Verify", "X-Client-Verified", "SSL-Client-Cert", "SSL_CLIENT_S_DN", "Ssl-Client-Verify", "X-SSL-Client-CN",
	"X-SSL-CERT", "X-Ssl-Client-Verify", "TLS-Client-Cert", "X-TLS-Client-Subject", "X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
	"X-ARR-ClientCert", "X-Amzn-Mtls-Clientcert-Subject",
}

// An upstream is told of the certificate that the connection was made with, and of no other.
func TestClientCert(t *testing.T) {
	bothModes(t, func(t *testing.T, major int) {
		got := make(chan http.Header, 1)
		_, p := origin(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
		ours := wire.Fields{{Name: []byte("client-cert"), Value: []byte(":b3Vycw==:")}, {Name: []byte("client-cert-chain"), Value: []byte(":YQ==:, :Yg==:")}}
		for _, told := range []wire.Fields{nil, ours, ours[:1]} {
			f := serve(t, major, func(x *wire.Exchange) {
				c := *x.Conn
				c.ClientCert, x.Conn = told, &c
				p.Serve(x)
			})
			req, err := http.NewRequest(http.MethodGet, f.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range certClaimed {
				req.Header[name] = []string{"mallory"}
			}
			resp, err := f.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			h := <-got
			for name, values := range h {
				if strings.Contains(fmt.Sprint(values), "mallory") {
					t.Errorf("the upstream was told %s by the client", name)
				}
			}
			want := http.Header{}
			told.AddTo(want)
			for _, name := range []string{"Client-Cert", "Client-Cert-Chain"} {
				if fmt.Sprint(h[name]) != fmt.Sprint(want[name]) {
					t.Errorf("%s is %q, want %q", name, h[name], want[name])
				}
			}
		}
	})
}
