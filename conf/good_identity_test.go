package conf

import (
	"maps"
	"testing"
)

// What a virtual host says of identity stands in place of what [login] says, key by key.
func TestIdentity(t *testing.T) {
	c := parse(t, `
[login]
host = "login.test"
identity = { user = "X-Who", jwt = "X-Edge-Jwt-Assertion" }
[[vhost]]
hosts = "a"
access = "login"
echo = true
[[vhost]]
hosts = "b"
access = "login"
echo = true
identity = { groups = "", email = "X_Mail", jwt = "" }
`+https)
	got := []Identity{c.Vhosts[0].Identity, c.Vhosts[1].Identity}
	for i := range got {
		got[i].Pos = Pos{}
	}
	if want := (Identity{User: "x-who", Groups: "remote-groups", Email: "remote-email", JWT: "x-edge-jwt-assertion"}); got[0] != want {
		t.Errorf("a has %+v", got[0])
	}
	if want := (Identity{User: "x-who", Email: "x_mail"}); got[1] != want {
		t.Errorf("b has %+v", got[1])
	}
	if names := c.IdentityNames(); !maps.Equal(names, map[string]bool{"x-who": true, "x-mail": true}) || !c.Asserts() {
		t.Errorf("the names are %v", names)
	}
}
