package edge

import (
	"errors"
	"slices"
	"time"

	"edge/conf"
	"edge/edge/guard"
	"edge/edge/vhost"
	"edge/sessions"
	"edge/sessions/oidc"
	"edge/sessions/users"
)

// openLogin opens the stores of sessions and users, once: they live as long as the process.
func (s *Server) openLogin(cfg *conf.Config) error {
	if s.sessions != nil {
		return nil
	}
	u, err := users.Open(cfg.StateDir, s.Now)
	if err != nil {
		return err
	}
	db, err := sessions.Open(cfg.StateDir, s.Now)
	if err != nil {
		return errors.Join(err, u.Close())
	}
	s.users, s.sessions = u, db
	s.upkeep.Go(s.sweep)
	s.upkeep.Go(s.revoke)
	return nil
}

// openAudit gives the audit log of a configuration; nil: none. One that was opened stays open as long as the process: requests that began
// under an older configuration write there.
func (s *Server) openAudit(l *conf.Login) (*sessions.Audit, error) {
	s.auditing.Lock()
	defer s.auditing.Unlock()
	path := l.Audit
	if path == "" || s.audits[path] != nil {
		return s.audits[path], nil
	}
	a, err := sessions.OpenAudit(path)
	if err != nil {
		return nil, l.AuditPos.Errorf("audit: %v", err)
	}
	if s.audits == nil {
		s.audits = map[string]*sessions.Audit{}
	}
	s.audits[path] = a
	return a, nil
}

// eachAudit does something with every audit log that is open.
func (s *Server) eachAudit(do func(*sessions.Audit) error) (err error) {
	s.auditing.Lock()
	defer s.auditing.Unlock()
	for _, a := range s.audits {
		err = errors.Join(err, do(a))
	}
	return err
}

// offerSetup logs a link by which the first account is made, while there is none. Only the newest link is good, so an upgrade, whose new process
// may be taken back, makes none: the one in the log goes on.
func (s *Server) offerSetup() {
	snap := s.live.Load()
	if snap.conf.Login.Elsewhere {
		return // nobody has a password
	}
	code, err := s.users.Setup(s.tasks)
	if err != nil {
		s.log.Error("no link for the first account", "error", err)
	}
	if code == "" {
		return
	}
	snap.audit.Write(sessions.Entry{Event: sessions.EventSetupMade})
	s.log.Warn("there is no account yet: this link makes the first one, once", "url", snap.loginURL()+"register?invite="+code)
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
		case <-s.swapped:
		case <-tick.C:
		case <-s.tasks.Done():
			return
		}
		s.tunnels.Check()
	}
}

// ruleInForce is what a place has in the configuration in force.
func (s *Server) ruleInForce(at guard.Place) (guard.Sessions, conf.Access, bool) {
	snap := s.live.Load()
	site := snap.siteAt(at)
	if snap.login == nil || site == nil {
		return nil, conf.Access{}, false
	}
	switch r, err := site.paths.Match([]byte(at.Path)); {
	case errors.Is(err, vhost.ErrAmbiguous):
		return snap.login, conf.Access{}, true // nobody's
	case err != nil:
		return nil, conf.Access{}, false
	default:
		return snap.login, r.access, true
	}
}

// siteAt is the site that answers where an upgrade was let in; where its listener has no such host any more, the same virtual host on another one; else nil.
func (snap *Snapshot) siteAt(at guard.Place) *site {
	host := []byte(at.Host)
	if l := snap.listeners[at.Listener]; l != nil {
		if site, ok := l.sites.Match(host); ok {
			return site
		}
	}
	for _, l := range snap.conf.Listeners {
		if site, ok := snap.listeners[l.Name].sites.Match(host); ok && site.id == at.Vhost {
			return site
		}
	}
	return nil
}

// openAssertions reads the keys of the tokens that apps are told by, if one wants any.
func openAssertions(cfg *conf.Config) (*sessions.Assertions, error) {
	if !cfg.Asserts() {
		return nil, nil
	}
	vhosts := map[string]bool{}
	for _, v := range cfg.Vhosts {
		vhosts[v.ID] = v.Identity.JWT != ""
	}
	return sessions.OpenAssertions(cfg.StateDir, cfg.Login.Host, vhosts, time.Now)
}

// sweep runs the store's upkeep until the process ends.
func (s *Server) sweep() {
	if err := s.sessions.Run(s.tasks); err != nil && s.tasks.Err() == nil {
		s.log.Error("sessions", "error", err)
	}
}

func (s *Server) closeLogin() {
	s.upkeep.Wait()
	if err := errors.Join(s.sessions.Close(), s.users.Close(), s.eachAudit((*sessions.Audit).Close)); err != nil {
		s.log.Error("closing the login's stores", "error", err)
	}
}

// knownProviders are those of a snapshot; nil: none.
func (snap *Snapshot) knownProviders() map[string]*oidc.Client {
	if snap == nil {
		return nil
	}
	return snap.providers
}

// elsewhere are the providers as the login has them.
func (snap *Snapshot) elsewhere() map[string]sessions.Provider {
	providers := map[string]sessions.Provider{}
	for name, p := range snap.providers {
		providers[name] = p
	}
	return providers
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
		if site, ok := h.snap.listeners[l.Name].sites.Match([]byte(host)); ok && site.pages != nil && site.id != h.snap.conf.Login.Host {
			return site.id, true
		}
	}
	return "", false
}

// Listed says whether any rule names the account of this name.
func (h hosts) Listed(name string) bool {
	return slices.ContainsFunc(h.snap.conf.Vhosts, func(v *conf.Vhost) bool {
		return slices.ContainsFunc(v.Routes, func(r *conf.Route) bool { return slices.Contains(r.Access.Users, name) })
	})
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
