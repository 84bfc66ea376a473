package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

//go:embed sessions.toml sessions.lua nginx.conf haproxy.cfg hosts.map Caddyfile edge.toml origin.conf openssl.cnf
var configs embed.FS

// wantedTLS is what every contestant must negotiate with the load generators' offer (openssl.cnf).
const wantedTLS = "TLSv1.3, TLS_AES_128_GCM_SHA256, X25519"

// A lab is a folder with everything that the runs need, and the origins. Nothing of it is left when it is closed.
type lab struct {
	dir      string
	root     string // of the module
	programs map[string]string
	site     site // what all have in common
	ports    map[string]site
	roots    *x509.CertPool
	given    bool // edge is not built from this tree
	origins  []*process
}

// A site is what the templates are filled in with.
type site struct {
	Dir             string // the server's own
	TLS, Plain      int    // its ports
	Origin, GRPC    int
	Admin           int // where Caddy takes orders
	Connections     int // that a server must be able to hold
	Cert, Key, Both string
	Files           string
	State           string // edge's state directory, where it must outlive its start
	Body            string // of /1k
	Log             bool
	Vhosts          []string // beside what all have: the last answers with Word, the others relay
	Word            string
}

// Others are the virtual hosts that relay.
func (s site) Others() []string { return s.Vhosts[:max(0, len(s.Vhosts)-1)] }

// Last is the virtual host that answers by itself, if there are any.
func (s site) Last() string {
	if len(s.Vhosts) == 0 {
		return ""
	}
	return s.Vhosts[len(s.Vhosts)-1]
}

// newLab makes the folder with all that is in it and starts the origins of the works. An edge of "" is built from the tree.
func newLab(ctx context.Context, edge string, works []work) (_ *lab, err error) {
	if err := lookForTools(); err != nil {
		return nil, err
	}
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module: %w", err)
	}
	l := &lab{root: filepath.Dir(string(mod)), programs: map[string]string{"origin": "nginx"}, ports: map[string]site{}, given: edge != ""}
	if l.dir, err = os.MkdirTemp("", "edge-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if err := l.furnish(); err != nil {
		return nil, err
	}
	if l.programs["edge"], err = l.build(ctx, edge); err != nil {
		return nil, err
	}
	return l, l.startOrigins(ctx, works)
}

// startOrigins starts nginx, and gRPC's server where a work needs it.
func (l *lab) startOrigins(ctx context.Context, works []work) error {
	wanted := []server{origin}
	if slices.ContainsFunc(works, func(w work) bool { return w.path == grpcMethod }) {
		if err := l.buildGRPC(ctx); err != nil {
			return err
		}
		wanted = append(wanted, grpcOrigin)
	}
	for _, s := range wanted {
		p, err := l.start(ctx, s, setup{})
		if err != nil {
			return err
		}
		l.origins = append(l.origins, p)
	}
	return nil
}

// lookForTools finds out whether there is what no run can do without.
func lookForTools() error {
	for _, tool := range []string{"wrk", "h2load", "openssl", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w; Debian's packages are wrk, nghttp2-client, openssl, nginx", err)
		}
	}
	return nil
}

func (l *lab) close() {
	for _, p := range l.origins {
		p.stop()
	}
	if err := os.RemoveAll(l.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// build gives edge's path, built unless there is one. The servers run in other folders, so it is absolute.
func (l *lab) build(ctx context.Context, edge string) (string, error) {
	if edge != "" {
		return filepath.Abs(edge)
	}
	path := filepath.Join(l.dir, "edge-program")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir, cmd.Stderr = l.root, os.Stderr
	return path, cmd.Run()
}

// furnish writes what the servers serve and show, and chooses everybody's ports.
func (l *lab) furnish() error {
	conns, err := idleConns(9000)
	if err != nil {
		return err
	}
	l.site = site{Connections: conns + 400, Files: filepath.Join(l.dir, "www"), State: filepath.Join(l.dir, "state"), Body: strings.Repeat("x", kib)}
	for name, size := range map[string]int{"64k": 64 * kib, "1m": mib, "static/1k.txt": kib, "static/1m.txt": mib, "cached/1k.txt": kib} {
		path := filepath.Join(l.site.Files, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o644); err != nil {
			return err
		}
	}
	offer, err := configs.ReadFile("openssl.cnf")
	if err != nil {
		return err
	}
	if err := os.WriteFile(l.offer(), offer, 0o644); err != nil {
		return err
	}
	if err := l.certify(); err != nil {
		return err
	}
	return l.choosePorts()
}

// offer is the path of what the clients offer in TLS.
func (l *lab) offer() string { return filepath.Join(l.dir, "openssl.cnf") }

// choosePorts gives everybody three free ports. All are held until the last is found, so that no two are the same.
func (l *lab) choosePorts() error {
	for _, s := range slices.Concat([]server{origin, grpcOrigin, edge}, peers) {
		own := l.site
		own.Dir = filepath.Join(l.dir, s.name)
		own.Origin, own.GRPC = l.ports[origin.name].Plain, l.ports[grpcOrigin.name].Plain
		for _, port := range []*int{&own.TLS, &own.Plain, &own.Admin} {
			ln, err := freePort()
			if err != nil {
				return err
			}
			defer ln.Close()
			*port = ln.Addr().(*net.TCPAddr).Port
		}
		l.ports[s.name] = own
	}
	return nil
}

// freePort listens below the ports that Linux gives to clients: after thousands of connections one of those may be taken, for a minute after it was
// closed too, when a server that has had it all the time starts again.
func freePort() (net.Listener, error) {
	const first, last = 10_000, 32_000
	for range 100 {
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+mathrand.IntN(last-first))); err == nil {
			return ln, nil
		}
	}
	return nil, errors.New("no port is free")
}

// certify makes the ECDSA P-256 certificate that all of them show.
func (l *lab) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		DNSNames:              []string{"localhost", "*.test"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	l.roots = x509.NewCertPool()
	l.roots.AppendCertsFromPEM(cert)
	l.site.Cert, l.site.Key, l.site.Both = filepath.Join(l.dir, "cert.pem"), filepath.Join(l.dir, "key.pem"), filepath.Join(l.dir, "both.pem")
	for path, text := range map[string][]byte{l.site.Cert: cert, l.site.Key: keyPEM, l.site.Both: slices.Concat(cert, keyPEM)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// machine is what this computer is, for the table.
func machine() string {
	cpu := "an unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(text); m != nil {
			cpu = string(m[1])
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d CPUs, Linux %s", cpu, runtime.NumCPU(), strings.TrimSpace(string(kernel)))
}
