// Command edge is the front door for all the web apps of a person or a team. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"edge/conf"
	"edge/edge"
	"edge/edge/serve"
	"edge/reload/upgrade"
)

// fault is what the tests break on purpose.
var fault serve.Fault

// now is the clock of logins and accounts, which the tests move.
var now = time.Now

// exitCut is the exit status of a stop that had to cut connections.
const exitCut = 3

// errCut is a stop that had to.
type errCut int64

func (n errCut) Error() string { return fmt.Sprintf("connections that were cut: %d", int64(n)) }

func main() {
	// First of all: a signal that comes between exec and here would end the process.
	signal.Ignore(syscall.SIGPIPE) // whoever reads our log may go: that must not end us
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT)

	err := command(signals).Execute()
	var cut errCut
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case errors.As(err, &cut):
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(exitCut)
	case errors.Is(err, errChanges):
		os.Exit(exitChanges)
	case err != nil:
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}

// explain gives mistakes, which say where they are, with their lines of the file, and any other error with the program's name.
func explain(err error) string {
	var mistakes conf.Errors
	var mistake *conf.Error
	switch {
	case errors.As(err, &mistakes):
		return mistakes.Explain()
	case errors.As(err, &mistake):
		return mistake.Explain()
	}
	return "edge: " + err.Error()
}

// command is the command line.
func command(signals <-chan os.Signal) *cobra.Command {
	var file string
	root := &cobra.Command{
		Use:   "edge",
		Short: "The front door for all your web apps",
		Long: "edge serves many web apps behind one door: TLS, virtual hosts, reverse proxy, files, one login.\n" +
			"Signals: HUP reloads the configuration, USR2 replaces the program, USR1 reopens the logs, TERM stops.",
		Args:          noArgs,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), file, signals) },
	}
	root.PersistentFlags().StringVarP(&file, "config", "c", "/etc/edge/edge.toml", "the configuration file")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		&cobra.Command{
			Use: "check", Short: "Say whether a configuration is valid", Args: noArgs,
			Long: "check exits with 0 and a summary, or with 1 and every mistake.",
			RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd, file) },
		},
		&cobra.Command{
			Use: "version", Short: "Say which program this is", Args: noArgs,
			Run: func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "edge", version()) },
		},
		userCommand(&file),
		inviteCommand(&file),
		sessionCommand(&file),
		drillCommand(),
	)
	root.AddCommand(controlCommands(&file)...)
	return root
}

// noArgs refuses arguments. Who writes `edge check FILE` or `edge FILE` learns how the file is named.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 && strings.ContainsAny(args[0], "./") {
		return fmt.Errorf("%s takes no argument: the configuration file is named with -c %s", cmd.CommandPath(), args[0])
	}
	return cobra.NoArgs(cmd, args)
}

// run serves.
func run(ctx context.Context, file string, signals <-chan os.Signal) error {
	process1 := isProcess1()
	program, err := upgrade.ThisProgram()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	slog.SetDefault(log)
	if process1 {
		return takeCare(program, signals, log)
	}
	cut, err := edge.Run(ctx, edge.Options{File: file, Program: program, Signals: signals, Log: log, Level: level, Fault: fault, Now: now, Version: version()})
	if err == nil && cut > 0 {
		return errCut(cut)
	}
	return err
}

func check(cmd *cobra.Command, file string) error {
	cfg, err := conf.Load(file)
	if err != nil {
		return err
	}
	if err := edge.Check(cfg); err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w.Explain())
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is valid; it has listeners: %d, vhosts: %d, certificates: %d, upstreams (with URLs): %d\n",
		file, len(cfg.Listeners), len(cfg.Vhosts), len(cfg.Certificates), len(cfg.Upstreams))
	return nil
}

// version is what this program calls itself.
var version = buildVersion

// buildVersion is the module's version, or the revision that it was built from.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == "(devel)" {
			v = s.Value
		}
	}
	return v + " " + info.GoVersion
}
