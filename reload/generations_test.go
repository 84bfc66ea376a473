package reload

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Random sequences of signals, deaths and hangs over a chain of processes, each with a Run of its own (R16, R18, R19, R22, R64): exactly one process accepts, but
// for a pause, or an overlap with one that is taken back, of less than a limit; and when the one that serves is told to stop all of them end.
func TestGenerations(t *testing.T) {
	n := 1000
	if testing.Short() {
		n /= 20
	}
	commits, takenBack := 0, 0
	for seed := range n {
		synctest.Test(t, func(t *testing.T) {
			h := &house{t: t, r: rand.New(rand.NewPCG(uint64(seed), 1))}
			h.live()
			commits, takenBack = commits+h.commits, takenBack+h.takenBack
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d upgrades, %d taken back", commits, takenBack)
	if commits < n || takenBack < n/4 {
		t.Errorf("%d upgrades, %d taken back: the sequences show nothing", commits, takenBack)
	}
}

// The times of the model. A step that needs no thought takes at most answer; a death is heard of at once, a hang when probe is over.
const (
	readyTime     = 60 * time.Second
	answerTime    = 5 * time.Second
	probationTime = 10 * time.Second
	probeTime     = 4 * time.Second
	pauseLimit    = answerTime + time.Second
)

// house is a chain of processes. What follows mu is guarded by it.
type house struct {
	t      *testing.T
	r      *rand.Rand // of the test's own goroutine
	mu     sync.Mutex
	chain  []*generation
	oneAt  time.Time // when exactly one accepted last; zero: exactly one does
	ending bool      // the one that serves was told to stop
	events []string

	commits, takenBack int
}

// generation is a process.
type generation struct {
	house     *house
	n         int
	signals   chan os.Signal
	cancel    context.CancelFunc
	accepting bool
	primary   bool
	dead      chan struct{} // closed when it has ended, or was killed
	hangs     chan struct{} // closed when it says nothing any more
	boot      time.Duration
	fails     bool // it cannot take over

	toChild, toParent chan string // the conversation with its parent; nil: it has none
}

// gone says whether a channel is closed.
func gone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// live is one life of a house.
func (h *house) live() {
	h.spawn(nil)
	synctest.Wait()
	for range 200 {
		h.event()
		synctest.Wait()
		h.check()
	}
	h.finish()
	if h.t.Failed() {
		h.t.Logf("events: %s", strings.Join(h.events, " "))
	}
}

// event makes something happen to one of the processes.
func (h *house) event() {
	h.mu.Lock()
	g := h.chain[max(0, len(h.chain)-1-h.r.IntN(3))]
	young := g.n > 1 && !g.primary && g == h.chain[len(h.chain)-1] // it may still be taken back
	what := []string{"HUP", "USR2", "USR2", "USR1", "1ms", "1s", "3s", "12s", "12s", "kill", "hang", "TERM"}[h.r.IntN(12)]
	switch what {
	case "kill", "hang", "TERM":
		if !young && (what != "TERM" || h.r.IntN(100) > 0) {
			h.mu.Unlock()
			return
		}
		if what == "TERM" && g == h.serving() {
			h.ending = true
		}
	}
	h.events = append(h.events, what)
	h.mu.Unlock()
	switch what {
	case "kill":
		g.die()
	case "hang":
		if !gone(g.hangs) {
			close(g.hangs)
			g.accept(false)
		}
	default:
		if sig, ok := signals[what]; ok {
			g.signal(sig)
			break
		}
		d, _ := time.ParseDuration(what)
		time.Sleep(d)
	}
}

// serving is the process that serves, or has served last. mu is held.
func (h *house) serving() (last *generation) {
	for _, g := range h.chain {
		if g.primary {
			last = g
		}
	}
	return last
}

func (g *generation) signal(sig os.Signal) {
	select {
	case g.signals <- sig:
	case <-g.dead:
	case <-g.hangs:
	}
}

// die is kill -9.
func (g *generation) die() {
	g.accept(false)
	g.house.mu.Lock()
	defer g.house.mu.Unlock()
	if !gone(g.dead) {
		close(g.dead)
	}
}

// accept begins or ends to accept. The dead and those that hang cannot.
func (g *generation) accept(yes bool) {
	h := g.house
	h.mu.Lock()
	defer h.mu.Unlock()
	g.accepting = yes && !gone(g.dead) && !gone(g.hangs)
	h.count()
}

// count looks how many accept. mu is held.
func (h *house) count() (n int) {
	for _, g := range h.chain {
		if g.accepting {
			n++
		}
	}
	if n == 1 {
		h.oneAt = time.Time{}
	} else if h.oneAt.IsZero() {
		h.oneAt = time.Now()
	}
	return n
}

// check looks at the invariant.
func (h *house) check() {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.count(); n != 1 && !h.ending && time.Since(h.oneAt) > pauseLimit {
		h.t.Errorf("%d processes accept, for %v", n, time.Since(h.oneAt))
	}
	if n := h.count(); n > 2 {
		h.t.Errorf("%d processes accept", n)
	}
}

// finish tells all to stop, twice.
func (h *house) finish() {
	h.mu.Lock()
	h.ending = true
	chain := h.chain
	h.mu.Unlock()
	for i := 0; i < 2; i++ {
		for _, g := range chain {
			g.signal(syscall.SIGTERM)
		}
		synctest.Wait()
	}
	time.Sleep(2 * readyTime)
	for _, g := range h.chain {
		if gone(g.hangs) {
			g.die()
		}
		g.cancel()
		if !gone(g.dead) {
			h.t.Errorf("generation %d goes on after TERM and TERM", g.n)
		}
	}
	if n := h.count(); n != 0 {
		h.t.Errorf("%d processes accept after the end", n)
	}
}

// spawn starts a process.
func (h *house) spawn(parent *generation) *generation {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := &generation{house: h, n: len(h.chain) + 1, signals: make(chan os.Signal), dead: make(chan struct{}), hangs: make(chan struct{})}
	a := Actions{
		Reload: g.reload, Renew: g.reload, Upgrade: g.upgrade, PassOn: g.passOn, Drain: g.drain, Stop: g.stop,
		Reopen: func() error { return nil }, Due: func() time.Time { return time.Time{} }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if parent == nil {
		g.accepting, g.primary = true, true
	} else {
		g.toChild, g.toParent = make(chan string, 4), make(chan string, 4)
		a.TakeOver = g.takeOver
		g.boot = []time.Duration{0, time.Second, time.Millisecond, 3 * time.Second, time.Second, 2 * readyTime}[h.rand(parent.n)%6]
		g.fails = h.rand(parent.n+7)%4 == 3
	}
	h.chain = append(h.chain, g)
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() {
		Run(ctx, g.signals, a)
		g.die()
	}()
	return g
}

// rand is a number that depends on what has happened so far, and is the same each time.
func (h *house) rand(salt int) int { return (len(h.events)*31 + salt*17 + len(h.chain)*7) % 97 }

// sleep waits, or until ctx ends, or the process does, or while it hangs.
func (g *generation) sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	case <-g.dead:
	}
	if gone(g.hangs) {
		<-g.dead
	}
	if gone(g.dead) {
		return errors.New("dead")
	}
	return ctx.Err()
}

func (g *generation) reload(ctx context.Context) error { return g.sleep(ctx, time.Second) }

func (g *generation) passOn() {}

func (g *generation) drain(ctx context.Context) int64 { g.sleep(ctx, 20*time.Second); return 0 }

func (g *generation) stop(ctx context.Context) int64 {
	g.accept(false)
	g.sleep(ctx, time.Second)
	return 0
}

// takeOver is the child's side, as edge has it: it tells its parent first of a failure, and stops after that.
func (g *generation) takeOver(ctx context.Context) error {
	err := g.sleep(ctx, g.boot)
	if err == nil && g.fails {
		err = errFake
	}
	if err == nil {
		err = g.ask(ctx, "READY", "GO")
	}
	if err == nil {
		g.accept(true)
		err = g.ask(ctx, "SERVING", "COMMIT")
	}
	if err != nil {
		if !gone(g.dead) {
			g.toParent <- "FAIL"
		}
		return err
	}
	g.house.mu.Lock()
	g.primary = true
	g.house.mu.Unlock()
	return nil
}

func (g *generation) ask(ctx context.Context, say, want string) error {
	if err := g.sleep(ctx, time.Millisecond); err != nil {
		return err
	}
	g.toParent <- say
	select {
	case got := <-g.toChild:
		if got != want {
			return errors.New(got)
		}
	case <-ctx.Done():
	case <-g.dead:
	}
	return g.sleep(ctx, 0)
}

// upgrade is the parent's side.
func (g *generation) upgrade(ctx context.Context) error {
	child := g.house.spawn(g)
	if err := g.hear(ctx, child, "READY", readyTime); err != nil {
		child.die()
		return err
	}
	g.accept(false)
	if err := g.handOver(ctx, child); err != nil {
		g.accept(true)
		g.takeBack(child)
		return err
	}
	g.house.mu.Lock()
	g.house.commits++
	g.house.mu.Unlock()
	return nil
}

func (g *generation) handOver(ctx context.Context, child *generation) error {
	child.toChild <- "GO"
	if err := g.hear(ctx, child, "SERVING", answerTime); err != nil {
		return err
	}
	select {
	case <-time.After(probationTime):
	case <-child.toParent:
		return errFake
	case <-child.hangs:
		time.Sleep(probeTime)
		return errFake
	case <-child.dead:
		return errFake
	case <-ctx.Done():
		return ctx.Err()
	}
	child.toChild <- "COMMIT"
	return nil
}

// hear waits for a message.
func (g *generation) hear(ctx context.Context, child *generation, want string, limit time.Duration) error {
	select {
	case got := <-child.toParent:
		if got != want {
			return errors.New(got)
		}
		return nil
	case <-time.After(limit):
	case <-child.dead:
	case <-ctx.Done():
	}
	return errFake
}

// takeBack ends a child that may serve: it is told, and killed a second later.
func (g *generation) takeBack(child *generation) {
	g.house.mu.Lock()
	g.house.takenBack++
	g.house.mu.Unlock()
	child.toChild <- "ABORT"
	go func() {
		time.Sleep(time.Second)
		child.die()
	}()
}
