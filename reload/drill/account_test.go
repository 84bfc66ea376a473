package drill

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// pair gives both ends of a connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln := listen(t)
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func addressOf(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A reset is seen, with its cause as far as packets tell: a connect that nobody listens for, and a close with data left (R46).
func TestTap(t *testing.T) {
	tap, err := tapLoopback()
	if errors.Is(err, os.ErrPermission) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t)
	gone := addressOf(t, ln.Addr())
	ln.Close()
	if c, err := net.Dial("tcp", gone.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(c, err)
	}
	client, server := pair(t)
	from := addressOf(t, server.LocalAddr())
	io.WriteString(client, "nobody reads this")
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	seen, err := tap.stop()
	if err != nil {
		t.Fatal(err)
	}
	var refused, left int
	for _, r := range seen { // others on this machine may have theirs
		if r.from == gone && r.refusal {
			refused++
		}
		if r.from == from && !r.refusal && !r.ended {
			left++
		}
	}
	if refused != 1 || left != 1 {
		t.Errorf("%d refusals and %d resets of the connection, want 1 and 1: %v", refused, left, seen)
	}
}

// The end of a connection is known by both FINs, and another connection by the same ports has not ended.
func TestTapEnds(t *testing.T) {
	a, b := netip.MustParseAddrPort("127.0.0.1:1000"), netip.MustParseAddrPort("127.0.0.1:2000")
	syn, fin, back, rst := segment{a, b, flagSYN, 1}, segment{a, b, flagFIN | flagACK, 2}, segment{b, a, flagFIN | flagACK, 2}, segment{b, a, flagRST, 3}
	for name, row := range map[string]struct {
		segments []segment
		ended    bool
	}{
		"both ends":        {[]segment{syn, fin, back, rst}, true},
		"one end":          {[]segment{syn, fin, rst}, false},
		"one end, twice":   {[]segment{syn, fin, fin, rst}, false},
		"the one before":   {[]segment{syn, fin, back, syn, rst}, false},
		"of none it knows": {[]segment{rst}, false},
	} {
		tap := &tap{ended: [2]map[ends]uint8{{}, {}}}
		for _, s := range row.segments {
			tap.take(s, time.Now())
		}
		if len(tap.seen) != 1 || tap.seen[0].ended != row.ended {
			t.Errorf("%s: %+v, want ended %v", name, tap.seen, row.ended)
		}
	}
}

// A process is known to hold its connections, and not those of others.
func TestConnectionsOf(t *testing.T) {
	client, server := pair(t)
	held, err := connectionsOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want := endsOf(addressOf(t, client.LocalAddr()), addressOf(t, server.LocalAddr()))
	if !slices.Contains(held, want) {
		t.Errorf("%v is not among %v", want, held)
	}
	client.Close()
	server.Close()
	if held, err = connectionsOf(os.Getpid()); err != nil || slices.Contains(held, want) {
		t.Errorf("%v is closed: %v, %v", want, held, err)
	}
}

