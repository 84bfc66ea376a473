package edge

import (
	"errors"
	"time"

	"edge/conf"
	"edge/edge/guard"
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
	s.upkeep.Go(s.sweep)
	s.upkeep.Go(s.revoke)
	return nil
}

// revokeEvery is how often tunnels are asked whether they may stay open, beside each time that something has changed.
const revokeEvery = time.Second

// revoke ends the tunnels of those who may pass no more, until the process ends.
func (s *Server) revoke() {
	tick := time.NewTicker(revokeEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.sessions.Changes():
		case <-tick.C:
		case <-s.tasks.Done():
			return
		}
		s.tunnels.Check()
	}
}

// sweep runs the store's upkeep until the process ends.
func (s *Server) sweep() {
	if err := s.sessions.Run(s.tasks); err != nil && s.tasks.Err() == nil {
		s.log.Error("sessions", "error", err)
	}
}

func (s *Server) closeLogin() {
	s.upkeep.Wait()
	if err := errors.Join(s.sessions.Close(), s.users.Close()); err != nil {
		s.log.Error("closing the login's stores", "error", err)
	}
}

// draftTheme reads how the login pages look.
func (snap *Snapshot) draftTheme() (wrong conf.Errors) {
	snap.theme, wrong = sessions.NewTheme(snap.conf.Login)
	return wrong
}

// hosts is what the login must know of a configuration.
type hosts struct{ snap *Snapshot }

// Vhost finds the virtual host of a name among those that need a login.
func (h hosts) Vhost(host string) (id string, ok bool) {
	for _, l := range h.snap.conf.Listeners {
		if site, ok := h.snap.listeners[l.Name].sites.Match([]byte(host)); ok && site.pages != nil {
			return site.id, true
		}
	}
	return "", false
}

// Allowed says whether anything on the virtual host lets who in.
func (h hosts) Allowed(id string, who *sessions.Identity) bool {
	for _, v := range h.snap.conf.Vhosts {
		if v.ID != id {
			continue
		}
		for _, r := range v.Routes {
			if r.Access.NeedsLogin() && guard.Allows(r.Access, who) {
				return true
			}
		}
	}
	return false
}
