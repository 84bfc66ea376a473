package edge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge/reload"
)

// supervised has a supervisor obey a server's callers as Run does. Each rollback that has ended is told.
func supervised(t *testing.T, s *Server) (rolledBack <-chan error) {
	t.Helper()
	s.trials = make(chan reload.Trial)
	told := make(chan error, 8)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		reload.Run(ctx, nil, reload.Actions{
			Reload: s.reloadKept, Try: s.try, Trials: s.trials, Renew: s.renew, Due: s.due, Log: s.log,
			Rollback: func(ctx context.Context) error { err := s.rollback(ctx); told <- err; return err },
			Stop:     func(context.Context) int64 { return 0 },
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return told
}

const said = "[[vhost]]\nhosts = [\"a.localhost\"]\nrespond = { body = \"WORD\" }\n"

func saying(word string) string { return base + strings.Replace(said, "WORD", word, 1) }

// says reports the word that the server in force says.
func says(t *testing.T, s *Server) string {
	t.Helper()
	_, answer := ask(t, s, "GET / HTTP/1.1\nHost: a.localhost")
	return strings.TrimPrefix(answer, "|")
}

// A reload on trial is in force until its time is over, and then what was before is again, from memory: the file stays as it is.
func TestTrialIsTakenBack(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, "", saying("old"))
	rolledBack := supervised(t, s)
	sockets := s.table.Sockets()
	load(t, dir, "", saying("new"))
	if err := s.ReloadOnTrial(t.Context(), time.Minute); err != nil || says(t, s) != "new" {
		t.Fatalf("%v, and it says %q", err, says(t, s))
	}
	if err := s.ReloadOnTrial(t.Context(), time.Minute); !errors.Is(err, reload.ErrOnTrial) {
		t.Errorf("a trial on a trial: %v", err)
	}
	if err := s.Rollback(t.Context()); err != nil || says(t, s) != "old" {
		t.Fatalf("%v, and it says %q", err, says(t, s))
	}
	<-rolledBack
	if err := s.ReloadOnTrial(t.Context(), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := <-rolledBack; err != nil || says(t, s) != "old" {
		t.Errorf("%v, and it says %q", err, says(t, s))
	}
	if text, err := os.ReadFile(filepath.Join(dir, "edge.toml")); err != nil || !strings.Contains(string(text), `"new"`) {
		t.Errorf("the file has changed: %v", err)
	}
	for i, now := range s.table.Sockets() {
		if now != sockets[i] {
			t.Error("a socket was made anew")
		}
	}
	if err := s.Confirm(t.Context()); !errors.Is(err, reload.ErrNotOnTrial) {
		t.Errorf("confirmed: %v", err)
	}
}

// What is confirmed stays, and can be rolled back all the same, once.
func TestTrialIsConfirmed(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, "", saying("old"))
	supervised(t, s)
	if err := s.Rollback(t.Context()); !errors.Is(err, errNoBefore) {
		t.Errorf("rolled back at once: %v", err)
	}
	load(t, dir, "", saying("new"))
	if err := s.ReloadOnTrial(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context()); err != nil || says(t, s) != "new" {
		t.Fatalf("%v, and it says %q", err, says(t, s))
	}
	if err := s.Rollback(t.Context()); err != nil || says(t, s) != "old" {
		t.Fatalf("%v, and it says %q", err, says(t, s))
	}
	if err := s.Rollback(t.Context()); !errors.Is(err, errNoBefore) {
		t.Errorf("rolled back twice: %v", err)
	}
}

// A file with mistakes is never on trial, and what was known to roll back to still is.
func TestTrialOfMistakes(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, "", saying("old"))
	supervised(t, s)
	load(t, dir, "", saying("new"))
	if err := s.reloadKept(t.Context()); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(s.File, []byte(saying("bad")+"nonsense = 1\n"), 0o600)
	if err := s.ReloadOnTrial(t.Context(), time.Minute); err == nil || says(t, s) != "new" {
		t.Errorf("%v, and it says %q", err, says(t, s))
	}
	if err := s.Confirm(t.Context()); !errors.Is(err, reload.ErrNotOnTrial) {
		t.Errorf("confirmed: %v", err)
	}
	if err := s.Rollback(t.Context()); err != nil || says(t, s) != "old" {
		t.Errorf("%v, and it says %q", err, says(t, s))
	}
}

// A rollback that cannot be drafted changes nothing, and is still possible once what it lacks is there again.
func TestRollbackIsRefused(t *testing.T) {
	dir := t.TempDir()
	site := filepath.Join(dir, "site")
	if err := os.Mkdir(site, 0o700); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, dir, "", strings.Replace(saying("old"), "[[vhost]]", "[[vhost]]\nhosts = [\"b.localhost\"]\nfiles = \"site\"\n[[vhost]]", 1))
	supervised(t, s)
	load(t, dir, "", saying("new"))
	if err := s.reloadKept(t.Context()); err != nil {
		t.Fatal(err)
	}
	os.Remove(site)
	if err := s.Rollback(t.Context()); err == nil || says(t, s) != "new" {
		t.Errorf("%v, and it says %q", err, says(t, s))
	}
	os.Mkdir(site, 0o700)
	if err := s.Rollback(t.Context()); err != nil || says(t, s) != "old" {
		t.Errorf("%v, and it says %q", err, says(t, s))
	}
}

// Whoever asks a process that ends, or loses patience, gets an answer.
func TestAskNeverHangs(t *testing.T) {
	s := newServer(t, t.TempDir(), "", saying("old"))
	s.trials = make(chan reload.Trial)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Confirm(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	s.endTasks()
	if err := s.Confirm(t.Context()); !errors.Is(err, errEnds) {
		t.Errorf("%v", err)
	}
}
