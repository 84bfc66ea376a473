package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edge/conf"
	"edge/listeners"
	"edge/reload/upgrade"
	"edge/statefile"
)

// answerTime is how long a new process may take for what needs no thought.
const answerTime = 5 * time.Second

// upgrade hands every socket to a new process. Until its COMMIT everything can be taken back; then this process accepts no more.
func (s *Server) upgrade(ctx context.Context) error {
	asked := s.asked
	s.asked = UpgradeArgs{}
	if len(s.drafting) > 0 {
		return errReading
	}
	retired, err := s.makeRoom(ctx, asked.RetireOldest)
	if err != nil {
		return err
	}
	if err := s.replace(ctx, asked); err != nil {
		if retired != "" {
			err = fmt.Errorf("%w (before that: %s)", err, retired)
		}
		return err
	}
	if retired != "" {
		retired += "; "
	}
	s.upgradeVerdicts.say(fmt.Sprintf("%sprocess %d, generation %d, has taken over from process %d", retired, s.successor, s.born, os.Getpid()))
	return nil
}

// replace has a new process take over.
func (s *Server) replace(ctx context.Context, asked UpgradeArgs) error {
	cfg := s.live.Load().conf
	child, err := s.spawn(asked)
	if err != nil {
		return err
	}
	s.log.Info("upgrade: new process started", "pid", child.PID(), "generation", s.born)
	if err := within(ctx, cfg.Upgrade.Ready, child.Ready, "is not ready"); err != nil {
		return errors.Join(err, child.Kill(ctx, err, 0))
	}
	if err := s.handOverMemory(child); err != nil {
		return errors.Join(err, child.Kill(ctx, err, 0))
	}
	s.writeCounts(false)
	sockets := s.table.Sockets()
	for _, socket := range sockets {
		socket.Pause()
	}
	if err := s.handOver(ctx, child); err != nil {
		for _, socket := range sockets {
			socket.Resume()
		}
		s.children.Go(func() { s.takeBack(child, err) })
		return err
	}
	for _, socket := range sockets {
		socket.CloseParked()
	}
	s.table, s.primary, s.successor = &listeners.Table{}, false, child.PID()
	child.Settled(answerTime) // the pid file names a process that lives
	s.children.Go(func() { s.outlive(child) })
	s.log.Info("upgrade: the new process has taken over", "pid", child.PID())
	return nil
}

// takeBack ends a new process that may be serving already: what it holds may end, as at a stop.
func (s *Server) takeBack(child *upgrade.Child, reason error) {
	if err := child.Kill(s.tasks, reason, s.live.Load().conf.Drain.Stop); err != nil {
		s.log.Error("the new process that was taken back", "error", err)
	}
}

// passOn sends the new process a HUP that came while it was starting: it may have read the configuration before.
func (s *Server) passOn() {
	if err := syscall.Kill(s.successor, syscall.SIGHUP); err != nil {
		s.log.Error("a reload was asked for during the upgrade, and the new process cannot be told", "error", err)
	}
}

// spawn starts the new process, of the program that was asked for.
func (s *Server) spawn(asked UpgradeArgs) (*upgrade.Child, error) {
	program := s.Program
	if asked.Exec != "" {
		program.Path = asked.Exec
	}
	if asked.Back {
		var err error
		if program, err = program.Back(); err != nil {
			return nil, err
		}
	}
	files, facts, err := s.table.HandOn(3)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	text, err := json.Marshal(facts)
	if err != nil {
		return nil, err
	}
	s.born = max(s.born, s.generation) + 1 // the number of one that failed is not given again
	return upgrade.Start(program, s.born, files, text)
}

// handOver lets the new process serve and, if it lives through its probation, makes it the one.
func (s *Server) handOver(ctx context.Context, child *upgrade.Child) error {
	if err := within(ctx, answerTime, child.Go, "does not begin to serve"); err != nil {
		return err
	}
	s.log.Info("upgrade: the new process serves, on probation", "pid", child.PID())
	if err := child.Probation(ctx, s.live.Load().conf.Upgrade.Probation, worseThan(s.healthNow())); err != nil {
		return fmt.Errorf("in probation: %w", err)
	}
	return child.Commit()
}

// within bounds a step.
func within(ctx context.Context, d time.Duration, step func(context.Context) error, what string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("the new process %s after %v", what, d))
	defer cancel()
	return step(ctx)
}

// takeOver is the new process's side. If it fails, also because this process was told to stop, the parent hears of it first of all: it
// must accept again before this process stops.
func (s *Server) takeOver(ctx context.Context, parent *upgrade.Parent) error {
	err := parent.Ready(ctx)
	if err == nil {
		s.recall(parent.State())
		s.start(s.table.Sockets())
		err = parent.Serving(ctx, s.healthNow)
	}
	if err != nil {
		parent.Fail(err) // a parent that took it back itself listens no more
		return err
	}
	if err := errors.Join(s.becomePrimary(), s.mainControl()); err != nil {
		s.log.Error("pid file, control socket", "error", err)
	}
	parent.Settled()
	s.unstoreSockets(s.dropped)
	s.storeSockets()
	for _, socket := range s.dropped {
		socket.Unlink()
	}
	s.upgradeVerdicts.say(fmt.Sprintf("process %d, generation %d, has taken over from process %d", os.Getpid(), s.generation, os.Getppid()))
	return nil
}

// becomePrimary writes the pid file: it always names a process that serves.
func (s *Server) becomePrimary() error {
	s.primary, s.served = true, true
	s.watch()
	return errors.Join(statefile.Write(s.pidFile(), []byte(strconv.Itoa(os.Getpid())+"\n")), s.rememberProgram(), s.foldCounts())
}

// programFile is the file in the state directory that names the program that serves, and below it the one that served before.
const programFile = "program"

// programs gives the program that serves, by its path, and the one before it; "": not known.
func programs(stateDir string) (now, before string) {
	text, err := os.ReadFile(filepath.Join(stateDir, programFile))
	if err != nil {
		return "", ""
	}
	now, before, _ = strings.Cut(strings.TrimSuffix(string(text), "\n"), "\n")
	return now, before
}

// rememberProgram notes which program serves, so that one can go back.
func (s *Server) rememberProgram() error {
	dir := s.live.Load().conf.StateDir
	was, before := programs(dir)
	if was != s.Program.Path {
		before = was
	}
	return statefile.Write(filepath.Join(dir, programFile), []byte(s.Program.Path+"\n"+before+"\n"))
}

// pidFile is the file in the state directory that names the process that serves.
const pidFile = "edge.pid"

func (s *Server) pidFile() string { return filepath.Join(s.live.Load().conf.StateDir, pidFile) }

// running gives the process that serves from this state directory already; 0: none.
func (s *Server) running(cfg *conf.Config) int {
	text, err := os.ReadFile(filepath.Join(cfg.StateDir, pidFile))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return 0
	}
	alive, err := statefile.Holders(generationsDir(cfg))
	if err != nil || !slices.Contains(alive, pid) {
		return 0
	}
	return pid
}

// removePID removes the pid file if it is ours.
func (s *Server) removePID() {
	if s.namedByFile() {
		os.Remove(s.pidFile())
	}
}

// namedByFile says whether the pid file names this process.
func (s *Server) namedByFile() bool {
	text, err := os.ReadFile(s.pidFile())
	return err == nil && string(bytes.TrimSpace(text)) == strconv.Itoa(os.Getpid())
}
