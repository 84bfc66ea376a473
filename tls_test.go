package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// signed is a certificate with its key and what leads from it to its authority.
type signed struct {
	cert *x509.Certificate
	key  crypto.Signer
	via  []*signed
}

// sign makes a certificate, valid for a day, signed by an authority or, without one, by itself; change may be nil.
func sign(t *testing.T, by *signed, key crypto.Signer, change func(*x509.Certificate)) *signed {
	t.Helper()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: rand.Text()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	s := &signed{cert: template, key: key}
	if by == nil {
		by = s
	} else if by.cert.Issuer.String() != by.cert.Subject.String() {
		s.via = append([]*signed{by}, by.via...)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return s
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// authority is one that others, or it itself, have signed.
func authority(t *testing.T, by *signed) *signed {
	return sign(t, by, ecKey(t), func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
}

// client is a certificate for a client.
func (by *signed) client(t *testing.T) *signed {
	return sign(t, by, ecKey(t), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
}

// chain is the certificate and what leads from it to its authority, as crypto/tls wants it.
func (s *signed) chain() *tls.Certificate {
	c := &tls.Certificate{Certificate: [][]byte{s.cert.Raw}, PrivateKey: s.key}
	for _, v := range s.via {
		c.Certificate = append(c.Certificate, v.cert.Raw)
	}
	return c
}

// put writes certificates into a file, PEM.
func (s *signed) put(t *testing.T, file string, more ...*signed) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range append([]*signed{s}, more...) {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// showing gives a client's settings for a name: it shows the certificate, if there is one, whatever it is asked for.
func (p *proc) showing(s *signed, name string, alpn ...string) *tls.Config {
	c := p.clientTLS(name, alpn...)
	if s != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.chain(), nil }
	}
	return c
}

// site is a client's one connection to the https listener, over HTTP/1.1 or HTTP/2.
type site struct {
	t  *testing.T
	c  *tls.Conn
	in *bufio.Reader
	h2 *http.ClientConn // nil: HTTP/1.1
}

// tryVisit opens a connection. With TLS 1.3 a client whose certificate is refused hears of it with its first answer.
func (p *proc) tryVisit(conf *tls.Config) (*site, error) {
	p.t.Helper()
	nc, err := p.dialer("https", conf)(context.Background())
	if err != nil {
		return nil, err
	}
	p.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(2 * soon)) // the test gives up first
	s := &site{t: p.t, c: nc.(*tls.Conn), in: bufio.NewReader(nc)}
	if s.c.ConnectionState().NegotiatedProtocol == "h2" {
		dial := func(context.Context, string, string) (net.Conn, error) { return nc, nil }
		s.h2, err = (&http.Transport{DialTLSContext: dial, ForceAttemptHTTP2: true}).NewClientConn(p.t.Context(), "https", p.addr("https"))
	}
	return s, err
}

func (p *proc) visit(conf *tls.Config) *site {
	p.t.Helper()
	s, err := p.tryVisit(conf)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// try asks for "/" of a host, and gives the answer and its body.
func (s *site) try(host string, header http.Header) (*http.Response, string, error) {
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: host, Path: "/"}, Host: host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if header == nil {
		req.Header = http.Header{}
	}
	var resp *http.Response
	var err error
	if s.h2 != nil {
		resp, err = s.h2.RoundTrip(req)
	} else if err = req.Write(s.c); err == nil {
		resp, err = http.ReadResponse(s.in, req)
	}
	if err != nil {
		return nil, "", err
	}
	if resp.ProtoMajor == 2 != (s.h2 != nil) {
		s.t.Errorf("the answer came by %s", resp.Proto)
	}
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func (s *site) ask(host string, header http.Header) (*http.Response, string) {
	s.t.Helper()
	resp, body, err := s.try(host, header)
	if err != nil {
		s.t.Fatalf("%s: %v", host, err)
	}
	return resp, body
}

// wantStatus asks for "/" of a host.
func (s *site) wantStatus(host string, want int) {
	s.t.Helper()
	if resp, body := s.ask(host, nil); resp.StatusCode != want {
		s.t.Errorf("%s, by a connection for %q: %d %s, want %d", host, s.c.ConnectionState().ServerName, resp.StatusCode, body, want)
	}
}

// policySite is a virtual host that relays.
func policySite(hosts, tls, app string) string {
	if tls != "" {
		tls = "tls = { " + tls + " }\n"
	}
	return "[[vhost]]\nhosts = [" + hosts + "]\n" + tls + "access = \"public\"\nproxy = \"http://" + app + "\"\n"
}

// policySites have every policy that a virtual host can have.
func policySites(app string) string {
	return policySite(`"public.localhost", "other.localhost"`, "", app) +
		policySite(`"modern.localhost", "127.0.0.1"`, `min_version = "1.3"`, app) +
		policySite(`"secret.localhost"`, `client_auth = "required", client_ca = "ca.pem"`, app) +
		policySite(`"same.localhost"`, `min_version = "1.2", client_auth = "required", client_ca = ["copy.pem"]`, app) +
		policySite(`"maybe.localhost"`, `client_auth = "optional", client_ca = "ca.pem"`, app) +
		policySite(`"*.wild.localhost"`, `client_auth = "required", client_ca = "other.pem"`, app) +
		policySite(`"open.wild.localhost"`, "", app) +
		policySite(`"slow.localhost"`, `alpn = "http/1.1"`, app)
}

// policyEdge is edge with them, and the authorities of their clients.
func policyEdge(t *testing.T, more string) (p *proc, ca, other *signed) {
	dir := t.TempDir()
	ca, other = authority(t, nil), authority(t, nil)
	ca.put(t, filepath.Join(dir, "ca.pem"))
	ca.put(t, filepath.Join(dir, "copy.pem"), ca)
	other.put(t, filepath.Join(dir, "other.pem"))
	text := strings.Replace(config, `"*.localhost"]`, `"*.localhost", "127.0.0.1"]`, 1)
	return startIn(t, dir, "edge", text+policySites(webApp(t))+more), ca, other
}

// 45: a connection is good for the names that ask the same of TLS as the one that it was made for, and for no other: 421. By both protocols, and for
// names with a wildcard, in capitals, of nobody, and none.
func TestPolicies(t *testing.T) {
	p, ca, other := policyEdge(t, "")
	policies := map[string]string{ // by the name in the handshake
		"public.localhost": "default", "other.localhost": "default", "open.wild.localhost": "default", "nobody.localhost": "default",
		"modern.localhost": "modern", "MODERN.localhost": "modern", "": "modern",
		"secret.localhost": "secret", "Secret.Localhost": "secret", "same.localhost": "secret",
		"maybe.localhost": "maybe", "a.wild.localhost": "wild", "B.Wild.localhost": "wild", "slow.localhost": "slow",
	}
	clients := map[string]*signed{"secret": ca.client(t), "wild": other.client(t), "maybe": ca.client(t)}
	for _, protocol := range []string{"h2", "http/1.1"} {
		for name, policy := range policies {
			if policy == "slow" && protocol == "h2" {
				if _, err := p.tryVisit(p.showing(nil, name, "h2")); err == nil || !strings.Contains(err.Error(), "no application protocol") {
					t.Errorf("%s speaks h2: %v", name, err)
				}
				continue
			}
			conf := p.showing(clients[policy], name, protocol)
			if name == "" {
				conf.ServerName = "127.0.0.1" // which is verified, and not sent
			}
			s := p.visit(conf)
			if state := s.c.ConnectionState(); state.NegotiatedProtocol != protocol || state.CurveID != tls.X25519MLKEM768 {
				t.Errorf("%s: %s, key exchange %v", name, state.NegotiatedProtocol, state.CurveID)
			}
			for host, of := range policies {
				switch {
				case host == "":
					host = "127.0.0.1"
				case host == "nobody.localhost":
					of = "nobody"
				}
				want := http.StatusMisdirectedRequest
				if of == policy {
					want = http.StatusOK
				}
				s.wantStatus(host, want)
			}
		}
	}
	old := p.clientTLS("modern.localhost")
	old.MaxVersion = tls.VersionTLS12
	if _, err := p.tryVisit(old); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2 where 1.3 is wanted: %v", err)
	}
	old.ServerName = "public.localhost"
	p.visit(old).wantStatus("modern.localhost", http.StatusMisdirectedRequest)
	p.visit(old).wantStatus("public.localhost", http.StatusOK)
}

// A site that requires a certificate is not reached without one: not by a handshake, not by a session of another site, and not by another
// site's connection, which hears 421 before the login says a word.
func TestClientCertificateIsRequired(t *testing.T) {
	p, ca, other := policyEdge(t, `
[login]
host = "login.localhost"
[[vhost]]
hosts = ["members.localhost"]
tls = { client_auth = "required", client_ca = "ca.pem" }
access = "login"
echo = true
[[listener]]
name = "bytes"
address = "127.0.0.2:0"
protocol = "tls"
tls = { client_auth = "required", client_ca = "ca.pem", alpn = "echo" }
proxy = "tcp://`+echoServer(t)+`"
`)
	for _, protocol := range []string{"h2", "http/1.1"} {
		for _, client := range []*signed{nil, other.client(t)} {
			for _, name := range []string{"secret.localhost", "members.localhost"} {
				sessions := anyName{tls.NewLRUClientSessionCache(1)}
				first := p.showing(client, "public.localhost", protocol)
				first.ClientSessionCache = sessions
				public := p.visit(first)
				public.wantStatus("public.localhost", http.StatusOK)
				public.wantStatus(name, http.StatusMisdirectedRequest)
				second := p.showing(client, name, protocol)
				second.ClientSessionCache = sessions
				if s, err := p.tryVisit(second); err == nil {
					if resp, _, err := s.try(name, nil); err == nil {
						t.Errorf("%s, %s: %s; resumed: %v", protocol, name, resp.Status, s.c.ConnectionState().DidResume)
					}
				}
			}
			if s, err := p.tryVisit(p.showing(client, "maybe.localhost", protocol)); err == nil {
				_, _, err = s.try("maybe.localhost", nil)
				if (err == nil) != (client == nil) {
					t.Errorf("%s, optional: %v", protocol, err)
				}
			}
		}
		p.visit(p.showing(ca.client(t), "members.localhost", protocol)).wantStatus("members.localhost", http.StatusUnauthorized)
	}
	talk(t, p.connect("bytes", p.showing(ca.client(t), "tunnel.localhost", "echo")))
	c := p.connect("bytes", p.showing(other.client(t), "tunnel.localhost", "echo"))
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a tunnel for a client of another authority: %v", err)
	}
}

// anyName gives a session whatever name it was made for.
type anyName struct{ tls.ClientSessionCache }

func (a anyName) Get(string) (*tls.ClientSessionState, bool) { return a.ClientSessionCache.Get("") }
func (a anyName) Put(_ string, s *tls.ClientSessionState)    { a.ClientSessionCache.Put("", s) }

// A session resumes on any site of its policy, with the certificate that it began with: the ones here do, so that those above could.
func TestClientCertificateIsPassedOn(t *testing.T) {
	p, ca, _ := policyEdge(t, "")
	below := authority(t, ca)
	large := sign(t, ca, ecKey(t), func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		for range 500 {
			c.DNSNames = append(c.DNSNames, rand.Text()+".test")
		}
	})
	for _, protocol := range []string{"h2", "http/1.1"} {
		for name, client := range map[string]*signed{"secret.localhost": ca.client(t), "maybe.localhost": below.client(t), "public.localhost": nil, "slow.localhost": ca.client(t), "same.localhost": large} {
			conf := p.showing(client, name, protocol, "http/1.1")
			conf.ClientSessionCache = anyName{tls.NewLRUClientSessionCache(1)}
			for i, resumed := range []bool{false, true} {
				if i == 1 && name == "secret.localhost" {
					conf.ServerName = "same.localhost"
				}
				s := p.visit(conf)
				for range 2 {
					_, body := s.ask(conf.ServerName, http.Header{"Client-Cert": {":bWFsbG9yeQ==:"}, "Client-Cert-Chain": {":bWFsbG9yeQ==:"},
						"X-Ssl-Client-S-Dn": {"mallory"}, "X-Forwarded-Client-Cert": {"mallory"}, "Client_cert": {"mallory"}})
					checkTold(t, protocol+" "+conf.ServerName, body, client, name != "slow.localhost")
				}
				if s.c.ConnectionState().DidResume != resumed {
					t.Errorf("%s %s: resumed %v", protocol, name, !resumed)
				}
			}
		}
	}
}

