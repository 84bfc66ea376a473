package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edge/conf"
	"edge/edge"
	"edge/edge/serve"
)

// How long a command waits for its verdict beyond what edge has for it.
const verdictSlack = 15 * time.Second

// controlCommands are those that speak with an edge that runs.
func controlCommands(file *string) []*cobra.Command {
	return []*cobra.Command{reloadCommand(file), upgradeCommand(file), statusCommand(file), planCommand(file), confirmCommand(file), rollbackCommand(file)}
}

func reloadCommand(file *string) *cobra.Command {
	var timeout, within time.Duration
	cmd := &cobra.Command{
		Use: "reload", Short: "Put what is on disk in force, and wait for the verdict", Args: cobra.NoArgs,
		Long: "reload asks the edge that runs to reload, as HUP does. It exits with 0 and what is in force, or with 1 and why nothing has changed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if within != 0 {
				return verdict(cmd, *file, timeout, func(ctx context.Context, dir string) (*edge.Verdict, error) {
					return edge.AskTry(ctx, dir, edge.TryArgs{Within: within})
				})
			}
			return verdict(cmd, *file, timeout, edge.AskReload)
		},
	}
	cmd.Flags().DurationVar(&within, "confirm", 0, "take it back after so long, unless edge confirm comes before")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait for the verdict (default: [reload] deadline, twice, and 15s)")
	return cmd
}

func upgradeCommand(file *string) *cobra.Command {
	var timeout time.Duration
	var program string
	var args edge.UpgradeArgs
	cmd := &cobra.Command{
		Use: "upgrade", Short: "Replace the program that runs, and wait for the verdict", Args: cobra.NoArgs,
		Long: "upgrade asks the edge that runs to hand over to a new process, as USR2 does. It exits with 0 when that has taken over, or with 1 and\n" +
			"why it has not: then the old one goes on as before.",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if program != "" {
				if program, err = findProgram(program); err != nil {
					return err
				}
			}
			args.Exec = program
			return verdict(cmd, *file, timeout, func(ctx context.Context, dir string) (*edge.Verdict, error) {
				return edge.AskUpgrade(ctx, dir, args)
			})
		},
	}
	cmd.Flags().StringVar(&program, "exec", "", "go on as this program, from now on (default: the one that runs, found anew by its path)")
	cmd.Flags().BoolVar(&args.Back, "back", false, "go on as the program of the process before, as it was, even if its file is another by now, or gone")
	cmd.Flags().BoolVar(&args.RetireOldest, "retire-oldest", false, "where [upgrade] max_generations processes live, end the oldest that drains first, as TERM does")
	cmd.MarkFlagsMutuallyExclusive("exec", "back")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "how long to wait for the verdict (default: what [reload], [upgrade] and [drain] give it, and 15s)")
	return cmd
}

// findProgram gives the absolute path of a program, as a shell finds it.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path) // links are left as they are
}

// verdict asks for a change, waits for the verdict, and shows it.
func verdict(cmd *cobra.Command, file string, timeout time.Duration, ask func(context.Context, string) (*edge.Verdict, error)) error {
	signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	dir, err := conf.StateDir(file)
	if err != nil {
		return err
	}
	if timeout == 0 {
		timeout = verdictTime(file)
	}
	late := fmt.Errorf("no verdict after %v: see edge status, and the log", timeout)
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, late)
	defer cancel()
	v, err := ask(ctx, dir)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%s: %w", cmd.Name(), err)
	case !v.OK && v.Mistakes != "":
		return errors.New(cmd.Name() + " refused, nothing has changed: " + v.What + "\n" + v.Mistakes)
	case !v.OK:
		return errors.New(cmd.Name() + " refused, nothing has changed: " + v.What)
	}
	fmt.Fprintln(cmd.OutOrStdout(), v.What)
	return nil
}

// verdictTime is how long what is asked for can take, by the file as far as it can be read: a change may have to wait for another.
func verdictTime(file string) time.Duration {
	limits := conf.Config{Reload: conf.Reload{Deadline: time.Minute}, Upgrade: conf.Upgrade{Ready: time.Minute, Probation: 10 * time.Second}, Drain: conf.Drain{Stop: time.Minute}}
	if cfg, err := conf.Load(file); err == nil {
		limits.Reload, limits.Upgrade, limits.Drain = cfg.Reload, cfg.Upgrade, cfg.Drain
	}
	return limits.Drain.Stop + 2*limits.Reload.Deadline + limits.Upgrade.Ready + limits.Upgrade.Probation + verdictSlack
}

