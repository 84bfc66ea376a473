package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An account is linked to somebody at a provider by the command line, once; what the configuration does not name is no provider.
func TestUserLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, twoSites+`
[[login.provider]]
name = "corp"
issuer = "https://id.test"
client_id = "edge"
`)
	edge := func(args ...string) (string, error) {
		cmd := exec.Command("edge", append([]string{"user", "-c", filepath.Join(dir, "edge.toml")}, args...)...)
		cmd.Stdin = strings.NewReader(password + "\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, step := range []struct {
		args, want string
		fails      bool
	}{
		{"add alice", "", false},
		{"add bob", "", false},
		{"link alice corp sub-1", "", false},
		{"link bob corp sub-1", "linked to another account", true},
		{"link nobody corp sub-2", "no such user", true},
		{"link alice other sub-1", `no [[login.provider]] of the name "other"`, true},
		{"unlink alice corp", "1 links removed", false},
		{"link bob corp sub-1", "", false},
		{"unlink bob", "1 links removed", false},
	} {
		out, err := edge(strings.Fields(step.args)...)
		if (err != nil) != step.fails || !strings.Contains(out, step.want) {
			t.Errorf("edge user %s: %v %s", step.args, err, out)
		}
	}
}
