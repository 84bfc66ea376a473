package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edge/conf"
)

// errReading is why nothing can change while something is stuck.
var errReading = errors.New("a reload that has missed its deadline still reads its files")

// reading is a draft that is being made, and what has come of it.
type reading struct {
	draft *draft // nil, without an error: nothing has changed
	err   error
}

// reread loads a configuration and drafts it, within [reload] deadline: files may lie on a network that does not answer. What is given up goes on
// reading, and changes nothing whenever it ends; until then nothing else is drafted. Without changes, and if nothing is due, there is no draft.
func (s *Server) reread(ctx context.Context, load func() (*conf.Config, error)) (*draft, error) {
	limit := s.live.Load().conf.Reload.Deadline
	late := fmt.Errorf("no end after %v ([reload] deadline): it is given up", limit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	select {
	case s.drafting <- struct{}{}:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), errReading)
	}
	read := make(chan reading)
	go s.read(ctx, load, read)
	select {
	case r := <-read:
		<-s.drafting
		return r.draft, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// read makes a draft for whoever waits for it until ctx ends.
func (s *Server) read(ctx context.Context, load func() (*conf.Config, error), to chan<- reading) {
	r := s.redraft(load)
	select {
	case to <- r:
	case <-ctx.Done():
		if r.draft != nil {
			s.discard(r.draft)
		}
		<-s.drafting
	}
}

func (s *Server) redraft(load func() (*conf.Config, error)) (r reading) {
	cfg, err := load()
	if err != nil {
		return reading{err: err}
	}
	found := lookAt(cfg)
	if live := s.live.Load(); live.inputs.same(found.inputs) && time.Now().Before(s.due()) {
		return reading{}
	}
	r.draft, r.err = s.draftFrom(found)
	return r
}

// discard gives back what a draft holds.
func (s *Server) discard(d *draft) {
	d.sockets.Discard()
	if !d.snap.log.Shares(s.live.Load().log) {
		d.snap.log.Close()
	}
}
