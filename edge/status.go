package edge

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"edge/edge/admin"
	"edge/edge/serve"
	"edge/statefile"
)

// Status is how one process is doing.
type Status struct {
	PID          int           `json:"pid"`
	Generation   int           `json:"generation"`
	Phase        string        `json:"phase"` // starting (also on probation), serving, draining, stopping
	Since        time.Time     `json:"since"` // when it started
	Version      string        `json:"version"`
	Waits        string        `json:"waits,omitempty"` // what its end is waited for
	Listeners    []Listening   `json:"listeners"`
	Connections  []Connections `json:"connections"`
	Tunnels      []Tunnels     `json:"tunnels"`
	Certificates []Expiry      `json:"certificates"` // the first to end first, at most maxExpiries
	Account      serve.Account `json:"account"`
	Reload       *Verdict      `json:"last_reload,omitempty"`
	Upgrade      *Verdict      `json:"last_upgrade,omitempty"`
}

// Listening is an address that is listened on.
type Listening struct {
	Listener string `json:"listener"`
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
}

// Connections are those of a kind that are open.
type Connections struct {
	Listener string `json:"listener"`
	Protocol string `json:"protocol"`
	State    string `json:"state"`
	Open     int    `json:"open"`
}

// Tunnels are those of a kind that are open.
type Tunnels struct {
	Listener string `json:"listener"`
	Kind     string `json:"kind"`
	Open     int    `json:"open"`
}

// Expiry is when a certificate ends.
type Expiry struct {
	Name     string    `json:"name"`
	NotAfter time.Time `json:"not_after"`
}

const maxExpiries = 1000

// status looks at this process.
func (s *Server) status() Status {
	look := s.look()
	st := Status{
		PID: os.Getpid(), Generation: s.generation, Phase: s.phaseNow(), Since: s.began, Version: s.Version, Account: s.conns.Stats().Account,
		Reload: s.reloadVerdicts.get(), Upgrade: s.upgradeVerdicts.get(), Listeners: []Listening{}, Connections: []Connections{}, Tunnels: []Tunnels{}, Certificates: []Expiry{},
	}
	if phase(s.phase.Load()) != serving {
		st.Waits = fmt.Sprintf("connections: %d, of them tunnels: %s", s.conns.Open(), byListener(s.tunnels.Count()))
	}
	if phase(s.phase.Load()) == serving {
		st.Listeners = s.live.Load().addresses()
	}
	for _, c := range look.Connections {
		st.Connections = append(st.Connections, Connections{c.Listener, c.Protocol, c.State, c.Open})
	}
	for _, t := range look.Tunnels {
		st.Tunnels = append(st.Tunnels, Tunnels{t.Listener, t.Kind, t.Open})
	}
	for _, c := range look.Certificates {
		st.Certificates = append(st.Certificates, Expiry{c.Name, c.NotAfter})
	}
	st.sort()
	return st
}

// phaseNow is what the process is at.
func (s *Server) phaseNow() string {
	if p := phase(s.phase.Load()); p != serving {
		return p.String()
	}
	if !s.namedByFile() {
		return "starting"
	}
	return serving.String()
}

func (snap *Snapshot) addresses() []Listening {
	list := []Listening{}
	for socket, settings := range snap.sockets {
		list = append(list, Listening{settings.Listener, string(snap.listeners[settings.Listener].conf.Protocol), socket.Addr().String()})
	}
	return list
}

// sort gives everything an order that does not change from look to look.
func (st *Status) sort() {
	slices.SortFunc(st.Listeners, func(a, b Listening) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Address, b.Address))
	})
	slices.SortFunc(st.Connections, func(a, b Connections) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.State, b.State))
	})
	slices.SortFunc(st.Tunnels, func(a, b Tunnels) int {
		return cmp.Or(cmp.Compare(a.Listener, b.Listener), cmp.Compare(a.Kind, b.Kind))
	})
	slices.SortFunc(st.Certificates, func(a, b Expiry) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Name, b.Name))
	})
	st.Certificates = st.Certificates[:min(len(st.Certificates), maxExpiries)]
}

// Tree is how all processes of a state directory are doing.
type Tree struct {
	StateDir    string        `json:"state_dir"`
	Program     string        `json:"program"`                    // of the process that serves
	Previous    string        `json:"previous_program,omitempty"` // of the one that served before, if it was another
	Generations []Status      `json:"generations"`                // the oldest first
	Silent      []int         `json:"silent"`                     // processes that give no answer
	Ended       serve.Account `json:"ended"`                      // of the processes that have ended, and of what the silent ones said last
	Account     serve.Account `json:"account"`                    // of all of them together, since the first
}

// silence is how long a process may take to tell of itself.
const silence = 3 * time.Second

// Look asks every process of a state directory how it is doing. That there is none is an error.
func Look(ctx context.Context, stateDir string) (*Tree, error) {
	pids, err := statefile.Holders(filepath.Join(stateDir, generations))
	if err != nil || len(pids) == 0 {
		return nil, fmt.Errorf("no edge runs on %s", stateDir)
	}
	t := &Tree{StateDir: stateDir, Generations: []Status{}, Silent: []int{}}
	t.Program, t.Previous = programs(stateDir)
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, pid := range pids {
		asked.Go(func() {
			var st Status
			err := admin.Ask(ctx, ownControl(stateDir, pid), "status", nil, &st)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Silent = append(t.Silent, pid)
				return
			}
			t.Generations = append(t.Generations, st)
			t.Account.Add(st.Account)
		})
	}
	asked.Wait()
	slices.SortFunc(t.Generations, func(a, b Status) int { return cmp.Compare(a.Generation, b.Generation) })
	slices.Sort(t.Silent)
	t.Ended, err = untold(stateDir, t.Generations)
	t.Account.Add(t.Ended)
	return t, err
}

// AskReload asks the edge that serves from a state directory to reload, and waits for the verdict, at most until ctx ends.
func AskReload(ctx context.Context, stateDir string) (*Verdict, error) {
	return askVerdict(ctx, stateDir, "reload", nil)
}

// AskUpgrade asks it to replace itself. After a good verdict the new process is the one that everybody finds: by the control socket, by the pid file.
func AskUpgrade(ctx context.Context, stateDir string, args UpgradeArgs) (*Verdict, error) {
	v, err := askVerdict(ctx, stateDir, "upgrade", args)
	if err != nil || !v.OK {
		return v, err
	}
	for {
		var st Status
		if err := admin.Ask(ctx, ownControl(stateDir, v.Heir), "status", nil, &st); err != nil {
			return nil, fmt.Errorf("%s, but it does not answer: %w", v.What, err)
		}
		if st.Upgrade != nil {
			return v, nil
		}
		select {
		case <-time.After(foundEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("%s, but it has not finished that: %w", v.What, context.Cause(ctx))
		}
	}
}

// foundEvery is how often AskUpgrade looks whether the new process has put its name to everything.
const foundEvery = 10 * time.Millisecond

func askVerdict(ctx context.Context, stateDir, op string, args any) (*Verdict, error) {
	v := new(Verdict)
	if err := admin.Ask(ctx, filepath.Join(stateDir, controlFile), op, args, v); err != nil {
		return nil, err
	}
	return v, nil
}
