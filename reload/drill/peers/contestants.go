package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// caddyVersion is the one drilled: the one that bench builds, into the same cache.
const caddyVersion = "v2.11.9"

// A contestant is a server, and a way to change it.
type contestant struct {
	name, event string
	program     string
	config      string   // the template
	args        []string // the configuration's path stands for "CONF"
	gentle      bool     // the option of its documentation that spares clients is on
	upgrade     bool     // the event replaces the program
	change      func(ctx context.Context, s *server) error
	without     map[string]string // why it is not asked by the kinds of clients whose names begin so
}

var contestants = []contestant{
	{name: "edge", event: "reload", program: "edge", config: "edge.toml", args: []string{"-c", "CONF"}, change: edgeDoes("reload")},
	{name: "edge", event: "upgrade", program: "edge", config: "edge.toml", args: []string{"-c", "CONF"}, upgrade: true, change: edgeDoes("upgrade")},
	{name: "nginx", event: "HUP", program: "nginx", config: "nginx.conf", args: []string{"-c", "CONF"}, change: nginxReloads},
	{name: "nginx", event: "USR2, WINCH, QUIT", program: "nginx", config: "nginx.conf", args: []string{"-c", "CONF"}, upgrade: true,
		change: nginxUpgrades, without: map[string]string{
			"tunnel, one":    "its next USR2 is ignored while a connection holds the master before",
			"WebSocket, one": "its next USR2 is ignored while a connection holds the master before",
		}},
	{name: "haproxy", event: "USR2", program: "haproxy", config: "haproxy.cfg", args: []string{"-W", "-f", "CONF"}, change: haproxyReloads},
	{name: "haproxy", event: "USR2, idle-close-on-response", program: "haproxy", config: "haproxy.cfg", args: []string{"-W", "-f", "CONF"}, gentle: true,
		change: haproxyReloads},
	{name: "caddy", event: "reload", program: "caddy", config: "Caddyfile", args: []string{"run", "--adapter", "caddyfile", "--config", "CONF"},
		change: caddyReloads, without: noLayer4},
	{name: "caddy", event: "reload, stream_close_delay", program: "caddy", config: "Caddyfile",
		args: []string{"run", "--adapter", "caddyfile", "--config", "CONF"}, gentle: true, change: caddyReloads, without: noLayer4},
}

var noLayer4 = map[string]string{"tunnel": "it relays TCP only with a plugin"}

// edgeDoes runs a subcommand of edge, which waits for the verdict.
func edgeDoes(what string) func(context.Context, *server) error {
	return func(ctx context.Context, s *server) error { return s.run(ctx, what, "-c", s.conf) }
}

func caddyReloads(ctx context.Context, s *server) error {
	return s.run(ctx, "reload", "--adapter", "caddyfile", "--config", s.conf, "--address", "127.0.0.1:"+strconv.Itoa(s.site.Admin))
}

// haproxyReloads signals the master until it says that it reloads: one that is not yet through with its last reload loses the signal.
func haproxyReloads(ctx context.Context, s *server) error {
	reloads := func() int {
		said, _ := os.ReadFile(s.output())
		return bytes.Count(said, []byte("Reloading HAProxy"))
	}
	var last time.Time
	var failed error
	before := reloads()
	err := until(ctx, "haproxy says that it reloads", func() bool {
		if time.Since(last) > time.Second {
			last, failed = time.Now(), syscall.Kill(s.pid, syscall.SIGUSR2)
		}
		return failed != nil || reloads() > before
	})
	return errors.Join(err, failed)
}

func nginxReloads(_ context.Context, s *server) error {
	master, err := s.nginxMaster()
	if err != nil {
		return err
	}
	return syscall.Kill(master, syscall.SIGHUP)
}

// nginxMaster is the master that its pid file names.
func (s *server) nginxMaster() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.site.Dir, "nginx.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// nginxUpgrades replaces nginx's program, and returns when the old master has ended: until then the next USR2 would be ignored.
func nginxUpgrades(ctx context.Context, s *server) error {
	old, err := s.succeedNginx(ctx)
	if err != nil {
		return err
	}
	return until(ctx, "the old master has ended", func() bool { return ended(old) })
}

// succeedNginx replaces nginx's program as its documentation says: USR2, and when the new one serves, WINCH and QUIT to the old one, which ends when
// its last connection has.
func (s *server) succeedNginx(ctx context.Context) (old int, err error) {
	if old, err = s.nginxMaster(); err != nil {
		return 0, err
	}
	if err := syscall.Kill(old, syscall.SIGUSR2); err != nil {
		return 0, err
	}
	err = until(ctx, "the new master has a pid file", func() bool {
		now, err := s.nginxMaster()
		return err == nil && now != old
	})
	if err != nil {
		return 0, err
	}
	if err := s.live(ctx); err != nil {
		return 0, err
	}
	return old, errors.Join(syscall.Kill(old, syscall.SIGWINCH), syscall.Kill(old, syscall.SIGQUIT))
}

// until waits for a condition that nobody tells of.
func until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// find gives a contestant's program.
func find(ctx context.Context, program, edge string) (string, error) {
	switch program {
	case "edge":
		return filepath.Abs(edge)
	case "caddy":
		return installCaddy(ctx)
	}
	return exec.LookPath(program)
}

// installCaddy builds Caddy from its source, into a cache of the user's: never a part of this module.
func installCaddy(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "edge-bench", caddyVersion)
	path := filepath.Join(dir, "caddy")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	fmt.Fprintf(os.Stderr, "building Caddy %s into %s: this takes some minutes\n", caddyVersion, dir)
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/caddyserver/caddy/v2/cmd/caddy@"+caddyVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install: %w: %s", err, out)
	}
	return path, nil
}

// version is what a program says that it is; Caddy, built by go install, cannot tell.
func version(ctx context.Context, name, path string) string {
	switch name {
	case "edge":
		return "of this tree"
	case "caddy":
		return caddyVersion
	}
	out, _ := exec.CommandContext(ctx, path, "-v").CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return regexp.MustCompile(`\d+\.\d\S*`).FindString(line)
}

// streamModule is the part of nginx that relays TCP, where Debian's package libnginx-mod-stream is installed.
func streamModule() string {
	const path = "/usr/lib/nginx/modules/ngx_stream_module.so"
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
