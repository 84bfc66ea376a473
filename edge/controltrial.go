package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"edge/conf"
	"edge/edge/admin"
	"edge/plan"
)

// PlanArgs are what a plan is asked for with.
type PlanArgs struct {
	File string `json:"file"` // of the configuration, absolute: it must be the one that the process reads
}

// Planned is a plan, or why there is none.
type Planned struct {
	plan.Plan
	Mistakes string `json:"mistakes,omitempty"` // of the configuration, each with its line and a caret
}

// askPlan says what a reload would change.
func (s *Server) askPlan(ctx context.Context, text json.RawMessage) (any, error) {
	var args PlanArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return nil, err
	}
	if file := s.live.Load().conf.File; args.File != file {
		return nil, fmt.Errorf("the edge that runs reads %s, not %s", file, args.File)
	}
	planned := make(chan Planned, 1)
	go func() { planned <- s.planFor(args.File) }() // which may be stuck in a file
	select {
	case p := <-planned:
		return p, nil
	case <-ctx.Done():
		return nil, errEnds
	}
}

func (s *Server) planFor(file string) Planned {
	cfg, err := conf.Load(file)
	if err == nil {
		err = Check(cfg)
	}
	if err != nil {
		v := judge("", err)
		return Planned{Plan: plan.Plan{File: file}, Mistakes: cmp.Or(v.Mistakes, v.What)}
	}
	return Planned{Plan: s.PlanWith(cfg)}
}

// TryArgs are what a reload on trial is asked for with.
type TryArgs struct {
	Within time.Duration `json:"within"` // it is taken back unless it is confirmed
}

// askTry reloads on trial.
func (s *Server) askTry(ctx context.Context, text json.RawMessage) (any, error) {
	var args TryArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return nil, err
	}
	err := s.ReloadOnTrial(ctx, args.Within)
	return judge(fmt.Sprintf("in force for %v, unless it is confirmed: edge confirm, or edge rollback", args.Within), err), nil
}

func (s *Server) askConfirm(ctx context.Context, _ json.RawMessage) (any, error) {
	return judge("confirmed: what is in force stays", s.Confirm(ctx)), nil
}

func (s *Server) askRollback(ctx context.Context, _ json.RawMessage) (any, error) {
	return judge("in force: what was before the last reload; the file on disk is as it was", s.Rollback(ctx)), nil
}

// AskPlan asks the edge that serves from a state directory what a reload of its file would change.
func AskPlan(ctx context.Context, stateDir string, args PlanArgs) (p Planned, err error) {
	err = admin.Ask(ctx, filepath.Join(stateDir, controlFile), "plan", args, &p)
	return p, err
}

// AskTry asks it to reload on trial, and waits for the verdict.
func AskTry(ctx context.Context, stateDir string, args TryArgs) (*Verdict, error) {
	return askVerdict(ctx, stateDir, "try", args)
}

// AskConfirm asks it to keep what is on trial.
func AskConfirm(ctx context.Context, stateDir string) (*Verdict, error) {
	return askVerdict(ctx, stateDir, "confirm", nil)
}

// AskRollback asks it to go back to what was in force before the last reload.
func AskRollback(ctx context.Context, stateDir string) (*Verdict, error) {
	return askVerdict(ctx, stateDir, "rollback", nil)
}
