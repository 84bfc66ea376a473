package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// caddyVersion is the one measured. It is built from its source, into a cache of the user's: never a part of this module.
const caddyVersion = "v2.11.9"

// A server is one contestant.
type server struct {
	name    string
	program string   // in PATH, unless newLab or available finds it elsewhere
	config  string   // the template
	args    []string // the configuration's path stands for "CONF", the plain address for "PLAIN", the one for orders for "ADMIN"
	output  bool     // the access log is what it prints
	plain   bool     // it has no TLS
	signal  syscall.Signal
	reload  []string // what tells it to read its configuration again, in place of the signal
}

var edge = server{name: "edge", program: "edge", config: "edge.toml", args: []string{"-c", "CONF"}, signal: syscall.SIGHUP}

var peers = []server{
	{name: "nginx", program: "nginx", config: "nginx.conf", args: []string{"-c", "CONF"}, signal: syscall.SIGHUP},
	{name: "haproxy", program: "haproxy", config: "haproxy.cfg", args: []string{"-W", "-f", "CONF"}, output: true, signal: syscall.SIGUSR2},
	{name: "caddy", program: "caddy", config: "Caddyfile", args: []string{"run", "--adapter", "caddyfile", "--config", "CONF"},
		reload: []string{"reload", "--adapter", "caddyfile", "--config", "CONF", "--address", "ADMIN"}},
}

var (
	origin     = server{name: "origin", program: "nginx", config: "origin.conf", args: []string{"-c", "CONF"}}
	grpcOrigin = server{name: "grpc-origin", args: []string{"PLAIN"}, plain: true}
)

func choosePeers(list string) ([]server, error) {
	var chosen []server
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		i := slices.IndexFunc(peers, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no peer is called %q; there are nginx, haproxy, caddy", name)
		}
		chosen = append(chosen, peers[i])
	}
	return chosen, nil
}

// available gives the peers that are installed, having installed Caddy; of the others it says that they are missing.
func (l *lab) available(ctx context.Context, wanted []server) []server {
	var there []server
	for _, s := range wanted {
		path, err := exec.LookPath(s.program)
		if s.name == "caddy" {
			path, err = installCaddy(ctx)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", s.name, err)
			continue
		}
		l.programs[s.name] = path
		there = append(there, s)
	}
	return there
}

func installCaddy(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "edge-bench", caddyVersion)
	path := filepath.Join(dir, "caddy")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Fprintf(os.Stderr, "building Caddy %s into %s: this takes some minutes\n", caddyVersion, dir)
	cmd := exec.CommandContext(ctx, "go", "install", "github.com/caddyserver/caddy/v2/cmd/caddy@"+caddyVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go install: %w: %s", err, lastLine(string(out)))
	}
	return path, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// A fact is what is known of a contestant before it is measured.
type fact struct {
	server     server
	version    string
	negotiated string // TLS version, cipher, group
}

// meet starts everybody once: so that a mistake in a configuration shows now, and that nobody speaks another TLS than the others.
func (l *lab) meet(ctx context.Context, contestants []server) ([]fact, error) {
	var facts []fact
	for _, s := range contestants {
		f := fact{server: s, version: l.versionOf(ctx, s)}
		p, err := l.start(ctx, s, setup{})
		if err == nil {
			f.negotiated, err = l.negotiated(ctx, p)
			p.stop()
		}
		if err == nil && f.negotiated != wantedTLS {
			err = fmt.Errorf("speaks %s, not %s", f.negotiated, wantedTLS)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		facts = append(facts, f)
	}
	return facts, nil
}

// versionOf is what is measured of a server: of edge the commit, of the others what they say.
func (l *lab) versionOf(ctx context.Context, s server) string {
	switch s.name {
	case "edge":
		return l.commit(ctx)
	case "caddy":
		return caddyVersion // a program that go install built cannot tell
	}
	out, _ := exec.CommandContext(ctx, l.programs[s.name], "-v").CombinedOutput()
	return versionIn(string(out))
}

// versionIn finds the version in the first line that a program prints: its first word with digits.
func versionIn(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	version := regexp.MustCompile(`\d+\.\d\S*`).FindString(line)
	if version == "" {
		return strings.TrimSpace(line)
	}
	return version
}

// commit is what edge was built from, with Go's version.
func (l *lab) commit(ctx context.Context) string {
	if l.given {
		return "(given by -edge)"
	}
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=10")
	cmd.Dir = l.root
	out, err := cmd.Output()
	if err != nil {
		return "of an unknown commit"
	}
	return strings.TrimSpace(string(out)) + ", " + runtime.Version()
}
