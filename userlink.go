package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"edge/conf"
	"edge/sessions"
	"edge/sessions/users"
	"edge/username"
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
			err = s.Readmit(cmd.Context(), args[0], sessions.Origin{Issuer: issuer, Subject: args[2]})
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
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d links removed; only \"edge user link\" lets in again who came by them\n", n)
			return err
		}),
	}
}

// provider is what an issuer is called in the configuration; one that is not in it by itself.
func (a *accounts) provider(issuer string) string {
	if a.conf.Login != nil {
		for _, p := range a.conf.Login.Providers {
			if p.Issuer == issuer {
				return p.Name
			}
		}
	}
	return issuer
}

// groups are all that an account has, those that a provider says as PROVIDER:GROUP.
func (a *accounts) groups(of users.Account) string {
	list := slices.Clip(of.Groups)
	for _, issuer := range slices.Sorted(maps.Keys(of.Elsewhere)) {
		for _, g := range of.Elsewhere[issuer] {
			list = append(list, a.provider(issuer)+":"+g)
		}
	}
	return strings.Join(list, ",")
}

// stays gives, for each group that an account has from a provider and that lost says it should not, why it still does.
func (a *accounts) stays(ctx context.Context, name string, lost func(group string) bool) (why []string, err error) {
	elsewhere, err := a.Elsewhere(ctx, name)
	for _, issuer := range slices.Sorted(maps.Keys(elsewhere)) {
		for _, g := range elsewhere[issuer] {
			if lost(g) {
				at := a.provider(issuer)
				why = append(why, fmt.Sprintf("%s comes from %s: take %s out of it there, or unlink it (edge user unlink %s %s)", g, at, name, name, at))
			}
		}
	}
	return why, err
}

// anyOf says whether a group is among those that somebody typed.
func anyOf(groups []string) func(group string) bool {
	return func(group string) bool {
		return slices.ContainsFunc(groups, func(g string) bool {
			g, err := username.Canonical(g)
			return err == nil && g == group
		})
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
