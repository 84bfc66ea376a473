package plan

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"edge/conf"
)

// edited gives the plan of one edit of whole, as people see it.
func edited(t *testing.T, live Live, edits ...string) string {
	t.Helper()
	dir := t.TempDir()
	return planned(t, live, load(t, dir, whole), load(t, dir, strings.NewReplacer(edits...).Replace(whole)))
}

func planned(t *testing.T, live Live, old, new *conf.Config) string {
	t.Helper()
	var b strings.Builder
	if err := (Plan{File: "edge.toml", Changes: Diff(old, new, live)}).Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const db = "[[listener]]\nname = \"db\"\naddress = \"127.0.0.1:5433\"\nprotocol = \"tcp\"\nproxy = \"tcp://127.0.0.1:5432\"\n"

// A change costs what is open at the time.
func TestLiveCosts(t *testing.T) {
	for name, test := range map[string]struct {
		live  Live
		edits []string
		want  string
	}{
		"nobody there": {Live{}, []string{db, ""}, "- listener db: closes\n    address: 127.0.0.1:5433 → (none)\n"},
		"tunnels": {
			Live{Connections: map[string]int{"db": 3, "https": 9}, Tunnels: map[string]int{"db": 3}}, []string{db, ""},
			"- listener db: closes; 3 tunnels stay until they end\n    address: 127.0.0.1:5433 → (none)\n",
		},
		"one tunnel": {
			Live{Connections: map[string]int{"db": 1}, Tunnels: map[string]int{"db": 1}}, []string{db, ""},
			"- listener db: closes; 1 tunnel stays until it ends\n    address: 127.0.0.1:5433 → (none)\n",
		},
		"connections and tunnels": {
			Live{Connections: map[string]int{"metrics": 5}, Tunnels: map[string]int{"metrics": 2}},
			[]string{"[[listener]]\nname = \"metrics\"\naddress = \"127.0.0.1:9180\"\nprotocol = \"metrics\"\n", ""},
			"- listener metrics: closes; 3 open connections are told to end; 2 tunnels stay until they end\n    address: 127.0.0.1:9180 → (none)\n",
		},
		"another protocol": {
			Live{Connections: map[string]int{"metrics": 1}}, []string{"protocol = \"metrics\"", "protocol = \"http\""},
			"~ listener metrics: the socket is kept; 1 open connection is told to end\n    protocol: metrics → http\n",
		},
		"in flight": {
			Live{InFlight: map[string]int{"app": 2, "bytes": 1}}, []string{"max_in_flight = 5", "max_in_flight = 6"},
			"! upstream app: its connection pool begins anew, and so do the counts of its targets' failures; 2 in flight end on the old one\n    max_in_flight: 5 → 6\n",
		},
		"an upstream goes": {
			Live{InFlight: map[string]int{"bytes": 1}}, []string{"[[upstream]]\nname = \"bytes\"\ntargets = [\"tcp://127.0.0.1:3\"]\n", ""},
			"- upstream bytes: its unused connections are closed; 1 in flight ends on the old one\n    targets: tcp://127.0.0.1:3 → (none)\n",
		},
		"costs are said once": {
			Live{}, []string{"max_in_flight = 5", "max_in_flight = 6\nslow_start = \"9s\"\nforwarded = true"},
			"! upstream app: its connection pool begins anew, and so do the counts of its targets' failures\n" +
				"    forwarded: false → true\n    slow_start: 0s → 9s\n    max_in_flight: 5 → 6\n",
		},
		"nothing": {Live{}, []string{"[drain]\n", "\n\n[drain]\n"}, "edge.toml changes nothing.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := edited(t, test.live, test.edits...); got != test.want {
				t.Errorf("the plan is\n%swant\n%s", got, test.want)
			}
		})
	}
}

// A socket is kept by its address, whichever listener has it.
func TestSocketsAreKeptByAddress(t *testing.T) {
	for name, test := range map[string]struct {
		edits []string
		want  []string
	}{
		"a limit goes by its number": {
			[]string{"name = \"db\"", "name = \"data\"\nmax_connections = 5", "[drain]\n", "[drain]\n"},
			[]string{"! listener db: the socket is kept: a name is a label; its connections are counted from 0 again"},
		},
		"an address becomes a listener of its own": {
			[]string{"[\"127.0.0.1:8080\", \"unix:/run/edge.sock\"]", "\"127.0.0.1:8080\"", "[[certificate]]\nhosts = [\"a.test\"]",
				"[[listener]]\nname = \"sock\"\naddress = \"unix:/run/edge.sock\"\nprotocol = \"http\"\n[[certificate]]\nhosts = [\"a.test\"]"},
			[]string{"+ listener sock: the socket is kept: only its listener is another one\n", "~ listener http: no connection is touched\n"},
		},
		"one more address": {
			[]string{"\"127.0.0.1:5433\"", "[\"127.0.0.1:5433\", \"unix:/run/db.sock\"]"},
			[]string{"~ listener db: unix:/run/db.sock opens\n"},
		},
		"one address less": {
			[]string{"[\"127.0.0.1:8080\", \"unix:/run/edge.sock\"]", "\"127.0.0.1:8080\""},
			[]string{"~ listener http: unix:/run/edge.sock closes; what is open there stays until it ends\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := edited(t, Live{}, test.edits...)
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("the plan is\n%swithout\n%s", got, want)
				}
			}
		})
	}
}

