package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// kinds are all messages there are.
var kinds = []kind{hello, ready, fail, state, goOn, serving, probe, commit, abort}

// nonsense are the packets that are no message of this conversation, by why not.
var nonsense = map[string]string{
	"a message of no kind":        `{"v":1}`,
	"a message that is none":      "\x00\xff",
	"version 0":                   `{"v":0,"kind":"READY"}`,
	"a message of more than 6553": `{"v":1,"kind":"READY"}` + strings.Repeat(" ", maxMessage),
}

// duo is what a parent knows of its child, without a process, and the child's end of the conversation.
func duo(t *testing.T) (c *Child, theirs conversation) {
	t.Helper()
	ours, file, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	c = &Child{c: ours, received: make(chan event, 4), exited: make(chan struct{})}
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		c.listen()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-listened
		ours.Close()
	})
	return c, conversation{conn}
}

// exits is a child's end, of which the kernel tells its parent by the end of the conversation too.
func exits(c *Child, theirs conversation, how string) {
	c.exit = errors.New(how)
	close(c.exited)
	theirs.Close()
}

// The parent's table (R14, R17, R19, R25, R64): each state × all that the child can say, do or suffer, the parent's own limit, and TERM. Only the one right word
// takes it on; each other cell is an error, which takes everything back, and says why.
func TestParentTable(t *testing.T) {
	type cell struct {
		name string
		do   func(c *Child, theirs conversation, limit context.CancelCauseFunc)
		want string // the error, where it is not the right word
	}
	var events []cell
	for _, k := range append(kinds, "HELP") {
		want := fmt.Sprintf("says %q out of turn", k)
		if k == fail {
			want = "refuses: because"
		}
		events = append(events, cell{string(k), func(_ *Child, c conversation, _ context.CancelCauseFunc) { c.send(message{Kind: k, Reason: "because"}) }, want})
	}
	for why, packet := range nonsense {
		events = append(events, cell{why, func(_ *Child, c conversation, _ context.CancelCauseFunc) { c.Write([]byte(packet)) }, why})
	}
	events = append(events,
		cell{"the conversation ends", func(_ *Child, c conversation, _ context.CancelCauseFunc) { c.Close() }, "closed the conversation"},
		cell{"it exits", func(c *Child, theirs conversation, _ context.CancelCauseFunc) { exits(c, theirs, "signal: killed") }, "has ended: signal: killed"},
		cell{"it hangs", func(_ *Child, _ conversation, limit context.CancelCauseFunc) {
			time.AfterFunc(20*time.Millisecond, func() { limit(errNotReady) })
		}, errNotReady.Error()},
		cell{"TERM", func(_ *Child, _ conversation, limit context.CancelCauseFunc) { limit(errors.New("TERM")) }, "TERM"},
	)
	for _, st := range []struct {
		name  string
		right kind
		run   func(*Child, context.Context) error
	}{
		{"waits for READY", ready, (*Child).Ready},
		{"has said GO", serving, (*Child).Go},
		{"in probation", "", func(c *Child, ctx context.Context) error { return c.Probation(ctx, time.Hour, healthy) }},
		{"has asked by PROBE", serving, (*Child).probe},
	} {
		for _, ev := range events {
			t.Run(st.name+"/"+ev.name, func(t *testing.T) {
				c, theirs := duo(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				ev.do(c, theirs, cancel)
				err := st.run(c, ctx)
				if right := ev.name == string(st.right); right != (err == nil) || !right && !strings.Contains(err.Error(), ev.want) {
					t.Errorf("error %v, want %q", err, ev.want)
				}
			})
		}
	}
}

// The child's table (R14, R25, R64): each state × all that the parent can say, do or suffer, and TERM. The one right word takes it on; PROBE and STATE leave it where it
// is; a parent that ends takes it back before GO, and on after it; each other cell is an error.
func TestChildTable(t *testing.T) {
	for _, st := range []struct {
		name  string
		right kind
		ended string // the error when the parent has ended
		run   func(*Parent, context.Context) error
	}{
		{"has said READY", goOn, errEnded.Error(), (*Parent).Ready},
		{"has said SERVING", commit, "", func(p *Parent, ctx context.Context) error { return p.Serving(ctx, nil) }},
	} {
		play := func(name, want string, do func(c conversation, term context.CancelCauseFunc)) {
			t.Run(st.name+"/"+name, func(t *testing.T) {
				p, c, _ := child(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				do(c, cancel)
				if err := st.run(p, ctx); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("error %v, want %q", err, want)
				}
			})
		}
		for _, k := range append(kinds, "HELP") {
			want := fmt.Sprintf("says %s in place of %s", k, st.right)
			switch k {
			case st.right:
				want = ""
			case abort:
				want = "takes it back: because"
			case probe, state:
				want = ""
			}
			play(string(k), want, func(c conversation, _ context.CancelCauseFunc) {
				c.send(message{Kind: k, Reason: "because"})
				if k == probe || k == state {
					c.send(message{Kind: st.right}) // it still waits for this
				}
			})
		}
		for why, packet := range nonsense {
			play(why, why, func(c conversation, _ context.CancelCauseFunc) { c.Write([]byte(packet)) })
		}
		play("the parent ends", st.ended, func(c conversation, _ context.CancelCauseFunc) { c.Close() })
		play("TERM", "TERM", func(_ conversation, term context.CancelCauseFunc) { term(errors.New("TERM")) })
	}
}

// The times of TestMishaps.
const (
	stepTime  = 500 * time.Millisecond  // for what the parent waits for
	trialTime = 1300 * time.Millisecond // the probation: the first PROBE comes in a second, and what goes wrong then must be noticed before its end
	pauseTime = 5 * time.Second         // the longest in which not exactly one may accept: the steps above, on a machine that does much else
)

// pairing is an upgrade with both its sides in one process. One mishap comes to each of them, at one of its moments.
type pairing struct {
	parentHas, childHas string
	parentAt, childAt   int

	mu         sync.Mutex
	old, young bool      // accept
	since      time.Time // not exactly one accepts; zero: one does
	pause      time.Duration
	killed     chan struct{} // closed when the parent has taken the child back, or has ended
}

// accepts notes who accepts now.
func (p *pairing) accepts(who *bool, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*who = yes
	switch one := p.old != p.young; {
	case one && !p.since.IsZero():
		p.pause, p.since = max(p.pause, time.Since(p.since)), time.Time{}
	case !one && p.since.IsZero():
		p.since = time.Now()
	}
}

// within is a step of the parent's, bounded.
func within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	return step(ctx)
}

