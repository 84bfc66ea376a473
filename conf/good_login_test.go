package conf

import (
	"slices"
	"testing"
)

func TestLoginKeys(t *testing.T) {
	for text, want := range map[string]Login{
		"registration = \"invite\"":        {Registration: Invite, Audit: "/var/lib/edge/audit.log"},
		"audit = \"off\"":                  {Registration: Closed},
		"audit = \"off\"\npublic_port = 1": {Registration: Closed, Port: 1},
		"audit = \"who.log\"":              {Registration: Closed, Audit: "/etc/edge/who.log"},
	} {
		if got := parse(t, "[login]\nhost = \"login.localhost\"\n"+text+"\n"+https).Login; got.Registration != want.Registration || got.Port != want.Port || got.Audit != want.Audit {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

// Who is named in access is compared in the form in which accounts are kept.
func TestAccessIsCanonical(t *testing.T) {
	a := parse(t, "[[vhost]]\nhosts = \"a\"\necho = true\naccess = [\" Alice\", \"ÜBER@Example.org\", \"group:Staff\", \"group:ＯＰＳ\"]\n"+https+login).Vhosts[0].Routes[0].Access
	if !slices.Equal(a.Users, []string{"alice", "über@example.org"}) || !slices.Equal(a.Groups, []string{"staff", "ops"}) {
		t.Errorf("%q, %q", a.Users, a.Groups)
	}
}
