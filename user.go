package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"edge/conf"
	"edge/sessions"
	"edge/sessions/users"
	"edge/statefile"
)

// userCommand manages the accounts, beside a running edge or without one.
func userCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "user", Short: "Manage the accounts of the login", Args: noArgs,
		Long: "user manages the accounts of the login, beside a running edge or without one; open sessions follow at once.\n" +
			"The first account can also be made in a browser: edge, started without one, logs a link for it, which is good for a day, or until there is one.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(addUser(file), listUsers(file), groupCommand(file), importUsers(file), linkUser(file), unlinkUser(file),
		&cobra.Command{
			Use: "passwd NAME", Short: "Change a password; every session of the account ends", Args: oneName,
			RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
				password, err := readPassword(cmd)
				if err != nil {
					return err
				}
				return s.done(sessions.EventPassword, args[0], s.SetPassword(cmd.Context(), args[0], password))
			}),
		},
		&cobra.Command{
			Use: "email NAME [ADDRESS]", Short: "Say what the e-mail address of an account is, or that it has none", Args: cobra.RangeArgs(1, 2),
			RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
				return s.done(sessions.EventUserEmail, args[0], s.SetEmail(cmd.Context(), args[0], strings.Join(args[1:], "")))
			}),
		},
		oneUser(file, "disable", "Let an account in no more; its sessions end", sessions.EventUserDisabled, (*users.Store).Disable),
		oneUser(file, "enable", "Let a disabled account in again", sessions.EventUserEnabled, (*users.Store).Enable),
		oneUser(file, "reset-factors", "Take authenticator app, recovery codes and passkeys from an account that has lost them; its sessions end",
			sessions.EventFactorsReset, (*users.Store).ResetFactors),
		oneUser(file, "remove", "Remove an account; its sessions end", sessions.EventUserRemoved, (*users.Store).Remove),
	)
	return cmd
}

// oneUser is a command that needs no more than a name.
func oneUser(file *string, word, short, event string, do func(*users.Store, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: word + " NAME", Short: short, Args: oneName,
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
			return s.done(event, args[0], do(s.Store, cmd.Context(), args[0]))
		}),
	}
}

func addUser(file *string) *cobra.Command {
	var a users.Account
	cmd := &cobra.Command{
		Use: "add NAME", Short: "Make an account; the password is asked for, or read from standard input", Args: oneName,
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return err
			}
			a.Name = args[0]
			return s.done(sessions.EventUserAdded, a.Name, s.Add(cmd.Context(), a, password))
		}),
	}
	cmd.Flags().StringSliceVar(&a.Groups, "group", nil, "a group that the account is in; may be given several times")
	cmd.Flags().StringVar(&a.Email, "email", "", "its e-mail address")
	return cmd
}

// groupCommand says which groups an account is in. An open session is in them at its next request.
func groupCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", Short: "Say which groups an account is in", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	edit := func(word, short string, least int, do func(s *accounts, ctx context.Context, name string, groups []string) error) *cobra.Command {
		return &cobra.Command{
			Use: word + " NAME GROUP...", Short: short, Args: cobra.MinimumNArgs(least),
			RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
				err := do(s, cmd.Context(), args[0], args[1:])
				if err := s.done(sessions.EventUserGroups, args[0], err); err != nil {
					return err
				}
				return s.tellStays(cmd, word, args[0], anyOf(args[1:]))
			}),
		}
	}
	cmd.AddCommand(
		edit("add", "Add an account to groups", 2, func(s *accounts, ctx context.Context, name string, groups []string) error {
			return s.EditGroups(ctx, name, groups, nil)
		}),
		edit("remove", "Take an account out of groups", 2, func(s *accounts, ctx context.Context, name string, groups []string) error {
			return s.EditGroups(ctx, name, nil, groups)
		}),
		edit("set", "Have an account be in these groups and no other of its own; none: in no group", 1,
			func(s *accounts, ctx context.Context, name string, groups []string) error {
				return s.SetGroups(ctx, name, groups)
			}),
	)
	return cmd
}

