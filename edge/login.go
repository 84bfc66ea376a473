package edge

import (
	"errors"
	"time"

	"edge/conf"
	"edge/sessions"
	"edge/sessions/users"
)

// openLogin opens the stores of sessions and users, once: they live as long as the process.
func (s *Server) openLogin(cfg *conf.Config) error {
	if s.sessions != nil {
		return nil
	}
	u, err := users.Open(cfg.StateDir, time.Now)
	if err != nil {
		return err
	}
	db, err := sessions.Open(cfg.StateDir, time.Now)
	if err != nil {
		return errors.Join(err, u.Close())
	}
	s.users, s.sessions = u, db
	s.sweeping = make(chan struct{})
	go s.sweep()
	return nil
}

// sweep runs the store's upkeep until the process ends.
func (s *Server) sweep() {
	defer close(s.sweeping)
	if err := s.sessions.Run(s.tasks); err != nil && s.tasks.Err() == nil {
		s.log.Error("sessions", "error", err)
	}
}

func (s *Server) closeLogin() {
	<-s.sweeping
	if err := errors.Join(s.sessions.Close(), s.users.Close()); err != nil {
		s.log.Error("closing the login's stores", "error", err)
	}
}