// A reset is put down to what the drill did at that time, and to nothing else. What is left, and connections that were dropped, fail the drill.
func TestKernelAccounts(t *testing.T) {
	now := time.Now()
	a, b, ln := netip.MustParseAddrPort("127.0.0.1:1000"), netip.MustParseAddrPort("127.0.0.1:2000"), netip.MustParseAddrPort("127.0.0.5:3000")
	for name, row := range map[string]struct {
		seen  reset
		grown counters
		fails bool
	}{
		"of a process that was killed":          {reset{at: now.Add(time.Second), from: b, to: a}, counters{outRsts: 1, abortOnData: 1}, false},
		"before it was killed":                  {reset{at: now.Add(-time.Second), from: b, to: a}, counters{outRsts: 1}, true},
		"long after":                            {reset{at: now.Add(time.Minute), from: b, to: a}, counters{outRsts: 1}, true},
		"by a listener that was removed":        {reset{at: now.Add(time.Minute), from: ln, to: a, refusal: true}, counters{outRsts: 1}, false},
		"to what waited there":                  {reset{at: now.Add(time.Second), from: ln, to: a}, counters{outRsts: 1}, false},
		"to what it had accepted, later":        {reset{at: now.Add(time.Minute), from: ln, to: a}, counters{outRsts: 1}, true},
		"by it, before":                         {reset{at: now.Add(-time.Minute), from: ln, to: a}, counters{outRsts: 1}, true},
		"of a connection that had ended":        {reset{at: now, from: a, to: ln, ended: true}, counters{outRsts: 1}, false},
		"of any other":                          {reset{at: now, from: a, to: ln}, counters{outRsts: 1}, true},
		"that was not seen":                     {reset{at: now, from: b, to: a}, counters{outRsts: 2}, true},
		"and data left by who was not killed":   {reset{at: now, from: b, to: a}, counters{outRsts: 1, abortOnData: 2}, true},
		"and data unread by who was not killed": {reset{at: now, from: b, to: a}, counters{outRsts: 1, abortOnClose: 2}, true},
		"and a queue that was full":             {reset{at: now, from: b, to: a}, counters{outRsts: 1, overflows: 1}, true},
		"and a connection that was dropped":     {reset{at: now, from: b, to: a}, counters{outRsts: 1, drops: 1}, true},
	} {
		k := kernel{
			alone: true, tap: new(tap), grown: row.grown,
			held: map[ends]time.Time{endsOf(a, b): now}, removed: map[netip.AddrPort]time.Time{ln: now},
		}
		k.account([]reset{row.seen})
		if problems := k.problems(0); len(problems) > 0 != row.fails {
			t.Errorf("a reset %s: %q", name, problems)
		}
		if problems := k.problems(1); len(problems) > 0 != (row.fails || k.waited == 0) {
			t.Errorf("a reset %s, and a client that lost an open connection by the listener's removal: %q", name, problems)
		}
		if k.alone = false; len(k.problems(0)) > 0 {
			t.Errorf("%s, in a network namespace that others use too: %q", name, k.problems(0))
		}
	}
}

// Whoever closes a connection politely hears what is still said, and resets nothing.
func TestPolite(t *testing.T) {
	client, server := pair(t)
	heard := make(chan error, 1)
	go func() {
		io.Copy(io.Discard, server) // until the client says it is done
		_, err := io.WriteString(server, "last words")
		if err == nil {
			err = server.(*net.TCPConn).CloseWrite()
		}
		if err == nil {
			_, err = server.Read(make([]byte, 1)) // a reset would be another error
		}
		heard <- err
	}()
	if err := (&polite{Conn: client}).Close(); err != nil {
		t.Error(err)
	}
	if err := <-heard; err != io.EOF {
		t.Error(err)
	}
	if _, err := client.Read(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it is not closed: %v", err)
	}
}

// While an answer is awaited a paced client asks on: each that was due meanwhile is late as well, not only the first.
func TestPaced(t *testing.T) {
	for name, anew := range map[string]bool{"kept": false, "each anew": true} {
		t.Run(name, func(t *testing.T) {
			const stall = 200 * time.Millisecond
			o := new(Origin)
			began := time.Now()
			var all sync.WaitGroup
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				all.Add(1)
				defer all.Done()
				time.Sleep(time.Until(began.Add(stall))) // a server that stands still at first
				o.ServeHTTP(w, r)
			}))
			defer srv.Close()
			dial := func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*stall)
			defer cancel()
			r := newReport(nil)
			Paced(dial, "http://a.test", 10*time.Millisecond, anew)(ctx, r)
			late := 0
			for _, s := range r.samples {
				if s.took > stall/4 {
					late++
				}
			}
			if r.Failed+r.ClosedUnder > 0 || late < 10 || late == len(r.samples) {
				t.Errorf("%d of %d late, want those of the first three quarters of %v: %v", late, len(r.samples), stall, r)
			}
		})
	}
}

// inTurn is an answer each 10 ms, of which those of each second took so long.
func inTurn(took ...time.Duration) *Report {
	r := newReport(nil)
	for n := range 100 * len(took) {
		r.samples = append(r.samples, sample{int64(n) * int64(10*time.Millisecond), took[n/100]})
	}
	return r
}