// parent plays the old process, as edge does it. It says whether it committed, and whether it lives.
func (p *pairing) parent(c *Child) (committed, lives bool) {
	defer close(p.killed)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for i, step := range []func() error{
		func() error { return within(ctx, c.Ready) },
		func() error { p.accepts(&p.old, false); return within(ctx, c.Go) },
		func() error {
			ctx, cancel := context.WithTimeout(ctx, trialTime+stepTime)
			defer cancel()
			return c.Probation(ctx, trialTime, healthy)
		},
		c.Commit,
	} {
		if i == p.parentAt {
			switch p.parentHas {
			case "dies":
				p.accepts(&p.old, false)
				c.c.Close()
				return false, false
			case "TERM":
				cancel()
			case "hangs":
				time.Sleep(20 * time.Millisecond)
			}
		}
		if err := step(); err != nil {
			p.accepts(&p.old, true)
			c.c.send(message{Kind: abort, Reason: err.Error()})
			c.c.Close()
			return false, true
		}
	}
	return true, true
}

// child plays the new process. It says whether it serves in the end.
func (p *pairing) child(parent *Parent, c *Child) (serves bool) {
	ctx, term := context.WithCancel(context.Background())
	defer term()
	var dead, fails atomic.Bool
	mishap := func() {
		switch p.childHas {
		case "dies":
			dead.Store(true)
			p.accepts(&p.young, false)
			exits(c, parent.c, "signal: killed")
		case "TERM":
			term()
		case "nonsense":
			parent.c.Write([]byte("?"))
		case "FAIL":
			fails.Store(true)
			parent.Fail(errors.New("because"))
		case "hangs": // also in the goroutine that answers a PROBE
			p.accepts(&p.young, false)
			<-p.killed
			dead.Store(true)
		}
	}
	at := func(n int) (goesOn bool) {
		if n == p.childAt {
			mishap()
		}
		return !dead.Load() && !fails.Load()
	}
	if !at(0) {
		return false
	}
	err := parent.Ready(ctx)
	if err == nil {
		p.accepts(&p.young, true)
		if !at(1) {
			p.accepts(&p.young, false)
			return false
		}
		var once sync.Once
		err = parent.Serving(ctx, func() Health { once.Do(func() { at(2) }); return Health{} }) // the first PROBE comes in the probation
	}
	if dead.Load() || fails.Load() || err != nil {
		p.accepts(&p.young, false)
		parent.Fail(errors.Join(err, errors.New("as said")))
		return false
	}
	return true
}