// checkTold looks at what the app was told of a client.
func checkTold(t *testing.T, what, body string, client *signed, asked bool) {
	t.Helper()
	var request struct{ Header http.Header }
	if err := json.Unmarshal([]byte(body), &request); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var cert, chain string
	if client != nil && asked {
		cert = ":" + base64.StdEncoding.EncodeToString(client.cert.Raw) + ":"
		if client.via != nil {
			chain = ":" + base64.StdEncoding.EncodeToString(client.via[0].cert.Raw) + ":"
		}
	}
	h := request.Header
	if got := strings.Join(h["Client-Cert"], "|"); got != cert {
		t.Errorf("%s: Client-Cert is %q, want %q", what, got, cert)
	}
	if got := strings.Join(h["Client-Cert-Chain"], "|"); got != chain {
		t.Errorf("%s: Client-Cert-Chain is %q, want %q", what, got, chain)
	}
	if strings.Contains(body, "mallory") || strings.Contains(body, "bWFsbG9yeQ") {
		t.Errorf("%s: the app was told what the client claims: %s", what, body)
	}
}

// A reload that takes an authority away is obeyed at once: a session does not resume, an open connection hears 421 and ends. What has not
// changed goes on: connections and sessions of the other sites (R38).
func TestAuthorityIsRemoved(t *testing.T) {
	p, ca, other := policyEdge(t, "")
	for i, protocol := range []string{"h2", "http/1.1"} {
		ca.put(t, filepath.Join(p.dir, "ca.pem"))
		ca.put(t, filepath.Join(p.dir, "copy.pem"))
		p.reload()
		conf, kept := p.showing(ca.client(t), "secret.localhost", protocol), p.showing(other.client(t), "a.wild.localhost", protocol)
		conf.ClientSessionCache, kept.ClientSessionCache = tls.NewLRUClientSessionCache(1), tls.NewLRUClientSessionCache(1)
		gone, stays := p.visit(conf), p.visit(kept)
		gone.wantStatus("secret.localhost", http.StatusOK)
		stays.wantStatus("a.wild.localhost", http.StatusOK)
		again := p.visit(conf)
		again.wantStatus("secret.localhost", http.StatusOK)
		if !again.c.ConnectionState().DidResume {
			t.Error("a session does not resume: the test shows nothing")
		}
		other.put(t, filepath.Join(p.dir, "ca.pem"))
		p.reload()
		resp, _ := gone.ask("secret.localhost", nil)
		if resp.StatusCode != http.StatusMisdirectedRequest || resp.Close != (protocol == "http/1.1") {
			t.Errorf("%s: after the reload: %s, close %v", protocol, resp.Status, resp.Close)
		}
		if i == 0 {
			until(t, "GOAWAY", func() bool { return gone.h2.Err() != nil || gone.h2.Available() == 0 })
		} else if n, err := gone.in.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the connection goes on: %v", err)
		}
		if s, err := p.tryVisit(conf); err == nil {
			if resp, _, err := s.try("secret.localhost", nil); err == nil {
				t.Errorf("%s: the session resumes: %s", protocol, resp.Status)
			}
		}
		stays.wantStatus("a.wild.localhost", http.StatusOK)
		resumed := p.visit(kept)
		resumed.wantStatus("a.wild.localhost", http.StatusOK)
		if !resumed.c.ConnectionState().DidResume {
			t.Error("a session of another site does not resume")
		}
		same := p.visit(p.showing(ca.client(t), "same.localhost", protocol))
		same.wantStatus("same.localhost", http.StatusOK)
		same.wantStatus("secret.localhost", http.StatusMisdirectedRequest)
		resp, _ = same.ask("same.localhost", nil)
		if resp.StatusCode != http.StatusOK || resp.Close {
			t.Errorf("%s: a connection is not good for its own name any more: %s", protocol, resp.Status)
		}
	}
}

