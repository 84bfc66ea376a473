package upstream

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"edge/conf"
	"edge/edge/h1"
	"edge/edge/h2"
	"edge/edge/wire"
)

// checked is what the checks have told of a target.
type checked struct {
	down   bool // others come first until passes of them in a row are good
	streak int  // the last ones that say the contrary of down
}

// checks are those of an upstream. Its mu guards them.
type checks struct {
	*conf.HealthCheck                    // nil: there are none
	stop              context.CancelFunc // nil: none has begun
}

// Start begins to check the targets, if they are to be checked. It is for an upstream that is in force: before, nobody asks its targets
// anything. Retire ends it. To start twice is to start once.
func (u *Upstream) Start() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.started {
		return
	}
	u.started = true
	for _, t := range u.targets {
		switch {
		case t.isNew:
			u.warmUp(t)
		case t.before != nil:
			u.goOn(t)
		}
	}
	if u.checks.HealthCheck == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.checks.stop = cancel
	for _, t := range u.targets {
		u.watches.Go(func() { t.watch(ctx) })
	}
}

// goOn has a target that was one of the upstream that is replaced be as it was there: aside if it still is asked the same, and no
// warmer. u.mu is held.
func (u *Upstream) goOn(t *Target) {
	was, h := t.before.upstream, u.checks.HealthCheck
	was.mu.Lock()
	down, since := t.before.down, t.before.since
	was.mu.Unlock()
	t.before = nil // which has one of its own
	t.down = down && h != nil && h.Same(was.checks.HealthCheck)
	if !since.IsZero() {
		u.warmSince(t, since)
	}
}

// Close retires the upstream, and waits until nothing of it checks any more.
func (u *Upstream) Close() {
	u.Retire()
	u.watches.Wait()
}

// stopChecks ends the checks, and what they have told: nobody would take a target back.
func (u *Upstream) stopChecks() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.started = true; u.checks.stop == nil {
		return
	}
	u.checks.stop()
	for _, t := range u.targets {
		t.checked = checked{}
	}
	u.admit()
}

// watch checks a target again and again. The first time is anywhere within the interval, so that not all targets of all upstreams are asked
// at once.
func (t *Target) watch(ctx context.Context) {
	h := t.upstream.checks.HealthCheck
	next := time.NewTimer(rand.N(h.Interval))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(h.Interval)
		err := t.checkWithin(ctx, h.Timeout)
		if !ours(err) { // want of descriptors tells nothing of the target
			t.tell(ctx, err)
		}
	}
}

// checkWithin is a check, and why the target is not well.
func (t *Target) checkWithin(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %v", timeout))
	defer cancel()
	err := t.check(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// tell notes what a check has told, unless ctx, the watch's, has ended.
func (t *Target) tell(ctx context.Context, err error) {
	u := t.upstream
	switch changed := u.noteCheck(ctx, t, err == nil); {
	case !changed:
	case err != nil:
		u.log.Warn("target set aside", "upstream", u.name, "target", t.Name, "until", "it passes its health checks", "error", err)
	default:
		u.log.Info("target is back", "upstream", u.name, "target", t.Name, "by", "its health checks")
	}
}

// noteCheck says whether the check has set the target aside, or taken it back.
func (u *Upstream) noteCheck(ctx context.Context, t *Target, good bool) (changed bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ctx.Err() != nil || good != t.down {
		t.streak = 0
		return false
	}
	enough := u.checks.Fails
	if good {
		enough = u.checks.Passes
	}
	if t.streak++; t.streak < enough {
		return false
	}
	if t.checked = (checked{down: !good}); good && !t.aside {
		u.warmUp(t)
	}
	u.admit()
	return true
}

// connects is the check of a target that is asked nothing.
func (t *Target) connects(ctx context.Context) error {
	switch {
	case t.H2 && t.tls != nil:
		c, err := t.newShared(ctx)
		if err == nil {
			c.Close()
		}
		return err
	case t.tls != nil:
		c, err := t.NewConn(ctx)
		if err == nil {
			c.Close()
		}
		return err
	}
	c, err := t.dial(ctx)
	if err == nil {
		c.Close()
	}
	return err
}

// unheard takes no interest in interim answers.
type unheard struct{}

func (unheard) Inform(int, wire.Fields) error { return nil }

// maxChecked bounds how much of a check's answer is read, so that the target need not see it fail.
const maxChecked = 64 << 10

// asks is the check of a target that speaks HTTP/1.1: over a connection of its own, as the next exchange may need a new one too.
func (t *Target) asks(ctx context.Context) error {
	c, err := t.NewConn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Abort)()
	path, query, hasQuery := strings.Cut(t.upstream.checks.Path, "?")
	if err := c.Send(&h1.Request{
		Method: []byte("GET"), Path: []byte(path), Query: []byte(query), HasQuery: hasQuery, Host: []byte(t.checkHost()),
		Fields: wire.Fields{}.Add("user-agent", checkAgent),
	}); err != nil {
		return err
	}
	head, err := c.ReadHead(unheard{})
	if err != nil {
		return err
	}
	if err := readChecked(c); err != nil {
		return err
	}
	return t.judge(head.Status)
}

// asksH2 is the check of a target that speaks HTTP/2, over a connection of its own.
func (t *Target) asksH2(ctx context.Context) error {
	c, err := t.newShared(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Close)()
	call := c.Begin()
	if call == nil {
		return errNoCalls
	}
	defer call.Done()
	path, query, hasQuery := strings.Cut(t.upstream.checks.Path, "?")
	if _, err := call.Send(&h2.Request{
		Method: []byte("GET"), Scheme: []byte(t.Scheme), Path: []byte(path), Query: []byte(query), HasQuery: hasQuery, Host: []byte(t.checkHost()),
		Fields: wire.Fields{}.Add("user-agent", checkAgent),
	}); err != nil {
		return err
	}
	head, err := call.ReadHead(unheard{})
	if err != nil {
		return err
	}
	if err := readChecked(call); err != nil {
		return err
	}
	return t.judge(head.Status)
}

// readChecked reads so much of a check's answer as is read.
func readChecked(answer interface{ Next() ([]byte, error) }) error {
	for left := maxChecked; left > 0; {
		data, err := answer.Next()
		if left -= len(data); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

// checkAgent is who asks.
const checkAgent = "edge-health"

func (t *Target) checkHost() string {
	if h := t.upstream.checks.Host; h != "" {
		return h
	}
	return t.Host
}

// judge says what is wrong with a status.
func (t *Target) judge(status int) error {
	good := t.upstream.checks.Statuses
	if slices.Contains(good, status) || good == nil && status < 400 {
		return nil
	}
	return fmt.Errorf("the answer has the status %d", status)
}
