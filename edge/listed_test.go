package edge

import (
	"testing"

	"edge/conf"
)

// A name is listed wherever it stands, on any route of any virtual host; a group's is not.
func TestListed(t *testing.T) {
	h := hosts{&Snapshot{conf: &conf.Config{Vhosts: []*conf.Vhost{
		{Routes: []*conf.Route{{Access: conf.Access{Login: true}}}},
		{Routes: []*conf.Route{{Access: conf.Access{Public: true}}, {Access: conf.Access{Users: []string{"bob", "alice"}, Groups: []string{"staff"}}}}},
	}}}}
	for name, want := range map[string]bool{"alice": true, "bob": true, "staff": false, "carol": false, "": false} {
		if h.Listed(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}