// What is late around a change fails the drill: above 50 ms, above three times what it takes when nothing changes, and above three times what the
// machine itself is late by.
func TestTimes(t *testing.T) {
	const ms = time.Millisecond
	at := func(what string, second int64) event {
		return event{what: what, from: time.Unix(second, 0), to: time.Unix(second, 0)}
	}
	changes := []event{at("a change", 3), at("another", 5)} // seconds 0 to 2 are steady, the change is in 3 and 4
	for name, row := range map[string]struct {
		edge, control *Report
		late, starved bool
	}{
		"as always":                       {inTurn(2*ms, 2*ms, 2*ms, 2*ms), inTurn(ms, ms, ms, ms), false, false},
		"below 50 ms":                     {inTurn(2*ms, 2*ms, 2*ms, 49*ms), inTurn(ms, ms, ms, ms), false, false},
		"above 50 ms":                     {inTurn(2*ms, 2*ms, 2*ms, 51*ms), inTurn(ms, ms, ms, ms), true, false},
		"3 times the steady one":          {inTurn(40*ms, 40*ms, 40*ms, 119*ms), inTurn(ms, ms, ms, ms), false, false},
		"above 3 times":                   {inTurn(40*ms, 40*ms, 40*ms, 121*ms), inTurn(ms, ms, ms, ms), true, false},
		"one steady second was disturbed": {inTurn(2*ms, 40*ms, 2*ms, 119*ms), inTurn(ms, ms, ms, ms), true, false},
		"the machine is late":             {inTurn(2*ms, 2*ms, 2*ms, 89*ms), inTurn(ms, ms, ms, 30*ms), false, true},
		"later than the machine":          {inTurn(2*ms, 2*ms, 2*ms, 91*ms), inTurn(ms, ms, ms, 30*ms), true, true},
		"the machine was late before it":  {inTurn(2*ms, 2*ms, 2*ms, 89*ms), inTurn(30*ms, 30*ms, ms, ms), true, false},
		"the machine is late later on":    {inTurn(2*ms, 2*ms, 2*ms, 89*ms, ms, ms), inTurn(ms, ms, ms, ms, ms, 30*ms), false, true},
	} {
		r := newResult()
		r.timings = []*timing{{name: "probe", edge: row.edge, control: row.control}}
		problems := r.judgeTimes(changes)
		if len(problems) > 0 != row.late || r.judged["a change"][0].starved != row.starved {
			t.Errorf("%s: %q, %+v", name, problems, r.judged)
		}
		var b strings.Builder
		if err := r.printTimes(&b); err != nil || strings.Contains(b.String(), "short of time") != row.starved {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
}

// What grows over the generations fails the drill (R6): descriptors other than connections, goroutines, memory.
func TestGrowth(t *testing.T) {
	usual := resources{Descriptors: 24, Connections: 1, Goroutines: 13, KiB: 20 << 10}
	busy := resources{Descriptors: 120, Connections: 90, Goroutines: 60, KiB: 25 << 10}
	for name, row := range map[string]struct {
		change func(*Result)
		grows  bool
	}{
		"nothing":                   {func(*Result) {}, false},
		"a look's own connection":   {func(r *Result) { r.last.Descriptors += 2 }, false},
		"descriptors":               {func(r *Result) { r.last.Descriptors += 3 }, true},
		"goroutines":                {func(r *Result) { r.last.Goroutines += 3 }, true},
		"memory":                    {func(r *Result) { r.last.KiB = r.last.KiB*3/2 + 1 }, true},
		"connections under load":    {func(r *Result) { r.generations[3].Descriptors += 50; r.generations[3].Connections += 50 }, false},
		"descriptors under load":    {func(r *Result) { r.generations[3].Descriptors += 60 }, true},
		"goroutines under load":     {func(r *Result) { r.generations[3].Goroutines *= 3 }, true},
		"memory under load":         {func(r *Result) { r.generations[3].KiB *= 2 }, true},
		"less of it late than soon": {func(r *Result) { r.generations[3] = usual }, false},
	} {
		r := newResult()
		r.first, r.last, r.generations = usual, usual, []resources{busy, busy, busy, busy}
		row.change(r)
		r.generations[2] = r.generations[3]
		if grown := r.growth(); len(grown) > 0 != row.grows {
			t.Errorf("%s: %q", name, grown)
		}
	}
}

// Who is halted does nothing more, with no thread (R46): the connections that it holds then are all that it will ever have.
func TestHalt(t *testing.T) {
	for range 20 {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if n, err := threadsRunning(cmd.Process.Pid); n != 1 || err != nil {
			t.Errorf("before: %d threads run, %v", n, err)
		}
		if err := halt(t.Context(), cmd.Process.Pid); err != nil {
			t.Error(err)
		}
		if n, err := threadsRunning(cmd.Process.Pid); n != 0 || err != nil {
			t.Errorf("halted: %d threads run, %v", n, err)
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
}
