package edge

import (
	"context"
	"errors"
	"time"

	"edge/conf"
	"edge/reload"
)

// Why a configuration cannot be tried or taken back.
var (
	errSame     = errors.New("the file is what is in force already: there is nothing to confirm")
	errNoBefore = errors.New("there is nothing to roll back to: this process has put nothing else in force since it started, or since the last rollback")
	errEnds     = errors.New("this process ends")
)

// ReloadOnTrial puts what is on disk in force and takes it back after so long, unless Confirm is called before. It waits until the configuration is in
// force; an error means that nothing has changed. The file stays as it is, whatever comes of it. While a trial lasts reloads and upgrades are refused.
func (s *Server) ReloadOnTrial(ctx context.Context, confirmWithin time.Duration) error {
	return s.askTrial(ctx, reload.Trial{Want: reload.Try, For: confirmWithin})
}

// Confirm keeps what ReloadOnTrial has put in force.
func (s *Server) Confirm(ctx context.Context) error {
	return s.askTrial(ctx, reload.Trial{Want: reload.Confirm})
}

// Rollback puts in force again the configuration that the last reload replaced, on trial or not, and waits until it is. The configuration is the one that
// this process has in memory; files that it names are read anew. The file on disk stays as it is, and the next reload reads it.
func (s *Server) Rollback(ctx context.Context) error {
	return s.askTrial(ctx, reload.Trial{Want: reload.Rollback})
}

// askTrial asks the supervisor. If ctx ends first, what was asked for may be done all the same.
func (s *Server) askTrial(ctx context.Context, t reload.Trial) error {
	done := make(chan error, 1)
	t.Done = func(err error) { done <- err }
	select {
	case s.trials <- t:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.tasks.Done():
		return errEnds
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// reloadKept is reload, after which what it replaced is known. One that changes nothing leaves what was known.
func (s *Server) reloadKept(ctx context.Context) error {
	before := s.live.Load().conf
	if err := s.reload(ctx); err != nil {
		return err
	}
	if s.live.Load().conf != before {
		s.before = before
	}
	return nil
}

// try is reloadKept for a trial, at the end of which there must be something to roll back to.
func (s *Server) try(ctx context.Context) error {
	now := s.live.Load()
	if err := s.reloadKept(ctx); err != nil {
		return err
	}
	if s.live.Load() == now {
		return errSame
	}
	return nil
}

// rollback puts in force again what the last reload replaced, from memory.
func (s *Server) rollback(ctx context.Context) error {
	if s.before == nil {
		return errNoBefore
	}
	d, err := s.reread(ctx, func() (*conf.Config, error) { return s.before, nil })
	if err != nil {
		return s.tell(err)
	}
	if d != nil { // else only what files held was different, and they are read anew
		s.apply(d)
	}
	s.log.Info("rolled back: the file on disk is not what is in force", "file", s.before.File)
	s.before = nil
	s.lookUp()
	return nil
}
