package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edge/reload/drill"
)

// drillCommand proves on this machine, with this program, that changes lose nothing.
func drillCommand() *cobra.Command {
	o := drill.Options{Quiet: 3 * time.Second, Probation: time.Second, Clients: 1}
	cmd := &cobra.Command{
		Use: "drill", Short: "Reload and upgrade an edge of its own under strict clients, and count what they lose", Args: cobra.NoArgs,
		Long: "drill starts this program on loopback, with a state directory, certificates and an app of its own, and reloads and upgrades it under\n" +
			"clients that never retry and check every byte. One upgrade in three is to a process that cannot take over. It exits with 0 if\n" +
			"nothing was lost. The configuration file is not read, and a running edge is left alone.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runDrill(cmd, o) },
	}
	cmd.Flags().IntVar(&o.Reloads, "reloads", 20, "how many reloads")
	cmd.Flags().IntVar(&o.Upgrades, "upgrades", 5, "how many upgrades")
	cmd.Flags().DurationVar(&o.For, "for", 20*time.Second, "how long the changes are spread over, at least")
	cmd.Flags().IntVar(&o.Clients, "clients", 1, "how many clients of each kind")
	cmd.Flags().BoolVar(&o.Alone, "alone", false, "nobody else uses this network namespace (unshare -rn): explain each TCP reset")
	cmd.Flags().BoolVar(&o.Times, "times", true, "judge how long answers take around changes")
	cmd.Flags().StringVar(&o.Program, "exec", "", "another edge to drill; default: this one")
	cmd.AddCommand(&cobra.Command{
		Use: "misfit KIND PROGRAM [ARG ...]", Hidden: true, DisableFlagParsing: true,
		Short: "Be a new process that cannot take over: drill starts it",
		Args:  cobra.MinimumNArgs(2),
		RunE:  func(_ *cobra.Command, args []string) error { return drill.Misfit(args[0], args[1:]) },
	})
	return cmd
}

// errLost is a drill that something was lost in.
var errLost = errors.New("something was lost")

func runDrill(cmd *cobra.Command, o drill.Options) (err error) {
	if o.Reloads < 0 || o.Upgrades < 0 || o.Reloads+o.Upgrades == 0 || o.Clients < 1 {
		return errors.New("drill: nothing to do: --reloads, --upgrades and --clients are numbers above 0")
	}
	signal.Reset(syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	if o.Helper, err = absolute(os.Args[0]); err != nil {
		return err
	}
	if o.Program == "" {
		o.Program = o.Helper
	} else if o.Program, err = absolute(o.Program); err != nil {
		return err
	}
	o.Progress = cmd.ErrOrStderr()
	result, err := drill.Drill(ctx, o)
	if err != nil {
		return fmt.Errorf("drill: %w", errors.Join(err, context.Cause(ctx)))
	}
	if err := result.Print(cmd.OutOrStdout()); err != nil {
		return err
	}
	if result.Lost() {
		return errLost
	}
	return nil
}

// absolute finds a program as a shell does.
func absolute(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}