// tellStays tells of groups that the account still has, because a provider says them: what was to be removed as an error, what a set leaves as a
// remark.
func (a *accounts) tellStays(cmd *cobra.Command, word, name string, typed func(group string) bool) error {
	lost := typed
	switch word {
	case "add":
		return nil
	case "set":
		lost = func(g string) bool { return !typed(g) }
	}
	why, err := a.stays(cmd.Context(), name, lost)
	if err != nil || len(why) == 0 {
		return err
	}
	if word == "remove" {
		return errors.New(strings.Join(why, "\n"))
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), strings.Join(why, "\n"))
	return err
}

func importUsers(file *string) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Make accounts of an htpasswd file, all of it or nothing; - is standard input", Args: cobra.ExactArgs(1),
		Long: "import makes an account of each line NAME:HASH. Hashes are of bcrypt (htpasswd -B), which the first login of each account renews,\n" +
			"or argon2id. Where a line is wrong or a name is taken, every such line is told of, and nothing is made.",
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
			text, err := readImport(cmd, args[0])
			if err != nil {
				return err
			}
			n, err := s.Import(cmd.Context(), text, dry)
			if err != nil {
				return fmt.Errorf("%s: nothing was imported\n%w", args[0], err)
			}
			if dry {
				fmt.Fprintf(cmd.OutOrStdout(), "%d accounts would be made\n", n)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d accounts were made\n", n)
			s.audit.Write(sessions.Entry{Event: sessions.EventUserAdded, By: sessions.CommandLine, Detail: fmt.Sprintf("%d imported", n)})
			return nil
		}),
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what is wrong, and how many there are")
	return cmd
}

func readImport(cmd *cobra.Command, path string) (string, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, users.MaxImport+1))
	if err == nil && len(text) > users.MaxImport {
		err = fmt.Errorf("%s has more than %d bytes", path, users.MaxImport)
	}
	return string(text), err
}

// oneName wants the name of an account.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("one name is needed: %s %s", cmd.Parent().CommandPath(), cmd.Use)
	}
	return nil
}

// accounts are those of a configuration, and where it is written down what is done to them.
type accounts struct {
	*users.Store
	conf  *conf.Config
	audit *sessions.Audit
}

// done writes down what was done to an account, if it was.
func (a *accounts) done(event, name string, err error) error {
	if err != nil {
		return err
	}
	if name, err = users.Canonical(name); err == nil {
		a.audit.Write(sessions.Entry{Event: event, User: name, By: sessions.CommandLine})
	}
	return err
}

// withUsers runs f with the accounts of the configuration's state directory, and the command's arguments.
func withUsers(file *string, f func(*cobra.Command, *accounts, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		cfg, err := conf.Load(*file)
		if err != nil {
			return err
		}
		if err := statefile.Dir(cfg.StateDir); err != nil {
			return err
		}
		a := &accounts{conf: cfg}
		if a.audit, err = auditOf(cfg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.audit.Close()) }()
		if a.Store, err = users.Open(cfg.StateDir, time.Now); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.Store.Close()) }()
		return f(cmd, a, args)
	}
}

// auditOf opens the audit log of a configuration; nil: none.
func auditOf(cfg *conf.Config) (*sessions.Audit, error) {
	if cfg.Login == nil || cfg.Login.Audit == "" {
		return nil, nil
	}
	a, err := sessions.OpenAudit(cfg.Login.Audit)
	if err != nil {
		return nil, cfg.Login.AuditPos.Errorf("audit: %v", err)
	}
	return a, nil
}

func listUsers(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the accounts", Args: noArgs,
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, _ []string) error {
			list, err := s.List(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd, append([]users.Account{}, list...))
			}
			for _, a := range list {
				state := ""
				if a.Disabled {
					state = " (disabled)"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s%s\n", a.Name, s.groups(a), state)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func writeJSON(cmd *cobra.Command, v any) error {
	out := json.NewEncoder(cmd.OutOrStdout())
	out.SetIndent("", "  ")
	return out.Encode(v)
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