func statusCommand(file *string) *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use: "status", Short: "Say how the edge that runs is doing", Args: cobra.NoArgs,
		Long: "status asks every process of the state directory: the one that serves, and those that drain since an upgrade.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			dir, err := conf.StateDir(*file)
			if err != nil {
				return err
			}
			return status(cmd.Context(), cmd.OutOrStdout(), dir, asJSON, watch)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON; with --watch, one line for each look")
	cmd.Flags().BoolVar(&watch, "watch", false, "look again each second, until interrupted")
	return cmd
}

// status writes how an edge is doing, once or each second.
func status(ctx context.Context, w io.Writer, dir string, asJSON, watch bool) error {
	for {
		t, err := edge.Look(ctx, dir)
		if err != nil {
			return err
		}
		out := json.NewEncoder(w)
		switch {
		case asJSON && watch:
			err = out.Encode(t)
		case asJSON:
			out.SetIndent("", "  ")
			err = out.Encode(t)
		case watch:
			_, err = fmt.Fprint(w, "\x1b[H\x1b[2J"+tree(t, time.Now()))
		default:
			_, err = fmt.Fprint(w, tree(t, time.Now()))
		}
		if err != nil || !watch {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

// tree writes a Tree for people.
func tree(t *edge.Tree, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state_dir %s\nprogram   %s\n", t.StateDir, t.Program)
	if t.Previous != "" {
		fmt.Fprintf(&b, "before    %s\n", t.Previous)
	}
	for _, g := range t.Generations {
		fmt.Fprintf(&b, "\ngeneration %d: process %d, %s, since %s (%v)\n", g.Generation, g.PID, g.Phase, g.Since.Format(time.DateTime), now.Sub(g.Since).Round(time.Second))
		details(&b, g, now)
	}
	for _, pid := range t.Silent {
		fmt.Fprintf(&b, "\nprocess %d gives no answer\n", pid)
	}
	fmt.Fprintf(&b, "\naccount: %s\n", account(t.Account))
	return b.String()
}

func details(b *strings.Builder, g edge.Status, now time.Time) {
	fmt.Fprintf(b, "  version      %s\n", g.Version)
	if g.Waits != "" {
		fmt.Fprintf(b, "  waits for    %s\n", g.Waits)
	}
	for _, l := range g.Listeners {
		fmt.Fprintf(b, "  listens      %s %s %s\n", l.Listener, l.Protocol, l.Address)
	}
	for _, c := range g.Connections {
		fmt.Fprintf(b, "  connections  %s %s %s %d\n", c.Listener, c.Protocol, c.State, c.Open)
	}
	for _, t := range g.Tunnels {
		fmt.Fprintf(b, "  tunnels      %s %s %d\n", t.Listener, t.Kind, t.Open)
	}
	for _, c := range g.Certificates {
		fmt.Fprintf(b, "  certificate  %s until %s\n", c.Name, c.NotAfter.Format(time.DateTime))
	}
	for _, v := range []struct {
		of string
		*edge.Verdict
	}{{"reload ", g.Reload}, {"upgrade", g.Upgrade}} {
		if v.Verdict != nil {
			fmt.Fprintf(b, "  last %s %s, %v ago: %s\n", v.of, map[bool]string{true: "done", false: "refused"}[v.OK], now.Sub(v.At).Round(time.Second), v.What)
		}
	}
}

// account writes what has become of all connections.
func account(a serve.Account) string {
	return fmt.Sprintf("opened %d = finished %d%s + open %d + cut %d%s", a.Opened, serve.Sum(a.Finished), causes(a.Finished), a.Open, serve.Sum(a.Cut), causes(a.Cut))
}

func causes(by map[serve.Cause]uint64) string {
	if len(by) == 0 {
		return ""
	}
	var list []string
	for _, c := range slices.Sorted(maps.Keys(by)) {
		list = append(list, fmt.Sprintf("%s %d", c, by[c]))
	}
	return " (" + strings.Join(list, ", ") + ")"
}
