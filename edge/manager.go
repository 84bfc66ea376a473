package edge

import (
	"context"
	"fmt"
	"os"
	"time"

	"edge/reload/caretaker"
	"edge/reload/notify"
	"edge/reload/upgrade"
)

// tellManager tells the service manager, if there is one, how this process does. A manager that cannot be told must not stop the service.
func (s *Server) tellManager(lines ...string) {
	if err := s.manager.Tell(lines...); err != nil {
		s.log.Warn("the service manager cannot be told", "error", err)
	}
}

// findManager looks for the service manager.
func (s *Server) findManager() {
	var err error
	if s.manager, err = notify.Find(); err != nil {
		s.log.Warn("the service manager cannot be told", "error", err)
	}
	s.keeps = s.manager != nil && notify.Keeps()
}

// tellStart says that the first process serves. A later one says nothing: the manager believes only the one that it knows, which tells of it.
func (s *Server) tellStart() {
	s.storeSockets()
	s.tellManager(notify.Ready, notify.MainPID(os.Getpid()), notify.Status("serving"))
}

// toldReload gives f, of whose beginning and end the manager is told.
func (s *Server) toldReload(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		s.tellManager(notify.Reloading, notify.Monotonic())
		err := f(ctx)
		if err != nil {
			s.tellManager(notify.Ready, notify.Status("serving; reload refused: "+err.Error()))
		} else {
			s.tellManager(notify.Ready, notify.Status("serving; reloaded"))
		}
		return err
	}
}

// toldUpgrade gives f, and tells the manager what has come of it: that the new process is the service now, before this one drains and while it is still
// believed; or why it is not.
func (s *Server) toldUpgrade(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			s.tellManager(notify.Status("serving; upgrade failed: " + err.Error()))
			return err
		}
		s.endWatch()
		s.tellManager(notify.MainPID(s.successor), notify.Status(fmt.Sprintf("serving; process %d has taken over", s.successor)))
		return nil
	}
}

// outlive says how a process has ended that took over from this one, if this one still drains by then: nobody else is told.
func (s *Server) outlive(child *upgrade.Child) {
	select {
	case <-s.tasks.Done():
	case <-child.Ended():
		s.tellManager(caretaker.Ended(child.PID(), child.Status()))
	}
}

// watch keeps telling the manager that this process is alive, if it wants to hear that, until endWatch.
func (s *Server) watch() {
	ctx, end := context.WithCancel(s.tasks)
	s.endWatch = end
	every := notify.Watchdog() / 2
	if s.manager == nil || every == 0 {
		return
	}
	s.children.Go(func() { s.watchEach(ctx, every) })
}

func (s *Server) watchEach(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.tellManager(notify.Alive)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