// What a virtual host says of all its routes is told once, and what a route says itself is told of the route.
func TestInheritedRulesAreToldOnce(t *testing.T) {
	got := edited(t, Live{}, public, public+"\ndeny = \"10.0.0.0/8\"")
	if want := "~ vhost a.test: no connection is touched\n    deny: (none) → 10.0.0.0/8\n"; got != want {
		t.Errorf("the plan is\n%swant\n%s", got, want)
	}
	got = edited(t, Live{}, `path = "/away"`, "path = \"/away\"\n  deny = \"10.0.0.0/8\"")
	if want := "~ vhost a.test route /away: no connection is touched\n    deny: (none) → 10.0.0.0/8\n"; got != want {
		t.Errorf("the plan is\n%swant\n%s", got, want)
	}
}

// Rate limits are kept by vhost, path and numbers: what only takes one off costs nothing, and a route that comes to share its vhost's begins anew
// only if that does.
func TestRateLimits(t *testing.T) {
	limited := func(vhost, route string) string {
		return strings.NewReplacer(public, public+vhost, "rate_limit = { requests = 10 }", route).Replace(whole)
	}
	const ten, five = "\nrate_limit = { requests = 10 }", "\nrate_limit = { requests = 5 }"
	for name, test := range map[string]struct {
		old, new string
		anew     bool
	}{
		"taken off":               {limited("", ten), limited("", ""), false},
		"made":                    {limited("", ""), limited("", ten), true},
		"other numbers":           {limited("", ten), limited("", five), true},
		"own becomes the vhost's": {limited(ten, ten), limited(ten, ""), false},
		"the vhost's becomes own": {limited(ten, ""), limited(ten, ten), true},
		"the vhost's, for all":    {limited(ten, ""), limited(five, ""), true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			got := planned(t, Live{}, load(t, dir, test.old), load(t, dir, test.new))
			if !strings.Contains(got, "    rate_limit: ") || strings.Contains(got, "rate limit counts begin anew") != test.anew {
				t.Errorf("anew should be %t:\n%s", test.anew, got)
			}
		})
	}
}

// The certificate that clients without a name are shown is the first one.
func TestFirstCertificate(t *testing.T) {
	got := edited(t, Live{}, "[[certificate]]\nhosts = [\"a.test\"]\n", "[[certificate]]\ncert = \"new.pem\"\nkey = \"new.key\"\n[[certificate]]\nhosts = [\"a.test\"]\n")
	for _, want := range []string{"+ certificate new.pem: no connection is touched", "shown to who names no host: "} {
		if !strings.Contains(got, want) {
			t.Errorf("the plan is\n%swithout\n%s", got, want)
		}
	}
}

// secret gives one as the loader would.
func secret(s string) (is conf.Secret) {
	*(**string)(unsafe.Pointer(reflect.ValueOf(&is).Pointer())) = &s
	return is
}

// A secret that changes is told of, and not shown; nor is what upstreams are sent.
func TestSecretsAreNotShown(t *testing.T) {
	d := &differ{}
	d.compare("x", []fact{{"password", secret("hunter1"), none}}, []fact{{"password", secret("hunter2"), none}})
	d.compare("y", []fact{{"password", secret("hunter1"), none}}, []fact{{"password", secret("hunter1"), none}})
	if len(d.changes) != 1 || !slices.Equal(d.changes[0].Of, []Key{{"password", "-", "-"}}) {
		t.Errorf("%+v", d.changes)
	}
	dir := t.TempDir()
	token := func(s string) *conf.Config {
		return load(t, dir, strings.Replace(whole, public, public+"\nrequest_headers = { Authorization = \""+s+"\" }", 1))
	}
	changes := Diff(token("Bearer hunter1"), token("Bearer hunter2"), Live{})
	text, err := json.Marshal(Plan{Changes: changes})
	if err != nil || strings.Contains(string(text), "hunter") || !strings.Contains(string(text), `"old":"authorization = -"`) {
		t.Errorf("%s, %v", text, err)
	}
	if s := planned(t, Live{}, token("Bearer hunter1"), token("Bearer hunter2")); strings.Contains(s, "hunter") || !strings.Contains(s, "request_headers") {
		t.Errorf("the plan is\n%s", s)
	}
}

// A value is shown in one line of bounded length, and a terminal finds nothing in it to obey.
func TestShown(t *testing.T) {
	for in, want := range map[string]string{"": "(none)", "a": "a", "a\x1b[31m\n": `"a\x1b[31m\n"`, "\u0085": `"\u0085"`, strings.Repeat("é", 200): strings.Repeat("é", 100) + "…"} {
		if got := shown(in); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
}
