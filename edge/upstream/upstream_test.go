package upstream

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edge/conf"
	"edge/edge/h1"
	"edge/edge/h2"
	"edge/edge/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// spec describes an upstream; each target is a scheme, "://" and an address.
func spec(targets ...string) *conf.Upstream {
	s := &conf.Upstream{Name: "up", Timeouts: conf.UpstreamTimeouts{Connect: patience, Response: patience, Idle: patience}}
	for _, t := range targets {
		scheme, address, _ := strings.Cut(t, "://")
		s.Targets = append(s.Targets, conf.Target{Scheme: scheme, Address: address})
	}
	return s
}

// draft makes the upstreams of one configuration, which must not fail.
func draft(t testing.TB, old Set, specs ...*conf.Upstream) Set {
	t.Helper()
	set, wrong := Draft(specs, old, slog.New(slog.DiscardHandler))
	if wrong != nil || len(set) != len(specs) {
		t.Fatalf("drafted %v, %v", set, wrong)
	}
	for _, u := range set {
		t.Cleanup(u.Retire)
	}
	return set
}

func TestDraftKeeps(t *testing.T) {
	dir := t.TempDir()
	ca, same := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "same.pem")
	for _, path := range []string{ca, same} {
		write(t, path, certificate(t, tlsServer(t)))
	}
	fresh := func() *conf.Upstream {
		s := spec("https://a:1", "https://b:2")
		s.CA = conf.File{Path: ca}
		s.Health = &conf.HealthCheck{Path: "/", Interval: time.Hour, Timeout: time.Second, Statuses: []int{200}}
		s.Retries, s.Queue = &conf.Retries{Statuses: []int{503}}, &conf.Queue{Size: 1, Timeout: 1}
		return s
	}
	first := fresh()
	old := draft(t, nil, first)
	for name, c := range map[string]struct {
		change func(*conf.Upstream)
		kept   bool
	}{
		"nothing":           {func(*conf.Upstream) {}, true},
		"its place":         {func(s *conf.Upstream) { s.Pos.Line = 7; s.Targets[0].Pos.Line = 8; s.CA.Pos.Line = 9 }, true},
		"CA's file":         {func(s *conf.Upstream) { s.CA.Path = same }, true},
		"no CA":             {func(s *conf.Upstream) { s.CA.Path = "" }, false},
		"name":              {func(s *conf.Upstream) { s.Name = "x" }, false},
		"connect":           {func(s *conf.Upstream) { s.Timeouts.Connect++ }, false},
		"response":          {func(s *conf.Upstream) { s.Timeouts.Response++ }, false},
		"idle":              {func(s *conf.Upstream) { s.Timeouts.Idle++ }, false},
		"host":              {func(s *conf.Upstream) { s.HostTarget = true }, false},
		"max_fails":         {func(s *conf.Upstream) { s.MaxFails++ }, false},
		"fail_timeout":      {func(s *conf.Upstream) { s.FailTimeout++ }, false},
		"balance":           {func(s *conf.Upstream) { s.LeastConnections = true }, false},
		"server_name":       {func(s *conf.Upstream) { s.TLSServerName = "x" }, false},
		"proxy_protocol":    {func(s *conf.Upstream) { s.ProxyProtocol = 2 }, false},
		"sticky":            {func(s *conf.Upstream) { s.Sticky = "x" }, false},
		"slow_start":        {func(s *conf.Upstream) { s.SlowStart++ }, false},
		"max_in_flight":     {func(s *conf.Upstream) { s.MaxInFlight++ }, false},
		"queue":             {func(s *conf.Upstream) { s.Queue.Size++ }, false},
		"its time":          {func(s *conf.Upstream) { s.Queue.Timeout++ }, false},
		"no queue":          {func(s *conf.Upstream) { s.Queue = nil }, false},
		"retries":           {func(s *conf.Upstream) { s.Retries.Statuses[0]++ }, false},
		"their budget":      {func(s *conf.Upstream) { s.Retries.Budget++ }, false},
		"no retries":        {func(s *conf.Upstream) { s.Retries = nil }, false},
		"health":            {func(s *conf.Upstream) { s.Health.Path = "/x" }, false},
		"its interval":      {func(s *conf.Upstream) { s.Health.Interval++ }, false},
		"no health":         {func(s *conf.Upstream) { s.Health = nil }, false},
		"their places":      {func(s *conf.Upstream) { s.Health.Pos.Line, s.Retries.Pos.Line, s.Queue.Pos.Line = 7, 8, 9 }, true},
		"a target's scheme": {func(s *conf.Upstream) { s.Targets[1].Scheme = "http" }, false},
		"a target":          {func(s *conf.Upstream) { s.Targets[1].Address = "b:3" }, false},
		"one target less":   {func(s *conf.Upstream) { s.Targets = s.Targets[:1] }, false},
		"their order":       {func(s *conf.Upstream) { slices.Reverse(s.Targets) }, false},
	} {
		s := fresh()
		c.change(s)
		set := draft(t, old, s)
		if kept := set[s] == old[first]; kept != c.kept {
			t.Errorf("%s changes: kept is %v", name, kept)
		}
		if dropped := set.Dropped(old); c.kept != (len(dropped) == 0) || !c.kept && dropped[0] != old[first] {
			t.Errorf("%s changes: dropped is %v", name, dropped)
		}
	}
	write(t, ca, certificate(t, otherServer(t)))
	s := fresh()
	if draft(t, old, s)[s] == old[first] {
		t.Error("the CA's content changes: kept")
	}
}

