package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edge/conf"
)

// h2Server serves HTTP/2 over TLS, if it is to, and HTTP/1.1.
func h2Server(t *testing.T, speaks bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(told))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = speaks
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// An h2 target is asked over TLS, with all that is said of that, and must speak HTTP/2.
func TestH2(t *testing.T) {
	up, old := h2Server(t, true), h2Server(t, false)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, certificate(t, up))
	for name, c := range map[string]struct {
		server *httptest.Server
		ca     string
		name   string
		want   string // "": refused
	}{
		"CA and name":      {up, ca, "example.com", "HTTP/2.0 example.com trailers "},
		"CA, another name": {up, ca, "other.test", ""},
		"no CA":            {up, "", "example.com", ""},
		"no HTTP/2":        {old, ca, "example.com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec("h2" + strings.TrimPrefix(c.server.URL, "https"))
			s.CA, s.TLSServerName = conf.File{Path: c.ca}, c.name
			u := draft(t, nil, s)[s]
			got, err := try(u, "/")
			var refused *tls.CertificateVerificationError
			switch {
			case c.want != "" && (err != nil || got != c.want), c.want == "" && err == nil:
				t.Errorf("got %q, %v", got, err)
			case name == "no HTTP/2" && !errors.Is(err, errNotH2) && !strings.Contains(err.Error(), "no application protocol"):
				t.Errorf("without HTTP/2: %v", err)
			case c.want == "" && name != "no HTTP/2" && !errors.As(err, &refused):
				t.Errorf("got %v", err)
			}
			if err := u.Targets()[0].check(t.Context()); (err == nil) != (c.want != "") {
				t.Errorf("its check says %v", err)
			}
		})
	}
}

// crowd is an h2c server that takes ten requests at a time on a connection, and holds them.
type crowd struct {
	*httptest.Server
	begun   chan struct{}
	release chan struct{}
	opened  atomic.Int32
	open    atomic.Int32
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{begun: make(chan struct{}, 1000), release: make(chan struct{})}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		c.begun <- struct{}{}
		<-c.release
	}))
	c.Config.Protocols = new(http.Protocols)
	c.Config.Protocols.SetUnencryptedHTTP2(true)
	c.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 10}
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			c.opened.Add(1)
			c.open.Add(1)
		case http.StateClosed:
			c.open.Add(-1)
		}
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

// So many exchanges at once go over as few connections as the target allows, and no more are opened for those who wait; what nobody uses is closed.
func TestShared(t *testing.T) {
	up := newCrowd(t)
	s := spec("h2c" + strings.TrimPrefix(up.URL, "http"))
	s.Timeouts.Idle = time.Second
	u := draft(t, nil, s)[s]
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := try(u, "/"); err != nil {
				t.Error(err)
			}
		})
	}
	for range 50 {
		wait(t, "a request", up.begun)
	}
	if n := up.opened.Load(); n != 5 {
		t.Errorf("%d connections for 50 requests of which each takes 10", n)
	}
	close(up.release)
	all.Wait()
	for range 20 {
		if _, err := try(u, "/"); err != nil {
			t.Error(err)
		}
	}
	if n := up.opened.Load(); n != 5 {
		t.Errorf("%d connections in the end", n)
	}
	for limit := time.Now().Add(patience); up.open.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d connections stay", up.open.Load())
		}
	}
	if _, err := try(u, "/"); err != nil || up.opened.Load() != 6 {
		t.Errorf("after all are closed: %v, %d connections", err, up.opened.Load())
	}
}

// Who waits for a connection is told at once why there is none; who leaves takes nobody's, and the last one ends the dial.
func TestSharedFails(t *testing.T) {
	const few = 20
	s := spec("h2c://a:1")
	target := draft(t, nil, s)[s].Targets()[0]
	dials, goOn, why := make(chan struct{}, few), make(chan struct{}), errors.New("why")
	target.dial = func(ctx context.Context) (net.Conn, error) {
		dials <- struct{}{}
		select {
		case <-goOn:
			return nil, why
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	ask := func(ctx context.Context) <-chan error {
		told := make(chan error, 1)
		go func() {
			_, err := target.Call(within{ctx}, nil)
			told <- err
		}()
		return told
	}
	var waiting []<-chan error
	for range few {
		waiting = append(waiting, ask(t.Context()))
	}
	until(t, "all wait", target, func(s *shared) bool { return len(s.waiting) == few })
	goOn <- struct{}{}
	for _, told := range waiting {
		err := wait(t, "the failure", told)
		if target.Failed(err); !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	}
	if n := target.counts.failures.Load(); len(dials) != 1 || n != 1 {
		t.Errorf("%d dials, %d failures", len(dials), n)
	}
	<-dials
	ctx, leave := context.WithCancel(t.Context())
	told := ask(ctx)
	wait(t, "the dial", dials)
	leave()
	if err := wait(t, "the end", told); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	until(t, "the dial ends", target, func(s *shared) bool { return s.dialing == nil })
}

// A dial that fails is one failure, however many wait for it, and the end of nobody's wait where a connection will have room: who waits has the first
// room there is, be it of a connection that is dialled later.
func TestSharedDialFails(t *testing.T) {
	const full, more = 10, 5
	up := newCrowd(t)
	s := spec("h2c" + strings.TrimPrefix(up.URL, "http"))
	u := draft(t, nil, s)[s]
	target := u.Targets()[0]
	dial, broken, goOn := target.dial, atomic.Bool{}, make(chan struct{})
	target.dial = func(ctx context.Context) (net.Conn, error) {
		if broken.Load() {
			<-goOn
			return nil, errBroken
		}
		return dial(ctx)
	}
	var all sync.WaitGroup
	try := func() {
		if _, err := try(u, "/"); err != nil {
			t.Error(err)
		}
	}
	for range full {
		all.Go(try)
	}
	for range full {
		wait(t, "a request", up.begun)
	}
	broken.Store(true)
	for range more {
		all.Go(try)
	}
	until(t, "all wait", target, func(s *shared) bool { return len(s.waiting) == more })
	close(goOn)
	until(t, "the dial fails", target, func(s *shared) bool { return s.dialing == nil })
	if n := target.counts.failures.Load(); n != 1 {
		t.Errorf("one dial that fails is %d failures", n)
	}
	up.release <- struct{}{}
	wait(t, "the first of those who wait", up.begun)
	if n := up.opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	broken.Store(false)
	for range more - 1 {
		wait(t, "all others", up.begun)
	}
	if n := up.opened.Load(); n != 2 {
		t.Errorf("%d connections in the end", n)
	}
	close(up.release)
	all.Wait()
}

// until waits for something that is said of a target's connections.
func until(t *testing.T, what string, target *Target, is func(*shared) bool) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		target.shared.mu.Lock()
		now := is(&target.shared)
		target.shared.mu.Unlock()
		if now {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
