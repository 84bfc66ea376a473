package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"edge/reload/drill"
)

// A lab is a folder with all that the runs need, and the app. Nothing of it is left when it is closed.
type lab struct {
	options
	site   site // what all have in common; Dir is the lab's
	roots  *x509.CertPool
	app    *http.Server
	echo   net.Listener
	origin atomic.Pointer[drill.Origin] // of the contestant whose turn it is
}

// An outcome is what the clients of a contestant saw.
type outcome struct {
	*server
	version string
	changes int
	took    time.Duration            // of the changes, all together
	calm    map[string]*drill.Report // by the kinds' keys, before the first change
	reports map[string]*drill.Report // from then on
	double  int
}

// The times around the changes.
const (
	calm      = 3 * time.Second        // nothing is changed, and nothing may be lost
	apart     = 200 * time.Millisecond // between two changes, at least
	aftermath = 2 * time.Second        // what a change has done may show later
)

func newLab(_ context.Context, o options) (_ *lab, err error) {
	l := &lab{options: o, site: site{Stream: streamModule()}}
	if l.site.Dir, err = os.MkdirTemp("", "peers-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(l.site.Dir)
		}
	}()
	if err := l.certify(); err != nil {
		return nil, err
	}
	return l, l.startApp()
}

// startApp starts what is behind the contestants.
func (l *lab) startApp() error {
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if l.echo, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		app.Close()
		return err
	}
	l.site.App, l.site.Echo = app.Addr().String(), l.echo.Addr().String()
	l.app = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.origin.Load().ServeHTTP(w, r)
	})}
	go l.app.Serve(app)
	go echo(l.echo)
	return nil
}

// echo sends back what comes by each connection, and ends it when the client has ended.
func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(c, c)
			c.Close()
		}()
	}
}

func (l *lab) close() {
	l.app.Close()
	l.echo.Close()
	os.RemoveAll(l.site.Dir)
}

// drill starts a contestant, has the clients ask it while nothing is changed, and then while it is, and ends it.
func (l *lab) drill(ctx context.Context, c contestant) (_ *outcome, err error) {
	origin := new(drill.Origin)
	l.origin.Store(origin)
	defer func() { err = errors.Join(err, endAll()) }()
	s, err := l.start(ctx, c)
	if err != nil {
		return nil, err
	}
	o := &outcome{server: s, version: version(ctx, c.program, s.path), changes: l.reloads}
	if c.upgrade {
		o.changes = l.upgrades
	}
	clients := map[string]drill.Client{}
	for _, roundTrip := range roundTrips {
		for _, k := range l.kinds(s, roundTrip) {
			if s.whyNot(k) == "" {
				clients[k.key()] = k.client
			}
		}
	}
	quiet, cancel := context.WithTimeout(ctx, calm)
	defer cancel()
	o.calm = drill.Run(quiet, l.clients, clients)
	changing, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() {
		defer stop()
		failed <- l.change(ctx, o)
	}()
	o.reports = drill.Run(changing, l.clients, clients)
	o.double = origin.Twice()
	return o, <-failed
}

// change makes all changes, evenly over the time.
func (l *lab) change(ctx context.Context, o *outcome) error {
	began := time.Now()
	for n := range o.changes {
		due := time.Until(began.Add(time.Second + l.period*time.Duration(n)/time.Duration(o.changes)))
		if err := pause(ctx, max(due, apart)); err != nil {
			return err
		}
		if err := o.configure(); err != nil {
			return err
		}
		at := time.Now()
		if err := o.contestant.change(ctx, o.server); err != nil {
			return err
		}
		if err := o.live(ctx); err != nil {
			return err
		}
		o.took += time.Since(at)
	}
	return pause(ctx, aftermath)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// certify makes the certificate that all of them show.
func (l *lab) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "drill.localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		DNSNames:              []string{"drill.localhost"},
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
	cert, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	l.roots = x509.NewCertPool()
	l.roots.AppendCertsFromPEM(cert)
	in := func(name string) string { return filepath.Join(l.site.Dir, name) }
	l.site.Cert, l.site.Key, l.site.Both = in("cert.pem"), in("key.pem"), in("both.pem")
	for path, text := range map[string][]byte{l.site.Cert: cert, l.site.Key: keyPEM, l.site.Both: slices.Concat(cert, keyPEM)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
