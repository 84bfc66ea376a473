package edge

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"edge/certs"
	"edge/conf"
	"edge/edge/metrics"
	"edge/edge/serve"
	"edge/edge/upstream"
	"edge/listeners"
	"edge/sessions/oidc"
	"edge/statefile"
	"edge/tlsconf"
)

// draft is a configuration of which everything that can fail has been done, and nothing is in force.
type draft struct {
	snap    *Snapshot
	sockets *listeners.Draft
}

// mistakes collects what is wrong with a configuration.
type mistakes conf.Errors

func (m *mistakes) add(list ...*conf.Error) { *m = append(*m, list...) }

// take adds an error that may be a list of mistakes already; pos is for one that is not.
func (m *mistakes) take(pos conf.Pos, err error) {
	var list conf.Errors
	var one *conf.Error
	switch {
	case err == nil:
	case errors.As(err, &list):
		m.add(list...)
	case errors.As(err, &one):
		m.add(one)
	default:
		m.add(pos.Errorf("%v", err))
	}
}

func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	conf.Errors(m).Sort()
	return conf.Errors(m)
}

// draft does everything that can fail: it reads certificates, makes pools, opens the log and the login's store, binds sockets. On an
// error it has closed what it opened, but for the login's stores, and the error lists every mistake.
func (s *Server) draft(cfg *conf.Config) (*draft, error) { return s.draftFrom(lookAt(cfg)) }

// draftFrom is draft for what has been looked at already.
func (s *Server) draftFrom(before look) (*draft, error) {
	cfg := before.cfg
	old := s.live.Load()
	if old != nil && old.conf.StateDir != cfg.StateDir {
		return nil, cfg.StateDirPos.Errorf("state_dir cannot change while edge runs: stop it and start it anew")
	}
	snap := &Snapshot{conf: cfg, listeners: map[string]*listener{}, sockets: map[*listeners.Socket]*serve.Settings{}, limits: map[string]*listeners.Limit{},
		entries: map[*listeners.Socket]*entry{}, counters: map[string]*metrics.Site{}, tls: map[*tlsconf.Policy]*tlsconf.Settings{}}
	var wrong mistakes
	now := s.now()
	var err error
	snap.certs, err = certs.Reload(old.certificates(), cfg.Certificates, servedHosts(cfg), now)
	wrong.take(conf.Pos{File: cfg.File}, err)
	snap.tickets, err = tlsconf.LoadTickets(cfg.StateDir, now)
	wrong.take(cfg.StateDirPos, err)
	snap.policies, err = policies(cfg)
	wrong.take(conf.Pos{File: cfg.File}, err)
	var oldSet upstream.Set
	if old != nil {
		oldSet = old.upstreams
	}
	var list []*conf.Error
	snap.upstreams, list = upstream.Draft(cfg.Upstreams, oldSet, s.log)
	wrong.add(list...)
	wrong.take(cfg.StateDirPos, snap.upstreams.Identify(cfg.StateDir))
	wrong.add(checkFolders(cfg)...)
	wrong.add(snap.draftRules(old)...)
	snap.log, err = s.openLog(old, cfg)
	wrong.take(cfg.Log.Pos, err)
	if cfg.Login != nil {
		wrong.add(snap.draftTheme()...)
		wrong.take(cfg.Login.Pos, s.openLogin(cfg))
		snap.audit, err = s.openAudit(cfg.Login)
		wrong.take(cfg.Login.Pos, err)
		snap.providers, list = oidc.Draft(cfg.Login.Providers, old.knownProviders(), s.now)
		wrong.add(list...)
		snap.assertions, err = openAssertions(cfg)
		wrong.take(cfg.Login.Pos, err)
	}
	sockets, list := s.table.Draft(specs(cfg))
	wrong.add(list...)
	if err := wrong.err(); err != nil {
		if sockets != nil {
			sockets.Discard()
		}
		if snap.log != nil && (old == nil || !snap.log.Shares(old.log)) {
			snap.log.Close()
		}
		return nil, err
	}
	snap.compile(s, sockets)
	snap.settle(s, sockets)
	snap.inputs = settled(before.inputs, before.again())
	return &draft{snap, sockets}, nil
}

