package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"edge/edge/serve"
	"edge/edge/wire"
	"edge/plan"
)

// echoes is a server of bytes.
func echoes(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	return ln.Addr().String()
}

// tunnelsTo opens tunnels by a listener and sees that each is one.
func tunnelsTo(t *testing.T, s *Server, listener string, n int) (conns []net.Conn) {
	t.Helper()
	for _, socket := range s.table.Sockets() {
		for range n {
			if socket.Name() != listener {
				break
			}
			c := dial(t, socket.Addr().String())
			echoed(t, c)
			conns = append(conns, c)
		}
	}
	return conns
}

// echoed sees that a tunnel works.
func echoed(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// find gives the Change of a subject.
func find(t *testing.T, p plan.Plan, subject string) plan.Change {
	t.Helper()
	i := slices.IndexFunc(p.Changes, func(c plan.Change) bool { return c.Subject == subject })
	if i < 0 {
		t.Fatalf("nothing is told of %s: %+v", subject, p.Changes)
	}
	return p.Changes[i]
}

// The plan counts the tunnels of a listener that goes, and what it says comes true: they stay, and nobody comes in any more.
func TestPlanCountsTunnels(t *testing.T) {
	dir, bytes := t.TempDir(), echoes(t)
	db := "[[listener]]\nname = \"db\"\naddress = \"127.0.0.3:0\"\nprotocol = \"tcp\"\nproxy = \"tcp://" + bytes + "\"\n"
	keeps := "[[listener]]\nname = \"other\"\naddress = \"127.0.0.2:0\"\nprotocol = \"tcp\"\nproxy = \"tcp://" + bytes + "\"\n"
	s := newServer(t, dir, "", saying("old")+db+keeps)
	s.start(s.table.Sockets())
	tunnels := tunnelsTo(t, s, "db", 3)
	rest := tunnelsTo(t, s, "other", 1)
	before := s.live.Load()

	if p := s.PlanWith(load(t, dir, "", "\n"+saying("old")+db+keeps)); len(p.Changes) != 0 {
		t.Errorf("nothing has changed, but %+v", p.Changes)
	}
	next := load(t, dir, "", saying("old")+keeps)
	if c := find(t, s.PlanWith(next), "listener db"); c.Kind != plan.Removes || c.Cost != "closes; 3 tunnels stay until they end" {
		t.Errorf("%+v", c)
	}
	if s.live.Load() != before {
		t.Error("the plan changed something")
	}

	if err := s.reload(t.Context()); err != nil { // next is what is on disk
		t.Fatal(err)
	}
	for _, c := range append(tunnels, rest...) {
		echoed(t, c)
	}
	if c, err := net.Dial("tcp", tunnels[0].RemoteAddr().String()); err == nil {
		c.Close()
		t.Error("the listener takes connections still")
	}
	for _, c := range append(tunnels, rest...) {
		c.Close()
	}
}

// The plan counts the connections of a listener for requests that goes, and what it says comes true: their clients are told with the next answer.
func TestPlanCountsConnections(t *testing.T) {
	dir := t.TempDir()
	plain := "[[vhost]]\nhosts = [\"::1\"]\nlisteners = [\"LISTENER\"]\necho = true\n"
	http2 := "[[listener]]\nname = \"more\"\naddress = \"127.0.0.5:0\"\nprotocol = \"http\"\n"
	s := newServer(t, dir, "", base+http2+strings.Replace(plain, "LISTENER", "http", 1)+"[drain]\nspread = \"0s\"\n")
	s.start(s.table.Sockets())
	var c net.Conn
	for _, socket := range s.table.Sockets() {
		if socket.Name() == "http" {
			c = dial(t, socket.Addr().String())
		}
	}
	if closes := request(t, c); closes {
		t.Fatal("the connection was to be kept")
	}
	without := strings.Replace(base, "[[listener]]\nname = \"http\"\naddress = \"[::1]:0\"\nprotocol = \"http\"\n", "", 1)
	next := load(t, dir, "", without+http2+strings.Replace(plain, "LISTENER", "more", 1)+"[drain]\nspread = \"0s\"\n")
	if got := find(t, s.PlanWith(next), "listener http"); got.Cost != "closes; 1 open connection is told to end" {
		t.Errorf("%+v", got)
	}
	if err := s.reload(t.Context()); err != nil { // next is what is on disk
		t.Fatal(err)
	}
	if closes := request(t, c); !closes {
		t.Error("the client was not told")
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// request sends one, and says whether the answer is the connection's last.
func request(t *testing.T, c net.Conn) (closes bool) {
	t.Helper()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return resp.Close
}

// The plan counts what is in flight at an upstream that is to be made anew, and what it says comes true: it ends well on the old one.
func TestPlanCountsWhatIsInFlight(t *testing.T) {
	dir := t.TempDir()
	asked, answer := make(chan struct{}), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		io.WriteString(w, "slow")
	}))
	defer up.Close()
	text := func(fails string) string {
		return base + "[[vhost]]\nhosts = [\"a.localhost\"]\nproxy = \"app\"\n[[upstream]]\nname = \"app\"\ntargets = [\"" + up.URL + "\"]\nmax_fails = " + fails + "\n"
	}
	s := newServer(t, dir, "", text("3"))
	front := httptest.NewServer(wire.ServeHTTP(s.settingsOf("https").Handler, &wire.Conn{Listener: "https", Body: 1e10, Write: 1e10}, nil))
	defer front.Close()
	got := make(chan string, 1)
	go func() { got <- get(front.URL, "a.localhost") }()
	<-asked
	next := load(t, dir, "", text("4"))
	if c := find(t, s.PlanWith(next), "upstream app"); c.Kind != plan.Loses || !strings.HasSuffix(c.Cost, "; 1 in flight ends on the old one") {
		t.Errorf("%+v", c)
	}
	if err := s.reload(t.Context()); err != nil { // next is what is on disk
		t.Fatal(err)
	}
	close(answer)
	if body := <-got; body != "slow" {
		t.Errorf("the request in flight got %q", body)
	}
	if p := s.PlanWith(next); len(p.Changes) != 0 {
		t.Errorf("what is in force changes nothing, but %+v", p.Changes)
	}
}

