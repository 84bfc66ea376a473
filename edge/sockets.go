package edge

import (
	"edge/conf"
	"edge/listeners"
)

// takePassed takes the sockets that systemd has passed, where the configuration has their addresses.
func (s *Server) takePassed(cfg *conf.Config) {
	stored := storedNames()
	var refused []error
	s.table, refused = listeners.Passed(specs(cfg))
	for _, err := range refused {
		s.log.Warn("a socket was passed in vain", "error", err)
	}
	for _, socket := range s.table.Sockets() {
		s.log.Info("socket taken as it was passed", "listener", socket.Name(), "address", socket.Addr().String())
	}
	s.unstorePassed(stored)
}

// wants says that connections cannot be accepted. An accept loop says it, so the socket's own name may be changing.
func (s *Server) wants(socket *listeners.Socket, w listeners.Want) {
	name := ""
	if st := s.live.Load().sockets[socket]; st != nil { // else it is being closed
		name = st.Listener
	}
	s.log.Warn("connections cannot be accepted", "listener", name, "address", socket.Addr().String(),
		"attempts", w.Failures, "clients sent away", w.Refused, "error", w.Err)
}
