package edge

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"edge/conf"
	"edge/listeners"
)

// announce says, at the start, what listens where, what to open, and how to trust what the development authority signed.
func (s *Server) announce() {
	snap := s.live.Load()
	s.log.Info("edge serves", "file", snap.conf.File, "pid", os.Getpid(), "generation", s.generation)
	s.logSockets(s.table.Sockets(), "listening")
	for _, v := range snap.conf.Vhosts {
		if u := snap.siteURL(v); u != "" {
			s.log.Info("open", "url", u, "access", accessWord(v))
		}
	}
	if l := snap.conf.Login; l != nil {
		s.log.Info("open", "url", snap.loginURL(), "to make an account", s.Program.Path+" user add NAME -c "+snap.conf.File)
		s.offerSetup()
	}
	for _, line := range snap.certs.Trust() {
		s.log.Info(line)
	}
	s.warn()
}

// warn says what the operator should know about a configuration that works.
func (s *Server) warn() {
	snap := s.live.Load()
	s.warnOf(slices.Concat(snap.conf.Warnings, snap.certs.Warnings, uncovered(snap.conf, snap.certs)))
	if snap.tickets.Warning != "" {
		s.log.Warn(snap.tickets.Warning)
	}
}

func (s *Server) warnOf(list []*conf.Error) {
	for _, w := range list {
		s.log.Warn(w.Msg, "at", w.Pos)
	}
}

func (s *Server) logSockets(sockets []*listeners.Socket, what string) {
	for _, socket := range sockets {
		args := []any{"listener", socket.Name(), "address", socket.Addr().String()}
		if l := s.live.Load().listeners[socket.Name()]; l != nil {
			args = append(args, "protocol", string(l.conf.Protocol))
		}
		s.log.Info(what, args...)
	}
}

// siteURL is where a browser finds a vhost; "" if nowhere.
func (snap *Snapshot) siteURL(v *conf.Vhost) string {
	for _, l := range v.Listeners {
		port := snap.listeners[l.Name].port
		for _, h := range v.Hosts {
			if port != 0 && !strings.HasPrefix(h.Name, "*.") {
				return fmt.Sprintf("%s://%s%s/", l.Protocol, bracket(h.Name), suffix(l, port))
			}
		}
	}
	return ""
}

// loginURL is where a browser finds the login's pages; "" if nowhere.
func (snap *Snapshot) loginURL() string {
	for _, l := range snap.conf.Listeners {
		if port := snap.listeners[l.Name].port; l.Protocol == conf.HTTPS && port != 0 {
			return "https://" + snap.conf.Login.Host + suffix(l, port) + "/"
		}
	}
	return ""
}

// bracket writes an IPv6 address as URLs want it.
func bracket(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

func accessWord(v *conf.Vhost) string {
	for _, r := range v.Routes {
		if r.Access.NeedsLogin() {
			return "login"
		}
	}
	return "public"
}
