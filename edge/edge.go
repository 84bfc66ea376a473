// Package edge is the server: it puts the rooms together, and is the only package that knows them all. A configuration is drafted, which is
// where things fail, and then committed, which cannot.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"edge/conf"
	"edge/edge/accesslog"
	"edge/edge/admin"
	"edge/edge/metrics"
	"edge/edge/serve"
	"edge/edge/tunnel"
	"edge/listeners"
	"edge/reload"
	"edge/reload/notify"
	"edge/reload/upgrade"
	"edge/sessions"
	"edge/sessions/users"
	"edge/statefile"
)

// Options are what a process is started with.
type Options struct {
	File    string // the configuration
	Program upgrade.Program
	Signals <-chan os.Signal // HUP, USR1, USR2, TERM, INT
	Log     *slog.Logger
	Level   *slog.LevelVar   // of Log: set from the configuration
	Fault   serve.Fault      // for tests
	Now     func() time.Time // that logins and accounts go by; nil: time.Now
	Version string           // of the program, as the metrics tell it
}

// Server is one process's share of edge: a generation.
type Server struct {
	Options
	log        *slog.Logger
	live       reload.Live[Snapshot]
	table      *listeners.Table
	dropped    []*listeners.Socket // inherited, and not in the configuration any more
	conns      *serve.Server
	tunnels    tunnel.Registry // the open ones, of every listener
	generation int
	born       int  // the number of the process that was started last
	primary    bool // this process is the one that serves
	served     bool // it is, or was
	successor  int  // the process id of the one that has taken over

	phase             atomic.Int32     // a phase
	logged            accesslog.Counts // by all access logs
	reloads, upgrades tally
	health            health
	chain             chain
	sites             map[string]*metrics.Site // that ever were, by name: drafts alone look at it
	manager           *notify.Manager          // of services; nil: there is none
	keeps             bool                     // the manager keeps sockets
	endWatch          func()                   // the manager hears no more that this process is alive
	trials            chan reload.Trial
	before            *conf.Config // what the last reload replaced; nil: nothing. The supervisor's jobs alone look at it

	began                           time.Time
	admin                           *admin.Server
	asks                            chan reload.Ask
	asked                           UpgradeArgs   // what the upgrade that runs was asked for with
	drafting                        chan struct{} // holds one while a draft is made
	reloadVerdicts, upgradeVerdicts verdicts

	sessions *sessions.DB // nil until a configuration has [login]
	users    *users.Store
	auditing sync.Mutex                 // held for audits
	audits   map[string]*sessions.Audit // by path
	tasks    context.Context            // ends with the process
	endTasks context.CancelFunc
	children sync.WaitGroup               // new processes that were taken back
	crowds   map[*listeners.Socket]*crowd // of the sockets that are served from
	besides  sync.WaitGroup               // removed listeners that drain
	lookUps  sync.WaitGroup               // of the targets' names
	upkeep   sync.WaitGroup               // of the sessions
	swapped  chan struct{}                // another configuration is in force
}

func (s *Server) now() time.Time { return time.Now() }

// Run serves until it is told to stop, or a new process has taken over and nothing is left to do. It says how many connections were cut. An
// error means that it never served.
func Run(ctx context.Context, o Options) (cut int64, err error) {
	tasks, end := context.WithCancel(context.WithoutCancel(ctx))
	var settling sync.WaitGroup
	defer settling.Wait()
	defer end()
	keepHeadroom()
	settling.Go(func() { settle(tasks) })
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Options: o, log: o.Log, table: &listeners.Table{}, generation: 1, tasks: tasks, endTasks: end,
		began: time.Now(), asks: make(chan reload.Ask), drafting: make(chan struct{}, 1), trials: make(chan reload.Trial), swapped: make(chan struct{}, 1)}
	s.conns = serve.New(o.Log)
	s.conns.Fault = o.Fault
	s.findManager()
	parent, facts, err := upgrade.Inherited()
	if err != nil {
		return 0, err
	}
	if parent != nil {
		s.generation, s.Program = parent.Generation, s.Program.After(parent)
		s.table, err = listeners.Inherit(facts)
		if err != nil {
			return 0, parent.Fail(err)
		}
	}
	err = s.first()
	if err == nil {
		err = s.control(s.live.Load().conf)
	}
	if err != nil {
		if parent != nil {
			err = parent.Fail(err)
		}
		return 0, err
	}
	actions := reload.Actions{
		Reload: s.reloads.of(s.reloadVerdicts.of(s.toldReload(s.reloadKept))), Try: s.reloads.of(s.reloadVerdicts.of(s.toldReload(s.try))),
		Rollback: s.rollback, Renew: s.renew,
		Upgrade: s.upgrades.of(s.upgradeVerdicts.of(s.toldUpgrade(s.upgrade))),
		PassOn:  s.passOn, Drain: s.drain, Stop: s.stop, Reopen: s.reopen, Due: s.due, Asks: s.asks, Trials: s.trials, Refused: s.upgrades.refuse, Log: s.log,
	}
	if parent == nil {
		s.start(s.table.Sockets())
		if err := errors.Join(s.becomePrimary(), s.mainControl()); err != nil {
			return 0, err
		}
		s.announce()
		s.tellStart()
	} else {
		actions.TakeOver = s.upgradeVerdicts.of(func(ctx context.Context) error { return s.takeOver(ctx, parent) })
	}
	s.lookUp()
	cut = reload.Run(ctx, o.Signals, actions)
	s.admin.Close()
	s.close()
	s.writeCounts(true)
	if !s.served {
		return cut, errors.New("the upgrade was taken back")
	}
	return cut, nil
}

