package listeners

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Fact describes one socket to the process that inherits it. Nothing in it is secret.
type Fact struct {
	FD      int    `json:"fd"`
	Name    string `json:"name"`
	Network string `json:"network"`
	Address string `json:"address"`         // bound to
	Asked   string `json:"asked,omitempty"` // configured, where that reads otherwise (":443", port 0, a unix socket's path)
	File    string `json:"file,omitempty"`  // which file a unix socket's path is
}

// HandOn gives the sockets' descriptors for a child process, in a stable order, and the facts that say what they are. The child gets the first
// one as descriptor first. The caller closes the files.
func (t *Table) HandOn(first int) (files []*os.File, facts []Fact, err error) {
	for i, s := range t.sockets {
		f, err := s.Dup()
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, nil, err
		}
		fact := Fact{FD: first + i, Name: s.spec.Name, Network: s.spec.Network, Address: s.ln.Addr().String(), File: inode(s.file)}
		if s.spec.Address != fact.Address {
			fact.Asked = s.spec.Address
		}
		files, facts = append(files, f), append(facts, fact)
	}
	return files, facts, nil
}

// Inherit adopts the sockets that the facts describe, after a look at each: what is not a listening socket bound where the fact says is
// refused, and then none is adopted.
func Inherit(facts []byte) (*Table, error) {
	var list []Fact
	if err := json.Unmarshal(facts, &list); err != nil {
		return nil, fmt.Errorf("the list of inherited sockets: %w", err)
	}
	for _, f := range list {
		unix.CloseOnExec(f.FD) // they come without; no program that we may start is to keep a port open
	}
	t := &Table{}
	for _, f := range list {
		s, err := adopt(f)
		if err != nil {
			for _, s := range t.sockets {
				s.ln.Close()
			}
			return nil, fmt.Errorf("inherited descriptor %d, said to be listener %q on %s %s: %w", f.FD, f.Name, f.Network, f.Address, err)
		}
		t.sockets = append(t.sockets, s)
	}
	return t, nil
}

func adopt(fact Fact) (*Socket, error) {
	ln, err := listening(fact.FD, fact.Name)
	if err != nil {
		return nil, err
	}
	if a := ln.Addr(); a.Network() != fact.Network || a.String() != fact.Address {
		ln.Close()
		return nil, fmt.Errorf("it is bound to %s %s", a.Network(), a)
	}
	spec := Spec{Name: fact.Name, Network: fact.Network, Address: fact.Address}
	if fact.Asked != "" {
		spec.Address = fact.Asked
	}
	s := newSocket(spec, ln)
	if inode(s.file) != fact.File {
		s.file = nil // another program's by now, and not ours to remove
	}
	if s.file != nil {
		s.spec.Mode = s.file.Mode().Perm()
	}
	return s, nil
}

// listening gives the socket that a descriptor is. On an error the descriptor is as it was.
func listening(fd int, name string) (net.Listener, error) {
	if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
		return nil, err
	} else if v != 1 {
		return nil, errors.New("the socket does not listen")
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return net.FileListener(f) // of a descriptor of its own
}

// inode names a file by its device and number; nil has none.
func inode(file os.FileInfo) string {
	if file == nil {
		return ""
	}
	st := file.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
