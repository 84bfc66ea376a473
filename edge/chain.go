package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"edge/edge/admin"
	"edge/edge/metrics"
	"edge/edge/serve"
	"edge/statefile"
)

// The counts of a chain of processes lie in a folder of the state directory. Each process has a file of its own, which it alone writes: before anybody is
// shown its counts while others live, before it lets another process serve, and at its end. So the file has at least what was ever shown, however the process
// ends, and whoever is asked for the metrics adds up his own counts and everybody else's files. What those counted that have ended is in one more file, into
// which each new process that serves folds them. A first process, which nobody has handed over to, begins anew.
const (
	countsDir = "counts"
	totalFile = "total"
)

// counted is one of these files.
type counted struct {
	Generation int           `json:"generation"`
	PID        int           `json:"pid"`
	Ended      bool          `json:"ended"` // the process counts no more
	Account    serve.Account `json:"account"`
	Series     []byte        `json:"series"`          // metrics.Families
	Folds      int           `json:"folds,omitempty"` // of the total: how often it was written
	Of         []string      `json:"of,omitempty"`    // of the total: the files that were folded into it last, which may still be there
}

// chain is what a process keeps of its own counts. It is safe for concurrent use.
type chain struct {
	mu    sync.Mutex // the file must not go back
	ended bool
}

// name is the file of a process. A process id alone may come again.
func (c *counted) name() string { return fmt.Sprintf("%d-%d", c.Generation, c.PID) }

func countsPath(stateDir, name string) string { return filepath.Join(stateDir, countsDir, name) }

// count gives what this process has counted. Where it is to be written, that is done first; that it could not be is an error beside it.
func (s *Server) count(write, ended bool) (own metrics.Families, me counted, err error) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	me = counted{Generation: s.generation, PID: os.Getpid(), Ended: ended, Account: s.conns.Stats().Account}
	own, err = metrics.Registry(s.look).Gather()
	if err != nil || !write || s.chain.ended {
		return own, me, err
	}
	s.chain.ended = ended
	if me.Series, err = own.Encode(); err != nil {
		return own, me, err
	}
	return own, me, putCounted(s.live.Load().conf.StateDir, me.name(), me)
}

// writeCounts writes down what this process has counted, for others to add.
func (s *Server) writeCounts(ended bool) {
	if _, _, err := s.count(true, ended); err != nil {
		s.log.Warn("what this process has counted cannot be kept for the processes after it", "error", err)
	}
}

func putCounted(stateDir, name string, c counted) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return statefile.Put(countsPath(stateDir, name), text)
}

func readCounted(stateDir, name string) (c counted, err error) {
	text, err := os.ReadFile(countsPath(stateDir, name))
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%s: %w", countsPath(stateDir, name), err)
	}
	return c, nil
}

// countsOf reads the files of a state directory: the total of those that have ended first, then each that is not in it.
func countsOf(stateDir string) (total counted, each []counted, err error) {
	const tries = 10 // there is one fold in each upgrade
	for range tries {
		total, each, err = countsOnce(stateDir)
		if err != nil {
			return total, nil, err
		}
		now, err := readTotal(stateDir)
		if err != nil || now.Folds == total.Folds {
			return total, each, err
		}
	}
	return total, nil, errors.New("the counts are being folded again and again")
}

func countsOnce(stateDir string) (total counted, each []counted, err error) {
	if total, err = readTotal(stateDir); err != nil {
		return total, nil, err
	}
	entries, err := os.ReadDir(filepath.Join(stateDir, countsDir))
	if errors.Is(err, fs.ErrNotExist) { // an older program runs
		return total, nil, nil
	}
	if err != nil {
		return total, nil, err
	}
	for _, e := range entries {
		if e.Name() == totalFile || strings.HasPrefix(e.Name(), ".") || slices.Contains(total.Of, e.Name()) {
			continue
		}
		c, err := readCounted(stateDir, e.Name())
		if errors.Is(err, fs.ErrNotExist) { // folded meanwhile, as the total will say
			continue
		}
		if err != nil {
			return total, nil, err
		}
		each = append(each, c)
	}
	return total, each, nil
}

// readTotal reads what those counted that have ended; nothing, where there is none.
func readTotal(stateDir string) (counted, error) {
	total, err := readCounted(stateDir, totalFile)
	if errors.Is(err, fs.ErrNotExist) {
		return counted{}, nil
	}
	return total, err
}

// askTime is how long other processes may take to write down their counts. Of one that takes longer there is what it wrote last.
const askTime = 2 * time.Second