// first puts the first configuration in force, but accepts nothing yet.
func (s *Server) first() error {
	cfg, err := conf.Load(s.File)
	if err != nil {
		return err
	}
	if err := statefile.Dir(cfg.StateDir); err != nil {
		return cfg.StateDirPos.Errorf("state_dir: %v", err)
	}
	if s.generation == 1 {
		if pid := s.running(cfg); pid != 0 {
			return cfg.StateDirPos.Errorf("state_dir: edge already runs on it (process %d): stop that one, send it HUP or USR2, or name another folder", pid)
		}
	}
	if err := statefile.Hold(generationsDir(cfg)); err != nil {
		return err
	}
	if err := startCounts(cfg.StateDir, s.generation == 1); err != nil {
		return cfg.StateDirPos.Errorf("state_dir: %v", err)
	}
	if s.generation == 1 {
		s.takePassed(cfg)
	}
	d, err := s.draft(cfg)
	if err != nil {
		return err
	}
	_, s.dropped = s.commit(d)
	for _, socket := range s.dropped { // the process that we inherit from still accepts there, and closes it in its own time
		socket.Close()
	}
	return nil
}

// generationsDir is where each process of this state directory says that it lives.
func generationsDir(cfg *conf.Config) string { return filepath.Join(cfg.StateDir, generations) }

const generations = "generations"

// commit puts a draft in force. Nothing in it can fail.
func (s *Server) commit(d *draft) (added, gone []*listeners.Socket) {
	s.Level.Set(d.snap.conf.Log.Level)
	old := s.live.Load()
	if old != nil {
		old.retire(d.snap) // before the swap: whoever sees the new Snapshot sees this
	}
	s.live.Swap(d.snap)
	select {
	case s.swapped <- struct{}{}:
	default: // it is said already
	}
	d.snap.upstreams.Start()
	added, gone = d.sockets.Commit()
	for _, socket := range s.table.Sockets() {
		socket.SetLimit(d.snap.limits[socket.Name()])
	}
	if old != nil {
		for _, u := range d.snap.upstreams.Dropped(old.upstreams) {
			u.Retire()
		}
	}
	return added, gone
}

// start accepts from sockets. Each connection is served by the settings in force when it comes.
func (s *Server) start(sockets []*listeners.Socket) {
	for _, socket := range sockets {
		settings, crowd := s.live.Load().sockets[socket], s.crowd(socket)
		socket.OnWant(func(w listeners.Want) { s.wants(socket, w) })
		socket.Serve(func(c net.Conn, done func()) {
			if now := s.live.Load().sockets[socket]; now != nil { // else the socket is being closed, and these are the last of its queue
				settings = now
			}
			s.conns.Handle(c, settings, crowd.enter(done))
		})
	}
}

// reload puts what is on disk in force.
func (s *Server) reload(ctx context.Context) error {
	d, err := s.reread(ctx, func() (*conf.Config, error) { return conf.Load(s.File) })
	if err != nil {
		return s.tell(err)
	}
	if d == nil {
		s.log.Info("reloaded", "file", s.File, "changed", "nothing")
		s.reloadVerdicts.say("nothing has changed")
		s.warn()
		return nil
	}
	s.apply(d)
	cfg := d.snap.conf
	s.log.Info("reloaded", "file", cfg.File, "listeners", len(cfg.Listeners), "vhosts", len(cfg.Vhosts))
	s.reloadVerdicts.say(fmt.Sprintf("in force: %s; listeners: %d, vhosts: %d", cfg.File, len(cfg.Listeners), len(cfg.Vhosts)))
	s.warn()
	s.lookUp()
	return nil
}

// lookUpTime bounds the look-up of all targets' names.
const lookUpTime = 5 * time.Second

