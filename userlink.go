package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"edge/conf"
	"edge/sessions"
)

// linkUser links an account to somebody at a provider of the configuration, before they have ever come.
func linkUser(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "link NAME PROVIDER SUBJECT", Args: cobra.ExactArgs(3),
		Short: "Let who is SUBJECT (the token's sub) at a [[login.provider]] in as this account",
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) error {
			issuer, err := s.issuer(args[1])
			if err != nil {
				return err
			}
			err = s.Link(cmd.Context(), args[0], sessions.Origin{Issuer: issuer, Subject: args[2]})
			return s.done(sessions.EventLinked, args[0], err)
		}),
	}
}

// unlinkUser is the end of it, also for a provider that is no more in the configuration.
func unlinkUser(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "unlink NAME [PROVIDER]", Short: "Let nobody in as this account by a provider, or any, and forget the groups from there; its sessions end",
		Args: cobra.RangeArgs(1, 2),
		RunE: withUsers(file, func(cmd *cobra.Command, s *accounts, args []string) (err error) {
			issuer := ""
			if len(args) == 2 {
				if issuer, err = s.issuer(args[1]); err != nil {
					return err
				}
			}
			n, err := s.Unlink(cmd.Context(), args[0], issuer)
			if err := s.done(sessions.EventUnlinked, args[0], err); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d links removed\n", n)
			return err
		}),
	}
}

// issuer is that of the provider of this name.
func (a *accounts) issuer(name string) (string, error) {
	var providers []*conf.Provider
	if a.conf.Login != nil {
		providers = a.conf.Login.Providers
	}
	i := slices.IndexFunc(providers, func(p *conf.Provider) bool { return p.Name == name })
	if i < 0 {
		return "", fmt.Errorf("there is no [[login.provider]] of the name %q", name)
	}
	return providers[i].Issuer, nil
}