// packet is an end of a conversation that keeps what is sent until it is read, as a packet socket does, and knows the time of a synctest bubble. It is
// closed by its owner only, and has no deadlines: neither side needs them as long as the other one's packets have room.
type packet struct {
	net.Conn
	in, out     chan []byte
	here, there chan struct{} // closed with this end, and with the other one
	once        *sync.Once
}

func packets() (one, other packet) {
	a, b := make(chan []byte, 100), make(chan []byte, 100)
	x, y := make(chan struct{}), make(chan struct{})
	return packet{in: a, out: b, here: x, there: y, once: new(sync.Once)}, packet{in: b, out: a, here: y, there: x, once: new(sync.Once)}
}

func (c packet) Write(p []byte) (int, error) {
	select {
	case <-c.here:
		return 0, net.ErrClosed
	case <-c.there:
		return 0, unix.EPIPE
	default:
		c.out <- bytes.Clone(p)
		return len(p), nil
	}
}

// Read gives what was sent before the other end was closed, then its end.
func (c packet) Read(p []byte) (int, error) {
	select {
	case <-c.here:
		return 0, net.ErrClosed
	case text := <-c.in:
		return copy(p, text), nil
	case <-c.there:
	}
	select {
	case text := <-c.in:
		return copy(p, text), nil
	default:
		return 0, nil
	}
}

func (c packet) Close() error {
	c.once.Do(func() { close(c.here) })
	return nil
}

func (c packet) SetWriteDeadline(time.Time) error { return nil }

// play plays both sides to their ends, and says what is wrong then.
func (p *pairing) play(t *testing.T) {
	name := fmt.Sprintf("parent: %s at %d, child: %s at %d", p.parentHas, p.parentAt, p.childHas, p.childAt)
	ours, conn := packets()
	c := &Child{c: conversation{ours}, received: make(chan event, 4), exited: make(chan struct{})}
	parent := &Parent{c: conversation{conn}, received: make(chan event, 4)}
	p.old, p.killed = true, make(chan struct{})
	var both, ears sync.WaitGroup
	ears.Go(c.listen)
	ears.Go(parent.listen)
	var committed, lives, serves bool
	both.Go(func() { committed, lives = p.parent(c) })
	both.Go(func() { serves = p.child(parent, c) })
	both.Wait()
	ours.Close()
	conn.Close()
	ears.Wait()
	if lives && !committed && serves {
		t.Errorf("%s: both serve", name)
	}
	if committed && p.childHas != "none" && p.childHas != "TERM" {
		t.Errorf("%s: the parent has committed", name)
	}
	stops := p.parentHas == "TERM" || p.parentHas == "dies"
	if !stops && p.childHas == "none" && !(committed && serves) || !stops && p.childHas != "none" && committed {
		t.Errorf("%s: committed %v, the child serves %v", name, committed, serves)
	}
	if p.parentHas == "dies" && p.childHas == "none" && serves != (p.parentAt > 1) { // after GO nobody else is left
		t.Errorf("%s: the child serves: %v", name, serves)
	}
	if !stops && (p.pause > pauseTime || !p.since.IsZero()) {
		t.Errorf("%s: for %v, or since %v, not exactly one accepts", name, p.pause, p.since)
	}
}

// Both sides of an upgrade, each with every mishap at every one of its moments (R14, R18, R19, R64): never do both serve in the end; one does, unless the parent itself
// has died or was told to stop; and it is never longer than the limits allow that not exactly one accepts.
func TestMishaps(t *testing.T) {
	n := 0
	for _, parent := range []string{"none", "dies", "TERM", "hangs"} {
		for parentAt := range 4 { // before READY, GO, the probation, COMMIT
			for _, child := range []string{"none", "dies", "TERM", "nonsense", "FAIL", "hangs"} {
				for childAt := range 3 { // before READY, SERVING, in the probation
					if parent == "none" && parentAt > 0 || child == "none" && childAt > 0 {
						continue
					}
					n++
					synctest.Test(t, (&pairing{parentHas: parent, parentAt: parentAt, childHas: child, childAt: childAt}).play)
				}
			}
		}
	}
	t.Logf("%d pairings", n)
}