// lookUp warns of targets whose names have no address. Nobody waits for it, and nothing depends on it.
func (s *Server) lookUp() {
	set := s.live.Load().upstreams
	s.lookUps.Go(func() {
		ctx, cancel := context.WithTimeout(s.tasks, lookUpTime)
		defer cancel()
		set.LookUp(ctx)
	})
}

// renew makes certificates and ticket keys anew that are near their end, and warns of the certificates that others must renew. An edit of the file that nobody has released stays out.
func (s *Server) renew(ctx context.Context) error {
	d, err := s.reread(ctx, func() (*conf.Config, error) { return s.live.Load().conf, nil })
	if err != nil {
		return s.tell(err)
	}
	if d == nil { // what was due a moment ago is no more
		return nil
	}
	s.apply(d)
	s.log.Info("renewed")
	s.warnOf(s.live.Load().certs.Warnings)
	return nil
}

// apply puts a draft in force.
func (s *Server) apply(d *draft) {
	hadLogin := s.live.Load().login != nil
	added, gone := s.commit(d)
	if d.snap.login != nil && !hadLogin {
		s.offerSetup()
	}
	s.start(added)
	s.unstoreSockets(gone) // while they are still accepted from: in a copy that the manager keeps, who comes would wait for nobody
	for _, socket := range gone {
		socket.Unlink() // first: who comes by the path must not wait in a queue that nobody looks at any more
		socket.Close()
	}
	s.conns.DrainOnly(d.snap.conf.Drain.Spread, func(st *serve.Settings) bool { e, ok := st.Handler.(*entry); return ok && e.last.Load() != nil })
	s.storeSockets()
	s.logSockets(added, "listening")
	s.logSockets(gone, "listening no more")
	s.seeOff(gone)
}

// tell logs each mistake of a configuration, and gives back how many there are.
func (s *Server) tell(err error) error {
	var list conf.Errors
	if !errors.As(err, &list) {
		return err
	}
	for _, mistake := range list {
		s.log.Error("mistake", "at", mistake.Pos, "is", mistake.Msg)
	}
	return refused{s.File, list}
}

// due says when certificates or ticket keys want to be renewed.
func (s *Server) due() time.Time {
	snap := s.live.Load()
	due := snap.tickets.RotateAt
	if at := snap.certs.RenewAt(); !at.IsZero() && at.Before(due) {
		due = at
	}
	return due
}

// stop is TERM: the listeners close, idle connections end at once, requests have [drain] stop.
func (s *Server) stop(ctx context.Context) (cut int64) {
	s.phase.Store(int32(stopping))
	cfg := s.live.Load().conf
	if s.primary {
		s.tellManager(notify.Stopping, notify.Status("stopping"))
	}
	s.log.Info("stopping", append(s.waiting(), "at most", cfg.Drain.Stop)...)
	for _, socket := range s.table.Sockets() {
		if s.primary {
			socket.Unlink()
		}
		socket.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Drain.Stop)
	defer cancel()
	enough := s.remind("stopping", s.waiting)
	cut = s.conns.Stop(ctx)
	enough()
	s.log.Info("stopped", "cut", cut)
	return cut
}

// drain waits for what is left after an upgrade.
func (s *Server) drain(ctx context.Context) (cut int64) {
	s.phase.Store(int32(draining))
	cfg := s.live.Load().conf
	empty := s.conns.Drain(cfg.Drain.Spread)
	var hard <-chan time.Time
	if cfg.Drain.Hard > 0 {
		hard = time.After(cfg.Drain.Hard)
	}
	s.log.Info("draining", append(s.waiting(), "hard limit", cfg.Drain.Hard)...)
	enough := s.remind("draining", s.waiting)
	defer enough()
	retire := time.NewTicker(time.Second) // an unused connection to an upstream may be one of the connections that we wait for
	defer retire.Stop()
	for {
		for _, u := range s.live.Load().upstreams {
			u.Retire()
		}
		select {
		case <-empty:
			s.log.Info("drained", "cut", cut)
			return cut
		case <-hard:
			s.log.Warn("drain: the hard limit cuts what is left", s.waiting()...)
			cut = s.conns.Cut(serve.HardLimit)
		case <-ctx.Done():
			return cut
		case <-retire.C:
		}
	}
}

// close gives back what the process holds.
func (s *Server) close() {
	s.endTasks()
	for _, u := range s.live.Load().upstreams {
		u.Close()
	}
	s.children.Wait()
	s.besides.Wait()
	s.lookUps.Wait()
	if s.primary {
		s.removePID()
	}
	if s.sessions != nil {
		s.closeLogin()
	}
	if err := s.live.Load().log.Close(); err != nil {
		s.log.Error("access log", "error", err)
	}
}
