package sessions

import (
	"strconv"

	"edge/conf"
)

// Service is the login of one configuration: who is asking (Store), the pages of the login host, and the hand-over to virtual hosts.
// It is safe for concurrent use, cheap to make and has nothing to close; the next configuration gets a new one over the same DB.
type Service struct {
	*Store
	hosts Hosts
	theme *Theme

	// Audit is where it is written down who did what. It may be set before the first use; nil: nowhere.
	Audit      *Audit
	assertions *Assertions // nil: no app wants any

	// Providers are those of the configuration, by name. It may be set before the first use; nil: none.
	Providers map[string]Provider
}

// New makes the login of a configuration, whose pages look as ours do. None of the arguments may be nil.
func New(db *DB, users Users, login *conf.Login, hosts Hosts) *Service {
	return &Service{Store: newStore(db, users, login), hosts: hosts, theme: plain}
}

// Dressed is the same login with pages that look as theme says. It is called before the first use.
func (s *Service) Dressed(theme *Theme) *Service {
	s.theme = theme
	return s
}

// reached is splitAuthority of a request's, but where the configuration names the port at which browsers reach us it is that one, whatever they say.
func (s *Service) reached(authority string) (host, port string) {
	host, port = splitAuthority(authority)
	switch s.conf.Port {
	case 0:
		return host, port
	case 443:
		return host, ""
	}
	return host, ":" + strconv.Itoa(s.conf.Port)
}

// loginURL is the login host's origin; port as splitAuthority returns it. All hosts are reached by the same port.
func (s *Service) loginURL(port string) string { return httpsURL(s.conf.Host, port) }