// A session with a client's certificate resumes in the next generation too, which asks for the same (R41).
func TestClientSessionsSurviveUpgrade(t *testing.T) {
	p, ca, _ := policyEdge(t, "")
	conf := p.showing(ca.client(t), "secret.localhost", "h2")
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	p.visit(conf).wantStatus("secret.localhost", http.StatusOK)
	p.upgrade()
	s := p.visit(conf)
	s.wantStatus("secret.localhost", http.StatusOK)
	s.wantStatus("same.localhost", http.StatusOK)
	if !s.c.ConnectionState().DidResume {
		t.Error("a full handshake after the upgrade")
	}
}

// A missing authority is a mistake: edge check finds it, and a reload changes nothing.
func TestAuthorityIsMissing(t *testing.T) {
	p, ca, _ := policyEdge(t, "")
	os.Remove(filepath.Join(p.dir, "copy.pem"))
	p.signal(syscall.SIGHUP)
	p.waitLog("reload refused")
	if n := p.count("client_ca " + p.dir + "/copy.pem: no such file"); n != 1 {
		t.Errorf("the log names the file %d times", n)
	}
	p.visit(p.showing(ca.client(t), "same.localhost")).wantStatus("same.localhost", http.StatusOK)
	out, err := exec.Command("edge", "check", "-c", filepath.Join(p.dir, "edge.toml")).CombinedOutput()
	if err == nil || strings.Count(string(out), "copy.pem: no such file") != 1 {
		t.Errorf("edge check: %v\n%s", err, out)
	}
}

