package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// runEdgeDrill runs `edge drill` with a program of TestMain's, and gives its table and whether it says that something was lost.
func runEdgeDrill(t *testing.T, program string, args ...string) (table string, lost bool) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "edge", append([]string{"drill", "--times=false", "--exec", path}, args...)...) // other tests run beside it
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	t.Logf("\n%s%s", out, errs.String())
	lost = strings.Contains(errs.String(), "something was lost")
	if (err != nil) != lost || len(out) == 0 {
		t.Fatal(err)
	}
	return string(out), lost
}

// Under every kind of client, near and far, four upgrades, one of them to a process that is killed in its probation, and each kind of reload
// lose nothing. `make drill` does the same at length, and judges times.
func TestDrill(t *testing.T) {
	table, lost := runEdgeDrill(t, "edge", "--reloads", "12", "--upgrades", "4", "--for", "8s")
	if lost {
		t.Error("something was lost")
	}
	wants(t, table, "Reloads: 12: a broken file 2, a certificate swapped 2, a change 2, a listener added 2, a listener removed 2, the same file 2",
		"Upgrades: 4: dies in probation 1, good 3")
}

// What drains as net/http does, and what says one GOAWAY, is found out by the same drill.
func TestDrillFindsLosses(t *testing.T) {
	for program, loses := range map[string][]string{
		"edge-shutdown":  {"FAILED: h1", "FAILED: h2"},
		"edge-onegoaway": {"FAILED: h2"},
	} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			table, lost := runEdgeDrill(t, program, "--reloads", "0", "--upgrades", "5", "--for", "5s")
			if !lost {
				t.Error("it exits with 0")
			}
			wants(t, table, loses...)
		})
	}
}
