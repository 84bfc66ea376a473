package edge

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"edge/listeners"
	"edge/reload/notify"
)

// The service manager keeps copies of the listening sockets where its unit wants that, so that they, and who waits in their queues, outlive a crash: it passes
// them to the process that it starts next. Those of unix sockets it does not get: what is found by a path is bound anew.

// storedPrefix begins the names of the sockets that are ours. Others in the environment are those of socket units.
const storedPrefix = "edge-"

// storedName is what the manager calls a socket; "": it is not to keep it. It is made from the address, not from the listener's name, which may change. A colon
// ends a name in LISTEN_FDNAMES.
func storedName(socket *listeners.Socket) string {
	tcp, ok := socket.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	return storedPrefix + "tcp-" + strings.ReplaceAll(tcp.String(), ":", "_")
}

// storeSockets has the manager keep every socket that is listened on. What it has already it does not take twice.
func (s *Server) storeSockets() {
	if !s.keeps {
		return
	}
	for _, socket := range s.table.Sockets() {
		if name := storedName(socket); name != "" {
			s.store(name, socket)
		}
	}
}

func (s *Server) store(name string, socket *listeners.Socket) {
	f, err := socket.Dup()
	if err == nil {
		err = s.manager.Store(name, f)
		f.Close()
	}
	if err != nil {
		s.log.Warn("the service manager does not keep a socket", "name", name, "error", err)
	}
}

// unstoreSockets has the manager forget sockets that are listened on no more: what it keeps still has a queue, which nobody looks at.
func (s *Server) unstoreSockets(gone []*listeners.Socket) {
	for _, socket := range gone {
		if name := storedName(socket); s.keeps && name != "" {
			s.tellManager(notify.Forget(name)...)
		}
	}
}

// storedNames are the names of the sockets that the manager has kept for us. Ask before they are taken.
func storedNames() (list []string) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil // they were passed to another process
	}
	for name := range strings.SplitSeq(os.Getenv("LISTEN_FDNAMES"), ":") {
		if strings.HasPrefix(name, storedPrefix) {
			list = append(list, name)
		}
	}
	return list
}

// unstorePassed has the manager forget those of the sockets it has kept that nobody wants any more.
func (s *Server) unstorePassed(names []string) {
	var taken []string
	for _, socket := range s.table.Sockets() {
		taken = append(taken, storedName(socket))
	}
	for _, name := range names {
		if !slices.Contains(taken, name) {
			s.tellManager(notify.Forget(name)...)
		}
	}
}
