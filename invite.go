package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edge/conf"
	"edge/sessions"
	"edge/sessions/users"
)

// longestInvite is how long an invitation may be good.
const longestInvite = 90 * 24 * time.Hour

// inviteCommand makes links by which others make accounts for themselves.
func inviteCommand(file *string) *cobra.Command {
	var i users.Invite
	var life time.Duration
	cmd := &cobra.Command{
		Use: "invite", Short: "Print a link that makes one account, once", Args: noArgs,
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, _ []string) error {
			l := s.conf.Login
			switch {
			case l == nil:
				return errors.New("the configuration has no [login]")
			case l.Registration == conf.Closed:
				return l.Pos.Errorf(`registration is "closed": nobody could use the link; say registration = "invite"`)
			case life <= 0 || life > longestInvite:
				return fmt.Errorf("--expires must be more than 0 and at most %s", longestInvite)
			}
			i.Expires = time.Now().Add(life)
			code, made, err := s.Invite(cmd.Context(), i)
			if err != nil {
				return err
			}
			s.audit.Write(sessions.Entry{Event: sessions.EventInviteMade, By: sessions.CommandLine, Detail: made.ID})
			fmt.Fprintf(cmd.OutOrStdout(), "%s/register?invite=%s\n", loginOrigin(s.conf), code)
			return nil
		}),
	}
	cmd.Flags().StringSliceVar(&i.Groups, "group", nil, "a group that the account will be in; may be given several times")
	cmd.Flags().StringVar(&i.Email, "email", "", "the e-mail address that the account will have")
	cmd.Flags().DurationVar(&life, "expires", 72*time.Hour, "how long the link is good")
	cmd.AddCommand(listInvites(file), &cobra.Command{
		Use: "revoke ID", Short: "End an invitation", Args: cobra.ExactArgs(1),
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
			if err := s.Revoke(cmd.Context(), args[0]); err != nil {
				return err
			}
			s.audit.Write(sessions.Entry{Event: sessions.EventInviteRevoked, By: sessions.CommandLine, Detail: args[0]})
			return nil
		}),
	})
	return cmd
}

func listInvites(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the invitations that are good; their links are not kept", Args: noArgs,
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, _ []string) error {
			list, err := s.Invites(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd, append([]users.Invite{}, list...))
			}
			for _, i := range list {
				what := strings.TrimSpace(i.Email + " " + strings.Join(i.Groups, ","))
				if i.Setup {
					what = "the first account"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s until %s %s\n", i.ID, i.Expires.Local().Format(time.DateTime), what)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// loginOrigin is where browsers reach the login host, by the first https listener that has a port.
func loginOrigin(cfg *conf.Config) string {
	for _, l := range cfg.Listeners {
		for _, a := range l.Addresses {
			_, port, err := net.SplitHostPort(a.Address)
			switch {
			case l.Protocol != conf.HTTPS || a.Network != "tcp" || err != nil:
			case port == "443":
				return "https://" + cfg.Login.Host
			default:
				return "https://" + net.JoinHostPort(cfg.Login.Host, port)
			}
		}
	}
	return "https://" + cfg.Login.Host
}
