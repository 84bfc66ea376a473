package conf

import (
	"reflect"
	"slices"
	"testing"
)

func TestLogLines(t *testing.T) {
	for text, want := range map[string]Log{
		http: {Format: LogJSON, Hide: hideByDefault},
		"[log]\nformat = \"combined\"\nhide = [\"A\", \"b_c\"]\nreturn_id = true" + http: {Format: LogCombined, Hide: []string{"A", "b_c"}, ReturnID: true},
		"[log]\nhide = \"one\"" + http: {Format: LogJSON, Hide: []string{"one"}},
	} {
		if got := parse(t, text).Log; got.Format != want.Format || !slices.Equal(got.Hide, want.Hide) || got.ReturnID != want.ReturnID {
			t.Errorf("%s\ngave %+v", text, got)
		}
	}
}

// A metrics listener that strangers can reach is a warning.
func TestMetricsListener(t *testing.T) {
	for address, want := range map[string][]string{
		"127.0.0.1:9180":        nil,
		"[::1]:9180":            nil,
		"127.9.9.9:9180":        nil,
		"unix:/run/edge.sock":   nil,
		"unix:@edge":            nil,
		":9180":                 {"/etc/edge/edge.toml:4:11"},
		"0.0.0.0:9180":          {"/etc/edge/edge.toml:4:11"},
		"192.0.2.1:9180":        {"/etc/edge/edge.toml:4:11"},
		"[::ffff:10.0.0.1]:918": {"/etc/edge/edge.toml:4:11"},
	} {
		c := parse(t, "\n[[listener]]\nname = \"m\"\naddress = \""+address+"\"\nprotocol = \"metrics\"\npprof = true\nmax_header = \"8KiB\"\nmax_connections = 9\n"+http)
		var got []string
		for _, w := range c.Warnings {
			got = append(got, w.Pos.String())
		}
		if l := c.Listeners[0]; !reflect.DeepEqual(got, want) || l.Protocol != Metrics || !l.Pprof || l.MaxHeader != 8<<10 || l.MaxConnections != 9 {
			t.Errorf("%s: warnings at %v, want %v; %+v", address, got, want, l)
		}
	}
}
