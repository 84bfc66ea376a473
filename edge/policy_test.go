package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"edge/conf"
	"edge/tlsconf"
)

// handshakes gives, for the https listener's connections as they are accepted now, the policy of a handshake for a name.
func (s *Server) handshakes(t *testing.T) func(name string) tlsconf.ID {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	for _, st := range s.live.Load().sockets {
		if st.Listener == "https" {
			return func(name string) tlsconf.ID {
				_, id := st.TLS(&tls.ClientHelloInfo{ServerName: name, Conn: ours, SupportedVersions: []uint16{tls.VersionTLS13}})
				return id
			}
		}
	}
	t.Fatal("no https listener")
	return nil
}

// A connection that was accepted before a reload, and shakes hands after it, is made under what its requests will meet. Policies that ask the
// same are the same before and after; where nothing is said the ID is zero.
func TestHandshakeAfterReload(t *testing.T) {
	dir := t.TempDir()
	const a, b = "[[vhost]]\nhosts = \"a.localhost\"\necho = true\n", "[[vhost]]\nhosts = \"b.localhost\"\necho = true\n"
	const strict = "tls = { min_version = \"1.3\" }\n"
	s := newServer(t, dir, "", base+a+b+strict)
	before := s.handshakes(t)
	if before("a.localhost") != (tlsconf.ID{}) || before("nobody.localhost") != (tlsconf.ID{}) || before("") != (tlsconf.ID{}) {
		t.Error("a policy where nothing is said")
	}
	id := before("b.localhost")
	if id == (tlsconf.ID{}) || before("B.LOCALHOST") != id {
		t.Error("no policy, or another one in capitals")
	}
	load(t, dir, "", base+a+strict+b)
	if err := s.reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(string) tlsconf.ID{"accepted before": before, "accepted after": s.handshakes(t)} {
		if f("a.localhost") != id || f("b.localhost") != (tlsconf.ID{}) {
			t.Errorf("%s the reload: not what is in force", name)
		}
	}
}

// What is wrong with a policy's files is found by edge check and by a draft, each mistake once.
func TestPolicyMistakes(t *testing.T) {
	dir := t.TempDir()
	s := newServer(t, dir, "", base+"[[vhost]]\nhosts = \"a.localhost\"\necho = true\n")
	live := s.live.Load()
	cfg := load(t, dir, "", strings.Replace(base, "protocol = \"https\"\n", "protocol = \"https\"\ntls = { client_auth = \"optional\", client_ca = \"nowhere.pem\" }\n", 1)+
		"[[listener]]\nname = \"two\"\naddress = \"127.0.0.2:0\"\nprotocol = \"https\"\n[[vhost]]\nhosts = \"a.localhost\"\necho = true\n"+
		"[[vhost]]\nhosts = \"b.localhost\"\necho = true\ntls = { client_auth = \"required\", client_ca = [\"else.pem\"] }\n")
	check := func(what string, err error) {
		var list conf.Errors
		if !errors.As(err, &list) || len(list) != 2 || !strings.Contains(list[0].Msg, dir+"/nowhere.pem: no such file") ||
			!strings.Contains(list[1].Msg, dir+"/else.pem: no such file") || list[0].Pos.Line == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("check", Check(cfg))
	_, err := s.draft(cfg)
	check("draft", err)
	if s.reload(context.Background()) == nil || s.live.Load() != live {
		t.Error("the reload has changed something")
	}
}

// A name that no certificate is for is warned of, with what becomes of its clients.
func TestUncovered(t *testing.T) {
	const vhost = "[[vhost]]\nhosts = [\"a.localhost\", \"a.test\"]\necho = true\n"
	for text, want := range map[string]string{base: "clients are refused in the handshake", base + "default = true\n": "clients are shown the default one"} {
		s := newServer(t, t.TempDir(), "", text+vhost)
		snap := s.live.Load()
		if list := uncovered(snap.conf, snap.certs); len(list) != 1 || !strings.Contains(list[0].Msg, "is for a.test: "+want) {
			t.Errorf("%v, want %q", list, want)
		}
	}
}
