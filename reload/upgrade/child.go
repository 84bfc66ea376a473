package upgrade

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Parent is the process that started this one to be replaced by it.
type Parent struct {
	Generation int // ours
	c          conversation
	received   chan event
	image      *image // of its program; nil: it has left none
	health     atomic.Pointer[func() Health]
	state      []byte // it and spoiled belong to listen until GO
	spoiled    bool
}

type event struct {
	message
	err error
}

// Inherited says whether this process was started by Start, and gives the description of the files that came with it. It takes the variable out of
// the environment: no program that this one starts is to believe it.
func Inherited() (p *Parent, facts []byte, err error) {
	text, ok := os.LookupEnv(Variable)
	if !ok {
		return nil, nil, nil
	}
	os.Unsetenv(Variable)
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", Variable, err)
	}
	fd := firstFD + len(list)
	if t, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || t != unix.SOCK_SEQPACKET {
		return nil, nil, fmt.Errorf("%s is set, but descriptor %d is no conversation: unset it", Variable, fd)
	}
	unix.CloseOnExec(fd)
	c, err := open(fd)
	if err != nil {
		return nil, nil, err
	}
	p = &Parent{c: c, received: make(chan event, 4)}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	m, err := c.receive()
	if err != nil {
		return nil, nil, p.Fail(fmt.Errorf("waiting for HELLO: %w", err))
	}
	if m.Kind != hello || m.Oldest > version {
		return nil, nil, p.Fail(fmt.Errorf("the running process speaks version %d to %d of the conversation, this program %d", m.Oldest, m.Version, version))
	}
	c.SetReadDeadline(time.Time{})
	p.Generation = m.Generation
	p.image = m.Image.open()
	go p.listen()
	return p, []byte(text), nil
}

// open takes the descriptor of an image; nil: it is none. Then it is not worth an upgrade.
func (i *image) open() *image {
	var st unix.Stat_t
	if i == nil || unix.Fstat(i.FD, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil
	}
	unix.CloseOnExec(i.FD)
	return &image{Path: i.Path, file: os.NewFile(uintptr(i.FD), i.Path)}
}

// listen passes on what the parent says.
func (p *Parent) listen() {
	for {
		m, err := p.c.receive()
		if err == nil && m.Kind == probe {
			p.answer() // if that fails, the next receive says so
			continue
		}
		if err == nil && m.Kind == state {
			p.keep(m.State)
			continue
		}
		p.received <- event{m, err}
		if err != nil || m.Kind == abort {
			p.c.Close()
			return
		}
		if m.Kind == commit { // Settled closes it
			return
		}
	}
}

// keep keeps a part of the parent's state. Of more than may be, and of what is no state, nothing is kept: it is not worth an upgrade.
func (p *Parent) keep(part string) {
	text, err := base64.StdEncoding.DecodeString(part)
	p.spoiled = p.spoiled || err != nil || len(p.state)+len(text) > MaxState
	if p.spoiled {
		p.state = nil
		return
	}
	p.state = append(p.state, text...)
}

// State is what the parent has handed over, once Ready has returned; nil: nothing.
func (p *Parent) State() []byte { return p.state }

// answer says how it goes.
func (p *Parent) answer() error {
	m := message{Kind: serving}
	if health := p.health.Load(); health != nil {
		h := (*health)()
		m.Health = &h
	}
	return p.c.send(m)
}

// Fail tells the parent why this process cannot take over, and gives the reason back.
func (p *Parent) Fail(reason error) error {
	return errors.Join(reason, p.c.send(message{Kind: fail, Reason: reason.Error()}))
}

// Ready tells the parent that nothing can fail any more, and waits for its GO.
func (p *Parent) Ready(ctx context.Context) error { return p.ask(ctx, ready, goOn) }

// Serving tells the parent that this process accepts, and waits for COMMIT. Meanwhile the parent is told how it goes whenever it asks; health may be nil.
// A parent that has died by now cannot take anything back: that is a COMMIT.
func (p *Parent) Serving(ctx context.Context, health func() Health) error {
	if health != nil {
		p.health.Store(&health)
	}
	if err := p.ask(ctx, serving, commit); !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// Settled tells the parent, after COMMIT, that this process has done all that it does in the parent's place: the parent may end.
func (p *Parent) Settled() { p.c.Close() }

// ask says something and waits for the answer. If the conversation has ended by then, what was heard last tells how: it may be an ABORT.
func (p *Parent) ask(ctx context.Context, say, want kind) error {
	if err := p.c.send(message{Kind: say, TakesState: say == ready}); err != nil && !broken(err) {
		return err
	}
	return p.wait(ctx, want)
}

// wait waits for one kind of message.
func (p *Parent) wait(ctx context.Context, want kind) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case e := <-p.received:
		switch {
		case broken(e.err):
			return errEnded
		case e.err != nil:
			return e.err
		case e.Kind == abort:
			return fmt.Errorf("the running process takes it back: %s", e.Reason)
		case e.Kind != want:
			return fmt.Errorf("the running process says %s in place of %s", e.Kind, want)
		}
		return nil
	}
}
