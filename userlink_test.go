package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/sessions"
	"edge/sessions/users"
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
		{"unlink alice corp", "1 links removed; only \"edge user link\" lets in again", false},
		{"link bob corp sub-1", "", false},
		{"unlink bob", "1 links removed", false},
	} {
		out, err := edge(strings.Fields(step.args)...)
		if (err != nil) != step.fails || !strings.Contains(out, step.want) {
			t.Errorf("edge user %s: %v %s", step.args, err, out)
		}
	}
}

// An account's groups are told with where they are from; what a provider says is not taken away here, and the command does not say that it is.
func TestGroupsFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, twoSites+`
[[login.provider]]
name = "corp"
issuer = "https://id.test"
client_id = "edge"
`)
	s, err := users.Open(filepath.Join(dir, "state"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for issuer, groups := range map[string][]string{"https://id.test": {"Ops", "staff"}, "https://gone.test": {"old"}} {
		who := sessions.Stranger{Origin: sessions.Origin{Issuer: issuer, Subject: "sub-1"}, Name: "carol", Groups: groups}
		if err := s.Link(t.Context(), "carol", who.Origin); err != nil && !errors.Is(err, sessions.ErrNoUser) {
			t.Fatal(err)
		}
		if _, err := s.Linked(t.Context(), who, sessions.Terms{Create: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args, want string
		fails      bool
	}{
		{"group add carol own staff", "", false},
		{"list", "carol own,staff,https://gone.test:old,corp:ops,corp:staff\n", false},
		{"list --json", `"elsewhere": {`, false},
		{"group remove carol own OPS", "ops comes from corp", true},
		{"list", "carol staff,https://gone.test:old,corp:ops,corp:staff\n", false},
		{"group set carol ops old", "staff comes from corp", false},
		{"unlink carol", "2 links removed", false},
		{"group remove carol ops", "", false},
		{"list", "carol old\n", false},
	} {
		out, err := exec.Command("edge", append([]string{"user", "-c", filepath.Join(dir, "edge.toml")}, strings.Fields(step.args)...)...).CombinedOutput()
		if (err != nil) != step.fails || !strings.Contains(string(out), step.want) {
			t.Errorf("edge user %s: %v %s", step.args, err, out)
		}
	}
}
