package edge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"edge/conf"
	"edge/edge/serve"
	"edge/statefile"
)

// makeRoom sees to it that one more process may live. Where there are as many as may be, it ends the oldest that drains, if it may, and says what has become of
// that one's connections. Where there are more, as after a reload that allows fewer, it ends the next one too.
func (s *Server) makeRoom(ctx context.Context, retire bool) (retired string, err error) {
	var ended []string
	for {
		cfg := s.live.Load().conf
		alive, err := statefile.Holders(generationsDir(cfg))
		if err != nil || len(alive) < cfg.Upgrade.MaxGenerations {
			return strings.Join(ended, "; "), err
		}
		one, err := s.retireOne(ctx, cfg, alive, retire)
		if err != nil {
			return "", after(ended, err)
		}
		ended = append(ended, one)
	}
}

// after is an error before which processes were retired.
func after(retired []string, err error) error {
	if len(retired) == 0 {
		return err
	}
	return fmt.Errorf("%w (before that: %s)", err, strings.Join(retired, "; "))
}

// retireOne ends the oldest process that drains, if it may.
func (s *Server) retireOne(ctx context.Context, cfg *conf.Config, alive []int, may bool) (retired string, err error) {
	t, err := Look(ctx, cfg.StateDir)
	if err != nil {
		return "", err
	}
	if !may {
		return "", fmt.Errorf("%d generations are alive (processes %v), and [upgrade] max_generations is %d: wait until the oldest have drained, or end it by edge upgrade --retire-oldest%s",
			len(alive), alive, cfg.Upgrade.MaxGenerations, t.waits())
	}
	i := slices.IndexFunc(t.Generations, func(st Status) bool { return st.Phase == draining.String() })
	if i < 0 {
		return "", fmt.Errorf("%d generations are alive (processes %v), and none of them drains, so that it could be retired%s", len(alive), alive, t.waits())
	}
	return s.retire(ctx, cfg, t.Generations[i])
}

// waits says what each process waits for that does not serve.
func (t *Tree) waits() string {
	var b strings.Builder
	for _, st := range t.Generations {
		if st.Waits != "" {
			fmt.Fprintf(&b, "; process %d, generation %d, waits for %s", st.PID, st.Generation, st.Waits)
		}
	}
	for _, pid := range t.Silent {
		fmt.Fprintf(&b, "; process %d gives no answer", pid)
	}
	return b.String()
}

// retireSlack is how much longer than [drain] stop a process may take to end that was told to.
const retireSlack = 5 * time.Second

// retire ends a process that drains, as TERM does, and says what that has cost.
func (s *Server) retire(ctx context.Context, cfg *conf.Config, old Status) (retired string, err error) {
	s.log.Info("upgrade: the oldest process is retired", "pid", old.PID, "generation", old.Generation, "waits for", old.Waits)
	if err := syscall.Kill(old.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return "", fmt.Errorf("process %d cannot be told to end: %w", old.PID, err)
	}
	limit := cfg.Drain.Stop + retireSlack
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("process %d was told to end, and still lives after %v", old.PID, limit))
	defer cancel()
	if err := untilEnded(ctx, cfg, old.PID); err != nil {
		return "", err
	}
	_, each, err := countsOf(cfg.StateDir)
	if err != nil {
		return "", err
	}
	for _, c := range each {
		if c.PID == old.PID && c.Generation == old.Generation {
			return fmt.Sprintf("process %d, generation %d, was retired, %s", old.PID, old.Generation, cost(old.Account, c.end())), nil
		}
	}
	return fmt.Sprintf("process %d, generation %d, was retired, and has not said what became of its connections (%d)", old.PID, old.Generation, old.Account.Open), nil
}

// untilEnded waits for a process's end.
func untilEnded(ctx context.Context, cfg *conf.Config, pid int) error {
	for {
		alive, err := statefile.Holders(filepath.Join(cfg.StateDir, generations))
		if err != nil || !slices.Contains(alive, pid) {
			return err
		}
		select {
		case <-time.After(foundEvery):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// cost says what has become of the connections that were open.
func cost(before, after serve.Account) string {
	var cut []string
	for _, cause := range slices.Sorted(maps.Keys(after.Cut)) {
		if n := after.Cut[cause] - before.Cut[cause]; n > 0 {
			cut = append(cut, fmt.Sprintf("%s %d", cause, n))
		}
	}
	what := ""
	if cut != nil {
		what = " (" + strings.Join(cut, ", ") + ")"
	}
	return fmt.Sprintf("connections that were cut: %d%s, that finished: %d", serve.Sum(after.Cut)-serve.Sum(before.Cut), what, serve.Sum(after.Finished)-serve.Sum(before.Finished))
}
