package tlsconf

import (
	"crypto/tls"
	"testing"
	"time"
)

// resumes connects twice, to one server and then to another, and says whether the second took the first one's session.
func resumes(t *testing.T, id identity, version uint16, first, second *Tickets) bool {
	t.Helper()
	client := id.client(func(c *tls.Config) {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		only(version)(c)
	})
	for i, tickets := range []*Tickets{first, second} {
		r := shake(t, plain(id.get, tickets, "h2"), client)
		if r.clientErr != nil || r.serverErr != nil {
			t.Fatalf("connection %d: client %v, server %v", i+1, r.clientErr, r.serverErr)
		}
		if i == 0 && r.client.DidResume {
			t.Fatal("the first connection has resumed")
		}
		if i == 1 {
			return r.server.DidResume
		}
	}
	panic("not reached")
}

func TestResume(t *testing.T) {
	id, now := newIdentity(t), time.Now()
	state := t.TempDir()
	parent := load(t, state, now)
	child := load(t, state, now)
	nextDay := load(t, state, now.Add(25*time.Hour))
	later := load(t, state, now.Add(73*time.Hour))
	for _, c := range []struct {
		name          string
		version       uint16
		first, second *Tickets
		want          bool
	}{
		{"the same process", tls.VersionTLS13, parent, parent, true},
		{"the next process", tls.VersionTLS13, parent, child, true},
		{"and back", tls.VersionTLS13, child, parent, true},
		{"after a rotation", tls.VersionTLS13, parent, nextDay, true},
		{"after the key is gone", tls.VersionTLS13, parent, later, false},
		{"another machine", tls.VersionTLS13, parent, load(t, t.TempDir(), now), false},
		{"TLS 1.2", tls.VersionTLS12, parent, parent, false},
	} {
		if got := resumes(t, id, c.version, c.first, c.second); got != c.want {
			t.Errorf("%s: resumed %v, want %v", c.name, got, c.want)
		}
	}
}

// noTickets fails the test when it is given one.
type noTickets struct{ t *testing.T }

func (n noTickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (n noTickets) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		n.t.Error("the server gave a ticket")
	}
}

func TestNoTicketForTLS12(t *testing.T) {
	id := newIdentity(t)
	r := shake(t, plain(id.get, load(t, t.TempDir(), time.Now())), id.client(func(c *tls.Config) {
		c.ClientSessionCache = noTickets{t}
		only(tls.VersionTLS12)(c)
	}))
	if r.clientErr != nil {
		t.Error(r.clientErr)
	}
}
