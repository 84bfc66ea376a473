package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"edge/conf"
	"edge/edge/admin"
	"edge/reload"
	"edge/statefile"
)

// The control sockets, in the state directory: that of the process that serves, and one for each process that lives.
const controlFile = "control.sock"

func ownControl(stateDir string, pid int) string {
	return filepath.Join(stateDir, "control-"+strconv.Itoa(pid)+".sock")
}

// control opens this process's control socket.
func (s *Server) control(cfg *conf.Config) (err error) {
	removeStale(cfg.StateDir)
	s.admin, err = admin.Listen(ownControl(cfg.StateDir, os.Getpid()), admin.Operations{
		"status": func(context.Context, json.RawMessage) (any, error) { return s.status(), nil },
		"reload": func(ctx context.Context, _ json.RawMessage) (any, error) { return s.askReload(ctx) },
		"counts": func(context.Context, json.RawMessage) (any, error) {
			_, _, err := s.count(true, false)
			return struct{}{}, err
		},
		"upgrade": s.askUpgrade, "plan": s.askPlan, "try": s.askTry, "confirm": s.askConfirm, "rollback": s.askRollback,
	}, s.log)
	if err != nil {
		return cfg.StateDirPos.Errorf("state_dir: %v", err)
	}
	return nil
}

// removeStale removes the control sockets of processes that died.
func removeStale(stateDir string) {
	alive, err := statefile.Holders(filepath.Join(stateDir, generations))
	if err != nil {
		return // it is only tidiness
	}
	lives := map[string]bool{}
	for _, pid := range alive {
		lives[ownControl(stateDir, pid)] = true
	}
	entries, _ := os.ReadDir(stateDir)
	for _, e := range entries {
		path := filepath.Join(stateDir, e.Name())
		if own, _ := filepath.Match("control-*.sock", e.Name()); own && !lives[path] {
			os.Remove(path)
		}
	}
}

// mainControl makes this process the one that control.sock leads to.
func (s *Server) mainControl() error {
	return s.admin.AlsoAt(filepath.Join(s.live.Load().conf.StateDir, controlFile))
}

// askReload reloads what is on disk.
func (s *Server) askReload(ctx context.Context) (any, error) {
	return s.ask(ctx, reload.Ask{}, &s.reloadVerdicts, func() {})
}

// UpgradeArgs are what an upgrade is asked for with.
type UpgradeArgs struct {
	Exec         string `json:"exec,omitempty"`          // the program to go on as, an absolute path; "": the one that runs, found anew
	Back         bool   `json:"back,omitempty"`          // go on as the program of the process before this one, whatever its file is by now
	RetireOldest bool   `json:"retire_oldest,omitempty"` // where there are [upgrade] max_generations, the oldest that drains is ended first
}

// askUpgrade replaces the process.
func (s *Server) askUpgrade(ctx context.Context, text json.RawMessage) (any, error) {
	var args UpgradeArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return nil, err
	}
	switch {
	case args.Exec != "" && args.Back:
		return nil, errors.New("exec and back exclude each other")
	case args.Exec != "" && !filepath.IsAbs(args.Exec):
		return nil, fmt.Errorf("exec %q is no absolute path", args.Exec)
	}
	return s.ask(ctx, reload.Ask{Upgrade: true}, &s.upgradeVerdicts, func() { s.asked = args })
}

// ask has the supervisor do something, and gives the verdict on it. begin is called before it is done, and then nothing else is done besides.
func (s *Server) ask(ctx context.Context, a reload.Ask, of *verdicts, begin func()) (*Verdict, error) {
	var begun bool
	var v *Verdict
	done := make(chan error, 1)
	a.Begin = func() { begun = true; begin() }
	a.Done = func(err error) {
		v = of.get() // of no other: the next job has not begun
		done <- err
	}
	select {
	case s.asks <- a:
	case <-ctx.Done():
		return nil, reload.ErrStopping
	}
	switch err := <-done; {
	case begun && a.Upgrade && v.OK:
		heir := *v
		heir.Heir = s.successor
		return &heir, nil
	case begun:
		return v, nil
	case errors.Is(err, reload.ErrTakenOver):
		return nil, admin.ErrMoved
	default:
		return nil, err
	}
}
