package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"edge/conf"
	"edge/edge"
)

// exitChanges is the exit status of a plan that changes something.
const exitChanges = 2

// errChanges is such a plan, which has been shown.
var errChanges = errors.New("a reload would change something")

// planTime is how long a plan may take.
const planTime = time.Minute

func planCommand(file *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "plan", Short: "Say what a reload would change in the edge that runs, and what that costs", Args: cobra.NoArgs,
		Long: "plan changes nothing. It exits with 0 if a reload would change nothing, with 2 if it would, and with 1 if the file has mistakes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return planned(cmd.Context(), cmd.OutOrStdout(), *file, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// planned asks for a plan and shows it.
func planned(ctx context.Context, w io.Writer, file string, asJSON bool) error {
	dir, err := conf.StateDir(file)
	if err != nil {
		return err
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, planTime)
	defer cancel()
	p, err := edge.AskPlan(ctx, dir, edge.PlanArgs{File: file})
	switch {
	case err != nil:
		return err
	case p.Mistakes != "":
		return errors.New(p.Mistakes)
	case asJSON:
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		err = out.Encode(p)
	default:
		err = p.Write(w)
	}
	if err == nil && len(p.Changes) > 0 {
		err = errChanges
	}
	return err
}

func confirmCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep what edge reload --confirm has put in force", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return verdict(cmd, *file, 0, edge.AskConfirm) },
	}
}

func rollbackCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use: "rollback", Short: "Put in force again what was before the last reload", Args: cobra.NoArgs,
		Long: "rollback puts in force again what the edge that runs has in memory. The file on disk stays as it is, and the next reload reads it.",
		RunE: func(cmd *cobra.Command, _ []string) error { return verdict(cmd, *file, 0, edge.AskRollback) },
	}
}
