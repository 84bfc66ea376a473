package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed nginx.conf haproxy.cfg Caddyfile edge.toml
var configs embed.FS

// A site is what the templates are filled in with.
type site struct {
	Dir                       string // the server's own
	TLS, Plain, Tunnel, Admin int    // its ports
	App, Echo                 string // the addresses behind it
	Cert, Key, Both           string // files
	Stream                    string // nginx's module, "" where it is not installed
	Gentle                    bool
	Version                   int // each change makes it greater
}

// A server is a contestant that runs.
type server struct {
	contestant
	site site
	path string // of its program
	conf string // of its configuration
	pid  int    // of what was started: a daemon's is another one
}

// start starts a contestant, and returns once it answers.
func (l *lab) start(ctx context.Context, c contestant) (*server, error) {
	s := &server{contestant: c, site: l.site}
	s.site.Gentle = c.gentle
	var err error
	if s.site.Dir, err = os.MkdirTemp(l.site.Dir, c.program); err != nil {
		return nil, err
	}
	if err := s.site.choosePorts(); err != nil {
		return nil, err
	}
	s.conf = filepath.Join(s.site.Dir, c.config)
	if s.path, err = find(ctx, c.program, l.edge); err != nil {
		return nil, err
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	if err := s.live(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// choosePorts finds free ports. All are held until the last is found, so that no two are the same.
func (s *site) choosePorts() error {
	for _, port := range []*int{&s.TLS, &s.Plain, &s.Tunnel, &s.Admin} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer ln.Close()
		*port = ln.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// configure writes the configuration, which differs from the one before.
func (s *server) configure() error {
	s.site.Version++
	t, err := template.ParseFS(configs, s.config)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, s.site); err != nil {
		return err
	}
	return os.WriteFile(s.conf, text.Bytes(), 0o600)
}

// environ keeps what Caddy and edge write for themselves in their folder.
func (s *server) environ() []string {
	return append(os.Environ(), "XDG_DATA_HOME="+s.site.Dir, "XDG_CONFIG_HOME="+s.site.Dir)
}

func (s *server) launch() error {
	out, err := os.OpenFile(s.output(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	args := slices.Clone(s.args)
	args[slices.Index(args, "CONF")] = s.conf
	cmd := exec.Command(s.path, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.site.Dir, s.environ(), out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	s.pid = cmd.Process.Pid
	return cmd.Process.Release() // family.go buries it
}

func (s *server) output() string { return filepath.Join(s.site.Dir, "output") }

// run runs the contestant's program for something that ends by itself.
func (s *server) run(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.path, args...)
	cmd.Dir, cmd.Env = s.site.Dir, s.environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// live returns once the configuration on disk is in force.
func (s *server) live(ctx context.Context) error {
	var last error
	err := until(ctx, fmt.Sprintf("configuration %d is in force", s.site.Version), func() bool {
		last = s.askVersion(ctx)
		return last == nil
	})
	if err != nil {
		said, _ := os.ReadFile(s.output())
		return fmt.Errorf("%w: %w; it said: %s", err, last, said[max(0, len(said)-2000):])
	}
	return nil
}

func (s *server) askVersion(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", s.site.Plain), nil)
	if err != nil {
		return err
	}
	req.Host, req.Close = "version.localhost", true
	resp, err := new(http.Transport).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if want := fmt.Sprint(s.site.Version); err == nil && string(text) != want {
		err = errors.New("the answer is " + string(text))
	}
	return err
}