// putPair writes a certificate, what leads from it to its authority, that one, and the key into a file.
func (s *signed) putPair(t *testing.T, file string, root *signed) {
	t.Helper()
	s.put(t, file, append(s.via, root)...)
	key, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(file)
	if err := os.WriteFile(file, append(old, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Certificates from files: the kind of key that the client can use, what the authority says of it, the default one for names of nobody; and the
// log tells of those that end soon.
func TestCertificatesFromFiles(t *testing.T) {
	dir, ca := t.TempDir(), authority(t, nil)
	server := func(key crypto.Signer) *signed {
		return sign(t, ca, key, func(c *x509.Certificate) { c.DNSNames = []string{"a.test", "*.a.test"} })
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs, ec := server(rsaKey), server(ecKey(t))
	rs.putPair(t, filepath.Join(dir, "rsa.pem"), ca)
	ec.putPair(t, filepath.Join(dir, "ec.pem"), ca)
	staple, err := ocsp.CreateResponse(ca.cert, ca.cert, ocsp.Response{
		SerialNumber: ec.cert.SerialNumber, Status: ocsp.Good, ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour),
	}, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ec.ocsp"), staple, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startIn(t, dir, "edge", config+`
[[certificate]]
cert = "rsa.pem"
key = "rsa.pem"
[[certificate]]
cert = "ec.pem"
key = "ec.pem"
ocsp = "ec.ocsp"
default = true
`+policySite(`"a.test"`, "", webApp(t)))
	p.waitLog("certificate " + dir + "/ec.pem for *.a.test, a.test expires on " + ec.cert.NotAfter.Format(time.DateTime))
	p.waitLog("certificate " + dir + "/rsa.pem for *.a.test, a.test expires on ")
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, protocol := range []string{"h2", "http/1.1"} {
		for _, old := range []bool{false, true} {
			conf := &tls.Config{RootCAs: roots, ServerName: "a.test", NextProtos: []string{protocol}}
			want, says := ec, staple
			if old {
				conf.MaxVersion, conf.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
				want, says = rs, nil
			}
			s := p.visit(conf)
			s.wantStatus("a.test", http.StatusOK)
			if state := s.c.ConnectionState(); !state.PeerCertificates[0].Equal(want.cert) || !bytes.Equal(state.OCSPResponse, says) {
				t.Errorf("%s, old %v: a certificate with a key %v, and %d bytes of OCSP", protocol, old, state.PeerCertificates[0].PublicKeyAlgorithm, len(state.OCSPResponse))
			}
			conf = conf.Clone()
			conf.ServerName, conf.InsecureSkipVerify = "nobody.test", true
			s = p.visit(conf)
			s.wantStatus("nobody.test", http.StatusMisdirectedRequest)
			s.wantStatus("a.test", http.StatusOK)
			if !s.c.ConnectionState().PeerCertificates[0].Equal(want.cert) {
				t.Errorf("%s, old %v: a name of nobody is not shown the default certificate", protocol, old)
			}
		}
	}
}
