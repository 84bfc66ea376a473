package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"edge/conf"
	"edge/sessions/users"
	"edge/statefile"
)

// userCommand manages the accounts, beside a running edge or without one.
func userCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "user", Short: "Manage the accounts of the login", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var groups []string
	add := &cobra.Command{
		Use: "add NAME", Short: "Make an account; the password is asked for, or read from standard input", Args: oneName,
		RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			return s.Add(cmd.Context(), name, password, groups)
		}),
	}
	add.Flags().StringSliceVar(&groups, "group", nil, "a group that the account is in; may be given several times")
	setGroups := &cobra.Command{
		Use: "groups NAME", Short: "Say which groups an account is in", Args: oneName,
		RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error {
			return s.SetGroups(cmd.Context(), name, groups)
		}),
	}
	setGroups.Flags().StringSliceVar(&groups, "group", nil, "a group; may be given several times; none: no group")
	cmd.AddCommand(add, setGroups,
		&cobra.Command{
			Use: "passwd NAME", Short: "Change a password; every session of the account ends", Args: oneName,
			RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error {
				password, err := readPassword(cmd)
				if err != nil {
					return err
				}
				return s.SetPassword(cmd.Context(), name, password)
			}),
		},
		&cobra.Command{Use: "list", Short: "List the accounts", Args: noArgs, RunE: withUsers(file, listUsers)},
		&cobra.Command{
			Use: "disable NAME", Short: "Let an account in no more; its sessions end", Args: oneName,
			RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error { return s.Disable(cmd.Context(), name) }),
		},
		&cobra.Command{
			Use: "enable NAME", Short: "Let a disabled account in again", Args: oneName,
			RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error { return s.Enable(cmd.Context(), name) }),
		},
		&cobra.Command{
			Use: "reset-factors NAME", Short: "Take authenticator app, recovery codes and passkeys from an account that has lost them; its sessions end", Args: oneName,
			RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error {
				return s.ResetFactors(cmd.Context(), name)
			}),
		},
		&cobra.Command{
			Use: "remove NAME", Short: "Remove an account; its sessions end", Args: oneName,
			RunE: withUsers(file, func(cmd *cobra.Command, s *users.Store, name string) error { return s.Remove(cmd.Context(), name) }),
		},
	)
	return cmd
}

// oneName wants the name of an account.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("one name is needed: %s %s", cmd.Parent().CommandPath(), cmd.Use)
	}
	return nil
}

// withUsers runs f with the accounts of the configuration's state directory, and the command's argument.
func withUsers(file *string, f func(*cobra.Command, *users.Store, string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		cfg, err := conf.Load(*file)
		if err != nil {
			return err
		}
		if err := statefile.Dir(cfg.StateDir); err != nil {
			return err
		}
		s, err := users.Open(cfg.StateDir, time.Now)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return f(cmd, s, strings.Join(args, ""))
	}
}

func listUsers(cmd *cobra.Command, s *users.Store, _ string) error {
	accounts, err := s.List(cmd.Context())
	if err != nil {
		return err
	}
	for _, a := range accounts {
		state := ""
		if a.Disabled {
			state = " (disabled)"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s%s\n", a.Name, strings.Join(a.Groups, ","), state)
	}
	return nil
}

// readPassword reads one line: from a terminal after a prompt and without showing it, else from standard input.
func readPassword(cmd *cobra.Command) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok {
		fd := int(f.Fd())
		if old, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			quiet := *old
			quiet.Lflag &^= unix.ECHO
			if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
				return "", err
			}
			defer unix.IoctlSetTermios(fd, unix.TCSETS, old)
			fmt.Fprint(cmd.ErrOrStderr(), "Password: ")
			defer fmt.Fprintln(cmd.ErrOrStderr())
		}
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if line == "" && err != nil {
		return "", errors.New("no password on standard input")
	}
	return strings.TrimRight(line, "\r\n"), nil
}