func TestDropped(t *testing.T) {
	a, b, c := spec("http://a:1"), spec("http://b:1"), spec("http://c:1")
	a2 := spec("http://a:1")
	old := draft(t, nil, a, a2, b) // a and a2 are one
	if old[a] != old[a2] {
		t.Error("one spec, two upstreams")
	}
	if d := draft(t, old, a, c).Dropped(old); len(d) != 1 || d[0] != old[b] {
		t.Errorf("dropped is %v", d)
	}
	if d := draft(t, old).Dropped(old); len(d) != 2 {
		t.Errorf("dropped is %v", d)
	}
	if d := old.Dropped(nil); d != nil {
		t.Errorf("dropped is %v", d)
	}
}

// Every mistake is told, each with its place.
func TestDraftMistakes(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty.pem"), nil)
	write(t, filepath.Join(dir, "key.pem"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	good, missing, empty, key, folder := spec("http://a:1"), spec("https://a:1"), spec("https://a:1"), spec("https://a:1"), spec("https://a:1")
	for i, s := range []*conf.Upstream{missing, empty, key, folder} {
		name := []string{"missing.pem", "empty.pem", "key.pem", ""}[i]
		s.CA = conf.File{Path: filepath.Join(dir, name), Pos: conf.Pos{File: "edge.toml", Line: i + 1, Column: 5}}
	}
	set, wrong := Draft([]*conf.Upstream{missing, good, empty, key, folder}, nil, nil)
	if len(set) != 1 || set[good] == nil || len(wrong) != 4 {
		t.Fatalf("drafted %v, %v", set, wrong)
	}
	for i, want := range []string{"missing.pem: no such file", "empty.pem holds no PEM certificate", "key.pem holds no PEM certificate", "is a directory"} {
		if e := wrong[i].Error(); !strings.HasPrefix(e, fmt.Sprintf("edge.toml:%d:5: ca: ", i+1)) || !strings.Contains(e, want) {
			t.Errorf("mistake %d is %q", i, e)
		}
	}
}

// An unchanged upstream keeps its connections; a retired one closes those that nobody uses, and each other one as it comes back.
func TestRetire(t *testing.T) {
	var open atomic.Int32
	release, changed := make(chan struct{}), make(chan struct{}, 100)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			w.(http.Flusher).Flush()
			<-release
		}
	}))
	up.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
			changed <- struct{}{}
		}
	}
	up.Start()
	t.Cleanup(up.Close)
	s := spec(up.URL)
	u := draft(t, nil, s)[s]
	ask(t, u, "/")
	ask(t, u, "/")
	again := spec(up.URL)
	if same := draft(t, Set{s: u}, again)[again]; open.Load() != 1 {
		t.Errorf("%d connections", open.Load())
	} else if ask(t, same, "/"); open.Load() != 1 {
		t.Errorf("%d connections after a reload", open.Load())
	}
	slow, _, err := begin(u.Targets()[0], "/slow")
	if err != nil {
		t.Fatal(err)
	}
	ask(t, u, "/")
	if open.Load() != 2 {
		t.Errorf("%d connections", open.Load())
	}
	u.Retire()
	wait(t, "the idle connection is closed", changed)
	close(release)
	if _, err := slow.Next(); err != io.EOF {
		t.Errorf("the request in flight: %v", err)
	}
	slow.Done()
	wait(t, "the other one is closed", changed)
}

// ask sends a request to the upstream's next target and gives the answer's body.
func ask(t *testing.T, u *Upstream, path string) string {
	t.Helper()
	text, err := try(u, path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func try(u *Upstream, path string) (string, error) {
	target := u.Targets()[0]
	if target.H2 {
		return tryH2(target, path)
	}
	c, _, err := begin(target, path)
	if err != nil {
		return "", err
	}
	defer c.Done()
	var text []byte
	for {
		b, err := c.Next()
		if err == io.EOF {
			return string(text), nil
		}
		if err != nil {
			return "", err
		}
		text = append(text, b...)
	}
}

// anybody is whom a request is for.
type anybody struct{}

func (anybody) Context() context.Context      { return context.Background() }
func (anybody) Inform(int, wire.Fields) error { return nil }

// begin sends a request and gives the connection behind its answer's head.
func begin(target *Target, path string) (*Conn, h1.Answer, error) {
	c, err := target.Conn(anybody{})
	if err != nil {
		return nil, h1.Answer{}, err
	}
	err = c.Send(&h1.Request{Method: []byte("GET"), Path: []byte(path), Host: []byte(target.Host)})
	var a h1.Answer
	if err == nil {
		a, err = c.ReadHead(anybody{})
	}
	if err != nil {
		c.Close()
	}
	return c, a, err
}

func tryH2(target *Target, path string) (string, error) {
	c, err := target.Call(anybody{}, nil)
	if err != nil {
		return "", err
	}
	defer c.Done()
	if _, err := c.Send(&h2.Request{Method: []byte("GET"), Scheme: []byte(target.Scheme), Path: []byte(path), Host: []byte(target.Host)}); err != nil {
		return "", err
	}
	if _, err := c.ReadHead(anybody{}); err != nil {
		return "", err
	}
	var text []byte
	for {
		b, err := c.Next()
		if err == io.EOF {
			return string(text), nil
		}
		if err != nil {
			return "", err
		}
		text = append(text, b...)
	}
}

func wait[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("in vain: " + what)
	}
	return v
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate gives a server's certificate in PEM.
func certificate(t *testing.T, s *httptest.Server) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: s.TLS.Certificates[0].Certificate[0]}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
