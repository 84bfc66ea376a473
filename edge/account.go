package edge

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"edge/conf"
	"edge/edge/accesslog"
	"edge/edge/metrics"
	"edge/edge/record"
	"edge/edge/wire"
	"edge/sessions"
	"edge/statefile"
)

// begin notes what is known of a request before anything is done about it.
func begin(log *accesslog.Log, l *listener, x *wire.Exchange) {
	r := x.Record
	r.ID, r.Event = record.NewID(r.Start), record.Request
	if l.strays != nil {
		r.Counter = l.strays
	}
	if log.Headers() {
		r.Referer, _ = x.Fields.Get("referer")
		r.UserAgent, _ = x.Fields.Get("user-agent")
	}
	if log.ReturnsID() {
		x.Responder = identified{x.Responder, r.ID}
	}
	if x.Upgrade != nil {
		x.Responder = opened{x.Responder, log, r}
	}
}

// refused accounts for what an engine has refused: it was no request, so no site's.
func (e *entry) refused(r *record.Record) {
	snap := e.snapshot()
	r.ID, r.Event, r.Counter = record.NewID(r.Start), record.Request, e.listener(snap).strays
	account(snap.log, r)
}

// account logs and counts what has come of a request.
func account(log *accesslog.Log, r *record.Record) {
	r.Took = r.Now()
	log.Write(r)
	if r.Counter != nil {
		r.Counter.Count(r)
	}
}

// opened accounts for a request when it becomes a tunnel.
type opened struct {
	wire.Responder
	log    *accesslog.Log
	record *record.Record
}

func (o opened) Tunnel(f wire.Fields) (wire.Stream, error) {
	s, err := o.Responder.Tunnel(f)
	if err == nil {
		accountOpened(o.log, o.record)
	}
	return s, err
}

func accountOpened(log *accesslog.Log, r *record.Record) {
	r.Event = record.TunnelOpened
	account(log, r)
	r.Event = record.TunnelEnded
}

// identified tells the client the request's id.
type identified struct {
	wire.Responder
	id record.ID
}

func (i identified) Head(status int, f wire.Fields, length int64) error {
	return i.Responder.Head(status, i.told(f), length)
}

func (i identified) Tunnel(f wire.Fields) (wire.Stream, error) { return i.Responder.Tunnel(i.told(f)) }

func (i identified) told(f wire.Fields) wire.Fields {
	return f.Del("x-request-id").Add("x-request-id", i.id.String())
}

// openLog gives the access log, the one in use if nothing of it has changed.
func (s *Server) openLog(old *Snapshot, cfg *conf.Config) (*accesslog.Log, error) {
	if old == nil {
		return accesslog.Open(cfg.Log, nil, &s.logged, s.log)
	}
	return accesslog.Open(cfg.Log, old.log, &s.logged, s.log)
}

// reopen opens the log anew. Whoever rotates it knows the process that the pid file names and no other, so that one tells the others of its
// state directory, which drain or are about to take over. They tell nobody.
func (s *Server) reopen() error {
	err := errors.Join(s.live.Load().log.Reopen(), s.eachAudit((*sessions.Audit).Reopen))
	if !s.namedByFile() {
		return err
	}
	others, holdersErr := statefile.Holders(generationsDir(s.live.Load().conf))
	for _, pid := range others {
		if pid != os.Getpid() {
			syscall.Kill(pid, syscall.SIGUSR1) // one that has ended meanwhile has no log
		}
	}
	return errors.Join(err, holdersErr)
}

// noSite is what requests are counted by that no virtual host is found for. It is no name that a host can have.
const noSite = "-"

// counter gives the counter of a virtual host, the one that it ever had: one that comes back goes on counting.
func (snap *Snapshot) counter(s *Server, id string) *metrics.Site {
	if s.sites[id] == nil {
		if s.sites == nil {
			s.sites = map[string]*metrics.Site{}
		}
		s.sites[id] = metrics.NewSite(id)
	}
	snap.counters[id] = s.sites[id]
	return snap.counters[id]
}

// tally counts how attempts to change something went. It is safe for concurrent use.
type tally struct {
	mu sync.Mutex
	metrics.Changes
}

// of gives f, whose outcomes it counts.
func (t *tally) of(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := f(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.Last, t.LastFailed = time.Now(), err != nil
		if err != nil {
			t.Failed++
		} else {
			t.OK++
		}
		return err
	}
}

// refuse counts an attempt that could not begin.
func (t *tally) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Refused++
}

func (t *tally) get() metrics.Changes {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Changes
}