// askCounts has other processes write down what they have counted up to now.
func askCounts(stateDir string, pids []int) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	var asked sync.WaitGroup
	for _, pid := range pids {
		path := ownControl(stateDir, pid)
		if _, err := os.Stat(path); err != nil {
			continue // it has not begun yet, or has written its last
		}
		asked.Go(func() { admin.Ask(ctx, path, "counts", nil, new(struct{})) })
	}
	asked.Wait()
}

// gather gives the metrics: this process's own, with the counts of all others of the chain, and the open connections of those that live. Any process may
// be asked, and all tell the same counts.
func (s *Server) gather() (metrics.Families, error) {
	stateDir := s.live.Load().conf.StateDir
	alive, err := statefile.Holders(filepath.Join(stateDir, generations))
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(alive), func(pid int) bool { return pid == os.Getpid() })
	askCounts(stateDir, others)
	own, me, writeErr := s.count(len(others) > 0, false)
	total, each, err := countsOf(stateDir)
	if err != nil {
		return nil, err // no answer is better than one that goes back
	}
	sum, wanted := metrics.NewSum(own), s.live.Load().inForce()
	for _, c := range append(each, total) {
		if c.name() == me.name() {
			continue
		}
		list, err := metrics.Decode(c.Series)
		if err != nil {
			return nil, err
		}
		sum.Add(list, slices.Contains(alive, c.PID) && !c.Ended, wanted)
	}
	return sum.Families(), writeErr
}

// inForce gives what says, by its labels, whether a series tells of something that is in force.
func (snap *Snapshot) inForce() func(labels map[string]string) bool {
	targets := map[[2]string]bool{}
	for _, t := range snap.upstreams.Stats() {
		targets[[2]string{t.Upstream, t.Target}] = true
	}
	return func(labels map[string]string) bool {
		site, ofSite := labels["vhost"]
		listener, ofListener := labels["listener"]
		upstream, ofUpstream := labels["upstream"]
		return !(ofSite && snap.counters[site] == nil || ofListener && snap.listeners[listener] == nil || ofUpstream && !targets[[2]string{upstream, labels["target"]}])
	}
}

// startCounts makes the folder of the counts ready: a first process begins anew.
func startCounts(stateDir string, first bool) error {
	dir := filepath.Join(stateDir, countsDir)
	if first {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return statefile.Dir(dir)
}

// foldCounts folds the files of processes that have ended into one. Only a process that begins to serve does it, one after the other.
func (s *Server) foldCounts() error {
	stateDir := s.live.Load().conf.StateDir
	alive, err := statefile.Holders(filepath.Join(stateDir, generations)) // before the files are read: what is dead by now has written its last
	if err != nil {
		return err
	}
	total, each, err := countsOf(stateDir)
	if err != nil {
		return err
	}
	for _, name := range total.Of {
		os.Remove(countsPath(stateDir, name))
	}
	list, err := metrics.Decode(total.Series)
	if err != nil {
		return err
	}
	sum := metrics.NewSum(list)
	total.Folds, total.Of = total.Folds+1, nil
	for _, c := range each {
		if !c.Ended && slices.Contains(alive, c.PID) {
			continue
		}
		if list, err = metrics.Decode(c.Series); err != nil {
			return err
		}
		sum.Add(list, false, func(map[string]string) bool { return true })
		total.Account.Add(c.end())
		total.Of = append(total.Of, c.name())
	}
	if total.Series, err = sum.Families().Encode(); err != nil || total.Of == nil {
		return err
	}
	if err := putCounted(stateDir, totalFile, total); err != nil {
		return err
	}
	for _, name := range total.Of {
		os.Remove(countsPath(stateDir, name))
	}
	return nil
}

// end gives the account of a process that has ended. What was open in one that could not say how it ended died with it.
func (c *counted) end() serve.Account {
	a := c.Account
	if a.Open > 0 {
		var killed serve.Account
		killed.Add(serve.Account{Cut: map[serve.Cause]uint64{serve.Killed: uint64(a.Open)}})
		killed.Add(a)
		killed.Open = 0
		a = killed
	}
	return a
}

// untold is what has become of the connections of the processes that have not told of theirs: those that have ended, and those that give no answer.
func untold(stateDir string, told []Status) (a serve.Account, err error) {
	total, each, err := countsOf(stateDir)
	if err != nil {
		return a, err
	}
	alive, err := statefile.Holders(filepath.Join(stateDir, generations))
	if err != nil {
		return a, err
	}
	a.Add(total.Account)
	for _, c := range each {
		switch has := func(st Status) bool { return st.PID == c.PID && st.Generation == c.Generation }; {
		case slices.ContainsFunc(told, has):
		case c.Ended || !slices.Contains(alive, c.PID):
			a.Add(c.end())
		default:
			a.Add(c.Account)
		}
	}
	return a, nil
}
