// Package listeners keeps the listening sockets: it binds, adopts, duplicates and closes them, and accepts connections from them.
//
// A socket is kept by what it is bound to; its name is a label. A configuration is drafted first, when everything that can fail does, and
// then committed. What the connections are for, and why a socket is to be closed, is not known here.
package listeners

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"edge/conf"
)

// Spec is a socket as a configuration wants it.
type Spec struct {
	Pos              conf.Pos
	Name             string      // of the listener that it belongs to; several sockets may share it
	Network, Address string      // as in conf.Address
	Mode             os.FileMode // of a unix socket's file; 0: 0600
}

// key is the identity of a socket.
func (s Spec) key() string { return s.Network + " " + s.Address }

// Table is the sockets in use, in the order of the configuration. One goroutine owns it.
type Table struct{ sockets []*Socket }

// Sockets gives the sockets in use, in a stable order: that in which they are handed on.
func (t *Table) Sockets() []*Socket { return t.sockets }

// Draft is a table that is not in force yet.
type Draft struct {
	table *Table
	next  []*Socket
	specs []Spec
	fresh []*Socket
}

// Draft finds or binds a socket for each spec. It lists every mistake; then nothing is bound.
func (t *Table) Draft(specs []Spec) (*Draft, []*conf.Error) {
	d := &Draft{table: t}
	var mistakes []*conf.Error
	for _, spec := range specs {
		s := t.find(spec.key())
		if s == nil {
			var err error
			if s, err = bind(spec); err != nil {
				mistakes = append(mistakes, spec.Pos.Errorf("listener %q: %v", spec.Name, t.overlap(spec, err)))
				continue
			}
			d.fresh = append(d.fresh, s)
		}
		d.next, d.specs = append(d.next, s), append(d.specs, spec)
	}
	if mistakes != nil {
		d.Discard()
		return nil, mistakes
	}
	return d, nil
}

// overlap says so where an address cannot be bound because of one of our own, which this configuration may have no use for any more, but
// which is held until it is in force.
func (t *Table) overlap(spec Spec, err error) error {
	_, port, perr := net.SplitHostPort(spec.Address)
	if perr != nil || !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	for _, s := range t.sockets {
		if _, held, err := net.SplitHostPort(s.Addr().String()); err == nil && held == port {
			return fmt.Errorf("%s overlaps %s, which edge holds since %v: leave that out first, reload, and add this then", spec.Address, s.Addr(), s.spec.Pos)
		}
	}
	return err
}

func (t *Table) find(key string) *Socket {
	for _, s := range t.sockets {
		if s.spec.key() == key {
			return s
		}
	}
	return nil
}

// Sockets gives each socket of the draft and the name of the listener that it is for.
func (d *Draft) Sockets() iter.Seq2[*Socket, string] {
	return func(yield func(*Socket, string) bool) {
		for i, s := range d.next {
			if !yield(s, d.specs[i].Name) {
				return
			}
		}
	}
}

// Discard closes what the draft bound. A draft ends with Discard or Commit.
func (d *Draft) Discard() {
	for _, s := range d.fresh {
		s.Unlink() // first: while the socket is open nobody else's file can have its inode
		s.ln.Close()
	}
}

// Commit puts the draft in force and gives the sockets that it added and those that it has no use for; both are the caller's to start and
// to close.
func (d *Draft) Commit() (added, gone []*Socket) {
	for i, s := range d.next {
		s.spec.Name, s.spec.Pos = d.specs[i].Name, d.specs[i].Pos
		s.setMode(d.specs[i].Mode)
	}
	gone = slices.DeleteFunc(slices.Clone(d.table.sockets), func(s *Socket) bool { return slices.Contains(d.next, s) })
	d.table.sockets = d.next
	return d.fresh, gone
}

// bind makes a new socket.
func bind(spec Spec) (*Socket, error) {
	if unixPath(&spec) != "" {
		return bindUnix(spec)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // plain TCP is what is handed on, spliced and measured
	network := spec.Network
	if strings.HasPrefix(spec.Address, "0.0.0.0:") {
		network = "tcp4" // to "tcp" it is every IPv6 address as well
	}
	ln, err := lc.Listen(context.Background(), network, spec.Address)
	if err != nil {
		return nil, explain(spec, err)
	}
	return newSocket(spec, ln), nil
}

// explain turns the commonest reasons into what to do.
func explain(spec Spec, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w (another program, perhaps another edge, listens there: stop it, or choose another address)", err)
	case errors.Is(err, unix.EACCES) && spec.Network == "tcp":
		return fmt.Errorf("%w (ports below 1024 need the capability CAP_NET_BIND_SERVICE)", err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w (this machine has no such address)", err)
	}
	return err
}