// Check says what is wrong with a configuration and the files that it names, and touches nothing. What is only doubtful it adds to the
// configuration's warnings.
func Check(cfg *conf.Config) error {
	var wrong mistakes
	if _, err := os.Stat(cfg.StateDir); err == nil {
		if err := statefile.SafeDir(cfg.StateDir); err != nil {
			wrong.add(cfg.StateDirPos.Errorf("state_dir: %v", err))
		}
	}
	if folder := filepath.Dir(cfg.Log.Access); filepath.IsAbs(cfg.Log.Access) && folder != cfg.StateDir {
		if _, err := os.Stat(folder); err != nil {
			wrong.add(cfg.Log.Pos.Errorf("access: %v", err))
		}
	}
	if cfg.Login != nil && cfg.Login.Audit != "" {
		if folder := filepath.Dir(cfg.Login.Audit); folder != cfg.StateDir {
			if _, err := os.Stat(folder); err != nil {
				wrong.add(cfg.Login.AuditPos.Errorf("audit: %v", err))
			}
		}
	}
	files := slices.DeleteFunc(slices.Clone(cfg.Certificates), func(c *conf.Certificate) bool { return c.Issuer != "files" })
	store, err := certs.Load(files, servedHosts(cfg), time.Now())
	wrong.take(conf.Pos{File: cfg.File}, err)
	if err == nil {
		cfg.Warnings = append(cfg.Warnings, store.Warnings...)
		if len(files) == len(cfg.Certificates) {
			cfg.Warnings = append(cfg.Warnings, uncovered(cfg, store)...)
		}
	}
	_, err = policies(cfg)
	wrong.take(conf.Pos{File: cfg.File}, err)
	_, list := upstream.Draft(cfg.Upstreams, nil, slog.New(slog.DiscardHandler))
	wrong.add(list...)
	wrong.add(checkFolders(cfg)...)
	wrong.add((&Snapshot{conf: cfg}).draftRules(nil)...)
	if cfg.Login != nil {
		wrong.add((&Snapshot{conf: cfg}).draftTheme()...)
		_, list := oidc.Draft(cfg.Login.Providers, nil, time.Now)
		wrong.add(list...)
	}
	return wrong.err()
}

// servedHosts are all the names that clients may ask for.
func servedHosts(cfg *conf.Config) (hosts []string) {
	for _, v := range cfg.Vhosts {
		for _, h := range v.Hosts {
			hosts = append(hosts, h.Name)
		}
	}
	if cfg.Login != nil {
		hosts = append(hosts, cfg.Login.Host)
	}
	return hosts
}

// uncovered warns of names that are served and that no certificate is for.
func uncovered(cfg *conf.Config, store *certs.Store) (list []*conf.Error) {
	then := "clients are refused in the handshake"
	if store.HasDefault() {
		then = "clients are shown the default one, which they refuse"
	}
	for _, v := range cfg.Vhosts {
		secure := slices.ContainsFunc(v.Listeners, func(l *conf.Listener) bool { return l.Protocol == conf.HTTPS })
		for _, h := range v.Hosts {
			if ip := net.ParseIP(h.Name); secure && ip == nil && !store.Covers(h.Name) {
				list = append(list, h.Pos.Errorf("no [[certificate]] is for %s: %s", h.Name, then))
			}
		}
	}
	return list
}

// checkFolders looks for the folders that are to be served.
func checkFolders(cfg *conf.Config) (wrong []*conf.Error) {
	for _, v := range cfg.Vhosts {
		for _, r := range v.Routes {
			if r.Files == nil {
				continue
			}
			if info, err := os.Stat(r.Files.Root.Path); err != nil {
				wrong = append(wrong, r.Files.Root.Pos.Errorf("files: %v", err))
			} else if !info.IsDir() {
				wrong = append(wrong, r.Files.Root.Pos.Errorf("files: %s is no folder", r.Files.Root.Path))
			}
		}
	}
	return wrong
}

// specs are the sockets that a configuration wants.
func specs(cfg *conf.Config) (list []listeners.Spec) {
	for _, l := range cfg.Listeners {
		for _, a := range l.Addresses {
			list = append(list, listeners.Spec{Pos: a.Pos, Name: l.Name, Network: a.Network, Address: a.Address, Mode: l.SocketMode})
		}
	}
	return list
}
