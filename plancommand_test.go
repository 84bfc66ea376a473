package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/plan"
)

// `edge plan` says what a reload would change of what runs: 0 nothing, 2 something, 1 mistakes. It changes nothing itself.
func TestPlanCommand(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	if out, code := p.cli("plan"); code != 0 || !strings.Contains(out, "changes nothing") {
		t.Errorf("the same: exits with %d: %s", code, out)
	}
	write(t, p.dir, config+saysTwo)
	want := "~ vhost app.localhost route /: requests in flight end as they began, tunnels stay\n    action: respond 200 \"one\" → respond 200 \"two\"\n"
	if out, code := p.cli("plan"); code != 2 || out != want {
		t.Errorf("another: exits with %d:\n%swant\n%s", code, out, want)
	}
	out, code := p.cli("plan", "--json")
	var got plan.Plan
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 2 || len(got.Changes) != 1 || got.Changes[0].Kind != plan.Changes {
		t.Errorf("as JSON: exits with %d, %v:\n%s", code, err, out)
	}
	if got := p.curl("http", "app.localhost", "/"); got != "one" {
		t.Errorf("the plan changed something: %q", got)
	}
	if out, code := p.cli("reload"); code != 0 {
		t.Errorf("reload exits with %d: %s", code, out)
	}
	if out, code := p.cli("plan"); code != 0 {
		t.Errorf("after the reload: exits with %d: %s", code, out)
	}
	write(t, p.dir, config+saysOne+"nonsense = 1\n")
	if out, code := p.cli("plan"); code != 1 || !strings.Contains(out, "nonsense = 1\n    ^") {
		t.Errorf("mistakes: exits with %d: %s", code, out)
	}
}

// What a file holds is part of what a reload puts in force.
func TestPlanCommandSeesFiles(t *testing.T) {
	page := strings.Replace(saysOne, "respond", "error_pages = { \"404\" = \"404.html\" }\nrespond", 1)
	p := start(t, "edge", config+saysOne)
	file := filepath.Join(p.dir, "404.html")
	if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, p.dir, config+page)
	if out, code := p.cli("reload"); code != 0 {
		t.Fatalf("reload exits with %d: %s", code, out)
	}
	write(t, p.dir, config+page+"# a word\n")
	if out, code := p.cli("plan"); code != 0 {
		t.Errorf("a comment: exits with %d: %s", code, out)
	}
	if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := p.cli("plan"); code != 2 || !strings.HasPrefix(out, "~ files: ") {
		t.Errorf("another page: exits with %d: %s", code, out)
	}
}

// `edge reload --confirm` is taken back unless `edge confirm` comes in time, and `edge rollback` goes back at once. An upgrade waits for neither.
func TestConfirmAndRollbackCommands(t *testing.T) {
	p := start(t, "edge", config+saysOne)
	says := func(want string) {
		t.Helper()
		if got := p.curl("http", "app.localhost", "/"); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	does := func(code int, want string, args ...string) {
		t.Helper()
		if out, got := p.cli(args...); got != code || !strings.Contains(out, want) {
			t.Errorf("edge %v exits with %d, want %d and %q:\n%s", args, got, code, want, out)
		}
	}
	does(1, "no reload is on trial", "confirm")
	does(1, "nothing to roll back to", "rollback")
	write(t, p.dir, config+saysTwo)
	does(0, "unless it is confirmed", "reload", "--confirm", "1m")
	says("two")
	does(1, "a reload is on trial", "reload")
	does(1, "a reload is on trial", "upgrade")
	does(0, "in force: what was before", "rollback")
	says("one")
	does(0, "unless it is confirmed", "reload", "--confirm", "1m")
	does(0, "confirmed", "confirm")
	does(1, "is what is in force already", "reload", "--confirm", "1m")
	says("two")
	does(0, "in force: what was before", "rollback")
	says("one")

	does(0, "unless it is confirmed", "reload", "--confirm", "100ms")
	for end := time.Now().Add(soon); ; time.Sleep(10 * time.Millisecond) {
		if p.curl("http", "app.localhost", "/") == "one" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody has confirmed, and it was not taken back")
		}
	}
}
