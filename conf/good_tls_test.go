package conf

import (
	"reflect"
	"testing"
)

// What a virtual host does not say its listener does, and what neither says is the default.
func TestTLSPolicy(t *testing.T) {
	c := parse(t, `
[[listener]]
name = "strict"
address = "127.0.0.1:1"
protocol = "https"
tls = { min_version = "1.3", client_auth = "required", client_ca = ["a.pem", "/b.pem"] }
[[listener]]
name = "bytes"
address = "127.0.0.1:2"
protocol = "tls"
proxy = "tcp://127.0.0.1:3"
tls = { alpn = ["imap"] }
[[vhost]]
hosts = "a"
listeners = ["https", "strict"]
echo = true
[[vhost]]
hosts = "b"
listeners = ["https", "strict"]
tls = { min_version = "1.2", client_auth = "optional", client_ca = "c.pem", alpn = "http/1.1" }
echo = true
[[vhost]]
hosts = "c"
listeners = "strict"
tls = { client_auth = "none" }
echo = true
[[vhost]]
hosts = "d"
listeners = "strict"
tls = { client_auth = "optional" }
echo = true
`+https)
	strict, bytes, plain := c.Listeners[0], c.Listeners[1], c.Listeners[2]
	type policy struct {
		version string
		auth    ClientAuth
		ca      []string
		alpn    []string
		line    int
	}
	both := []string{"h2", "http/1.1"}
	for i, test := range []struct {
		ln    *Listener
		vhost int // -1: none
		want  policy
	}{
		{strict, -1, policy{"1.3", RequiredClientAuth, []string{"/etc/edge/a.pem", "/b.pem"}, both, 6}},
		{bytes, -1, policy{"1.2", NoClientAuth, nil, []string{"imap"}, 12}},
		{plain, -1, policy{"1.2", NoClientAuth, nil, both, 33}},
		{plain, 0, policy{"1.2", NoClientAuth, nil, both, 33}},
		{strict, 0, policy{"1.3", RequiredClientAuth, []string{"/etc/edge/a.pem", "/b.pem"}, both, 6}},
		{plain, 1, policy{"1.2", OptionalClientAuth, []string{"/etc/edge/c.pem"}, []string{"http/1.1"}, 20}},
		{strict, 1, policy{"1.2", OptionalClientAuth, []string{"/etc/edge/c.pem"}, []string{"http/1.1"}, 20}},
		{strict, 2, policy{"1.3", NoClientAuth, nil, both, 25}},
		{strict, 3, policy{"1.3", OptionalClientAuth, []string{"/etc/edge/a.pem", "/b.pem"}, both, 30}},
	} {
		var v *Vhost
		if test.vhost >= 0 {
			v = c.Vhosts[test.vhost]
		}
		p := test.ln.TLSPolicy(v)
		got := policy{p.MinVersion, p.ClientAuth, nil, p.ALPN, p.Pos.Line}
		for _, f := range p.ClientCA {
			got.ca = append(got.ca, f.Path)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%d: got %v, want %v", i, got, test.want)
		}
	}
}

func TestCertificateOptions(t *testing.T) {
	c := parse(t, `
[[certificate]]
cert = "a.pem"
key = "a.key"
ocsp = "a.ocsp"
default = true
[[certificate]]
cert = "b.pem"
key = "b.key"
default = false
`+https)
	a, b := c.Certificates[0], c.Certificates[1]
	if a.OCSP.Path != "/etc/edge/a.ocsp" || a.OCSP.Pos.Line != 5 || !a.Default || b.OCSP.Path != "" || b.Default {
		t.Errorf("%+v, %+v", a, b)
	}
}