// settingsOf gives what connections of a listener are served by.
func (s *Server) settingsOf(listener string) *serve.Settings {
	for _, st := range s.live.Load().sockets {
		if st.Listener == listener {
			return st
		}
	}
	return nil
}

// get asks for a host's "/" and gives the body, or what went wrong.
func get(url, host string) string {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err.Error()
	}
	r.Host, r.Close = host, true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// What the plan says is kept is kept, and what it says begins anew is made anew: the rules are written in two places.
func TestPlanKnowsWhatIsKept(t *testing.T) {
	const text = base + `
[[listener]]
name = "db"
address = "127.0.0.4:0"
protocol = "tcp"
proxy = "tcp://127.0.0.1:1"
max_connections = 5
[[vhost]]
hosts = ["a.localhost"]
proxy = "app"
rate_limit = { requests = 5 }
  [[vhost.route]]
  path = "/own"
  echo = true
  rate_limit = { requests = 6 }
[[upstream]]
name = "app"
targets = ["http://127.0.0.1:1"]
[drain]
`
	dir := t.TempDir()
	s := newServer(t, dir, "", text)
	before := s.live.Load()
	for _, e := range [][2]string{
		{"[drain]", "[drain]\nspread = \"1s\""},
		{`name = "db"`, `name = "data"`},
		{"max_connections = 5", "max_connections = 6"},
		{"requests = 5", "requests = 7"},
		{"requests = 5 }", "requests = 5, burst = 6 }"},
		{"requests = 6", "requests = 5"},
		{"path = \"/own\"", "path = \"/owned\""},
		{"name = \"app\"", "name = \"app\"\nmax_fails = 9"},
		{"name = \"app\"", "name = \"app\"\nforwarded = true"},
		{"name = \"app\"", "name = \"app\"\nsticky = {}"},
		{"proxy = \"app\"\n", "proxy = \"app\"\ndeny = \"10.0.0.0/8\"\n"},
	} {
		next := load(t, dir, "", strings.Replace(text, e[0], e[1], 1))
		p := s.PlanWith(next)
		d, err := s.draft(next)
		if err != nil {
			t.Fatal(err)
		}
		d.sockets.Discard()
		kept := !slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Kind == plan.Loses })
		if really := keeps(before, d.snap); kept != really {
			t.Errorf("%q: all is kept: %t; the plan says %t: %+v", e[1], really, kept, p.Changes)
		}
	}
}

// keeps says whether all that has state in a Snapshot and stays has been taken over from old.
func keeps(old, snap *Snapshot) bool {
	was := map[any]bool{}
	for _, u := range old.upstreams {
		was[u] = true
	}
	for _, l := range old.rates {
		was[l] = true
	}
	for _, l := range old.limits {
		was[l] = true
	}
	all := snap.log == old.log
	for _, u := range snap.upstreams {
		all = all && was[u]
	}
	for k, l := range snap.rates {
		all = all && (was[l] || k.path == "/owned") // a route that is new has none yet
	}
	for _, l := range snap.limits {
		all = all && was[l]
	}
	return all
}
