package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"edge/conf"
	"edge/sessions"
	"edge/sessions/users"
	"edge/statefile"
)

// sessionCommand shows and ends logins, beside a running edge or without one.
func sessionCommand(file *string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "session", Short: "Show who is logged in, and end it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var user string
	var asJSON, all bool
	list := &cobra.Command{
		Use: "list", Short: "List the sessions: whose, from where, since when, and which sites they are used on", Args: noArgs,
		RunE: withSessions(file, func(cmd *cobra.Command, s *sessions.Service) error {
			name, err := givenUser(user)
			if err != nil {
				return err
			}
			logins, err := s.Logins(cmd.Context(), name)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), logins)
			}
			return printLogins(cmd.OutOrStdout(), logins)
		}),
	}
	list.Flags().StringVar(&user, "user", "", "of this user alone")
	list.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	revoke := &cobra.Command{
		Use: "revoke ID | --user NAME | --all", Short: "End a session, or all of a user, or all, on every site", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if given := len(args) + one(user != "") + one(all); given != 1 {
				return errors.New("one of these is needed: the ID of a session, --user NAME, --all")
			}
			return withSessions(file, func(cmd *cobra.Command, s *sessions.Service) error {
				return endSessions(cmd, s, strings.Join(args, ""), user)
			})(cmd, args)
		},
	}
	revoke.Flags().StringVar(&user, "user", "", "all sessions of this user")
	revoke.Flags().BoolVar(&all, "all", false, "everybody's sessions")
	cmd.AddCommand(list, revoke)
	return cmd
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// givenUser is the canonical form of a user's name; "" stays.
func givenUser(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	return users.Canonical(name)
}

// endSessions ends one, a user's, or where neither is said all, and writes it down.
func endSessions(cmd *cobra.Command, s *sessions.Service, id, user string) error {
	var n int
	e := sessions.Entry{Event: sessions.EventRevoked, By: sessions.CommandLine}
	user, err := givenUser(user)
	if err != nil {
		return err
	}
	switch {
	case id != "":
		var login uuid.UUID
		if login, err = uuid.Parse(id); err != nil {
			return fmt.Errorf("%q is no session's ID: edge session list shows them", id)
		}
		n, err = 1, s.EndAnyLogin(cmd.Context(), login)
		e.Session = login.String()
	case user != "":
		n, err = s.EndAll(cmd.Context(), user, uuid.Nil)
		e.User, e.Detail = user, "all"
	default:
		n, err = s.EndEverybody(cmd.Context())
		e.Detail = "everybody's"
	}
	if err == nil {
		s.Audit.Write(e)
		fmt.Fprintf(cmd.OutOrStdout(), "sessions ended: %d\n", n)
	}
	return err
}

// withSessions runs f with the sessions of the configuration's state directory.
func withSessions(file *string, f func(*cobra.Command, *sessions.Service) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		cfg, err := conf.Load(*file)
		if err != nil {
			return err
		}
		if cfg.Login == nil {
			return errors.New("there are no sessions: the configuration has no [login]")
		}
		if err := statefile.Dir(cfg.StateDir); err != nil {
			return err
		}
		u, err := users.Open(cfg.StateDir, time.Now)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, u.Close()) }()
		db, err := sessions.Open(cfg.StateDir, time.Now)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		s := sessions.New(db, u, cfg.Login, nobody{})
		if s.Audit, err = auditOf(cfg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Audit.Close()) }()
		return f(cmd, s)
	}
}

// nobody serves no hosts: what the command does asks for none.
type nobody struct{}

func (nobody) Vhost(string) (string, bool)             { return "", false }
func (nobody) Allowed(string, *sessions.Identity) bool { return false }

func (nobody) Listed(string) bool { return false }

// login is a line of edge session list --json.
type login struct {
	ID      uuid.UUID `json:"id"`
	User    string    `json:"user"`
	Since   time.Time `json:"since"`
	Seen    time.Time `json:"last_seen"`
	Expires time.Time `json:"expires"`
	Level   string    `json:"level"`
	Address string    `json:"address"`
	Agent   string    `json:"user_agent"`
	Vhosts  []string  `json:"vhosts"`
}

func printJSON(w io.Writer, list []sessions.LoginInfo) error {
	logins := []login{}
	for _, l := range list {
		logins = append(logins, login{l.ID, l.User, l.Since.UTC(), l.Seen.UTC(), l.Expires.UTC(), fmt.Sprintf("aal%d", l.Level), l.Address, l.Agent, l.Vhosts})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(logins)
}

func printLogins(w io.Writer, list []sessions.LoginInfo) error {
	const minute = "2006-01-02 15:04"
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tUSER\tSINCE\tLAST SEEN\tADDRESS\tSITES\tBROWSER")
	for _, l := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.User, l.Since.Local().Format(minute), l.Seen.Local().Format(minute),
			l.Address, strings.Join(l.Vhosts, " "), l.Agent)
	}
	return t.Flush()
}
